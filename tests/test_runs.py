"""A run's folder: what stands in it, what is refused, and what damage and crashes leave behind."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save as to_safetensors

from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.errors import InputError
from rnnviz.recording import Trace
from rnnviz.reports import Checkpoint, EpochReport, FailureReport, PredictionReport, StepReport, to_json
from rnnviz.runs import LATEST, Progress, Run, Status, home, is_milestone, write_atomically
from rnnviz.text import Corpus

CONFIG = TrainConfig(ModelConfig(hidden_size=3), batch_size=2, num_steps=4, epochs=2, prefixes=("分开",))
CORPUS = Corpus("test", "分开 abcabc\ncba", "开 a")
STEP = StepReport(1, 1, 1.5, 8, 0.75, 0.01, {"W_hq": 0.1})
EPOCH = EpochReport(2, 1, float("inf"), None, None, 0.75, 0.01, 1234.5, 0.5)
PREDICTION = PredictionReport(2, 1, "分开", "分开 我\n这样\u2028")
FAILURE = FailureReport(3, 2, "{what} became {value}", {"what": "the loss", "value": "nan"})
REPORTS = [STEP, EPOCH, PREDICTION, FAILURE]
CHECKPOINT = Checkpoint(
    {"weights.W_hq": np.arange(6, dtype=np.float32).reshape(2, 3), "optimizer.0.step": np.array(7.0)},
    {"step": 2, "sums": {"nats": 0.1}, "failure": None, "reports": 3},
)
TRACE = Trace(
    "分 a", "gru", "after", "tanh", {"layer1.forward.H": np.linspace(-1, 1, 9, dtype=np.float32).reshape(3, 3)}
)
A_FULL_DISK = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNVIZ_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # no power cut here, and many small files


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


def test_a_new_run_holds_what_it_was_told() -> None:
    """Configuration, text and status come back from the folder as they were given."""
    created = Run.create(CONFIG, CORPUS)
    run = Run.open(created.folder)
    assert (run.config, run.corpus, run.status()) == (CONFIG, CORPUS, Status("queued"))
    assert (run.reports(), run.checkpoint_steps(), run.recording_steps(), run.recording()) == ([], [], [], None)


def test_a_run_without_a_folder_stands_in_the_home_folder(tmp_path: Path) -> None:
    """Under runs/ and its id, where `find` looks for it."""
    run = Run.create(CONFIG, CORPUS)
    assert run.folder == tmp_path / "home" / "runs" / run.id
    assert Run.find(run.id).folder == run.folder


def test_ids_cannot_be_guessed() -> None:
    """Eighty bits, every one of which varies, and no seed decides them."""
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
    """Whatever is not twenty hexadecimal digits never becomes a path, and the message stays short."""
    Run.create(CONFIG, CORPUS, home() / "elsewhere")
    (home() / "runs").mkdir()
    with pytest.raises(InputError, match="is not the id of a run") as refused:
        Run.find(run_id)
    assert len(str(refused.value)) < 250


def test_an_id_without_a_run_is_refused() -> None:
    """A well-formed id that no run has gives an InputError that names the folder."""
    with pytest.raises(InputError, match=f"{'0' * 20}.*is not the folder of a run"):
        Run.find("0" * 20)


@pytest.mark.parametrize("kind", ["missing", "empty", "a file"])
def test_what_is_no_run_is_not_opened(tmp_path: Path, kind: str) -> None:
    """A missing folder, an empty one and a file are named and refused."""
    path = tmp_path / "here"
    if kind == "empty":
        path.mkdir()
    elif kind == "a file":
        path.write_text("{}")
    with pytest.raises(InputError, match=r"here is not the folder of a run: it has no config\.json"):
        Run.open(path)


def test_a_folder_may_be_given_as_text(tmp_path: Path) -> None:
    """`Run.open` takes a string as well as a Path."""
    Run.create(CONFIG, CORPUS, tmp_path / "mine")
    assert Run.open(str(tmp_path / "mine")).config == CONFIG


def test_an_empty_folder_becomes_a_run(tmp_path: Path) -> None:
    """A folder that is there already is taken when it is empty, and its parents are made when missing."""
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "new" / "deep"):
        assert Run.create(CONFIG, CORPUS, folder).folder == folder


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    """A run never mixes with what stands in a folder, not even with another run."""
    (tmp_path / "notes.txt").write_text("mine")
    before = files(tmp_path)
    with pytest.raises(InputError, match="is not empty; a run needs a new or an empty folder"):
        Run.create(CONFIG, CORPUS, tmp_path)
    assert files(tmp_path) == before


@pytest.mark.parametrize("below", ["", "run"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, below: str) -> None:
    """Where the folder or its parent is a file, the error says which folder and why."""
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


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that cannot be written whole gives an InputError, and what is left of it does not open as a run."""

    def full(descriptor: int) -> None:
        raise A_FULL_DISK

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        Run.create(CONFIG, CORPUS, tmp_path / "run")
    with pytest.raises(InputError, match="not the folder of a run"):
        Run.open(tmp_path / "run")


def test_home_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$RNNVIZ_HOME, with a tilde for the user's own folder; unset or empty, a folder named rnnviz."""
    assert home() == tmp_path / "home"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RNNVIZ_HOME", "~/class")
    assert home() == tmp_path / "class"
    monkeypatch.setenv("RNNVIZ_HOME", "")
    assert home().name == "rnnviz"
    monkeypatch.delenv("RNNVIZ_HOME")
    assert home().name == "rnnviz"


# Damage: whatever a file of the run holds, reading it gives the content or an InputError that says where


def replaced(name: str, data: bytes) -> Callable[[Run], None]:
    return lambda run: (run.folder / name).write_bytes(data) and None


def changed(name: str, **values: object) -> Callable[[Run], None]:
    """A JSON file in which some values are others."""

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
    """Nothing, half an object, other bytes and other values give an InputError with the file's name."""
    replaced(f"{name}.json", data)(run)
    with pytest.raises(InputError, match=rf"{name}\.json"):
        read_all(Run(run.folder))


@pytest.mark.parametrize("name", ["corpus", "status"])
def test_a_missing_file_is_named(run: Run, name: str) -> None:
    """A run that lost a file says which."""
    (run.folder / f"{name}.json").unlink()
    with pytest.raises(InputError, match=rf"{name}\.json"):
        read_all(Run.open(run.folder))


def read_all(run: Run) -> None:
    _ = run.config, run.corpus, run.status()


@pytest.mark.parametrize("key", ["name", "training", "held_out"])
def test_an_incomplete_corpus_is_named(run: Run, key: str) -> None:
    """The error says which file lacks which part."""
    without("corpus.json", key)(run)
    with pytest.raises(InputError, match=rf"corpus\.json.*{key}"):
        _ = Run.open(run.folder).corpus


@pytest.mark.parametrize("value", [5, None, ["a", "b"]])
def test_a_corpus_that_is_no_text_is_refused(run: Run, value: object) -> None:
    """A number or a list is not read as the text it would print."""
    changed("corpus.json", training=value)(run)
    with pytest.raises(InputError, match=r"corpus\.json"):
        _ = Run.open(run.folder).corpus


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_a_run_of_another_format_is_not_read(run: Run, version: object) -> None:
    """A folder that a newer rnnviz wrote says so, with both numbers."""
    changed("config.json", format=version)(run)
    with pytest.raises(InputError, match=f"has format {version}; this version of rnnviz reads format 1"):
        Run.open(run.folder)


def test_a_run_without_a_format_is_not_read(run: Run) -> None:
    """What does not say its format is not taken for ours."""
    without("config.json", "format")(run)
    with pytest.raises(InputError, match="format"):
        Run.open(run.folder)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"hidden": 3}, "hidden"),
        ({"epochs": 0}, "epochs is 0"),
        ({"epochs": "many"}, "epochs is many"),
        ({"epochs": 1e400}, "epochs is inf"),
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
    """Unknown settings, values that are not allowed and values of another kind are told when the run is opened."""
    changed("config.json", **values)(run)
    with pytest.raises(InputError, match=told):
        Run.open(run.folder)


def test_an_unknown_state_is_refused(run: Run) -> None:
    """A status that no page knows how to show is damage."""
    changed("status.json", state="dancing")(run)
    with pytest.raises(InputError, match=r"status\.json"):
        run.status()


GARBAGE_LINES = [b"garbage", b"", b"\xff\xfe", b"5", b"[]", b"null", b'"text"', b'{"kind":"step"}', b'{"kind":"song"}']


@pytest.mark.parametrize("line", GARBAGE_LINES, ids=repr)
def test_a_garbage_line_among_the_reports_is_told(run: Run, line: bytes) -> None:
    """Wherever it stands, a line that is no report gives an InputError that speaks of the reports."""
    path = run.folder / "reports.jsonl"
    good = path.read_bytes()
    for data in (line + b"\n" + good, good + line + b"\n" + good, good + line + b"\n"):
        path.write_bytes(data)
        with pytest.raises(InputError, match="reports are damaged"):
            run.reports()


def test_missing_reports_are_told(run: Run) -> None:
    """A run whose reports are gone says so."""
    (run.folder / "reports.jsonl").unlink()
    with pytest.raises(InputError, match="reports cannot be read: No such file"):
        run.reports()


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.99])
def test_a_truncated_checkpoint_is_named(run: Run, share: float) -> None:
    """Cut anywhere, a checkpoint gives an InputError with its file's name."""
    path = run.checkpoint_path(2)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=r"checkpoint 2\.safetensors is damaged"):
        run.load_checkpoint(2)


@pytest.mark.parametrize("meta", [None, {}, {"other": "1"}, {"meta": "{"}])
def test_a_checkpoint_without_our_numbers_is_named(run: Run, meta: dict[str, str] | None) -> None:
    """Arrays alone, such as another program's safetensors file, are no checkpoint of a run."""
    run.checkpoint_path().write_bytes(to_safetensors({"a": np.zeros(2)}, metadata=meta))
    with pytest.raises(InputError, match=r"checkpoint latest\.safetensors is damaged"):
        run.load_checkpoint()


def test_a_missing_checkpoint_is_named(run: Run) -> None:
    """A step at which nothing was kept is told by its number."""
    with pytest.raises(InputError, match="no checkpoint 17"):
        run.load_checkpoint(17)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.99])
def test_a_truncated_recording_is_told(run: Run, share: float) -> None:
    """Cut anywhere, a recording gives an InputError."""
    path = run.recording_path()
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="recording cannot be read"):
        run.recording()


def _npz(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


ABOUT = {"text": "a", "cell": "gru", "reset": "after", "activation": "tanh"}


@pytest.mark.parametrize(
    "data",
    [b"PK\x03\x04", _npz(text="a"), _npz(**ABOUT, x=np.array([{}], dtype=object)), b"\x93NUMPY"],
    ids=["header", "incomplete", "pickled", "npy"],
)
def test_what_is_no_recording_is_refused(run: Run, data: bytes) -> None:
    """Half a zip, another npz, and above all one that holds a pickled object."""
    run.recording_path().write_bytes(data)
    with pytest.raises(InputError, match="recording cannot be read"):
        run.recording()


# Reports


def test_reports_come_back_as_they_were(run: Run) -> None:
    """Every kind, with its characters, its missing and its infinite numbers."""
    assert run.reports() == REPORTS
    assert [to_json(r) for r in run.reports()] == [to_json(r) for r in REPORTS]


def test_appending_only_appends(run: Run) -> None:
    """What stands in the file stays as it is, byte by byte; nothing to tell writes nothing."""
    before = (run.folder / "reports.jsonl").read_bytes()
    run.append([])
    assert (run.folder / "reports.jsonl").read_bytes() == before
    run.append([STEP])
    after = (run.folder / "reports.jsonl").read_bytes()
    assert after[: len(before)] == before
    assert run.reports() == [*REPORTS, STEP]
    assert run.reports_size() == len(after)


def test_a_number_that_json_lacks_is_never_written(run: Run) -> None:
    """A report with a NaN inside is refused whole: other readers of JSON could not read the file."""
    before = run.reports_size()
    with pytest.raises(ValueError, match="JSON"):
        run.append([STEP, replace(STEP, norms={"W": float("nan")})])
    assert run.reports_size() == before


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_a_follower_reads_every_report_once(run: Run, size: int) -> None:
    """However the file grows, offsets continue where the last whole line ended."""
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
    """A reader leaves it alone; who goes on with the run takes it away first."""
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


def test_counting_leaves_whole_reports_alone(run: Run) -> None:
    """Where no line is unfinished, counting changes nothing."""
    before = files(run.folder)
    assert run.count_reports() == len(REPORTS)
    assert files(run.folder) == before


def test_a_file_that_holds_only_half_a_line_has_no_reports(run: Run) -> None:
    """A crash in the very first report leaves an empty file."""
    path = run.folder / "reports.jsonl"
    path.write_bytes(b'{"kind"')
    assert run.reports_since(0) == ([], 0)
    assert run.count_reports() == 0
    assert path.read_bytes() == b""


# Writing


def test_a_write_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is under way, and after it failed, the old content stands and nothing else lies beside it."""
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


def test_a_first_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No half file under the name, and no temporary one."""

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
    """Status, checkpoint and recording are what they were before."""
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


def test_a_checkpoint_comes_back_bit_for_bit(run: Run) -> None:
    """Names, shapes, kinds and values of all arrays, and the numbers beside them."""
    for name in (LATEST, 2):
        back = run.load_checkpoint(name)
        assert back.meta == CHECKPOINT.meta
        assert back.arrays.keys() == CHECKPOINT.arrays.keys()
        for key, values in CHECKPOINT.arrays.items():
            assert back.arrays[key].dtype == values.dtype
            np.testing.assert_array_equal(back.arrays[key], values)


def test_a_recording_comes_back_bit_for_bit(run: Run) -> None:
    """Its text, its cell and its arrays."""
    for name in (LATEST, 2):
        back = run.recording(name)
        assert back is not None
        assert (back.text, back.cell, back.reset, back.activation) == (TRACE.text, "gru", "after", "tanh")
        np.testing.assert_array_equal(back.signal("H"), TRACE.signal("H"))


def test_what_was_not_recorded_is_none(run: Run) -> None:
    """A page asks before the first recording stands; that is no error."""
    assert run.recording(3) is None


def test_steps_are_in_the_order_of_numbers(run: Run) -> None:
    """10 follows 9, the latest has no step, and a temporary file is no step either."""
    for step in (10, 9, 0):
        run.save_checkpoint(CHECKPOINT, step)
        run.save_recording(TRACE, step)
    for folder in ("checkpoints", "recordings"):
        (run.folder / folder / ".tmp12").touch()
    assert run.checkpoint_steps() == [0, 2, 9, 10]
    assert run.recording_steps() == [0, 2, 9, 10]


def test_a_status_keeps_its_reason(run: Run) -> None:
    """Message and values stand apart, so that a page can translate the first and fill in the second."""
    status = Status("failed", "{what} became {value}", {"what": "损失", "value": "nan"})
    run.set_status(status)
    assert Run.open(run.folder).status() == status


def test_the_last_change_is_that_of_reports_or_status(run: Run) -> None:
    """Whichever of the two files is newer."""
    for newer, older in (("reports.jsonl", "status.json"), ("status.json", "reports.jsonl")):
        os.utime(run.folder / older, (1000, 1000))
        os.utime(run.folder / newer, (2000, 2000))
        assert run.last_change() == 2000


@pytest.mark.parametrize(
    ("progress", "finished"),
    [
        (Progress(3, 4, 0.1), False),
        (Progress(4, 4, 0.1), True),
        (Progress(1, 4, 0.1, Status("failed", "why")), True),
    ],
)
def test_a_run_is_finished_at_its_last_step_or_with_a_failure(progress: Progress, finished: bool) -> None:
    """Nothing else ends the chain of tasks."""
    assert progress.finished is finished


def test_milestones_are_dense_at_the_start() -> None:
    """0, 1, 2, 3, 4, 6, 8, 12, 18 and so on: growing by about a half, and few even in a long run."""
    kept = [step for step in range(100_001) if is_milestone(step)]
    assert kept[:9] == [0, 1, 2, 3, 4, 6, 8, 12, 18]
    growth = np.array(kept[6:]) / np.array(kept[5:-1])
    assert (growth > 1.3).all()
    assert (growth < 1.6).all()
    assert len(kept) < 40


# Nothing pickled


def test_a_run_holds_these_files_and_no_others(run: Run) -> None:
    """The layout that the module describes."""
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
    """Text is JSON, arrays are plain: opening a classmate's run can never execute code."""
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
