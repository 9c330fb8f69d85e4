"""Folders that are written whole or not at all, digests, manifests."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ftlib
from ftlib import artefact, data, evaluate, model, settings
from ftlib.settings import WorkbookError

MANIFEST = artefact.Manifest(
    chapter="4.01",
    parameters={"tier": "tiny", "seed": 3, "data_path": ""},
    seed=3,
    versions=artefact.versions(),
    inputs={"model": "ab" * 32},
    device="cpu",
    seconds=12.5,
    peak_memory_gb=1.25,
    metrics={"held-out loss": 1.5, "accuracy": {"mean": 0.9, "low": 0.85, "high": 0.95}},
)


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_versions_name_python_ftlib_and_the_training_libraries_without_importing_them():
    program = "import sys; from ftlib import artefact; print(*artefact.versions(), 'torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown.split() == ["python", "ftlib", "torch", "transformers", "trl", "peft", "datasets", "False"]
    assert artefact.versions()["ftlib"] == ftlib.__version__


def test_the_digest_of_a_file_is_its_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert artefact.digest(tmp_path / "file").startswith("ba7816bf8f01cfea")


@given(st.dictionaries(st.sampled_from("abcdef"), st.binary(max_size=4), min_size=1))
def test_the_digest_of_a_folder_follows_from_names_and_contents_alone(tmp_path_factory, contents):
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    for name in contents:
        (one / name).write_bytes(contents[name])
    for name in reversed(contents):
        (two / name).write_bytes(contents[name])
    (two / "__pycache__").mkdir()
    (two / "__pycache__" / "cache.pyc").write_bytes(b"1")
    assert artefact.digest(one) == artefact.digest(two)
    first = next(iter(contents))
    (two / first).write_bytes(contents[first] + b"1")
    assert artefact.digest(one) != artefact.digest(two)
    (two / first).write_bytes(contents[first])
    (two / first).rename(two / "renamed")
    assert artefact.digest(one) != artefact.digest(two)


def test_a_manifest_reads_back_as_it_was_written(tmp_path):
    MANIFEST.write(tmp_path)
    assert artefact.Manifest.read(tmp_path) == MANIFEST


@pytest.mark.parametrize("text", ["{", "[]", '{"chapter": "4.01"}', '"text"'])
def test_a_file_that_is_no_manifest_is_one_clear_error(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(WorkbookError, match="not a manifest"):
        artefact.Manifest.read(tmp_path)


def test_a_folder_without_a_manifest_is_one_clear_error(tmp_path):
    with pytest.raises(WorkbookError, match="is not there"):
        artefact.Manifest.read(tmp_path)


def test_a_shown_manifest_carries_its_record_and_keeps_the_order_of_its_metrics(capsys):
    MANIFEST.show()
    shown = capsys.readouterr().out
    assert "held-out loss  1.5" in shown and "accuracy       0.90 [0.85, 0.95]" in shown
    assert "12.5" not in shown and "1.25" not in shown, (
        "a committed card holds nothing that differs from run to run"
    )


def test_the_folder_of_a_run_is_the_one_the_runner_prepared_or_one_in_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FTLIB_RUN_FOLDER", raising=False)
    assert artefact.run_folder("4.01") == tmp_path / "runs" / "4_01"
    monkeypatch.setenv("FTLIB_RUN_FOLDER", str(tmp_path / "prepared"))
    assert artefact.run_folder("4.01") == tmp_path / "prepared"
    assert (tmp_path / "prepared").is_dir()


def test_a_written_folder_takes_the_place_of_the_old_one_at_the_end(tmp_path):
    target = tmp_path / "result"
    for text in ("first", "second"):
        with artefact.write_folder(target) as fresh:
            (fresh / text).write_text(text)
            assert not (target / text).exists()
        assert files(target) == {text: text}


def test_a_link_in_the_place_of_the_folder_stays_one_however_often_it_is_written(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "real").mkdir()
    (tmp_path / "result").symlink_to(tmp_path / "disk" / "real")
    for text in ("first", "second", "third"):
        with artefact.write_folder(tmp_path / "result") as fresh:
            (fresh / text).write_text(text)
        assert (tmp_path / "result").is_symlink() and files(tmp_path / "result") == {text: text}
    found = [path.name for path in tmp_path.rglob("*") if not path.name.endswith(".lock")]
    assert sorted(found) == ["disk", "real", "result", "third"]


def test_an_error_while_writing_loses_nothing_of_the_old_folder(tmp_path):
    with artefact.write_folder(tmp_path / "result") as fresh:
        (fresh / "kept").write_text("old")
    with pytest.raises(ZeroDivisionError), artefact.write_folder(tmp_path / "result") as fresh:
        (fresh / "kept").write_text("new")
        raise ZeroDivisionError
    assert files(tmp_path / "result") == {"kept": "old"}
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == ["result"]


def test_a_second_writer_of_the_same_folder_is_told_so(tmp_path):
    program = (
        "import sys; from ftlib import artefact\n"
        "with artefact.write_folder(sys.argv[1]): print('writing', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "result")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "writing\n"
        with (
            pytest.raises(WorkbookError, match="another run is writing"),
            artefact.write_folder(tmp_path / "result"),
        ):
            pass
        other.stdin.close()
    assert other.returncode == 0
    assert (tmp_path / "result").is_dir()


def test_a_killed_writer_leaves_no_lock_and_the_old_folder(tmp_path):
    with artefact.write_folder(tmp_path / "result") as fresh:
        (fresh / "kept").write_text("old")
    program = (
        "import os, sys; from ftlib import artefact\n"
        f"with artefact.write_folder(sys.argv[1]): os.kill(os.getpid(), {int(signal.SIGKILL)})"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path / "result")], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert files(tmp_path / "result") == {"kept": "old"}
    with artefact.write_folder(tmp_path / "result") as fresh:
        assert list(fresh.iterdir()) == [], "what the killed writer left is not mixed in"
    assert files(tmp_path / "result") == {}


def test_a_writer_killed_between_the_two_renames_loses_nothing(tmp_path):
    (tmp_path / ".result.old").mkdir()
    (tmp_path / ".result.old" / "kept").write_text("old")
    with pytest.raises(ZeroDivisionError), artefact.write_folder(tmp_path / "result"):
        raise ZeroDivisionError
    assert files(tmp_path / "result") == {"kept": "old"}


if Path("/dev/full").exists():  # Linux's device on which no space is ever left

    def test_a_full_disk_is_one_clear_error(tmp_path):
        full = pytest.raises(WorkbookError, match="no disk space left while writing")
        with full, artefact.write_folder(tmp_path / "result") as fresh:
            (fresh / "weights").symlink_to("/dev/full")
            (fresh / "weights").write_bytes(b"0" * 100)
        assert not (tmp_path / "result").exists()


def test_a_full_disk_that_a_library_reports_in_its_own_words_is_the_same_error(tmp_path):
    with pytest.raises(WorkbookError, match="no disk space left"), artefact.write_folder(tmp_path / "result"):
        raise RuntimeError(f"I/O error: {os.strerror(28)} (os error 28)")


def test_a_place_that_cannot_be_a_folder_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(WorkbookError, match="cannot write"),
        artefact.write_folder(tmp_path / "file" / "result"),
    ):
        pass
    assert (tmp_path / "file").read_text() == ""


def test_what_is_handed_over_loads_again_and_says_how_it_was_made(
    tiny_model_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("FTLIB_RUN_FOLDER", str(tmp_path))
    chosen = settings.start("4.01", tier="tiny", seed=7, task="triage", model_id=str(tiny_model_folder))
    network, tokenizer = model.load(chosen.model, "cpu")
    metrics = {"loss": evaluate.Interval(1.5, 1.4, 1.6), "accuracy": 0.5}
    folder = artefact.hand_over("4.01", chosen, network, tokenizer, metrics, seconds=3.21)
    assert folder == tmp_path / "artefact" and "loss        1.50 [1.40, 1.60]" in capsys.readouterr().out
    manifest = artefact.Manifest.read(folder)
    assert (manifest.seed, manifest.seconds, manifest.parameters["task"]) == (7, 3.2, "triage")
    assert manifest.inputs["model"] == artefact.digest(tiny_model_folder)
    assert manifest.metrics == {"loss": {"mean": 1.5, "low": 1.4, "high": 1.6}, "accuracy": 0.5}
    assert manifest.peak_memory_gb > 0.1
    again, _ = model.load(str(folder), "cpu")
    assert model.changed(again, network.state_dict()) == []


def test_the_newest_artefact_of_an_earlier_chapter_from_the_same_model_and_data_is_found(
    tiny_model_folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("FTLIB_RUN_FOLDER", str(tmp_path / "6_02-abc"))
    chosen = settings.start("6.02", task="triage", model_id=str(tiny_model_folder))
    assert artefact.handed_over("4.01", chosen) is None
    inputs = artefact._inputs(chosen)
    for number, (name, found) in enumerate({"4_01-a": inputs, "4_01-b": inputs, "4_01-c": {}}.items()):
        folder = tmp_path / name / "artefact"
        folder.mkdir(parents=True)
        dataclasses.replace(MANIFEST, inputs=found).write(folder)
        os.utime(folder / "manifest.json", (number, number))
    (tmp_path / "4_01-d" / "artefact").mkdir(parents=True)
    (tmp_path / "4_01-d" / "artefact" / "manifest.json").write_text("cut off")
    assert artefact.handed_over("4.01", chosen) == tmp_path / "4_01-b" / "artefact"
    other = settings.start("6.02", task="extract", model_id=str(tiny_model_folder))
    assert artefact.handed_over("4.01", other) is None


def test_rows_that_are_handed_over_are_a_file_that_any_chapter_reads(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FTLIB_RUN_FOLDER", str(tmp_path))
    chosen = settings.start("1.02", tier="tiny", seed=7)
    turns = [{"role": "user", "content": "Où est le café ?"}, {"role": "assistant", "content": "Ici."}]
    folder = artefact.hand_over_rows("1.02", chosen, [turns, turns], "triage", {"recall": 0.5})
    assert "recall      0.5" in capsys.readouterr().out
    assert data.read(folder / "train.jsonl").used == [{"messages": turns}] * 2
    manifest = artefact.Manifest.read(folder)
    assert manifest.inputs == {"data": artefact.digest(settings.DATA / "triage")} and manifest.seconds > 0


def test_a_later_chapter_finds_the_rows_and_the_choice_of_earlier_ones(
    tiny_model_folder, tmp_path, monkeypatch
):
    earlier = {"model_id": str(tiny_model_folder), "task": "triage"}
    turns = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}]
    monkeypatch.setenv("FTLIB_RUN_FOLDER", str(tmp_path / "2_01-a"))
    chosen = settings.start("2.01", **earlier)
    assert artefact.choice("2.01", chosen) == {}
    artefact.hand_over_choice("2.01", chosen, {"learning_rate": 0.001}, {})
    monkeypatch.setenv("FTLIB_RUN_FOLDER", str(tmp_path / "1_02-a"))
    rows = artefact.hand_over_rows("1.02", settings.start("1.02"), [turns], "sentiment", {})
    monkeypatch.setenv("FTLIB_RUN_FOLDER", str(tmp_path / "4_01-a"))
    chosen = settings.start("4.01", **earlier)
    assert artefact.choice("2.01", chosen) == {"learning_rate": 0.001}
    assert artefact.handed_over("1.02", chosen, "sentiment") == rows
    assert artefact.handed_over("1.02", chosen) is None  # made from another set
    other = settings.start("4.01", **(earlier | {"task": "extract"}))
    assert artefact.choice("2.01", other) == {}


def test_a_choice_is_handed_over_with_the_manifest_and_without_weights(
    tiny_model_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("FTLIB_RUN_FOLDER", str(tmp_path))
    chosen = settings.start("2.01", seed=7, task="triage", model_id=str(tiny_model_folder))
    choice = {"model": "tiny", "reasons": ["fits", "naïve"]}
    folder = artefact.hand_over_choice("2.01", chosen, choice, {"floor": evaluate.Interval(0.2, 0.1, 0.3)})
    assert sorted(file.name for file in folder.iterdir()) == ["choice.json", "manifest.json"]
    assert json.loads((folder / "choice.json").read_text(encoding="utf-8")) == choice
    manifest = artefact.Manifest.read(folder)
    assert manifest.metrics == {"floor": {"mean": 0.2, "low": 0.1, "high": 0.3}}
    assert manifest.chapter == "2.01"
    assert manifest.inputs["model"] == artefact.digest(tiny_model_folder)
    assert "floor       0.20 [0.10, 0.30]" in capsys.readouterr().out


def test_a_choice_that_json_cannot_hold_leaves_the_older_one(tiny_model_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FTLIB_RUN_FOLDER", str(tmp_path))
    chosen = settings.start("2.01", task="triage", model_id=str(tiny_model_folder))
    folder = artefact.hand_over_choice("2.01", chosen, {"model": "first"}, {})
    with pytest.raises(TypeError):
        artefact.hand_over_choice("2.01", chosen, {"model": object()}, {})
    assert json.loads((folder / "choice.json").read_text()) == {"model": "first"}
