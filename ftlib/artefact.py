"""What a run leaves behind: a folder, written whole or not at all, and a manifest that says how."""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ftlib import __version__, plot
from ftlib.settings import DATA, Settings, WorkbookError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MANIFEST_MIME = "application/vnd.ftlib.manifest+json"
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG)
UNFINISHED: set[Path] = set()  # what this process is writing; it goes when the process is ended
PACKAGES = ("torch", "transformers", "trl", "peft", "datasets")


def versions() -> dict[str, str]:
    """The versions that decide a result: Python, ftlib and the installed PACKAGES, without importing them."""
    found = {"python": platform.python_version(), "ftlib": __version__}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def digest(path: str | Path) -> str:
    """SHA-256 of a file, or of the names and contents of a folder's files without caches and hidden ones."""
    path = Path(path)
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    total = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        if file.is_file() and not any(part.startswith((".", "__pycache__")) for part in name.parts):
            total.update(f"{name.as_posix()} {digest(file)}\n".encode())
    return total.hexdigest()


def identity(source: str | Path) -> str:
    """The digest of a file or folder; of anything else (a model id, a URL) its name."""
    return digest(source) if Path(source).exists() else str(source)


def memory_gb() -> float:
    """Peak memory in GB (1e9 bytes): on a CUDA device since its last reset, else of this process."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_allocated() > 0:
        return torch.cuda.max_memory_allocated() / 1e9
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 1e9
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9


def cells(notebook: str | Path) -> list[dict]:
    """The cells of a notebook file; WorkbookError when it cannot be read as one."""
    try:
        found = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
        return [cell | {"source": "".join(cell["source"])} for cell in found]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkbookError(f"{notebook} cannot be read as a notebook: {error}") from None


def outputs(cells: Iterable[Mapping]) -> list[dict]:
    """What the cells of an executed notebook show, in order: mappings from mime type to content."""
    return [output["data"] for cell in cells for output in cell.get("outputs", ()) if "data" in output]


@dataclass(frozen=True)
class Manifest:
    """How a result was made. inputs: name -> digest; metrics: name -> a number or {"mean", "low", "high"}."""

    chapter: str
    parameters: dict[str, object]
    seed: int
    versions: dict[str, str]
    inputs: dict[str, str]
    device: str
    seconds: float
    peak_memory_gb: float | None
    metrics: dict[str, object]

    def write(self, folder: str | Path) -> None:
        """Writes manifest.json into the folder."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
        (Path(folder) / "manifest.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: str | Path) -> Manifest:
        """Reads a folder's manifest.json; WorkbookError when there is none or it is not one."""
        path = Path(folder) / "manifest.json"
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, TypeError, ValueError) as error:
            raise WorkbookError(f"{path} is not there or not a manifest: make the folder again") from error

    def show(self) -> None:
        """Shows a card; its output also carries the whole manifest, for the runner to find it.

        Seconds and memory differ from run to run, so the card, which is committed, leaves them out. Metrics
        travel as pairs: a notebook file sorts the names of a mapping, and the first metric is the headline.
        """
        rows = {
            **self.metrics,
            "parameters": ", ".join(
                f"{name} {value}" for name, value in self.parameters.items() if value != ""
            ),
            "inputs": ", ".join(f"{name} {value[:12]}" for name, value in self.inputs.items()),
            "versions": ", ".join(f"{name} {value}" for name, value in self.versions.items()),
        }
        record = asdict(self) | {"metrics": list(self.metrics.items())}
        plot.card(f"Artefact of {self.chapter}", rows, plot.PALETTE[0], {MANIFEST_MIME: record}).display()


def run_folder(chapter: str) -> Path:
    """Where a run writes: the folder that the runner prepared ($FTLIB_RUN_FOLDER), else runs/CHAPTER."""
    folder = Path(os.environ.get("FTLIB_RUN_FOLDER") or Path("runs", chapter.replace(".", "_"))).absolute()
    with clear_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Holds the right to write the folder `path`; WorkbookError where another run has it or the disk is full.

    The lock belongs to the process: a killed run leaves none behind.
    """
    from filelock import FileLock, Timeout

    with clear_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            held = FileLock(path.with_name(f".{path.name}.lock"), timeout=0).acquire()
        except Timeout:
            raise WorkbookError(f"another run is writing {path}: wait for it, or write elsewhere") from None
        with held:
            yield


@contextmanager
def write_folder(path: str | Path) -> Iterator[Path]:
    """Yields an empty folder to fill, which takes the place of `path` when the block ends without an error.

    Until then, and after an error, what stood at `path` stays as it was. A link stays one: the folder that it
    leads to is written. Errors as of `claimed`.
    """
    path = Path(path).resolve()
    fresh, old = (path.with_name(f".{path.name}.{end}") for end in ("partial", "old"))
    with claimed(path):
        if old.exists() and not path.exists():  # a run was killed between the two renames below
            old.rename(path)
        for left in (old, fresh):
            shutil.rmtree(left, ignore_errors=True)
        fresh.mkdir()
        UNFINISHED.add(fresh)
        try:
            yield fresh
            if path.exists():
                path.rename(old)
            fresh.rename(path)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
            UNFINISHED.discard(fresh)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def clear_errors(path: Path) -> Iterator[None]:
    """Turns a full disk, in whatever words a library says it, and a forbidden place into one clear error."""
    try:
        yield
    except Exception as error:
        if getattr(error, "errno", None) == errno.EDQUOT or os.strerror(errno.ENOSPC) in str(error):
            raise WorkbookError(
                f"no disk space left while writing {path}: free some, or write elsewhere"
            ) from error
        if isinstance(error, OSError) and error.errno in FORBIDDEN:
            raise WorkbookError(f"cannot write {path}: {error.strerror}; write elsewhere") from error
        raise


def hand_over(
    chapter: str,
    settings: Settings,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    metrics: Mapping[str, object],
    seconds: float,
) -> Path:
    """Saves the model (or its adapter), the tokenizer and a manifest for the next stage; shows the manifest.

    metrics: name -> a number or an interval, the headline first. Returns run_folder(chapter)/artefact.
    """

    def save(folder: Path) -> None:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return _hand_over(chapter, settings, save, _inputs(settings), metrics, seconds)


def hand_over_texts(
    chapter: str, settings: Settings, texts: Mapping[str, str], metrics: Mapping, source: str = ""
) -> Path:
    """Hands over text files, name -> content, beside a manifest; else as `hand_over`.

    source: the shipped set that they were made from without a model, where it was not the user's file
    (data_path). The seconds of the manifest are those that this process has computed.
    """
    inputs = _inputs(settings, source)

    def save(folder: Path) -> None:
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")

    if source:
        del inputs["model"]
    return _hand_over(chapter, settings, save, inputs, metrics, time.process_time())


def hand_over_rows(
    chapter: str, settings: Settings, conversations: Sequence[list], source: str, metrics: Mapping
) -> Path:
    """Hands over conversations as train.jsonl, which `data_path` takes; else as `hand_over_texts`."""
    lines = [json.dumps({"messages": turns}, ensure_ascii=False) + "\n" for turns in conversations]
    return hand_over_texts(chapter, settings, {"train.jsonl": "".join(lines)}, metrics, source)


def hand_over_choice(chapter: str, settings: Settings, choice: Mapping, metrics: Mapping) -> Path:
    """Hands over a decision where there are no new weights, as choice.json; else as `hand_over_texts`."""
    text = json.dumps(choice, indent=2, ensure_ascii=False) + "\n"
    return hand_over_texts(chapter, settings, {"choice.json": text}, metrics)


def _hand_over(
    chapter: str, settings: Settings, save: Callable, inputs: dict, metrics: Mapping, seconds: float
) -> Path:
    """Fills run_folder(chapter)/artefact with what `save` writes there and a manifest, and shows that."""
    numbers = {name: plot.interval(value) or value for name, value in metrics.items()}
    made = (inputs, settings.device, round(seconds, 1), round(memory_gb(), 2), numbers)
    manifest = Manifest(chapter, settings.parameters, settings.seed, versions(), *made)
    folder = run_folder(chapter) / "artefact"
    with write_folder(folder) as fresh:
        save(fresh)
        manifest.write(fresh)
    manifest.show()
    return folder


def handed_over(chapter: str, settings: Settings, source: str = "") -> Path | None:
    """The newest artefact that `chapter` left beside the folder of this run, of the same model and data.

    source: as of `hand_over_texts`. None where there is none: then a chapter takes what it has, and says so.
    """
    name, same = chapter.replace(".", "_"), _inputs(settings, source).items()
    notes = [*run_folder(settings.chapter).parent.glob(f"{name}*/artefact/manifest.json")]
    for note in sorted(notes, key=lambda path: path.stat().st_mtime, reverse=True):
        with suppress(WorkbookError):
            inputs = Manifest.read(note.parent).inputs
            if "data" in inputs and inputs.items() <= same:
                return note.parent
    return None


def choice(chapter: str, settings: Settings) -> dict[str, object]:
    """What `chapter` decided and handed over with `hand_over_choice`, beside this run; empty if nothing."""
    folder = handed_over(chapter, settings)
    return json.loads((folder / "choice.json").read_text(encoding="utf-8")) if folder else {}


def _inputs(settings: Settings, source: str = "") -> dict[str, str]:
    parameters = settings.parameters
    data = parameters.get("data_path") or DATA / (source or str(parameters.get("task", "")))
    return {"model": identity(settings.model), "data": identity(data)}
