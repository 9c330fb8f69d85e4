"""Parameters are refused or accepted; a run that does not fit is stopped; nothing reaches for the network."""

import copy
import mmap
import os
import pickle
import platform
import random
import re
import subprocess
import sys
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ftlib
from ftlib import settings
from ftlib.settings import PARAMETERS, WorkbookError

NUMBERS = {name: parameter for name, parameter in PARAMETERS.items() if parameter.low is not None}


@pytest.mark.parametrize(
    "values, what",
    [
        ({"sed": 1}, "unknown parameter 'sed'; did you mean 'seed'?"),
        ({"zzz": 1}, "unknown parameter 'zzz'; there are tier, seed, "),
        ({"epochs": "3"}, "epochs is '3' (str); it must be a whole number from 1 to 50"),
        ({"epochs": 3.0}, "epochs is 3.0 (float); it must be a whole number from 1 to 50"),
        ({"epochs": True}, "epochs is True (bool)"),
        ({"learning_rate": True}, "learning_rate is True (bool)"),
        ({"epochs": 0}, "epochs is 0 (int); it must be a whole number from 1 to 50"),
        ({"seed": 10_001}, "seed is 10001 (int); it must be a whole number from 0 to 10000"),
        ({"learning_rate": 0.2}, "it must be a number from 1e-06 to 0.1"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"learning_rate": float("inf")}, "learning_rate is inf"),
        ({"learning_rate": 10**400}, "learning_rate is 1000"),
        ({"tier": "tinny"}, "tier is 'tinny' (str); it must be one of tiny, small, large"),
        ({"task": ["triage"]}, "it must be one of triage, extract, arithmetic, summarise, reply, translate"),
        ({"data_path": None}, "data_path is None (NoneType); it must be a text"),
        ({"seed": 1, "epochs": 99}, "parameter epochs"),
    ],
)
def test_a_wrong_parameter_is_one_line_with_its_name_its_value_and_what_is_allowed(values, what):
    with pytest.raises(WorkbookError) as caught:
        settings.validate(values)
    assert what in str(caught.value) and "\n" not in str(caught.value)


@given(st.data())
def test_every_number_in_its_range_is_accepted_and_every_other_is_refused(drawn):
    name = drawn.draw(st.sampled_from(sorted(NUMBERS)))
    parameter = NUMBERS[name]
    numbers = st.integers() if parameter.kind is int else st.floats() | st.integers()
    value = drawn.draw(numbers | st.sampled_from([parameter.low, parameter.high]))
    if parameter.low <= value <= parameter.high:
        accepted = settings.validate({name: value})
        assert accepted == {name: value} and type(accepted[name]) is parameter.kind
    else:
        with pytest.raises(WorkbookError, match=name):
            settings.validate({name: value})


def test_every_text_is_accepted_where_any_text_is_allowed_and_the_order_is_kept():
    values = {"model_id": "", "data_path": "a b.csv", "tier": "small"}
    assert list(settings.validate(values).items()) == list(values.items())


def test_start_validates_seeds_and_shows_one_card(tiny_model_folder, capsys):
    chosen = settings.start("4.01", model_id=str(tiny_model_folder), seed=7, epochs=3)
    first = random.random()
    settings.seed_everything(7)
    assert random.random() == first
    assert (chosen.chapter, chosen.tier, chosen.seed, chosen.epochs) == ("4.01", "tiny", 7, 3)
    assert chosen.model == str(tiny_model_folder) and chosen.device == settings.device()
    shown = capsys.readouterr().out
    assert shown.startswith("Chapter 4.01 on tier tiny\n") and len(shown.splitlines()) <= 8
    assert "downloads   none" in shown and "time        about" in shown


def test_seeding_covers_python_numpy_and_torch():
    import numpy
    import torch

    def draws():
        settings.seed_everything(3)
        return random.random(), numpy.random.rand(), torch.rand(1).item()

    first = draws()
    assert draws() == first
    settings.seed_everything(4)
    assert not {random.random(), numpy.random.rand(), torch.rand(1).item()} & set(first)


def test_settings_are_frozen_and_survive_copying(tiny_model_folder):
    chosen = settings.start("4.01", model_id=str(tiny_model_folder), rank=8)
    for name in ("rank", "chapter", "new"):
        with pytest.raises(AttributeError):
            setattr(chosen, name, 1)
    assert copy.deepcopy(chosen) == pickle.loads(pickle.dumps(chosen)) == chosen
    with pytest.raises(AttributeError, match=r"chapter 4\.01 has no parameter 'epochs'"):
        _ = chosen.epochs


@pytest.mark.parametrize(
    "parameters, what",
    [
        ({"tier": "large"}, "tier large needs a model: set model_id"),
        ({"tier": "small"}, "'HuggingFaceTB/SmolLM2-135M' is not on this machine, which is set to offline"),
        ({"model_id": "no/such/folder"}, "model 'no/such/folder' is no folder here, and no hub id"),
    ],
)
def test_a_model_that_cannot_be_had_stops_the_chapter_at_its_start(parameters, what):
    with pytest.raises(WorkbookError, match=what):
        settings.start("4.01", **parameters)


def test_a_run_that_does_not_fit_is_stopped_with_advice(tiny_model_folder, tmp_path, monkeypatch):
    (tmp_path / "costs.json").write_text('{"4.01": {"tiny": {"seconds": 50, "memory_gb": 1e6}}}')
    with monkeypatch.context() as patch:
        patch.setattr(settings, "PACKAGE", tmp_path)
        with pytest.raises(WorkbookError, match=r"needs 1e\+06 GB of memory, and .* are free: close other"):
            settings.start("4.01", model_id=str(tiny_model_folder))
        assert settings.start("4.03", model_id=str(tiny_model_folder)).chapter == "4.03"
    monkeypatch.setitem(settings.DISK_GB, "tiny", 1e9)
    with pytest.raises(WorkbookError, match=r"needs 1e\+09 GB of disk space, .*: free some"):
        settings.start("4.01", model_id=str(tiny_model_folder))


def test_offline_holds_in_a_process_that_has_imported_the_libraries_before():
    program = """
import os
for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
    del os.environ[name]
import datasets, huggingface_hub
assert not datasets.config.HF_HUB_OFFLINE and not huggingface_hub.constants.HF_HUB_OFFLINE
from ftlib import settings
settings.offline()
assert datasets.config.HF_HUB_OFFLINE
try:
    huggingface_hub.HfApi().model_info("nobody/nothing")
except huggingface_hub.errors.OfflineModeIsEnabled:
    print("offline")
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert shown.stdout == "offline\n", shown.stderr


@pytest.mark.parametrize("first", ["import datasets, transformers.utils.logging", "settings.offline()"])
def test_offline_the_libraries_draw_no_bars(first):
    program = f"""
import os
for name in settings.QUIET:
    os.environ.pop(name, None)
{first}
import datasets, transformers.utils.logging
settings.offline()
for bar in (datasets.utils.tqdm, transformers.utils.logging.tqdm):
    for _ in bar(range(3)):
        pass
"""
    program = "from ftlib import settings\n" + program
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "")


def test_a_password_is_refused_before_it_is_kept_with_the_parameters():
    source = "postgresql://me@host/db?table=t"
    assert settings.validate({"data_path": source}) == {"data_path": source}
    with pytest.raises(WorkbookError, match="data_path holds a password") as caught:
        settings.validate({"data_path": source.replace("me@", "me:secret@")})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url, held", [
    ("postgresql://host/db?user=me&password=secret&table=t", True),
    ("postgresql://host/db?sslpassword=secret&table=t", True),
    ("mysql://host/db?table=t;PWD=secret", True),
    ("mssql+pyodbc:///?odbc_connect=DRIVER%3D%7BX%7D%3BPWD%3Dsecret&table=t", True),
    ("https://host/a.csv?access_token=secret", True),
    ("postgresql://me:sec/ret@host/db?table=t", True),
    ("postgresql://me@host:5432/db?table=t&passfile=~/.pgpass", False),
    ("sqlite:///a@b.db?table=passwords", False),
    ("sqlite:///a.db?query=SELECT token AS text FROM words WHERE token = 'a'", False),
])  # fmt: skip
def test_a_password_is_found_wherever_a_url_may_hold_one(url, held):
    if not held:
        assert settings.validate({"data_path": url}) == {"data_path": url}
        return
    with pytest.raises(WorkbookError, match="data_path holds a password") as caught:
        settings.validate({"data_path": url})
    assert "secret" not in str(caught.value)


@given(st.text(), st.integers(20, 400))
def test_one_line_keeps_both_ends_within_its_limit(text, limit):
    found = settings.one_line(text, limit)
    assert len(found) <= limit and len(found.splitlines()) <= 1
    assert len(text) > limit or "\n" in text or found == " ".join(text.splitlines())
    long = settings.one_line("a" * 500 + "b" * 500, limit)
    assert long.startswith("aaaaa") and long.endswith("b") and " ... " in long and len(long) == limit


def test_modules_are_imported_when_they_are_used():
    program = "import sys, ftlib; before = set(sys.modules); ftlib.data.read; from ftlib import formats\n"
    program += "print('ftlib.data' in before, 'torch' in sys.modules, 'ftlib.data' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False", "False", "True"]
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = ftlib.nothing


def fresh(program, **environment):
    """What a new Python prints, and what it says on stderr, with the user's own settings and no others."""
    ours = ("OMP_", "GOMP_", "KMP_", "MALLOC_", "GLIBC_TUNABLES")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    command = [sys.executable, "-c", program]
    shown = subprocess.run(
        command, env=inherited | environment, capture_output=True, text=True, check=True
    )
    return shown.stdout, shown.stderr


def test_threads_wait_as_ftlib_says_unless_the_user_says_otherwise():
    program = "import os, ftlib; print(*(os.environ.get(name) for name in ftlib.WAITING))"
    assert fresh(program)[0].split() == list(ftlib.WAITING.values())
    for name in ("OMP_WAIT_POLICY", *ftlib.WAITING):
        kept = [name == own and "PASSIVE" for own in ftlib.WAITING]
        assert fresh(program, **{name: "PASSIVE"})[0].split() == [value or "None" for value in kept]


if sys.platform == "linux":

    def test_the_openmp_of_torch_has_read_how_threads_wait():
        """OpenMP shows what it goes by when it is loaded: GNU's GOMP_SPINCOUNT, or LLVM's KMP_BLOCKTIME."""
        shown = fresh("import ftlib, torch", OMP_DISPLAY_ENV="VERBOSE")[1]
        named = [f"{name} *= *'?{value}" for name, value in ftlib.WAITING.items()]
        assert re.search("|".join(named), shown), shown


if platform.libc_ver()[0] == "glibc":

    def test_freed_memory_is_kept_for_the_next_step_unless_the_user_says_otherwise():
        program = """
import resource
import ftlib
block = b"x" * 2**26
del block
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    block = b"x" * 2**26
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
        pages = 3 * 2**26 // mmap.PAGESIZE
        assert int(fresh(program)[0]) < 0.1 * pages
        assert int(fresh(program, MALLOC_ARENA_TEST="8")[0]) > 0.9 * pages


def seconds(dtype):
    """The shortest of ten products of two matrices."""
    matrix, found = torch.rand(384, 384).to(dtype), []
    for _ in range(10):
        began = time.perf_counter()
        matrix @ matrix
        found.append(time.perf_counter() - began)
    return min(found)


def test_the_number_format_on_a_cpu_is_the_faster_one_and_said_once(capsys):
    settings.number_format.cache_clear()
    chosen = settings.number_format("cpu")
    assert settings.number_format("cpu") is chosen
    shown = capsys.readouterr().out
    assert re.fullmatch(r"number format on this CPU: (float32|bfloat16), [\d.]+ times as fast as .*\n", shown)
    assert str(chosen).removeprefix("torch.") in shown.partition(",")[0]
    quotient = seconds(torch.bfloat16) / seconds(torch.float32)
    if not 0.7 < quotient < 1.4:  # else either is right
        assert chosen is (torch.float32 if quotient > 1 else torch.bfloat16)
    assert settings.number_format("mps") is torch.float32


if platform.machine() in ("x86_64", "AMD64"):

    def test_a_cpu_without_instructions_for_sixteen_bits_is_given_float32():
        """oneDNN and ATen use no instruction that is newer than AVX2, which has none for bfloat16."""
        older = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
        program = "from ftlib import settings; print(settings.number_format('cpu'))"
        said, chosen = fresh(program, **older)[0].splitlines()
        assert chosen == "torch.float32"
        [factor] = re.findall(r"float32, ([\d.]+) times as fast as bfloat16", said)
        assert float(factor) > 3


def newton_schulz(matrix):
    """The iteration of Muon (Jordan et al., 2024) in float64, for a matrix with no more rows than columns."""
    found = matrix.double() / matrix.double().norm()
    for _ in range(5):
        square = found @ found.T
        found = 3.4445 * found + (-4.7750 * square + 2.0315 * square @ square) @ found
    return found


def test_muon_orthogonalises_in_the_format_that_it_is_given():
    gradient = torch.randn(24, 40, generator=torch.manual_seed(0))
    errors = {}
    for dtype in (torch.float32, torch.bfloat16):
        weight = torch.nn.Parameter(torch.zeros(24, 40))
        optimiser = torch.optim.Muon([weight], lr=1.0, momentum=0.0, nesterov=False, weight_decay=0.0)
        weight.grad = gradient.clone()
        with settings.in_place_of_bfloat16(dtype):
            optimiser.step()
        assert torch.equal(weight.grad, gradient)
        assert torch.equal(optimiser.state[weight]["momentum_buffer"], gradient)
        errors[dtype] = (weight.detach() + newton_schulz(gradient)).abs().max().item()
    assert errors[torch.float32] < 1e-5 < 1e-3 < errors[torch.bfloat16] < 0.1
    assert torch.ones(1).bfloat16().dtype is torch.bfloat16
