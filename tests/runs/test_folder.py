"""A run's folder: its contents, what is refused, and what damage and crashes leave behind."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import re
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock, Timeout
from safetensors.numpy import save as to_safetensors

from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.errors import InputError
from rnnviz.runs.folder import LATEST, Run, Status, home, is_milestone, write_atomically
from rnnviz.runs.recording import Trace
from rnnviz.runs.reports import Checkpoint, EpochReport, FailureReport, PredictionReport, Report, StepReport, to_json
from rnnviz.text.corpora import Corpus

CONFIG = TrainConfig(ModelConfig(hidden_size=3), batch_size=2, num_steps=4, epochs=2, prefixes=("分开",))
CORPUS = Corpus("test", "分开 abcabc\ncba", "开 a")
STEP = StepReport(1, 1, 1.5, 8, 0.75, 0.01, {"W_hq": 0.1})
EPOCH = EpochReport(2, 1, float("inf"), None, None, 0.75, 0.01, 1234.5, 0.5)
PREDICTION = PredictionReport(2, 1, "分开", "分开 我\n这样\u2028")
FAILURE = FailureReport(3, 2, "{what} became {value}", {"what": "the loss", "value": "nan"})
REPORTS: list[Report] = [STEP, EPOCH, PREDICTION, FAILURE]
CHECKPOINT = Checkpoint(
    {"weights.W_hq": np.arange(6, dtype=np.float32).reshape(2, 3), "optimizer.0.step": np.array(7.0)},
    {"step": 2, "sums": {"nats": 0.1}, "failure": None, "reports": 3},
)
TRACE = Trace(
    "分 a", "rnn", "after", "tanh", {"layer1.forward.H": np.linspace(-1, 1, 9, dtype=np.float32).reshape(3, 3)}
)
A_FULL_DISK = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNVIZ_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # there is no power cut here, but many small files


@pytest.fixture
def run() -> Run:
    """A run with two checkpoints, two recordings and four reports."""
    run = Run.create(CONFIG, CORPUS)
    run.append(REPORTS)
    for name in (LATEST, 2):
        run.save_checkpoint(CHECKPOINT, name)
        run.save_recording(TRACE, name)
    return run


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones included."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Making and finding


def test_a_new_run_has_what_it_was_given() -> None:
    """Configuration, text and status are read from the folder as they were given."""
    created = Run.create(CONFIG, CORPUS)
    run = Run.open(created.folder)
    assert (run.config, run.corpus, run.status()) == (CONFIG, CORPUS, Status("queued"))
    assert (run.reports(), run.checkpoint_steps(), run.recording_steps(), run.recording()) == ([], [], [], None)


def test_a_run_without_a_given_folder_is_in_the_home_folder(tmp_path: Path) -> None:
    """It is in runs/ under its id, where `find` looks for it."""
    run = Run.create(CONFIG, CORPUS)
    assert run.folder == tmp_path / "home" / "runs" / run.id
    assert Run.find(run.id).folder == run.folder


def test_ids_cannot_be_guessed() -> None:
    """They have eighty bits, all of which vary, and do not depend on a seed."""
    ids = []
    for _ in range(40):
        random.seed(0)
        np.random.seed(0)
        ids.append(Run.create(CONFIG, CORPUS).id)
    assert all(re.fullmatch("[0-9a-f]{20}", run_id) for run_id in ids)
    bits = np.array([[int(bit) for bit in f"{int(run_id, 16):080b}"] for run_id in ids])
    assert bits.shape[1] == 80
    assert (bits.min(axis=0) == 0).all()
    assert (bits.max(axis=0) == 1).all()


@pytest.mark.parametrize(
    "run_id",
    [
        "",
        ".",
        "..",
        "../elsewhere",
        "../runs/../elsewhere",
        "/etc/passwd",
        "a" * 19,
        "a" * 21,
        "A" * 20,
        "g" * 20,
        "0" * 20 + "\n",
        " " + "0" * 20,
        "0" * 20 + "/",
        "0" * 19 + ".",
        "%2e" * 6 + "00",
        "\x00" * 20,
        "٠" * 20,
        "０" * 20,
        "x" * 100_000,
    ],
)
def test_odd_ids_are_refused(run_id: str) -> None:
    """An id that is not twenty hexadecimal digits never becomes a path, and the message stays short."""
    Run.create(CONFIG, CORPUS, home() / "elsewhere")
    (home() / "runs").mkdir()
    with pytest.raises(InputError, match="is not the id of a run") as refused:
        Run.find(run_id)
    assert len(str(refused.value)) < 250


def test_an_id_without_a_run_is_refused() -> None:
    """A well-formed id that no run has raises an InputError with the id and without a folder of the server."""
    with pytest.raises(InputError, match=f"^there is no run {'0' * 20}$"):
        Run.find("0" * 20)


@pytest.mark.parametrize("kind", ["missing", "empty", "a file"])
def test_anything_but_a_run_cannot_be_opened(tmp_path: Path, kind: str) -> None:
    """A missing folder, an empty one and a file are refused and named."""
    path = tmp_path / "here"
    if kind == "empty":
        path.mkdir()
    elif kind == "a file":
        path.write_text("{}")
    with pytest.raises(InputError, match=r"here is not the folder of a run: it has no config\.json"):
        Run.open(path)


def test_a_folder_may_be_given_as_a_string(tmp_path: Path) -> None:
    """`Run.open` takes a string as well as a Path."""
    Run.create(CONFIG, CORPUS, tmp_path / "mine")
    assert Run.open(str(tmp_path / "mine")).config == CONFIG


def test_an_empty_folder_becomes_a_run(tmp_path: Path) -> None:
    """An existing folder is used if it is empty, and missing parents are created."""
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "new" / "deep"):
        assert Run.create(CONFIG, CORPUS, folder).folder == folder


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    """A run is never mixed with other files in a folder, not even with another run."""
    (tmp_path / "notes.txt").write_text("mine")
    before = files(tmp_path)
    with pytest.raises(InputError, match="is not empty; a run needs a new or an empty folder"):
        Run.create(CONFIG, CORPUS, tmp_path)
    assert files(tmp_path) == before


@pytest.mark.parametrize("below", ["", "run"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, below: str) -> None:
    """If the folder or its parent is a file, the error says which folder it is and why."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"file.*cannot be written: \w+"):
        Run.create(CONFIG, CORPUS, tmp_path / "file" / below)


def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    """A read-only parent gives an InputError that names the folder."""
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written: Permission denied"):
        Run.create(CONFIG, CORPUS, tmp_path / "run")


def test_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that cannot be written completely raises an InputError, and leaves no folder."""

    def full(descriptor: int) -> None:
        raise A_FULL_DISK

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        Run.create(CONFIG, CORPUS, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_that_cannot_be_created_leaves_its_folder_free(tmp_path: Path) -> None:
    """A text that UTF-8 cannot encode fails half-way; the same folder can then be used for another run."""
    with pytest.raises(UnicodeEncodeError):
        Run.create(CONFIG, Corpus("odd", "ab\udcff", ""), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert Run.create(CONFIG, CORPUS, tmp_path / "run").corpus == CORPUS


def test_the_home_folder_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is $RNNVIZ_HOME, with a tilde for the user's own folder; if unset or empty, a folder named rnnviz."""
    assert home() == tmp_path / "home"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RNNVIZ_HOME", "~/class")
    assert home() == tmp_path / "class"
    monkeypatch.setenv("RNNVIZ_HOME", "")
    assert home().name == "rnnviz"
    monkeypatch.delenv("RNNVIZ_HOME")
    assert home().name == "rnnviz"


# Damage: whatever a file of the run contains, reading it gives its content or an InputError that says where


def replaced(name: str, data: bytes) -> Callable[[Run], object]:
    return lambda run: (run.folder / name).write_bytes(data)


def changed(name: str, **values: object) -> Callable[[Run], None]:
    """A JSON file with some values changed."""

    def change(run: Run) -> None:
        path = run.folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


def without(name: str, key: str) -> Callable[[Run], None]:
    def change(run: Run) -> None:
        path = run.folder / name
        values = json.loads(path.read_text())
        del values[key]
        path.write_text(json.dumps(values))

    return change


NOT_JSON = [b"", b"{", b"\xff\xfe\x00", b"[]", b"5", b"null"]


@pytest.mark.parametrize("data", NOT_JSON, ids=repr)
@pytest.mark.parametrize("name", ["config", "corpus", "status"])
def test_a_damaged_json_file_is_named(run: Run, name: str, data: bytes) -> None:
    """An empty file, half an object, other bytes and other values raise an InputError with the file's name."""
    replaced(f"{name}.json", data)(run)
    with pytest.raises(InputError, match=rf"{name}\.json"):
        read_all(Run(run.folder))


@pytest.mark.parametrize("name", ["corpus", "status"])
def test_a_missing_file_is_named(run: Run, name: str) -> None:
    """The error says which file the run has lost."""
    (run.folder / f"{name}.json").unlink()
    with pytest.raises(InputError, match=rf"{name}\.json"):
        read_all(Run.open(run.folder))


def read_all(run: Run) -> None:
    _ = run.config, run.corpus, run.status()


@pytest.mark.parametrize("key", ["name", "training", "held_out"])
def test_an_incomplete_corpus_is_named(run: Run, key: str) -> None:
    """The error says which part is missing in which file."""
    without("corpus.json", key)(run)
    with pytest.raises(InputError, match=rf"corpus\.json.*{key}"):
        _ = Run.open(run.folder).corpus


@pytest.mark.parametrize("value", [5, None, ["a", "b"]])
def test_a_corpus_that_is_not_text_is_refused(run: Run, value: object) -> None:
    """A number or a list is not converted to text."""
    changed("corpus.json", training=value)(run)
    with pytest.raises(InputError, match=r"corpus\.json"):
        _ = Run.open(run.folder).corpus


@pytest.mark.parametrize("version", [0, 3, "2", None])
def test_a_run_of_another_format_is_refused(run: Run, version: object) -> None:
    """The error for a folder that a newer rnnviz wrote has both version numbers."""
    changed("config.json", format=version)(run)
    with pytest.raises(InputError, match=f"has format {version}; this version of rnnviz reads format 2"):
        Run.open(run.folder)


def test_a_run_of_format_1_keeps_its_equations(run: Run) -> None:
    """Its reset "after" included the bias b_hn, and is called "after-bias" now."""
    changed("config.json", format=1, model={"cell": "gru", "reset": "after"})(run)
    assert Run.open(run.folder).config.model.reset == "after-bias"
    changed("config.json", format=1, model={"cell": "gru", "reset": "before"})(run)
    assert Run.open(run.folder).config.model.reset == "before"


def test_a_run_without_a_format_is_refused(run: Run) -> None:
    """A folder that does not state its format is not taken for ours."""
    without("config.json", "format")(run)
    with pytest.raises(InputError, match="format"):
        Run.open(run.folder)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"hidden": 3}, "hidden"),
        ({"epochs": 0}, "epochs is 0"),
        ({"epochs": "many"}, "epochs is many"),
        ({"epochs": 1e400}, "Infinity is no number"),
        ({"optimizer": "magic"}, "optimizer is magic"),
        ({"model": {"cell": "gru", "units": 3}}, "units"),
        ({"model": {"hidden_size": -1}}, "hidden_size is -1"),
        ({"model": 5}, "configuration"),
        ({"model": "gru"}, "configuration"),
        ({"prefixes": 7}, "configuration"),
        ({"prefixes": [""]}, "prefix"),
        ({"batch_size": None}, "batch_size"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"optimizer": ["sgd"]}, "optimizer"),
    ],
    ids=str,
)
def test_a_wrong_configuration_is_refused(run: Run, values: dict[str, object], told: str) -> None:
    """Unknown settings, values that are not allowed and values of another type are reported when the run is opened."""
    changed("config.json", **values)(run)
    with pytest.raises(InputError, match=told):
        Run.open(run.folder)


def test_an_unknown_state_is_refused(run: Run) -> None:
    """A status that no page can show counts as damage."""
    changed("status.json", state="dancing")(run)
    with pytest.raises(InputError, match=r"status\.json"):
        run.status()


GARBAGE_LINES = [b"garbage", b"", b"\xff\xfe", b"5", b"[]", b"null", b'"text"', b'{"kind":"step"}', b'{"kind":"song"}']


@pytest.mark.parametrize("line", GARBAGE_LINES, ids=repr)
def test_an_invalid_line_among_the_reports_is_reported(run: Run, line: bytes) -> None:
    """Wherever it is, a line that is not a report raises an InputError about the reports."""
    path = run.folder / "reports.jsonl"
    good = path.read_bytes()
    for data in (line + b"\n" + good, good + line + b"\n" + good, good + line + b"\n"):
        path.write_bytes(data)
        with pytest.raises(InputError, match="reports are damaged"):
            run.reports()


def test_missing_reports_are_reported(run: Run) -> None:
    """The error says that the run's reports are gone."""
    (run.folder / "reports.jsonl").unlink()
    with pytest.raises(InputError, match="reports cannot be read: No such file"):
        run.reports()


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.99])
def test_a_truncated_checkpoint_is_named(run: Run, share: float) -> None:
    """A checkpoint that is cut anywhere raises an InputError with its file's name."""
    path = run.checkpoint_path(2)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=r"checkpoint 2\.safetensors is damaged"):
        run.load_checkpoint(2)


@pytest.mark.parametrize("meta", [None, {}, {"other": "1"}, {"meta": "{"}])
def test_a_checkpoint_without_our_numbers_is_named(run: Run, meta: dict[str, str] | None) -> None:
    """Arrays alone, such as those of another program's safetensors file, are not a checkpoint of a run."""
    run.checkpoint_path().write_bytes(to_safetensors({"a": np.zeros(2)}, metadata=meta))
    with pytest.raises(InputError, match=r"checkpoint latest\.safetensors is damaged"):
        run.load_checkpoint()


def test_a_missing_checkpoint_is_named(run: Run) -> None:
    """The error has the number of the step at which nothing was kept."""
    with pytest.raises(InputError, match="no checkpoint 17"):
        run.load_checkpoint(17)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.99])
def test_a_truncated_recording_is_reported(run: Run, share: float) -> None:
    """A recording that is cut anywhere raises an InputError."""
    path = run.recording_path()
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="recording cannot be read"):
        run.recording()


def _npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


ABOUT = {"text": "a", "cell": "gru", "reset": "after", "activation": "tanh"}


@pytest.mark.parametrize(
    "data",
    [b"PK\x03\x04", _npz(text="a"), _npz(**ABOUT, x=np.array([{}], dtype=object)), b"\x93NUMPY"],
    ids=["header", "incomplete", "pickled", "npy"],
)
def test_files_that_are_not_recordings_are_refused(run: Run, data: bytes) -> None:
    """Examples are half a zip, another npz file, and above all one with a pickled object."""
    run.recording_path().write_bytes(data)
    with pytest.raises(InputError, match="recording cannot be read"):
        run.recording()


# Reports


def test_reports_survive_writing_and_reading(run: Run) -> None:
    """This holds for every kind, with its characters, its missing and its infinite numbers."""
    assert run.reports() == REPORTS
    assert [to_json(r) for r in run.reports()] == [to_json(r) for r in REPORTS]


def test_appending_only_appends(run: Run) -> None:
    """The existing content stays the same byte for byte, and without new reports nothing is written."""
    before = (run.folder / "reports.jsonl").read_bytes()
    run.append([])
    assert (run.folder / "reports.jsonl").read_bytes() == before
    run.append([STEP])
    after = (run.folder / "reports.jsonl").read_bytes()
    assert after[: len(before)] == before
    assert run.reports() == [*REPORTS, STEP]
    assert run.reports_size() == len(after)


def test_numbers_that_json_lacks_are_never_written(run: Run) -> None:
    """A report with a NaN is refused as a whole, because other readers of JSON could not read the file."""
    before = run.reports_size()
    with pytest.raises(ValueError, match="JSON"):
        run.append([STEP, replace(STEP, norms={"W": float("nan")})])
    assert run.reports_size() == before


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_a_follower_reads_every_report_once(run: Run, size: int) -> None:
    """However the file grows, offsets continue where the last complete line ended."""
    path = run.folder / "reports.jsonl"
    data = path.read_bytes()
    path.write_bytes(b"")
    seen, offset = [], 0
    for start in range(0, len(data), size):
        with path.open("ab") as file:
            file.write(data[start : start + size])
        new, offset = run.reports_since(offset)
        assert offset == data.rfind(b"\n", 0, start + size) + 1
        seen += new
    assert seen == REPORTS
    assert run.reports_since(offset) == ([], offset)


def test_an_unfinished_last_line_is_ignored_and_cut_off(run: Run) -> None:
    """A reader ignores it, and a process that resumes the run removes it first."""
    path = run.folder / "reports.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind": "step", "st')
    assert run.reports() == REPORTS
    assert run.reports_since(0)[1] == len(whole)
    assert path.read_bytes() != whole
    assert run.count_reports() == len(REPORTS)
    assert path.read_bytes() == whole
    run.append([STEP])
    assert run.reports() == [*REPORTS, STEP]


def test_counting_leaves_complete_reports_alone(run: Run) -> None:
    """If no line is unfinished, counting changes nothing."""
    before = files(run.folder)
    assert run.count_reports() == len(REPORTS)
    assert files(run.folder) == before


def test_a_file_with_only_half_a_line_has_no_reports(run: Run) -> None:
    """After a crash in the very first report, the file becomes empty."""
    path = run.folder / "reports.jsonl"
    path.write_bytes(b'{"kind"')
    assert run.reports_since(0) == ([], 0)
    assert run.count_reports() == 0
    assert path.read_bytes() == b""


# Writing


def test_a_write_is_complete_or_has_no_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """During a write, and after a failed one, the old content is there and no other file beside it."""
    path = tmp_path / "status.json"
    write_atomically(path, b"old")
    seen = []

    def watched(descriptor: int) -> None:
        seen.append(path.read_bytes())
        raise A_FULL_DISK

    monkeypatch.setattr(os, "fsync", watched)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new" * 10_000)
    assert seen == [b"old"]
    assert files(tmp_path) == {"status.json": b"old"}
    monkeypatch.undo()
    write_atomically(path, b"new")
    assert files(tmp_path) == {"status.json": b"new"}


def test_a_failed_first_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no half file under the name, and no temporary one."""

    def full(descriptor: int) -> None:
        raise A_FULL_DISK

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(tmp_path / "latest.npz", b"data")
    assert files(tmp_path) == {}


@pytest.mark.parametrize("write", ["status", "checkpoint", "recording"])
def test_every_file_but_the_reports_survives_a_failing_write(
    run: Run, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    """Status, checkpoint and recording are as before."""
    before = files(run.folder)

    def full(descriptor: int) -> None:
        raise A_FULL_DISK

    monkeypatch.setattr(os, "fsync", full)
    writes: dict[str, Callable[[], None]] = {
        "status": lambda: run.set_status(Status("running")),
        "checkpoint": lambda: run.save_checkpoint(Checkpoint({"weights.b": np.ones(3)}, {})),
        "recording": lambda: run.save_recording(replace(TRACE, text="xyz")),
    }
    with pytest.raises(OSError, match="No space"):
        writes[write]()
    assert files(run.folder) == before


# Checkpoints, recordings, status


def test_a_checkpoint_survives_writing_and_reading(run: Run) -> None:
    """Names, shapes, types and values of all arrays, and the numbers beside them, are the same bit for bit."""
    for name in (LATEST, 2):
        back = run.load_checkpoint(name)
        assert back.meta == CHECKPOINT.meta
        assert back.arrays.keys() == CHECKPOINT.arrays.keys()
        for key, values in CHECKPOINT.arrays.items():
            assert back.arrays[key].dtype == values.dtype
            np.testing.assert_array_equal(back.arrays[key], values)


def test_a_recording_survives_writing_and_reading(run: Run) -> None:
    """Its text, its cell and its arrays are the same bit for bit."""
    for name in (LATEST, 2):
        back = run.recording(name)
        assert back is not None
        assert (back.text, back.cell, back.reset, back.activation) == (TRACE.text, "rnn", "after", "tanh")
        np.testing.assert_array_equal(back.signal("H"), TRACE.signal("H"))


def test_a_missing_recording_is_none(run: Run) -> None:
    """A page asks for it before the first recording is written, so this is not an error."""
    assert run.recording(3) is None


def test_steps_are_in_numerical_order(run: Run) -> None:
    """10 follows 9; the latest has no step, and neither has a temporary file."""
    for step in (10, 9, 0):
        run.save_checkpoint(CHECKPOINT, step)
        run.save_recording(TRACE, step)
    for folder in ("checkpoints", "recordings"):
        (run.folder / folder / ".tmp12").touch()
    assert run.checkpoint_steps() == [0, 2, 9, 10]
    assert run.recording_steps() == [0, 2, 9, 10]


def test_a_status_keeps_its_reason(run: Run) -> None:
    """Message and values are separate, so that a page can translate the message and fill in the values."""
    status = Status("failed", "{what} became {value}", {"what": "损失", "value": "nan"})
    run.set_status(status)
    assert Run.open(run.folder).status() == status


def test_the_last_change_is_that_of_reports_or_status(run: Run) -> None:
    """It is the time of whichever of the two files is newer."""
    for newer, older in (("reports.jsonl", "status.json"), ("status.json", "reports.jsonl")):
        os.utime(run.folder / older, (1000, 1000))
        os.utime(run.folder / newer, (2000, 2000))
        assert run.last_change() == 2000


def test_milestones_are_dense_at_the_start() -> None:
    """They are 0, 1, 2, 3, 4, 6, 8, 12, 18 and so on: they grow by about a half, and are few even in a long run."""
    kept = [step for step in range(100_001) if is_milestone(step)]
    assert kept[:9] == [0, 1, 2, 3, 4, 6, 8, 12, 18]
    growth = np.array(kept[6:]) / np.array(kept[5:-1])
    assert (growth > 1.3).all()
    assert (growth < 1.6).all()
    assert len(kept) < 40


# Nothing pickled


def test_a_run_has_these_files_and_no_others(run: Run) -> None:
    """They are those of the layout in the module's docstring."""
    assert set(files(run.folder)) == {
        "config.json",
        "corpus.json",
        "status.json",
        "reports.jsonl",
        "checkpoints/2.safetensors",
        "checkpoints/latest.safetensors",
        "recordings/2.npz",
        "recordings/latest.npz",
    }


def test_nothing_is_pickled(run: Run) -> None:
    """Text is JSON and arrays are plain, so opening a classmate's run can never execute code."""
    for name, data in files(run.folder).items():
        assert not re.match(rb"\x80[\x02-\x05]", data), name
        if name.endswith(".json"):
            json.loads(data)
        elif name.endswith(".jsonl"):
            assert all(json.loads(line) for line in data.splitlines())
        elif name.endswith(".npz"):
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                assert all(not arrays[key].dtype.hasobject for key in arrays.files)
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                assert all(member.endswith(".npy") for member in archive.namelist())
        else:
            header = int.from_bytes(data[:8], "little")
            assert isinstance(json.loads(data[8 : 8 + header]), dict)


@pytest.mark.parametrize("years", [-30, 30])
def test_a_jump_of_the_clock_releases_no_lock(run: Run, monkeypatch: pytest.MonkeyPatch, years: int) -> None:
    """A driven run stays driven and an attempt excludes others, whatever the clock and the times of files say."""
    now, jump = time.time(), years * 365 * 86_400
    with run.driven(), run.attempt():
        monkeypatch.setattr(time, "time", lambda: now + jump)
        for path in run.folder.iterdir():
            os.utime(path, (now - jump, now - jump))
        other = Run.open(run.folder)
        assert other.is_driven
        with pytest.raises(InputError, match="another process trains this run"):
            other.claim()
        with pytest.raises(Timeout):
            FileLock(run.folder / "lock").acquire(blocking=False)
