"""Every file of a run's folder, damaged in every way we know of: there is one clear message, or the run goes on.

Each kind of damage is a name and a function that damages a folder. The library and the command are
tested in every run of the tests, the pages in those with the mark `hostile`.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as from_safetensors
from safetensors.numpy import save as to_safetensors

from rnnviz.__main__ import main
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.engine.engine import Engine
from rnnviz.engine.quota import make_room
from rnnviz.engine.settings import Settings
from rnnviz.errors import InputError
from rnnviz.i18n import translator
from rnnviz.nn import execution
from rnnviz.runs.folder import Run, Status
from rnnviz.runs.follower import Follower
from rnnviz.text.corpora import Corpus
from rnnviz.ui import Frame
from rnnviz.ui.run_view import newest_curves
from tests.helpers import IdleEngine, open_app

RUN_ID = "0123456789abcdef0123"
CONFIG = TrainConfig(
    ModelConfig(cell="rnn", hidden_size=3), batch_size=2, num_steps=4, epochs=4, predict_every=1, predict_length=5
)
CORPUS = Corpus("abc", "abcabcacbabcabcbacba" * 2, "abcab")
STEPS, HALFWAY = 16, 9
JSON_FILES = ("config.json", "corpus.json", "status.json")
CHECKPOINTS = ("checkpoints/latest.safetensors", "checkpoints/previous.safetensors", "checkpoints/4.safetensors")
RECORDINGS = ("recordings/latest.npz", "recordings/4.npz")
FILES = (*JSON_FILES, "reports.jsonl", *CHECKPOINTS, *RECORDINGS)
FOLDERS = ("checkpoints", "recordings")
Damage = Callable[[Path], object]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # there is no power cut here
    execution._live.clear()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was paused halfway, and its reports up to then; two of its checkpoints are undamaged."""
    folder = tmp_path_factory.mktemp("whole") / RUN_ID
    run = Run.create(CONFIG, CORPUS, folder)
    for target in (HALFWAY - 2, HALFWAY):
        execution.advance(str(folder), target)
        execution.pause(str(folder))
    run.set_status(Status("paused"))
    return folder


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The reports of the same run to its end."""
    run = Run.create(CONFIG, CORPUS, tmp_path_factory.mktemp("uninterrupted"))
    execution.advance(str(run.folder), STEPS)
    return run.reports()


# The kinds of damage


def replace_by(data: bytes) -> Damage:
    return lambda path: path.write_bytes(data)


def cut(share: float) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


def flip(share: float) -> Callable[[Path], None]:
    """Flip one bit of the file, at the given share of its length."""

    def act(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[int(len(data) * share)] ^= 4
        path.write_bytes(data)

    return act


def a_folder(path: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


def an_empty_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def a_file(path: Path) -> None:
    """Put a file in the place of a folder."""
    shutil.rmtree(path)
    path.touch()


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_link_to_itself(path: Path) -> None:
    """Such a link cannot be opened by anybody, not even by root, who can open an unreadable file."""
    path.unlink()
    path.symlink_to(path)


def change(**values: object) -> Callable[[Path], None]:
    """Change values in a JSON file; Ellipsis removes one."""

    def act(path: Path) -> None:
        merged = {**json.loads(path.read_text()), **values}
        path.write_text(json.dumps({name: value for name, value in merged.items() if value is not ...}))

    return act


def line(number: int, data: bytes) -> Callable[[Path], None]:
    """Put another line among the reports."""

    def act(path: Path) -> None:
        lines = path.read_bytes().splitlines()
        lines[number:number] = [data]
        path.write_bytes(b"\n".join(lines) + b"\n")

    return act


def step(**values: object) -> Callable[[Path], None]:
    """Change values in the first report, which is a step's."""

    def act(path: Path) -> None:
        first, *lines = path.read_bytes().splitlines()
        path.write_bytes(b"\n".join([json.dumps({**json.loads(first), **values}).encode(), *lines]) + b"\n")

    return act


def arrays(edit: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Write a checkpoint with other arrays and without a checksum, as earlier versions did."""

    def act(path: Path) -> None:
        values = from_safetensors(path.read_bytes())
        edit(values)
        path.write_bytes(to_safetensors(values, {"meta": json.dumps({"step": 1, "sums": {}, "failure": None})}))

    return act


def signals(edit: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Write a recording with other arrays."""

    def act(path: Path) -> None:
        values = dict(np.load(path))
        edit(values)
        np.savez(path, **values)

    return act


NOISE = bytes(range(256)) * 8
TO_ANY_FILE: dict[str, Damage] = {
    "missing": Path.unlink,
    "empty": replace_by(b""),
    "cut": cut(0.5),
    "noise": replace_by(NOISE),
    "zeros": replace_by(bytes(512)),
    "a folder": a_folder,
    "a pipe": a_pipe,
    "a link to itself": a_link_to_itself,
    "unreadable": lambda path: path.chmod(0),  # has no effect for root
}
TO_JSON: dict[str, Damage] = {
    "a list": replace_by(b"[]"),
    "null": replace_by(b"null"),
    "UTF-16": lambda path: path.write_bytes(path.read_text().encode("utf-16")),
    "nested": replace_by(b"[" * 100_000),
    "a long number": replace_by(b'{"format": ' + b"9" * 5000 + b"}"),
    "no values": replace_by(b"{}"),
}
TO_ONE: dict[str, dict[str, Damage]] = {
    "config.json": {
        "no model": change(model=...),
        "another format": change(format=2),
        "NaN": change(learning_rate=math.nan),
        "half a character": change(probe="\ud800"),
        "more steps than characters": change(num_steps=500),
        "another cell": change(model={"cell": "lstm", "hidden_size": 3}),
        "more units": change(model={"cell": "rnn", "hidden_size": 7}),
    },
    "corpus.json": {
        "no text": change(training=...),
        "an empty text": change(training=""),
        "one character": change(training="a"),
        "a number": change(training=5),
        "half a character": change(training="\udfff" * 40),
        "another text": change(training="xyz" * 20),
    },
    "status.json": {
        "no state": change(state=...),
        "a list as state": change(state=[]),
        "an unknown state": change(state="dancing"),
        "a message without its values": change(message="{what} broke"),
        "a message with a brace": change(message="{"),
        "a message that is none": change(message=5),
        "values that are none": change(message="{what} broke", values=[1]),
        "values of the wrong names": change(message="{self} broke", values={"self": 1, "message": 2}),
    },
    "reports.jsonl": {
        "a torn last line": lambda path: path.write_bytes(path.read_bytes() + b'{"kind": "st'),
        "a foreign line": line(3, b"hello"),
        "an empty line": line(3, b""),
        "a foreign last line": line(999, b'{"name": "x"}'),
        "another object": line(0, b'{"kind": "song"}'),
        "no text": line(2, b"\xff\xfe\xfd"),
        "a text as loss": step(loss="much"),
        "a list as norms": step(norms=[1, 2]),
        "NaN": step(loss=math.nan),
        "an endless number": step(norm_before=10**400),
        "a negative step": step(step=-5),
        "half a step": step(step=0.5),
        "nested": line(1, b"[" * 100_000),
        "a failure without its values": line(
            999, b'{"kind": "failure", "step": 1, "epoch": 1, "message": "{what}", "values": {}}'
        ),
        "half a character": line(
            999, b'{"kind": "prediction", "step": 1, "epoch": 1, "prefix": "a", "text": "\\ud83d"}'
        ),
    },
    **{
        name: {
            "a flipped bit at the beginning": flip(0.01),
            "a flipped bit in the names": flip(0.1),
            "a flipped bit in the numbers": flip(0.7),
            "a flipped bit at the end": flip(0.999),
            "without an array": arrays(lambda values: values.pop("weights.W_hq")),
            "another shape": arrays(lambda values: values.update({"weights.W_hq": np.zeros((2, 2), np.float32)})),
            "another array": arrays(lambda values: values.update({"weights.other": np.zeros(2, np.float32)})),
        }
        for name in CHECKPOINTS
    },
    **{
        name: {
            "a flipped bit at the beginning": flip(0.01),
            "a flipped bit in the middle": flip(0.5),
            "a flipped bit at the end": flip(0.99),
            "without a signal": signals(lambda values: values.pop("layer1.forward.H")),
            "another cell": signals(lambda values: values.update(cell="lstm")),
            "an unknown cell": signals(lambda values: values.update(cell="x")),
            "an unknown activation": signals(lambda values: values.update(activation="x")),
            "another text": signals(lambda values: values.update(text="ab")),
            "a number a character": signals(lambda values: values.update({"layer1.forward.H": np.zeros(3)})),
            "texts as numbers": signals(lambda values: values.update({"layer1.forward.H": np.full((40, 3), "x")})),
        }
        for name in RECORDINGS
    },
    "lock": {"a folder": an_empty_folder},
    "attempts": {"a folder": lambda path: path.mkdir(), "noise": replace_by(NOISE[:2])},
    **{name: {"missing": shutil.rmtree, "a file": a_file} for name in FOLDERS},
}
KINDS: dict[str, tuple[str, Damage]] = {
    f"{name}: {kind}": (name, act)
    for name in (*FILES, "lock", "attempts", *FOLDERS)
    for kind, act in {
        **(TO_ANY_FILE if name in FILES else {}),
        **(TO_JSON if name in JSON_FILES else {}),
        **TO_ONE.get(name, {}),
    }.items()
}
HARMLESS = ("status.json", *CHECKPOINTS[1:], *RECORDINGS)  # training needs none of these
# The run resumes from these, and then reports what it would have reported.
MENDED = (
    "reports.jsonl: a torn last line",
    *(f"{CHECKPOINTS[0]}: {kind}" for kind in ("cut", "noise", "empty", "missing", "a pipe")),
    *(kind for kind in KINDS if kind.startswith(CHECKPOINTS[0]) and "flipped bit" in kind),
    *(kind for kind in KINDS if kind.startswith(HARMLESS) and not kind.endswith("a folder")),
)


@pytest.fixture
def damaged(request: pytest.FixtureRequest, whole: Path, tmp_path: Path) -> Iterator[Path]:
    """A damaged copy of the run, in its own home folder."""
    folder = tmp_path / "runs" / RUN_ID
    shutil.copytree(whole, folder)
    name, act = KINDS[request.param]
    act(folder / name)
    yield folder
    if folder.is_dir():
        shutil.rmtree(folder)


every_kind = pytest.mark.parametrize("damaged", KINDS, indirect=True)


def clear(message: str, folder: Path) -> None:
    """Check that a message is one line that fits on a page, without a path of the server."""
    assert 0 < len(message) < 300
    assert "\n" not in message.strip()
    assert str(folder.parent) not in message


@contextlib.contextmanager
def told_clearly(folder: Path) -> Iterator[None]:
    """A context in which every error must be an InputError with a clear message."""
    try:
        yield
    except InputError as error:
        clear(str(error), folder)
        raise


@pytest.fixture(scope="module")
def idle() -> Iterator[Engine]:
    """An engine that never has a cluster: everything that needs no worker works."""

    def refuse(address: str, **options: object) -> None:
        raise OSError(f"nobody answers at {address}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distributed.Client", refuse)
        engine = Engine(Settings(scheduler="tcp://nowhere:1"))
        yield engine
        engine.close()


@every_kind
def test_everything_that_is_read_is_undamaged_or_reported(
    damaged: Path, idle: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tested for the folder, a follower of the run, the engine, the quota and the address of the newest curves."""
    monkeypatch.setenv("RNNVIZ_HOME", str(damaged.parent.parent))
    monkeypatch.setattr("rnnviz.ui.run_view.engine", lambda: idle)
    run = Run(damaged)
    frame = Frame("train", "zh", translator("zh"))
    for read in (
        lambda: Run.find(RUN_ID),
        lambda: run.corpus,
        run.status,
        run.reports,
        run.reports_size,
        lambda: Follower(run).story(),
        run.recording,
        lambda: [run.recording(name) for name in run.recording_steps()],
        lambda: [run.load_checkpoint(name) for name in run.checkpoint_steps()],
        lambda: execution.load_model(run),
        lambda: idle.view(RUN_ID),
        lambda: newest_curves(frame, RUN_ID, 0, "moving"),
    ):
        with contextlib.suppress(InputError), told_clearly(damaged):
            read()
    make_room(10**6, ())


@every_kind
def test_a_run_goes_on_or_says_why_not(
    request: pytest.FixtureRequest, damaged: Path, uninterrupted: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it goes on, it reports what it would have reported undamaged."""
    kind = request.node.callspec.params["damaged"]
    if kind in MENDED:
        assert execution.advance(str(damaged), STEPS).finished
        assert Run(damaged).reports() == uninterrupted
    else:
        with contextlib.suppress(InputError), told_clearly(damaged):
            assert execution.advance(str(damaged), STEPS).step == STEPS


@every_kind
@pytest.mark.parametrize("command", ["generate", "gates"])
def test_the_command_answers_with_one_line(
    damaged: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It does what it can with what is left, or ends with exit code 2."""
    arguments = {
        "generate": ["--prefix", "ab", "--length", "3"],
        "gates": ["--text", "ab", "--out", str(damaged.parent / "out.npz")],
    }[command]
    monkeypatch.setattr(sys, "argv", ["rnnviz", command, str(damaged), *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    output = capsys.readouterr()
    if ended.value.code:
        assert ended.value.code == 2
        assert len(output.err.splitlines()) == 1
        assert output.err.startswith("rnnviz: ")
    else:
        assert output.err == ""


@pytest.mark.hostile
@pytest.mark.parametrize("page", ["train", "rnn"])
@pytest.mark.parametrize("name", [*JSON_FILES, "reports.jsonl", CHECKPOINTS[0], RECORDINGS[0], "attempts", *FOLDERS])
def test_pages_show_the_run_or_say_why_not(
    name: str,
    page: str,
    whole: Path,
    tmp_path: Path,
    engine: IdleEngine,
    idle: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tested for the page that trained it, with its button to resume, and a chapter that reads a visitor's model."""
    for method in ("view", "resume", "watch", "pause", "call", "compute"):
        setattr(engine, method, getattr(idle, method, None))
    app = open_app(page)
    wrong = {}
    for i, (kind, (_, act)) in enumerate((k, v) for k, v in KINDS.items() if v[0] == name):
        monkeypatch.setenv("RNNVIZ_HOME", str(tmp_path / str(i)))
        run_id = f"{i:020x}"
        folder = tmp_path / str(i) / "runs" / run_id
        shutil.copytree(whole, folder)
        act(folder / name)
        app.query_params["run"] = run_id
        app.session_state["model"] = "own"
        app.run()
        if app.exception:
            wrong[kind] = app.exception[0].message
        for error in app.error:
            clear(error.value, folder)
        if any(button.key == "resume" for button in app.button):
            app.button(key="resume").click().run()
            if app.exception:
                wrong[f"{kind}, resumed"] = app.exception[0].message
    assert wrong == {}


def test_every_flipped_bit_of_a_checkpoint_is_found(whole: Path, tmp_path: Path) -> None:
    """One bit of each byte is flipped: the file still has the numbers written, or is reported as damaged."""
    run = Run(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    data = (whole / CHECKPOINTS[2]).read_bytes()
    run.checkpoint_path(4).write_bytes(data)
    expected = run.load_checkpoint(4)
    found = 0
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        run.checkpoint_path(4).write_bytes(changed)
        try:
            seen = run.load_checkpoint(4)
        except InputError:
            found += 1
            continue
        assert seen.meta == expected.meta
        assert {k: v.tobytes() for k, v in seen.arrays.items()} == {k: v.tobytes() for k, v in expected.arrays.items()}
    assert found > 0.9 * len(data)


def test_the_previous_checkpoint_replaces_a_damaged_one(whole: Path) -> None:
    """It belongs to an earlier step, and everyone who looks at the run sees it as well."""
    run = Run(whole)
    assert run.load_checkpoint().meta["step"] == HALFWAY
    assert run.load_checkpoint("previous").meta["step"] == HALFWAY - 2
