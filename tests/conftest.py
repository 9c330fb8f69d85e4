"""For every test: no network, no cache of the user's, and a tiny model made here."""

import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# Before the first test module imports a library that reads these variables.
HERE = Path(__file__).parent
OWN_FOLDER = Path(tempfile.mkdtemp(prefix="ftlib-tests-"))
NETWORK_LOG = OWN_FOLDER / "network.log"
NETWORK_LOG.touch()
os.environ |= {
    "OMP_NUM_THREADS": "1",  # tests run side by side
    "FTLIB_NETWORK_LOG": str(NETWORK_LOG),
    "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE / "no_network"), os.environ.get("PYTHONPATH")])),
    "HF_HOME": str(OWN_FOLDER / "huggingface"),
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
runpy.run_path(str(HERE / "no_network" / "sitecustomize.py"))

import hypothesis  # noqa: E402
import pytest  # noqa: E402
from filelock import FileLock  # noqa: E402

import ftlib  # noqa: E402, F401  # before torch, as in a chapter: it says how threads wait

# The same examples in each run, so that a run is red for its change and for nothing else.
hypothesis.settings.register_profile("workbook", derandomize=True, deadline=None)
hypothesis.settings.load_profile("workbook")


BROWSER = os.environ.get("FTLIB_BROWSER") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
collect_ignore = [] if BROWSER else ["test_browser.py"]


def pytest_terminal_summary(terminalreporter):
    if not BROWSER:
        terminalreporter.write_line("no Chromium, and none in $FTLIB_BROWSER: test_browser.py is left out")


def pytest_collection_modifyitems(items):
    """What needs no chapter runs first."""
    executing = {"executed", "lab"}
    items.sort(
        key=lambda item: item.path.name == "test_real_input.py" or bool(executing & {*item.fixturenames})
    )


def pytest_unconfigure():
    shutil.rmtree(OWN_FOLDER, ignore_errors=True)


@pytest.fixture
def network_attempts():
    """A function that returns the attempts on the network of this test so far, and forgives them."""

    def take() -> list[str]:
        attempts = NETWORK_LOG.read_text().splitlines()
        NETWORK_LOG.write_text("")
        return attempts

    return take


@pytest.fixture(autouse=True)
def no_network(network_attempts):
    """Fails a test in which anything, a subprocess too, tried the network, even if the error was caught."""
    yield
    if attempts := network_attempts():
        pytest.fail(f"the network was tried: {', '.join(attempts)}")


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory, worker_id):
    """A folder of this run of the tests, the same in every process."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def wheel(shared_folder):
    """The wheel of this tree, built once."""
    folder = shared_folder / "wheel"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory"]
            subprocess.run([*command, str(folder)], cwd=HERE.parent, check=True, capture_output=True)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def site(shared_folder):
    """The book, built once with the command of the Makefile; a warning is an error."""
    folder = shared_folder / "book"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            done = subprocess.run(book_command(folder), cwd=HERE.parent, capture_output=True, text=True)
            (folder / "said.txt").write_text(done.stdout + done.stderr)
    assert (folder / "said.txt").read_text() == ""
    return folder / "html"


def book_command(folder):
    """What `make book` runs, with this Python and into a folder."""
    plan = subprocess.check_output(["make", "--dry-run", "book"], cwd=HERE.parent, text=True)
    [line] = [line for line in plan.splitlines() if "-m sphinx" in line]
    found = [sys.executable, *line.split()[1:]]
    found[-1], found[found.index("-d") + 1] = str(folder / "html"), str(folder / "doctrees")
    return found


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory):
    """A folder with a tiny Llama and its tokenizer."""
    import tiny

    return tiny.save(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture(scope="session")
def tiny_tokenizer(tiny_model_folder):
    """The tokenizer of that model; a test that changes it makes a copy."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model_folder)
