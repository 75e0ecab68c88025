"""A run on disk: one folder that the page, the command and a notebook all read.

    config.json            its configuration
    corpus.json            the training text and the text held out
    status.json            queued, running, paused, finished, stopped or failed, and why
    attempts               while a task trains: one byte for each worker that tried it
    lock                   held by the process that trains
    driver                 locked by the process that drives the run: an engine, or the command
    reports.jsonl          its reports, one JSON object per line, only ever appended to
    checkpoints/           <step>.safetensors at log-spaced steps; best.safetensors, of the epoch with the lowest
                           held-out perplexity so far; latest.safetensors, and the one before it
    recordings/            <step>.npz at the same steps, and latest.npz

Every file but the reports is written under another name and then moved into place, so readers never
see half a file. Readers of the reports ignore an unfinished last line. Nothing is pickled.

A disk may damage any of these files. Checkpoints have a checksum, and so do recordings, as zip files.
A file that cannot be read raises InputError.
"""

from __future__ import annotations

import errno
import io
import json
import logging
import math
import os
import re
import secrets
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, BinaryIO, Literal, cast, get_args

import numpy as np
import platformdirs
from filelock import BaseFileLock, FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from rnnviz.config import TrainConfig
from rnnviz.errors import HostError, InputError
from rnnviz.runs.recording import Trace
from rnnviz.runs.reports import Checkpoint, EpochReport, Report, from_json, to_json
from rnnviz.text.corpora import Corpus
from rnnviz.text.sampling import check_length

State = Literal["queued", "running", "paused", "finished", "stopped", "failed"]
CheckpointName = Literal["latest", "best"]
LATEST: CheckpointName = "latest"
BEST: CheckpointName = "best"
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_PREVIOUS = "previous"
_FORMAT = 2
_READABLE = (1, 2)
_BATCH_BYTES = 4 * 2**20  # of reports read at a time
_ATTEMPTS = "attempts"
_LOCK = "lock"
_DRIVER = "driver"
_PRIVATE = 0o700  # not readable by other accounts of the machine
_CLAIM_SECONDS = 1.0  # longer than `is_driven` holds the lock
_RUN_ID = re.compile(r"[0-9a-f]{20}")
_LONE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # an escape that may encode half a character
_log = logging.getLogger(__name__)


def home() -> Path:
    """The folder for everything that rnnviz stores: $RNNVIZ_HOME, or the user's data folder."""
    return Path(os.environ.get("RNNVIZ_HOME") or platformdirs.user_data_dir("rnnviz")).expanduser()


def all_runs() -> list[Run]:
    """Every run in the home folder. Other files there are ignored."""
    try:
        folders = [path for path in (home() / "runs").iterdir() if _RUN_ID.fullmatch(path.name)]
    except OSError:
        return []
    return [Run(folder) for folder in folders if not folder.is_symlink() and _is_run(folder)]


def _is_run(folder: Path) -> bool:
    """Whether a folder holds a run, possibly a damaged one."""
    return any((folder / name).is_file() for name in ("config.json", "status.json", "reports.jsonl"))


def is_milestone(step: int) -> bool:
    """Whether a checkpoint and a recording of this step are kept.

    Such steps are spaced by a factor of 1.5: 0, 1, 2, 3, 4, 6, 8, 12, 18, … They are dense at the start, where
    training changes most.
    """
    return step < 2 or int(math.log(step, 1.5)) != int(math.log(step - 1, 1.5))


@dataclass(frozen=True)
class Status:
    """The state of a run, and the reason for it, if any: `message` filled in with `values`."""

    state: State
    message: str = ""
    values: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Progress:
    """The result of a task: the run's position, and how long the task took in seconds.

    `finished` says whether all reports are written, `trained` how many seconds the run has trained so far.
    `lost` counts the attempts at the task that died with their worker.
    """

    step: int
    seconds: float
    finished: bool
    trained: float
    failure: Status | None = None
    lost: int = 0


class Run:
    """A run's folder. Creating the object reads nothing; `open` checks that there is a run."""

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
            if folder is None:
                run.folder.parent.mkdir(parents=True, exist_ok=True, mode=_PRIVATE)
            run.folder.mkdir(parents=True, exist_ok=True, mode=_PRIVATE)
            if any(run.folder.iterdir()):
                raise InputError("{folder} is not empty; a run needs a new or an empty folder", folder=run.folder)
            with run.starting():
                (run.folder / "checkpoints").mkdir()
                (run.folder / "recordings").mkdir()
                (run.folder / "reports.jsonl").touch()
                _write_json(run.folder / "corpus.json", asdict(corpus))
                run.set_status(Status("queued"))
                _write_json(run.folder / "config.json", {"format": _FORMAT, **config.to_json()})
        except OSError as error:
            name = folder or run.id  # pages must not show where on the server that is
            reason = error.strerror or error
            if error.errno in DISK_FULL:
                raise HostError("{folder} cannot be written: {reason}", folder=name, reason=reason) from error
            raise InputError("{folder} cannot be written: {reason}", folder=name, reason=reason) from error
        return run

    @contextmanager
    def starting(self) -> Iterator[None]:
        """A context for starting a run: an error inside removes the folder, so that no half-made run remains."""
        try:
            yield
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    @staticmethod
    def find(run_id: str) -> Run:
        """The run of this id in the home folder. Raises InputError where there is none."""
        if not _RUN_ID.fullmatch(run_id):
            raise InputError("{run_id!r} is not the id of a run", run_id=run_id[:40])
        folder = home() / "runs" / run_id
        if not os.path.isdir(folder):  # also False without permission to look
            raise InputError("there is no run {run_id}", run_id=run_id)
        return Run.open(folder)

    @staticmethod
    def open(folder: str | Path) -> Run:
        """The run in a folder. Raises InputError where there is none, or its configuration is damaged."""
        run = Run(folder)
        if not os.path.isfile(run.folder / "config.json"):
            name = run.folder.name or run.folder  # pages show this, and must not show where on the server that is
            raise InputError("{folder} is not the folder of a run: it has no config.json", folder=name)
        _ = run.config
        return run

    @cached_property
    def config(self) -> TrainConfig:
        values = _read_json(self.folder / "config.json")
        version = values.pop("format", None)
        if version not in _READABLE:
            raise InputError(
                "the run {run} has format {version}; this version of rnnviz reads format {expected}",
                run=self.folder.name,
                version=version,
                expected=_FORMAT,
            )
        if version == 1:
            values = _from_format_1(values)
        return TrainConfig.from_json(values)

    @cached_property
    def corpus(self) -> Corpus:
        """The run's text. Raises InputError if it is missing, damaged, or too short for the configuration."""
        values = _read_json(self.folder / "corpus.json")
        for key in ("name", "training", "held_out"):
            if not isinstance(values.get(key), str):
                raise InputError("corpus.json of the run lacks {key}", key=key)
        config, length = self.config, len(values["training"])
        check_length(config.sampling, length, config.batch_size, config.num_steps)
        return Corpus(values["name"], values["training"], values["held_out"])

    def status(self) -> Status:
        """The run's status. Raises InputError if the file is missing or damaged."""
        values = _read_json(self.folder / "status.json")
        state, message, reason = values.get("state"), values.get("message", ""), values.get("values")
        if state not in get_args(State):
            raise InputError("status.json of the run is damaged: its state is {state!r}", state=state)
        try:
            InputError(message, **(reason or {}))  # as a page will do
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise InputError("status.json of the run is damaged: {reason}", reason=error) from error
        return Status(cast("State", state), message, reason)

    def set_status(self, status: Status) -> None:
        _write_json(self.folder / "status.json", asdict(status))

    def reports(self) -> list[Report]:
        """Every report so far."""
        return self.reports_since(0)[0]

    def reports_since(self, offset: int) -> tuple[list[Report], int]:
        """The reports that follow a byte offset, and the offset after them.

        Raises InputError where a line is not a report.
        """
        reports: list[Report] = []
        end = offset
        for batch, after in self.report_batches(offset):
            reports += batch
            end = after
        return reports, end

    def report_batches(self, offset: int = 0) -> Iterator[tuple[list[Report], int]]:
        """The reports in parts, each with the offset after it, so that a long file is never wholly in memory."""
        with self._open_reports() as file:
            file.seek(offset)
            unfinished = b""
            while data := file.read(_BATCH_BYTES):
                complete, newline, unfinished = (unfinished + data).rpartition(b"\n")
                if newline:
                    offset += len(complete) + 1
                    yield _reports(complete), offset

    def epochs(self, first: int | None = None) -> Iterator[EpochReport]:
        """The reports of epochs alone, which is faster than reading all; those among the `first` reports if given."""
        with self._open_reports() as file:
            for line in islice(file, first):
                if line.startswith(b'{"kind": "epoch"') and line.endswith(b"\n"):
                    yield from cast("list[EpochReport]", _reports(line[:-1]))

    @contextmanager
    def _open_reports(self) -> Iterator[BinaryIO]:
        path = self.folder / "reports.jsonl"
        try:
            _check_is_file(path)
            with path.open("rb") as file:
                yield file
        except OSError as error:
            raise InputError("the run's reports cannot be read: {reason}", reason=error.strerror or error) from error

    def append(self, reports: Iterable[Report]) -> None:
        """Add reports in one write."""
        lines = "".join(json.dumps(to_json(r), ensure_ascii=False, allow_nan=False) + "\n" for r in reports)
        if lines:
            with (self.folder / "reports.jsonl").open("ab") as file:
                file.write(lines.encode())

    def last_change(self) -> float:
        """The time of the last report or change of status, in seconds since the epoch; 0 if the files are missing."""
        return max(map(_changed_at, (self.folder / "reports.jsonl", self.folder / "status.json"))) / 1e9

    @cached_property
    def _driver(self) -> BaseFileLock:
        return FileLock(self.folder / _DRIVER, thread_local=False)

    def claim(self) -> None:
        """Drive the run from this process until `release`, or until the process ends in any way.

        The claims on one Run are counted. Raises InputError where another process drives the run, because
        the two would write its steps twice.
        """
        try:
            self._driver.acquire(timeout=_CLAIM_SECONDS)
        except Timeout:
            raise InputError("another process trains this run; pause it there, or end that process") from None
        except OSError as error:
            raise InputError(
                "{folder} cannot be written: {reason}", folder=self.folder, reason=error.strerror or error
            ) from error

    def release(self) -> None:
        """Give up one claim; after the last, another process may drive the run."""
        self._driver.release()

    @contextmanager
    def driven(self) -> Iterator[None]:
        """A context in which this process drives the run."""
        self.claim()
        try:
            yield
        finally:
            self.release()

    @property
    def is_driven(self) -> bool:
        """Whether some process drives the run, this one or another."""
        lock = FileLock(self.folder / _DRIVER)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return True
        except OSError:
            return False
        lock.release()
        return False

    @contextmanager
    def attempt(self) -> Iterator[int]:
        """A context in which this process trains the run and others wait. The lock ends with the process.

        The value is the number of earlier attempts that never ended because their worker died.
        """
        with FileLock(self.folder / _LOCK):
            lost = self.begin_attempt()
            try:
                yield lost
            finally:
                self.end_attempts()  # while the lock is held: the next attempt would count this one as lost

    def begin_attempt(self) -> int:
        """Record that a task begins. Returns how many earlier ones never ended."""
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
        """Record that a task has ended, or that the lost ones have been counted. Raises InputError where that fails."""
        try:
            (self.folder / _ATTEMPTS).unlink(missing_ok=True)
        except OSError as error:
            raise InputError(
                "{file} of the run cannot be removed: {reason}", file=_ATTEMPTS, reason=error.strerror or error
            ) from error

    def reports_size(self) -> int:
        """The size of the reports in bytes. Raises InputError where they are gone."""
        try:
            return (self.folder / "reports.jsonl").stat().st_size
        except OSError as error:
            raise InputError("the run's reports cannot be read: {reason}", reason=error.strerror or error) from error

    def count_reports(self) -> int:
        """The number of reports; a last line that a crash left unfinished is cut off.

        Raises InputError where a line does not begin as a report does, since the reports after it would be miscounted.
        """
        count = size = 0
        with self._open_reports() as file:
            for line in file:
                if not line.endswith(b"\n"):
                    os.truncate(file.name, size)
                elif not line.startswith(b'{"kind": "'):
                    raise InputError("the run's reports are damaged: {reason}", reason=f"line {count + 1}")
                else:
                    count, size = count + 1, size + len(line)
        return count

    def save_checkpoint(self, checkpoint: Checkpoint, name: str | int = LATEST) -> None:
        """Write a checkpoint. The latest one before it is kept as well, in case the disk damages the new one."""
        meta = json.dumps(dict(checkpoint.meta))
        metadata = {"meta": meta, "crc32": _checksum(checkpoint.arrays, meta)}
        before = self.checkpoint_path(_PREVIOUS) if name == LATEST else None
        write_atomically(self.checkpoint_path(name), to_safetensors(dict(checkpoint.arrays), metadata), before)

    def checkpoint_path(self, name: str | int = LATEST) -> Path:
        return self.folder / "checkpoints" / f"{name}.safetensors"

    def checkpoint_version(self, name: str | int = LATEST) -> int:
        """A number that changes with this checkpoint."""
        return _changed_at(self.checkpoint_path(name))

    @property
    def can_go_on(self) -> bool:
        """Whether there is a checkpoint from which training can continue: the latest, or the one before it."""
        return any(self.checkpoint_path(name).exists() for name in (LATEST, _PREVIOUS))

    def load_checkpoint(self, name: str | int = LATEST) -> Checkpoint:
        """A checkpoint by its step, or the latest one that is undamaged.

        Raises InputError where it is missing or damaged.
        """
        try:
            return self._load_checkpoint(name)
        except InputError as error:
            if name != LATEST or not self.checkpoint_path(_PREVIOUS).is_file():
                raise
            _log.warning("run %s: %s; taking the checkpoint before", self.id, error)
            return self._load_checkpoint(_PREVIOUS)

    def _load_checkpoint(self, name: str | int) -> Checkpoint:
        path = self.checkpoint_path(name)
        if not path.is_file():
            raise InputError("the run has no checkpoint {name}", name=name)
        try:
            with safe_open(str(path), framework="np") as file:
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a dictionary
                metadata = file.metadata()
            meta = _parse(metadata["meta"].encode())
            checksum = _checksum(arrays, metadata["meta"])
            if metadata.get("crc32", checksum) != checksum:  # runs of earlier versions have none
                raise ValueError("its checksum differs")
            if type(meta["step"]) is not int:
                raise TypeError("its step is no number")
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise InputError("the checkpoint {name} is damaged: {reason}", name=path.name, reason=reason) from error
        return Checkpoint(arrays, meta)

    @property
    def has_best(self) -> bool:
        """Whether there is a checkpoint of the best held-out epoch."""
        return self.checkpoint_path(BEST).is_file()

    def checkpoint_steps(self) -> list[int]:
        return _steps(self.folder / "checkpoints")

    def save_recording(self, trace: Trace, name: str | int = LATEST) -> None:
        write_atomically(self.recording_path(name), trace.to_bytes())

    def recording_path(self, name: str | int = LATEST) -> Path:
        return self.folder / "recordings" / f"{name}.npz"

    def recording(self, name: str | int = LATEST) -> Trace | None:
        """A recording by its step, or the latest; None where nothing was recorded yet.

        Raises InputError where it is damaged.
        """
        path = self.recording_path(name)
        return Trace.load(io.BytesIO(_read(path))) if os.path.lexists(path) else None

    def recording_version(self) -> int:
        """A number that changes with the latest recording."""
        return _changed_at(self.recording_path())

    def recording_steps(self) -> list[int]:
        return _steps(self.folder / "recordings")


def _steps(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob("*.*") if path.stem.isdecimal())


def write_atomically(path: Path, data: bytes, before: Path | None = None) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    With `before`, the old content is kept under that name.
    """
    with NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:  # Ctrl-C, too
            temporary.unlink(missing_ok=True)
            raise
    if before is not None:
        with suppress(FileNotFoundError):
            path.replace(before)
    temporary.replace(path)


def _checksum(arrays: Mapping[str, Any], meta: str) -> str:
    """The checksum of a checkpoint, over its arrays, their names, and the position of the run."""
    checksum = zlib.crc32(meta.encode())
    for name in sorted(arrays):
        checksum = zlib.crc32(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode(), checksum)
        checksum = zlib.crc32(np.ascontiguousarray(arrays[name]).data, checksum)
    return f"{checksum:08x}"


def _changed_at(path: Path) -> int:
    """When a file was changed, in nanoseconds since the epoch; 0 if there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    write_atomically(path, json.dumps(dict(values), ensure_ascii=False, indent=1).encode())


def _from_format_1(values: dict[str, Any]) -> dict[str, Any]:
    """Convert a configuration of format 1, which had two kinds of reset; its "after" included the bias b_hn."""
    model = values.get("model")
    if isinstance(model, dict) and model.get("reset") == "after":
        return {**values, "model": {**model, "reset": "after-bias"}}
    return values


def _check_is_file(path: Path) -> None:
    """Raises OSError for a folder, and for a pipe, since reading it might never end."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not a file")


def _read(path: Path) -> bytes:
    """The bytes of a file. Raises InputError where it cannot be read."""
    try:
        _check_is_file(path)
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            "{file} of the run cannot be read: {reason}", file=path.name, reason=error.strerror or error
        ) from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode


def _parse(data: bytes) -> Any:
    """Parse JSON. Raises ValueError for what a run never writes: NaN, lone surrogates, very deep nesting."""
    try:
        values = _decode(data.decode())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if _LONE_SURROGATE.search(data):
        json.dumps(values, ensure_ascii=False).encode()
    return values


def _reports(lines: bytes) -> list[Report]:
    try:
        return [from_json(_parse(line)) for line in lines.split(b"\n")]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError("the run's reports are damaged: {reason}", reason=error) from error


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises InputError where it is missing or damaged."""
    data = _read(path)
    try:
        values = _parse(data)
    except ValueError as error:
        raise InputError("{file} of the run cannot be read: {reason}", file=path.name, reason=error) from error
    if not isinstance(values, dict):
        raise InputError("{file} of the run is damaged: it is not an object", file=path.name)
    return values
