"""What a chapter runs with: parameters, tier, model, device, seed, and whether the run fits this machine."""

from __future__ import annotations

import difflib
import functools
import json
import os
import random
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from ftlib import plot

if TYPE_CHECKING:
    import torch


def one_line(text: str, limit: int = 300) -> str:
    """The text in one line of at most `limit` characters: of a longer one the middle is left out.

    >>> one_line("a long text\\nthat says little", 20)
    'a long text t ... le'
    """
    text = " ".join(text.splitlines())
    start = limit * 2 // 3
    return text if len(text) <= limit else f"{text[:start].rstrip()} ... {text[start + 5 - limit :].lstrip()}"


class WorkbookError(Exception):
    """The one error that users see: what is wrong, where, and what to do, in one line of 300 characters."""

    def __init__(self, message: str):
        super().__init__(one_line(message))


PACKAGE = Path(__file__).parent
CHECKOUT, INSTALLED = PACKAGE.parent / "data", PACKAGE / "_data"
DATA = INSTALLED if INSTALLED.is_dir() and not (CHECKOUT / "base-model").is_dir() else CHECKOUT
MODELS = {"tiny": str(DATA / "base-model"), "small": "HuggingFaceTB/SmolLM2-135M", "large": ""}
# The base model, the same on its way (after 4 and 8 million tokens), and a smaller model with its tokenizer
FAMILY = {name: str(DATA / name) for name in ("base-model", "base-model-4M", "base-model-8M", "sister-model")}
SETS = ("triage", "extract", "arithmetic", "summarise", "reply", "translate")
SETS += ("sentiment", "dialogue", "tools", "safety", "reading")
DISK_GB = {"tiny": 0.2, "small": 2, "large": 40}  # a download, if there is one, and what a chapter saves
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")  # ORGANISATION/NAME
# A password in a URL: after the name of the user, or in the query, where some drivers want it
SECRET = re.compile(r"://[^:/]*:[^@]*@|[?&;=]\w*(password|passwd|passphrase|pwd|secret|token)=", re.I)
QUIET = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")
QUIET += ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS")
BARS = {  # what switches off the bars of a library that has been imported
    "huggingface_hub.utils": "disable_progress_bars",
    "datasets.utils": "disable_progress_bars",
    "transformers.utils.logging": "disable_progress_bar",
}


@dataclass(frozen=True)
class Parameter:
    """What a parameter may be: a number from low to high, a text out of choices, or any text."""

    kind: type
    meaning: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.low is None:
            return "a text"
        return f"a {'whole ' if self.kind is int else ''}number from {self.low:g} to {self.high:g}"

    def accepts(self, value: object) -> bool:
        """Whether a value has the right type and range; an int passes for a float, a bool for no number."""
        kinds = (int, float) if self.kind is float else (self.kind,)
        if isinstance(value, bool) or not isinstance(value, kinds):
            return False
        return value in self.choices if self.choices else self.low is None or self.low <= value <= self.high


PARAMETERS = {
    "tier": Parameter(str, "size of model and data", choices=tuple(MODELS)),
    "seed": Parameter(int, "every random choice follows from it", 0, 10_000),
    "task": Parameter(str, "instruction set to train on", choices=SETS),
    "epochs": Parameter(int, "passes over the examples", 1, 50),
    "learning_rate": Parameter(float, "highest step size of the optimiser", 1e-6, 1e-1),
    "examples": Parameter(int, "training examples", 8, 100_000),
    "test_examples": Parameter(int, "rows that an evaluation reads", 8, 10_000),
    "batch_size": Parameter(int, "examples in one update", 1, 256),
    "data_path": Parameter(str, "your own file, hub id or SQL URL; empty for the shipped data"),
    "model_id": Parameter(str, "model folder or hub id in place of the tier's; empty for the tier's"),
    "seeds": Parameter(int, "how many times an experiment is repeated; an interval needs two", 2, 20),
    "max_length": Parameter(int, "tokens of an example; more are cut off", 16, 8192),
    "rank": Parameter(int, "rank of a LoRA update", 1, 256),
    "callers": Parameter(int, "requests at the same time, at most", 4, 64),
    "a_day": Parameter(int, "usual requests on each day of the replayed week", 10, 1000),
    "trials": Parameter(int, "runs that a search may make", 8, 200),
    "method": Parameter(str, "how weights are trained", choices=("LoRA", "full")),
    "wrong_labels": Parameter(float, "share of training examples that get another's answer", 0, 1),
}


def closest(name: str, known: Iterable[str]) -> str:
    """A hint that ends an error message: the known name that is most like a misspelt one, or nothing.

    >>> closest("sed", ["seed", "task"])
    "; did you mean 'seed'?"
    """
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def validate(values: Mapping[str, object]) -> dict[str, object]:
    """The values, each checked against PARAMETERS and in its declared type.

    Raises WorkbookError for the first unknown name, wrong type, value out of range or unknown choice.

    >>> validate({"epochs": 3, "learning_rate": 0.001})
    {'epochs': 3, 'learning_rate': 0.001}
    """
    for name, value in values.items():
        if name not in PARAMETERS:
            hint = closest(name, PARAMETERS) or f"; there are {', '.join(PARAMETERS)}"
            raise WorkbookError(f"unknown parameter {name!r}{hint}")
        if not PARAMETERS[name].accepts(value):
            found = f"{value!r} ({type(value).__name__})"
            raise WorkbookError(f"parameter {name} is {found}; it must be {PARAMETERS[name].allowed}")
        if name == "data_path" and "://" in str(value) and SECRET.search(unquote_plus(str(value))):
            raise WorkbookError(
                "data_path holds a password, and a run keeps its parameters: leave it out of the URL, for "
                "the database's driver to find (for PostgreSQL in PGPASSWORD or ~/.pgpass)"
            )
    return {name: PARAMETERS[name].kind(value) for name, value in values.items()}


def device() -> str:
    """The best device here: "cuda", "mps" or "cpu"."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@functools.cache
def number_format(device: str) -> torch.dtype:
    """The number format in which a device multiplies matrices fastest: what to give to `torch.autocast`.

    "cuda": bfloat16, or float16 where the GPU only emulates that. "mps": float32. "cpu": float32 or bfloat16,
    whichever is faster, casts included; both are timed once a process, and what was found is printed. A CPU
    without instructions for 16-bit numbers takes some 40 times as long for them, and that is no rare CPU.
    """
    import torch

    if device == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    if device != "cpu":
        return torch.float32
    seconds = dict.fromkeys((torch.float32, torch.bfloat16), float("inf"))
    left, right = torch.rand(256, 256), torch.rand(256, 256)
    for _ in range(4):  # in turn, and the shortest counts: another program may take the core at any moment
        for dtype, shortest in seconds.items():
            began = time.perf_counter()
            left.to(dtype) @ right.to(dtype)
            seconds[dtype] = min(shortest, time.perf_counter() - began)
    fast, slow = sorted(seconds, key=seconds.get)
    factor = seconds[slow] / seconds[fast]
    print(f"number format on this CPU: {fast}, {factor:.1f} times as fast as {slow}".replace("torch.", ""))
    return fast


@contextmanager
def in_place_of_bfloat16(dtype: torch.dtype) -> Iterator[None]:
    """Inside, `tensor.bfloat16()` gives a copy in `dtype`.

    The step of `torch.optim.Muon` casts so before Newton-Schulz's products, whatever the device is good at.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class Cast(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function is torch.Tensor.bfloat16:
                return args[0].to(dtype, copy=True)  # Muon goes on to change it in place
            return function(*args, **kwargs or {})

    with Cast():
        yield


def offline() -> None:
    """From here on neither model nor data set is looked for on the network, and no usage is reported.

    Nor do the libraries draw bars, which would stay in the notebook: without a download all are short.
    """
    for name in QUIET:
        os.environ[name] = "1"
    for module in ("huggingface_hub.constants", "datasets.config"):  # they read the variables only once
        if module in sys.modules:
            vars(sys.modules[module]).update(dict.fromkeys(QUIET, True))
    for module, switch in BARS.items():
        if module in sys.modules:
            getattr(sys.modules[module], switch)()


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and torch, on every device."""
    import numpy
    import torch

    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)


@dataclass(frozen=True)
class Settings:
    """What a chapter runs with. Each parameter is an attribute too: `settings.epochs`.

    model: a folder or a hub id. parameters: the validated ones, tier and seed always among them.
    """

    chapter: str
    device: str
    model: str
    parameters: dict[str, object]

    def __getattr__(self, name: str) -> object:
        if name != "parameters" and name in self.parameters:
            return self.parameters[name]
        raise AttributeError(f"chapter {self.__dict__.get('chapter')} has no parameter {name!r}")


def start(chapter: str, **parameters: object) -> Settings:
    """Validates the parameters, checks that the run fits this machine, seeds, and shows one card.

    parameters: see PARAMETERS; tier is "tiny" and seed 0 unless given. When nothing must be downloaded, the
    process goes offline. Raises WorkbookError, with advice, before a run that cannot fit.
    """
    values = {"tier": "tiny", "seed": 0} | validate(parameters)
    tier = str(values["tier"])
    model = str(values.get("model_id") or MODELS[tier])
    if not model:
        raise WorkbookError(f"tier {tier} needs a model: set model_id to a hub id or a model folder")
    settings = Settings(chapter, device(), model, values)
    downloads = _downloads(model, str(values.get("data_path", "")))
    card = _preflight(settings, downloads)
    if not downloads:
        offline()
    seed_everything(settings.seed)
    card.display()
    return settings


def _downloads(model: str, data_path: str) -> list[str]:
    """What comes from the network: a model that is neither a folder nor cached, a data set on the hub.

    Raises WorkbookError for a model that can be neither found nor downloaded; `data.read` does so for data.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    needed = []
    if not Path(model).is_dir():
        if not HUB_ID.fullmatch(model):
            raise WorkbookError(f"model {model!r} is no folder here, and no hub id (ORGANISATION/NAME)")
        files = ("model.safetensors", "model.safetensors.index.json")
        if not any(isinstance(try_to_load_from_cache(model, name), str) for name in files):
            needed.append(model)
    if needed and constants.HF_HUB_OFFLINE:
        advice = "use tier tiny, which needs no download, or restart without HF_HUB_OFFLINE"
        raise WorkbookError(f"model {model!r} is not on this machine, which is set to offline: {advice}")
    if HUB_ID.fullmatch(data_path) and not Path(data_path).exists():
        needed.append(data_path)
    return needed


def _preflight(settings: Settings, downloads: list[str]) -> plot.Shown:
    """The card of a run that fits; WorkbookError for one that does not: what it needs beside what is free."""
    costs = json.loads((PACKAGE / "costs.json").read_text(encoding="utf-8"))
    cost = costs.get(settings.chapter, {}).get(settings.tier, {})
    name, memory = _machine(settings.device)
    disk = shutil.disk_usage(Path.cwd()).free / 1e9
    here = {"memory": (memory, cost.get("memory_gb", 0)), "disk space": (disk, DISK_GB[settings.tier])}
    for what, (free, needed) in here.items():
        if free < needed:
            advice = "close other programs, use a smaller tier, or fewer examples and a smaller batch_size"
            advice = "free some, or start in another folder" if what == "disk space" else advice
            raise WorkbookError(
                f"chapter {settings.chapter}, tier {settings.tier} needs {needed:g} GB of {what}, "
                f"and {free:.1f} GB are free: {advice}"
            )
    model = "the workbook's own" if settings.model == MODELS["tiny"] else settings.model
    lines = {"device": name, "model": model}
    # No free amounts: they differ from run to run, and committed outputs would change with them.
    lines |= {what: f"{needed} GB needed, more is free" for what, (_, needed) in here.items() if needed}
    lines |= {"downloads": ", ".join(downloads) or "none"}
    lines |= {"time": f"about {cost['seconds']} s" if cost else "not measured yet"}
    return plot.card(f"Chapter {settings.chapter} on tier {settings.tier}", lines)


def _machine(device: str) -> tuple[str, float]:
    """The name of a device and its free memory in GB."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name(), torch.cuda.mem_get_info()[0] / 1e9
    import psutil

    return f"{device}, {os.cpu_count()} cores", psutil.virtual_memory().available / 1e9
