"""A stamped notebook, opened alone where no workbook is: what its first cell installs, and that it runs.

No index can be reached in a test. So the wheel of this tree stands in for the repository, and the packages of
this environment for those of an index: pip finds each of them there, and would have to get none. The torch of
the runtime has another version than ours.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import venv
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement

from ftlib import __version__, badges, run

TORCH = "2.99.1+cu130"  # of the runtime
HOME = "https://github.com/someone/book"
LOOK = """import importlib.metadata, json, os
import ftlib
from ftlib import settings
versions = importlib.metadata.version("ftlib"), importlib.metadata.version("torch")
print(json.dumps([ftlib.__file__, str(settings.DATA), *versions, os.listdir(), first_answer]))"""


@pytest.fixture
def runtime(tmp_path) -> Path:
    """A Python that has what this one has but ftlib, and torch in another version."""
    folder = tmp_path / "runtime"
    packages = folder / "packages"
    packages.mkdir(parents=True)
    for entry in Path(importlib.metadata.distribution("torch").locate_file("")).iterdir():
        if "ftlib" not in entry.name and not entry.name.startswith("torch-"):
            (packages / entry.name).symlink_to(entry)
    note = packages / f"torch-{TORCH}.dist-info" / "METADATA"
    note.parent.mkdir()
    note.write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {TORCH}\n")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    [own] = subprocess.check_output([python, "-c", where], text=True).split()
    (Path(own) / "runtime.pth").write_text(f"{packages}\n")
    return python


@pytest.fixture
def alone(runtime, tmp_path) -> dict:
    """An empty folder and what a process there sees: nothing of this tree, and no settings of pip's."""
    guard = str(Path(__file__).parent / "no_network")
    left = {name: text for name, text in os.environ.items() if not name.startswith(("PIP_", "JUPYTER_"))}
    pip = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    own = {"PYTHONPATH": guard, "HOME": str(tmp_path / "home"), "PIP_REPORT": str(tmp_path / "report.json")}
    (tmp_path / "content").mkdir()
    return {"cwd": tmp_path / "content", "env": left | pip | own, "capture_output": True, "text": True}


@pytest.fixture
def stamped(tmp_path) -> nbformat.NotebookNode:
    """The first chapter, stamped."""
    notebooks = tmp_path / "tree" / "notebooks"
    shutil.copytree(run.NOTEBOOKS, notebooks)
    shutil.copy(run.NOTEBOOKS.parent / "pyproject.toml", notebooks.parent)
    badges.stamp(notebooks, "someone/book")
    return nbformat.read(run.chapters(notebooks)["0.01"].path, as_version=4)


def test_a_stamped_notebook_alone_installs_the_workbook_beside_the_runtime_s_torch_and_runs(
    stamped, wheel, runtime, alone, tmp_path
):
    assert subprocess.run([runtime, "-c", "import ftlib"], **alone).returncode == 1
    [line] = [line for line in stamped.cells[1].source.splitlines() if "source = " in line]
    asked = Requirement(line.partition('"')[2].rstrip('"'))
    assert (asked.name, asked.extras, asked.url) == ("ftlib", {"colab"}, f"git+{HOME}@v{__version__}")
    assert asked.url in stamped.cells[1].source
    stamped.cells[1].source = stamped.cells[1].source.replace(asked.url, wheel.as_uri())
    sources = [cell.source for cell in stamped.cells if cell.cell_type == "code"]
    loading = next(at for at, source in enumerate(sources) if "model.load(" in source)
    program = "\n\n".join([*sources[: loading + 1], LOOK])
    done = subprocess.run([runtime, "-c", program], **alone)
    assert done.returncode == 0, done.stderr[-3000:]

    installed = json.loads((tmp_path / "report.json").read_text())["install"]
    assert [(one["metadata"]["name"], one["requested_extras"]) for one in installed] == [("ftlib", ["colab"])]
    *shown, last = done.stdout.splitlines()
    file, data, *versions, beside, answer = json.loads(last)
    assert Path(file).is_relative_to(runtime.parent.parent) and Path(data) == Path(file).parent / "_data"
    assert versions == [__version__, TORCH] and beside == []
    assert "Chapter 0.01 on tier tiny" in shown and answer


def test_an_extra_that_names_a_torch_would_not_leave_the_runtime_s_alone(wheel, runtime, alone):
    """So the test above can fail."""
    command = [runtime, "-m", "pip", "install", "--dry-run", f"ftlib[train] @ {wheel.as_uri()}"]
    done = subprocess.run(command, **alone)
    assert done.returncode == 1 and "torch==" in done.stderr


def test_where_nothing_can_be_installed_the_first_cell_says_so_and_stops(stamped, runtime, alone):
    program = stamped.cells[1].source.replace(f"git+{HOME}", f"git+file://{alone['cwd']}/nowhere")
    done = subprocess.run([runtime, "-c", program], **alone)
    assert done.returncode == 1 and "CalledProcessError" in done.stderr
