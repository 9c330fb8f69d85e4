"""Chapter 4.01 on files that nobody here wrote, where ../shared/data/real lies beside the clone."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What is tested is the way of a real file through the chapter, not how much is learnt from it.
SMALL = {"examples": 16, "batch_size": 4, "epochs": 2, "seeds": 2}
INSTRUCTIONS = ROOT.parent / "shared" / "data" / "real" / "alpaca_teaching" / "instruction-data.json"

if INSTRUCTIONS.exists():

    def test_the_chapter_trains_on_a_real_instruction_file(tmp_path):
        command = [sys.executable, "-m", "ftlib", "run", "4.01", "--out", str(tmp_path)]
        for name, value in {"data_path": INSTRUCTIONS, **SMALL}.items():
            command += ["-p", name, str(value)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        [manifest] = tmp_path.glob("4_01-*/manifest.json")
        metrics = json.loads(manifest.read_text())["metrics"]
        after, before = metrics["held-out loss"], metrics["held-out loss of the base model"]
        assert after["mean"] < before["mean"]
