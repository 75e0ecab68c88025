"""Following a run: a growing story, read once for all who watch."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from rnnviz.config import ModelConfig, Sampling, TrainConfig
from rnnviz.errors import InputError
from rnnviz.nn.training import Trainer
from rnnviz.runs import follower
from rnnviz.runs.folder import Run
from rnnviz.runs.follower import REFRESH_SECONDS, Follower
from rnnviz.runs.reports import EpochReport, FailureReport, PredictionReport, Report, StepReport, is_stored
from rnnviz.text.corpora import Corpus

CONFIG = TrainConfig(ModelConfig(hidden_size=2), batch_size=2, num_steps=5, epochs=3)
CORPUS = Corpus("test", "abcdefg" * 7, "abc")
PREDICTION = PredictionReport(4, 1, "ab", "abcd")
FAILURE = FailureReport(9, 3, "{what} broke", {"what": "it"})


def step(number: int) -> StepReport:
    return StepReport(number, 1, 1.5, 10, 0.5, 0.01, {"W_hq": 0.25})


def epoch(number: int) -> EpochReport:
    return EpochReport(4 * number, number, 3.5, 9.0, 1.0, 0.5, 0.01, 1000.0, 0.5)


@dataclass
class Clock:
    """Stands in for `time`; a test moves it."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def tick(self, seconds: float = 2 * REFRESH_SECONDS) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(follower, "time", clock)
    return clock


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("RNNVIZ_HOME", str(tmp_path))
    return Run.create(CONFIG, CORPUS)


def test_a_story_begins_empty(run: Run, clock: Clock) -> None:
    """Before the first report it has nothing, which is not an error."""
    story = Follower(run).story()
    assert (len(story.norms), story.epochs, story.predictions) == (0, (), ())
    assert (story.failure, story.steps_per_second, story.version) == (None, None, 0)


def test_a_story_grows_with_the_reports(run: Run, clock: Clock) -> None:
    """Each kind of report is in its place and in order; an older story is not changed."""
    follower = Follower(run)
    run.append([step(1), step(2)])
    first = follower.story()
    clock.tick()
    run.append([step(3), step(4), epoch(1), PREDICTION, FAILURE])
    second = follower.story()
    assert first.norms.step.tolist() == [1, 2]
    assert second.norms.step.tolist() == [1, 2, 3, 4]
    assert (second.epochs, second.predictions, second.failure) == ((epoch(1),), (PREDICTION,), FAILURE)
    assert (first.epochs, first.failure) == ((), None)
    clock.tick()
    assert follower.story().failure == FAILURE


def test_norms_are_those_of_the_reports(run: Run, clock: Clock) -> None:
    """They are the global norms of every step before and after clipping; a report's other numbers are not kept."""
    follower, told = Follower(run), []
    for number in range(1, 6):
        told.append(step(number))
        run.append(told[-1:])
        clock.tick()
        norms = follower.story().norms
        assert norms.before.tolist() == [report.norm_before for report in told]
        assert norms.after.tolist() == [report.norm_after for report in told]


def test_the_version_changes_only_with_the_reports(run: Run, clock: Clock) -> None:
    """A picture made of one version stays valid until there is another."""
    follower = Follower(run)
    versions = []
    for told in ([], [step(1)], [], [], [step(2)], []):
        run.append(told)
        clock.tick()
        versions.append(follower.story().version)
    assert versions[0] < versions[1] == versions[2] == versions[3] < versions[4] == versions[5]


def test_a_late_follower_tells_the_same_story(run: Run, clock: Clock) -> None:
    """After any number of readings, everything but the speed is as if it were read at once."""
    early = Follower(run)
    for number in range(1, 9):
        run.append([step(number), *([epoch(number // 4)] if number % 4 == 0 else [])])
        clock.tick()
        story = early.story()
    late = Follower(run).story()
    assert [numbers.tolist() for numbers in vars(story.norms).values()] == [
        numbers.tolist() for numbers in vars(late.norms).values()
    ]
    assert replace(story, steps_per_second=None, norms=late.norms) == replace(late, steps_per_second=None)


def test_reading_is_throttled(run: Run, clock: Clock) -> None:
    """However often the story is asked for, the folder is read once in REFRESH_SECONDS."""
    follower = Follower(run)
    story = follower.story()
    run.append([step(1)])
    for _ in range(9):
        clock.tick(REFRESH_SECONDS / 10)
        assert follower.story() is story
    clock.tick(REFRESH_SECONDS / 5)
    assert len(follower.story().norms) == 1


def test_many_viewers_read_each_byte_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With thirty threads and one follower, what is read has no gap or overlap, and all see all of it."""
    read: list[tuple[int, int]] = []
    original = Run.report_batches

    def counted(run: Run, offset: int) -> Iterator[tuple[list[Report], int]]:
        for reports, end in original(run, offset):
            read.append((offset, end))
            offset = end
            yield reports, end

    monkeypatch.setattr(Run, "report_batches", counted)
    follower = Follower(run)
    done = threading.Event()
    seen: list[list[int]] = [[] for _ in range(30)]

    def watch(lengths: list[int]) -> None:
        while not done.is_set():
            lengths.append(len(follower.story(max_age=0).norms))
            done.wait(0.002)
        lengths.append(len(follower.story(max_age=0).norms))

    threads = [threading.Thread(target=watch, args=(lengths,)) for lengths in seen]
    for thread in threads:
        thread.start()
    for number in range(1, 101):
        run.append([step(number)])
    done.set()
    for thread in threads:
        thread.join(30)
    assert all(lengths[-1] == 100 and lengths == sorted(lengths) for lengths in seen)
    assert follower.story(max_age=0).norms.step.tolist() == list(range(1, 101))
    assert read[0][0] == 0
    assert all(after[0] == before[1] for before, after in pairwise(read))
    assert read[-1][1] == run.reports_size()


def test_a_long_run_is_read_in_parts(run: Run, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the parts are cut, even within a line or a character, nothing is lost or reported twice."""
    told = [report for n in range(1, 40) for report in (step(n), PredictionReport(n, n, "分", f"分开 {n}"))]
    run.append(told)
    with (run.folder / "reports.jsonl").open("ab") as file:
        file.write(b'{"kind": "st')
    whole = Follower(run).story()
    for size in (1, 7, 100, 1000):
        monkeypatch.setattr("rnnviz.runs.folder._BATCH_BYTES", size)
        assert run.reports() == told
        story = Follower(run).story()
        assert (story.version, story.step, story.predictions) == (whole.version, 39, whole.predictions)
        assert story.norms.step.tolist() == list(range(1, 40))


def test_a_long_run_takes_no_more_memory_than_a_short_one(
    run: Run, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers of norms and texts are bounded; peaks of the norm are kept, and so is the last step."""
    monkeypatch.setattr("rnnviz.runs.follower.MAX_NORMS", 100)
    monkeypatch.setattr("rnnviz.runs.follower.MAX_PREDICTIONS", 10)
    follower = Follower(run)
    for first in range(1, 1000, 37):
        numbers = range(first, first + 37)
        run.append(replace(step(n), norm_before=50.0 if n == 501 else 1.0) for n in numbers)
        run.append(PredictionReport(n, n, "a", "ab") for n in numbers)
        clock.tick()
        story = follower.story()
        assert len(story.norms) <= 100
        assert story.step == numbers[-1]
    assert story.norms.step[story.norms.before.argmax()] == 501
    assert (np.diff(story.norms.step) > 0).all()
    assert [p.step for p in story.predictions] == list(range(990, 1000))


# The mean of exponentials


def mean_of_exponentials(reports: Sequence[Report]) -> float | None:
    """Of the last epoch that has ended, computed directly."""
    ended = max((report.epoch for report in reports if isinstance(report, EpochReport)), default=0)
    losses = [report.loss for report in reports if isinstance(report, StepReport) and report.epoch == ended]
    return float(np.exp(losses).mean()) if ended else None


def trained(sampling: Sampling = "sequential") -> list[Report]:
    trainer = Trainer(replace(CONFIG, sampling=sampling), CORPUS)
    return trainer.advance(trainer.total_steps)


@pytest.mark.parametrize("sampling", ["sequential", "random"])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_the_mean_of_exponentials_is_that_of_the_last_epoch(
    run: Run, clock: Clock, sampling: Sampling, size: int
) -> None:
    """Wherever the reading stops and goes on; it is larger than the perplexity, which is exp of the mean."""
    follower, told = Follower(run), trained(sampling)
    for first in range(0, len(told), size):
        run.append(told[first : first + size])
        clock.tick()
        mean = follower.story().mean_of_exponentials
        expected = mean_of_exponentials(told[: first + size])
        assert mean == (None if expected is None else pytest.approx(expected, rel=1e-12))
    assert mean is not None
    assert mean > follower.story().epochs[-1].perplexity
    assert Follower(run).story().mean_of_exponentials == mean


def test_an_epoch_whose_steps_are_not_all_reported_has_no_mean(
    run: Run, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reports of steps become sparser in a long run, and some runs ship without them: no number is better than a wrong
    one."""
    monkeypatch.setattr("rnnviz.runs.reports._ALL_STEPS", 8)
    follower, means = Follower(run), []
    for report in trained():
        if is_stored(report):
            run.append([report])
        clock.tick()
        if isinstance(report, EpochReport):
            means.append(follower.story().mean_of_exponentials)
    assert [mean is None for mean in means] == [False, False, True]
    without = Run.create(CONFIG, CORPUS)
    without.append(report for report in trained() if not isinstance(report, StepReport))
    assert Follower(without).story().mean_of_exponentials is None


def test_an_exponential_that_is_too_large_is_infinite(run: Run, clock: Clock) -> None:
    """exp(1000) is no float."""
    steps = [replace(step(number), loss=1000.0 if number == 3 else 1.5) for number in range(1, 5)]
    run.append([*steps, epoch(1)])
    assert Follower(run).story().mean_of_exponentials == np.inf


# Speed


def speeds(run: Run, clock: Clock, moves: Sequence[tuple[float, int]]) -> list[float | None]:
    """The measured speeds after moves of (seconds that pass, steps that were taken)."""
    follower, number, measured = Follower(run), 0, []
    for seconds, count in moves:
        clock.tick(seconds)
        run.append([step(number + i + 1) for i in range(count)])
        number += count
        measured.append(follower.story().steps_per_second)
    return measured


def test_speed_is_steps_per_second_of_real_time(run: Run, clock: Clock) -> None:
    """It is measured from the second reading that brought steps."""
    assert speeds(run, clock, [(1, 0), (1, 7), (1, 10), (0.5, 5)]) == [None, None, 10, 10]


def test_speed_is_that_of_the_last_seconds(run: Run, clock: Clock) -> None:
    """Ten seconds after a run became slower, only the slower speed is left."""
    measured = speeds(run, clock, [(1, 100)] * 10 + [(1, 10)] * 10)
    assert measured[9] == pytest.approx(100)
    assert measured[-1] == pytest.approx(10)


def test_a_pause_is_not_part_of_the_speed(run: Run, clock: Clock) -> None:
    """While nothing moves the last speed is shown, and after a minute of it the measurement starts again."""
    measured = speeds(run, clock, [(1, 10), (1, 10), (1, 10), *[(10, 0)] * 6, (1, 20), (1, 20), (1, 20)])
    assert measured == [None, 10, 10, *[10] * 6, 10, 20, 20]


# Damage


def test_an_unfinished_line_is_read_when_it_is_complete(run: Run, clock: Clock) -> None:
    """A reader may come in the middle of a write."""
    follower = Follower(run)
    run.append([step(1), step(2)])
    path = run.folder / "reports.jsonl"
    whole = path.read_bytes()
    for size, count in ((0, 0), (5, 0), (len(whole) // 2 + 3, 1), (len(whole) - 1, 1), (len(whole), 2)):
        path.write_bytes(whole[:size])
        clock.tick()
        assert len(follower.story().norms) == count


def test_a_garbage_line_is_reported_each_time(run: Run, clock: Clock) -> None:
    """It is still reported at the second look."""
    follower = Follower(run)
    run.append([step(1)])
    follower.story()
    with (run.folder / "reports.jsonl").open("ab") as file:
        file.write(b"garbage\n")
    for _ in range(3):
        clock.tick()
        with pytest.raises(InputError, match="reports are damaged"):
            follower.story()


def test_a_deleted_folder_is_reported(run: Run, clock: Clock) -> None:
    """The error is an InputError, which a page can show."""
    follower = Follower(run)
    follower.story()
    shutil.rmtree(run.folder)
    clock.tick()
    with pytest.raises(InputError, match="reports cannot be read"):
        follower.story()


@pytest.mark.parametrize("name", ["config.json", "corpus.json"])
def test_a_run_that_cannot_be_read_is_not_followed(run: Run, name: str) -> None:
    """The error names the file."""
    (run.folder / name).write_text("{")
    with pytest.raises(InputError, match=name):
        Follower(Run(run.folder))


@pytest.mark.parametrize("sampling", ["sequential", "random"])
@pytest.mark.parametrize(("batch_size", "num_steps"), [(1, 1), (2, 5), (3, 4), (4, 11)])
def test_a_follower_counts_as_the_trainer_does(
    tmp_path: Path, sampling: Sampling, batch_size: int, num_steps: int
) -> None:
    """It counts the steps of an epoch and of the run in a process without torch."""
    config = replace(CONFIG, sampling=sampling, batch_size=batch_size, num_steps=num_steps)
    follower, trainer = Follower(Run.create(config, CORPUS, tmp_path / "run")), Trainer(config, CORPUS)
    assert (follower.steps_per_epoch, follower.total_steps) == (trainer.steps_per_epoch, trainer.total_steps)
