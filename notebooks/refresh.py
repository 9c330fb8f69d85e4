"""Re-executes the chapters in place, with outputs fit to be committed: make notebooks.

A chapter runs through the strict runner on the tiny tier. What differs from run to run is left out of the
committed file: progress bars, warnings, widget state, timings and the record that carries them, and
into how many pieces a kernel cut what a cell printed.
"""

import sys
import tempfile
from pathlib import Path

import nbformat
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

from ftlib import artefact, run

WIDGET = "application/vnd.jupyter.widget-view+json"
KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def tidy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The same notebook without what differs from run to run; tidying twice changes nothing more."""
    notebook.metadata = nbformat.from_dict(KERNEL)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({"tags": tags} if (tags := cell.metadata.get("tags")) else {})
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _stays(output)]
            for output in cell.outputs:
                output.get("data", {}).pop(artefact.MANIFEST_MIME, None)
    return CoalesceStreamsPreprocessor().preprocess(notebook, {})[0]


def _stays(output: nbformat.NotebookNode) -> bool:
    return output.get("name") != "stderr" and WIDGET not in output.get("data", {})


def refresh(notebooks: Path) -> int:
    """Refreshes every chapter under `notebooks`; one that fails stays as it is. Returns an exit status."""
    status = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, chapter in run.chapters(notebooks).items():
            job = run.prepare(chapter, {}, Path(folder), force=True)
            result = run.execute(job)
            print(f"{number}: {result.note or f'{result.seconds:.0f} s'}")
            status = max(status, result.status)
            if not result.status:
                executed = nbformat.read(job.folder / chapter.path.name, as_version=4)
                nbformat.write(tidy(executed), chapter.path)
    return status


if __name__ == "__main__":
    sys.exit(refresh(run.NOTEBOOKS))
