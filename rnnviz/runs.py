"""A run on disk: one folder that the page, the command and a notebook all read.

    config.json            what the run was told
    corpus.json            the text it learns and the text held out
    status.json            queued, running, paused, finished, stopped or failed, and why
    attempts               while a task trains: as many bytes as workers tried it
    lock                   held by the process that trains
    reports.jsonl          what it told, one JSON object a line, only ever appended to
    checkpoints/           <step>.safetensors at log-spaced steps, and latest.safetensors
    recordings/            <step>.npz at the same steps, and latest.npz

Every file but the reports is written beside its place and moved into it, so a reader never sees
half of one; a reader of the reports leaves an unfinished last line alone. Nothing is pickled.
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Literal, cast, get_args

import platformdirs
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from rnnviz.config import TrainConfig
from rnnviz.errors import InputError
from rnnviz.recording import Trace
from rnnviz.reports import Checkpoint, Report, from_json, to_json
from rnnviz.text import Corpus

try:
    import fcntl
except ImportError:  # Windows: there the embedded cluster alone keeps a run's tasks apart
    fcntl = None  # type: ignore[assignment]

State = Literal["queued", "running", "paused", "finished", "stopped", "failed"]
LATEST = "latest"
_FORMAT = 1
_ATTEMPTS = "attempts"
_LOCK = "lock"
_RUN_ID = re.compile(r"[0-9a-f]{20}")


def home() -> Path:
    """The folder of everything rnnviz keeps: $RNNVIZ_HOME, or the user's data folder."""
    return Path(os.environ.get("RNNVIZ_HOME") or platformdirs.user_data_dir("rnnviz")).expanduser()


def is_milestone(step: int) -> bool:
    """Whether a checkpoint and a recording of this step are kept: steps spaced by a factor of 1.5.

    0, 1, 2, 3, 4, 6, 8, 12, 18, …: dense at the start, where training changes most.
    """
    return step < 2 or int(math.log(step, 1.5)) != int(math.log(step - 1, 1.5))


@dataclass(frozen=True)
class Status:
    """Where a run stands; `message` with `values` is the reason where there is one."""

    state: State
    message: str = ""
    values: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Progress:
    """What a task answers: where the run stands, and how long the task took in seconds.

    `lost` counts the attempts at it that died with their worker.
    """

    step: int
    total_steps: int
    seconds: float
    failure: Status | None = None
    lost: int = 0

    @property
    def finished(self) -> bool:
        return self.failure is not None or self.step >= self.total_steps


class Run:
    """A run's folder. Making the object reads nothing; `open` checks that there is a run."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @property
    def id(self) -> str:
        return self.folder.name

    @staticmethod
    def create(config: TrainConfig, corpus: Corpus, folder: Path | None = None) -> Run:
        """A new run, in `folder` or under an id that cannot be guessed in the home folder.

        Raises InputError where the folder exists and is not empty, or cannot be written.
        """
        run = Run(folder or home() / "runs" / secrets.token_hex(10))
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
            if any(run.folder.iterdir()):
                raise InputError("{folder} is not empty; a run needs a new or an empty folder", folder=run.folder)
            (run.folder / "checkpoints").mkdir()
            (run.folder / "recordings").mkdir()
            (run.folder / "reports.jsonl").touch()
            _write_json(run.folder / "corpus.json", asdict(corpus))
            run.set_status(Status("queued"))
            _write_json(run.folder / "config.json", {"format": _FORMAT, **config.to_json()})
        except OSError as error:
            raise InputError(
                "{folder} cannot be written: {reason}", folder=run.folder, reason=error.strerror or error
            ) from error
        return run

    @staticmethod
    def find(run_id: str) -> Run:
        """The run of this id in the home folder. Raises InputError where there is none."""
        if not _RUN_ID.fullmatch(run_id):
            raise InputError("{run_id!r} is not the id of a run", run_id=run_id[:40])
        return Run.open(home() / "runs" / run_id)

    @staticmethod
    def open(folder: str | Path) -> Run:
        """The run in a folder. Raises InputError where there is none, or its configuration is damaged."""
        run = Run(folder)
        if not (run.folder / "config.json").is_file():
            raise InputError("{folder} is not the folder of a run: it has no config.json", folder=folder)
        _ = run.config
        return run

    @cached_property
    def config(self) -> TrainConfig:
        values = _read_json(self.folder / "config.json")
        version = values.pop("format", None)
        if version != _FORMAT:
            raise InputError(
                "the run in {folder} has format {version}; this version of rnnviz reads format {expected}",
                folder=self.folder,
                version=version,
                expected=_FORMAT,
            )
        return TrainConfig.from_json(values)

    @cached_property
    def corpus(self) -> Corpus:
        values = _read_json(self.folder / "corpus.json")
        for key in ("name", "training", "held_out"):
            if not isinstance(values.get(key), str):
                raise InputError("corpus.json of the run lacks {key}", key=key)
        return Corpus(values["name"], values["training"], values["held_out"])

    def status(self) -> Status:
        values = _read_json(self.folder / "status.json")
        state = values.get("state")
        if state not in get_args(State):
            raise InputError("status.json of the run is damaged: its state is {state!r}", state=state)
        return Status(cast("State", state), values.get("message", ""), values.get("values"))

    def set_status(self, status: Status) -> None:
        _write_json(self.folder / "status.json", asdict(status))

    def reports(self) -> list[Report]:
        """Every report so far."""
        return self.reports_since(0)[0]

    def reports_since(self, offset: int) -> tuple[list[Report], int]:
        """The reports that follow a byte offset, and the offset after them: how a page follows a run.

        Raises InputError where a line is not a report.
        """
        try:
            with (self.folder / "reports.jsonl").open("rb") as file:
                file.seek(offset)
                data = file.read()
        except OSError as error:
            raise InputError("the run's reports cannot be read: {reason}", reason=error.strerror or error) from error
        complete = data[: data.rfind(b"\n") + 1]
        try:
            return [from_json(json.loads(line)) for line in complete.splitlines()], offset + len(complete)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError("the run's reports are damaged: {reason}", reason=error) from error

    def append(self, reports: Iterable[Report]) -> None:
        """Add reports in one write."""
        lines = "".join(json.dumps(to_json(r), ensure_ascii=False, allow_nan=False) + "\n" for r in reports)
        if lines:
            with (self.folder / "reports.jsonl").open("ab") as file:
                file.write(lines.encode())

    def last_change(self) -> float:
        """When the run last told something, in seconds since the epoch."""
        return max((self.folder / name).stat().st_mtime for name in ("reports.jsonl", "status.json"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time trains a run; another waits. The lock goes with its process, however that ends."""
        with (self.folder / _LOCK).open("w") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def begin_attempt(self) -> int:
        """Note that a task begins. Returns how many began before it and never ended: their worker died."""
        lost = self.attempts()
        (self.folder / _ATTEMPTS).write_bytes(b"." * (lost + 1))
        return lost

    def attempts(self) -> int:
        """How many tasks have begun since the last one that ended."""
        try:
            return (self.folder / _ATTEMPTS).stat().st_size
        except OSError:
            return 0

    def end_attempts(self) -> None:
        """Note that a task has ended, or that the lost ones are accounted for."""
        (self.folder / _ATTEMPTS).unlink(missing_ok=True)

    def reports_size(self) -> int:
        return (self.folder / "reports.jsonl").stat().st_size

    def count_reports(self) -> int:
        """How many whole reports there are; cuts off a last line that a crash left unfinished."""
        path = self.folder / "reports.jsonl"
        data = path.read_bytes()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            os.truncate(path, end)
        return data.count(b"\n")

    def save_checkpoint(self, checkpoint: Checkpoint, name: str | int = LATEST) -> None:
        data = to_safetensors(dict(checkpoint.arrays), metadata={"meta": json.dumps(dict(checkpoint.meta))})
        write_atomically(self.checkpoint_path(name), data)

    def checkpoint_path(self, name: str | int = LATEST) -> Path:
        return self.folder / "checkpoints" / f"{name}.safetensors"

    def load_checkpoint(self, name: str | int = LATEST) -> Checkpoint:
        """A checkpoint by its step, or the latest. Raises InputError where it is missing or damaged."""
        path = self.checkpoint_path(name)
        if not path.is_file():
            raise InputError("the run has no checkpoint {name}", name=name)
        try:
            with safe_open(str(path), framework="np") as file:
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a dictionary
                return Checkpoint(arrays, json.loads(file.metadata()["meta"]))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise InputError("the checkpoint {name} is damaged: {reason}", name=path.name, reason=error) from error

    def checkpoint_steps(self) -> list[int]:
        return _steps(self.folder / "checkpoints")

    def save_recording(self, trace: Trace, name: str | int = LATEST) -> None:
        write_atomically(self.recording_path(name), trace.to_bytes())

    def recording_path(self, name: str | int = LATEST) -> Path:
        return self.folder / "recordings" / f"{name}.npz"

    def recording(self, name: str | int = LATEST) -> Trace | None:
        """A recording by its step, or the latest; None where nothing was recorded yet."""
        try:
            with self.recording_path(name).open("rb") as file:
                return Trace.load(file)
        except FileNotFoundError:
            return None

    def recording_steps(self) -> list[int]:
        return _steps(self.folder / "recordings")


def _steps(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob("*.*") if path.stem.isdecimal())


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    with NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    temporary.replace(path)


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    write_atomically(path, json.dumps(dict(values), ensure_ascii=False, indent=1).encode())


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises InputError where it is missing or damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("{file} of the run cannot be read: {reason}", file=path.name, reason=error) from error
    if not isinstance(values, dict):
        raise InputError("{file} of the run is damaged: it is not an object", file=path.name)
    return values
