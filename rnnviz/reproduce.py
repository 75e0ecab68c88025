"""Published experiments, trained and reported: what `rnnviz reproduce` does.

    OUT/report.md                    a report in Markdown
    OUT/<experiment>.svg             its curves
    OUT/runs/<experiment>-<seed>/    a run for each experiment and seed

The runs are the only record. Whoever starts again with the same folder and the same settings goes
on from their checkpoints, and gets the numbers of a reproduction that was never interrupted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from rnnviz.analysis import shipped_reproduction
from rnnviz.analysis.published import TABLES, Experiment
from rnnviz.analysis.reproduction import Machine, Outcome, Plan, Result, finite
from rnnviz.config import TrainConfig
from rnnviz.engine.cluster import default_workers
from rnnviz.engine.engine import Engine
from rnnviz.engine.series import train_all
from rnnviz.engine.settings import Settings, step_work
from rnnviz.errors import HostError, InputError
from rnnviz.figures.report import REPORT, reference_values, report_files
from rnnviz.runs.folder import DISK_FULL, Run, write_atomically
from rnnviz.runs.follower import Follower
from rnnviz.text.corpora import corpus_of
from rnnviz.text.ngram import References, references
from rnnviz.text.quotation import Source

AT_ONCE = 2  # runs, each on a worker of one thread


class Reproduction:
    """A plan with its runs, in the folder `out` or, without one, in the home folder like any others.

    Raises InputError where `out` has other files, or runs with other settings or of another text.
    """

    def __init__(self, plan: Plan, out: Path | None = None) -> None:
        self.plan, self._out = plan, out
        self.runs: dict[tuple[Experiment, int], Run] = {}  # those that were begun
        self._followers: dict[tuple[Experiment, int], Follower] = {}
        if out is not None:
            self._find(out)

    def _find(self, out: Path) -> None:
        """Take up the runs that are in the folder."""
        if out.exists() and not (out / "runs").is_dir() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(
                "{folder} is not empty; a reproduction needs a new folder, or the one in which it was begun", folder=out
            )
        for experiment, seed in self._keys():
            folder = self._folder(out, experiment, seed)
            if (folder / "config.json").is_file():
                run = Run.open(folder)
                if run.config != self.plan.config(experiment, seed) or run.corpus != self.plan.corpus:
                    raise InputError(
                        "the run in {folder} has other settings or another text; "
                        "choose a new folder, or the settings with which it was begun",
                        folder=folder,
                    )
                self._add(experiment, seed, run)

    def _folder(self, out: Path, experiment: Experiment, seed: int) -> Path:
        return out / "runs" / f"{experiment.name}-{seed}"

    def _keys(self) -> Iterator[tuple[Experiment, int]]:
        """Every experiment with the first seed, then with the next; those that take longest come first."""
        V = len(self.plan.corpus.vocabulary)
        for seed in self.plan.seeds:
            yield from sorted(
                ((experiment, seed) for experiment in self.plan.experiments),
                key=lambda key: -step_work(self.plan.config(*key), V),
            )

    def _add(self, experiment: Experiment, seed: int, run: Run) -> None:
        self.runs[experiment, seed] = run
        self._followers[experiment, seed] = Follower(run)

    def _unfinished(self) -> Iterator[Run]:
        """The runs that are still to be trained. Each is made only when its turn has come."""
        for experiment, seed in self._keys():
            if (experiment, seed) not in self.runs:
                folder = self._out and self._folder(self._out, experiment, seed)
                self._add(experiment, seed, Run.create(self.plan.config(experiment, seed), self.plan.corpus, folder))
            run = self.runs[experiment, seed]
            if run.status().state != "finished":
                yield run

    def train(self, on_look: Callable[[], None], interrupted: Callable[[], bool]) -> None:
        """Train what is unfinished, two runs at a time, each on one thread, until all is done or interrupted.

        Raises HostError where the host cannot go on, as with a full disk.
        """
        engine = Engine(Settings(workers=min(AT_ONCE, default_workers())))
        try:
            train_all(engine, self._unfinished(), AT_ONCE, on_look=on_look, interrupted=interrupted)
        finally:
            engine.close()

    def progress(self, experiment: Experiment) -> float:
        """The share of an experiment's training that is done, over all its seeds."""
        followers = [self._followers[key] for key in self._followers if key[0] == experiment]
        return sum(f.story().step / f.total_steps for f in followers) / len(self.plan.seeds)

    def work(self, experiment: Experiment) -> int:
        """How long an experiment takes, in the same unit for all."""
        return step_work(self.plan.config(experiment, self.plan.seeds[0]), len(self.plan.corpus.vocabulary))

    @cached_property
    def references(self) -> References:
        """What the held-out perplexities are compared with."""
        return references(self.plan.corpus)

    @cached_property
    def source(self) -> Source:
        """The training text, in which quotations are found."""
        return Source(self.plan.corpus.training)

    def results(self) -> list[Result]:
        """What was reached so far, in the order of the table."""
        return [
            Result(self.plan, experiment, tuple(self._outcomes(experiment))) for experiment in self.plan.experiments
        ]

    def _outcomes(self, experiment: Experiment) -> Iterator[Outcome]:
        for seed in self.plan.seeds:
            if follower := self._followers.get((experiment, seed)):
                yield Outcome.of(seed, follower.story(max_age=0))

    def failures(self) -> dict[tuple[Experiment, int], InputError]:
        """Why runs have failed."""
        statuses = {key: run.status() for key, run in self.runs.items()}
        return {
            key: InputError(status.message, **(status.values or {}))
            for key, status in statuses.items()
            if status.state == "failed"
        }

    def to_json(self) -> list[dict[str, Any]]:
        """What each experiment has reached, with what it takes to judge it."""
        compared = {name: finite(value) for name, value in reference_values(self.references).items()}
        return [
            {
                **result.to_json(),
                "torch": Machine.here().torch,
                "references": compared,
                "predictions": [
                    {"seed": outcome.seed, "prefix": prefix, "text": text, "quoted": self.source.quoted(text).share}
                    for outcome in result.outcomes
                    for prefix, text in outcome.texts.items()
                ],
            }
            for result in self.results()
        ]

    def write_report(self, out: Path) -> Path:
        """Write the report and its curves. Returns its path. Raises InputError where it cannot be written."""
        try:
            for name, text in report_files(self.plan, self.results(), self.references, Machine.here()).items():
                write_atomically(out / name, text.encode())
        except OSError as error:
            kind = HostError if error.errno in DISK_FULL else InputError
            reason = error.strerror or error
            raise kind("{out} cannot be written: {reason}", out=out / REPORT, reason=reason) from error
        return out / REPORT


def ship(plan: Plan, out: Path, path: Path) -> None:
    """Write what the runs in the folder `out` have reached to a file that the app opens on."""
    values = shipped_reproduction.to_json(plan, Reproduction(plan, out).results(), Machine.here())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(values, ensure_ascii=False, allow_nan=False).encode())


if __name__ == "__main__":  # python -m rnnviz.reproduce notes 3 build/reproduction-notes data/reproduction/notes.json
    _table = TABLES[sys.argv[1]]
    _plan = Plan(
        corpus_of(TrainConfig(corpus=_table.corpus)),
        tuple(_table.experiments.values()),
        seeds=tuple(range(int(sys.argv[2]))),
        epochs=_table.epochs,
        table=_table,
    )
    ship(_plan, Path(sys.argv[3]), Path(sys.argv[4]))
