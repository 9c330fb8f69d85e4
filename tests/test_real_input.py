"""Chapter 4.01 on files that nobody here wrote, where ../shared/data/real lies beside the clone."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What is tested is the way of a real file through the chapter, not how much is learnt from it.
SMALL = {"examples": 8, "batch_size": 1, "epochs": 1, "seeds": 2}
ROWS = 80
INSTRUCTIONS = ROOT.parent / "shared" / "data" / "real" / "alpaca_teaching" / "instruction-data.json"

if INSTRUCTIONS.exists():

    def test_the_chapter_trains_on_rows_of_a_real_instruction_file(tmp_path):
        rows = json.loads(INSTRUCTIONS.read_text(encoding="utf-8"))[:ROWS]
        (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
        command = [sys.executable, "-m", "ftlib", "run", "4.01", "--out", str(tmp_path)]
        for name, value in {"data_path": tmp_path / "rows.json", **SMALL}.items():
            command += ["-p", name, str(value)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        [manifest] = tmp_path.glob("4_01-*/manifest.json")
        metrics = json.loads(manifest.read_text())["metrics"]
        after, before = metrics["held-out loss"], metrics["held-out loss of the base model"]
        assert after["mean"] < before["mean"]
