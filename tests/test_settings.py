"""Parameters are refused or accepted; a run that does not fit is stopped; nothing reaches for the network."""

import copy
import pickle
import random
import subprocess
import sys

import pytest
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
