"""A visitor's reproduction: the runs of a table's experiments, a few at a time, for as long as the page is open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from rnnviz.analysis.published import Experiment, Table
from rnnviz.analysis.reproduction import Outcome, Plan, Result
from rnnviz.engine.settings import step_work
from rnnviz.errors import InputError
from rnnviz.runs.folder import Run
from rnnviz.runs.follower import REFRESH_SECONDS
from rnnviz.ui.frame import Frame, engine, settings, show_error, visitor
from rnnviz.ui.live import MOVING, RESUMABLE
from rnnviz.ui.run_view import follow, whole_run

AT_ONCE = 2  # runs, each on a worker of one thread


@dataclass(frozen=True)
class Series:
    """What a visitor trains: a plan of one seed, and the runs that were begun, by their experiments' names.

    The address has the runs under the name of the table.
    """

    plan: Plan
    runs: Mapping[str, Run]

    @property
    def key(self) -> str:
        return self.plan.table.name

    @property
    def moving(self) -> list[Run]:
        return [run for run in self.runs.values() if engine().view(run.id).moving]

    @property
    def halted(self) -> list[Run]:
        """The runs that were halted before their end."""
        return [run for run in self.runs.values() if engine().view(run.id).status.state in RESUMABLE]

    @property
    def missing(self) -> list[Experiment]:
        """The experiments that were not begun; those that take longest come first, so that no worker is idle."""
        V, (seed,) = len(self.plan.corpus.vocabulary), self.plan.seeds
        return sorted(
            (experiment for experiment in self.plan.experiments if experiment.name not in self.runs),
            key=lambda experiment: -step_work(self.plan.config(experiment, seed), V),
        )

    @property
    def phase(self) -> str:
        return MOVING if is_going(self.key) or self.moving else "finished"

    def results(self) -> tuple[Result, ...]:
        """What was reached so far, in the order of the table."""
        return tuple(Result(self.plan, e, tuple(self._outcomes(e))) for e in self.plan.experiments)

    def _outcomes(self, experiment: Experiment) -> list[Outcome]:
        run = self.runs.get(experiment.name)
        max_age = REFRESH_SECONDS if self.moving else 0.0
        return [Outcome.of(self.plan.seeds[0], follow(run).story(max_age))] if run else []


def is_going(key: str) -> bool:
    """Whether the runs of a table that wait are to be started."""
    return bool(st.session_state.get(f"{key}-going"))


def set_going(key: str, going: bool) -> None:
    st.session_state[f"{key}-going"] = going


def plan_of(table: Table, run: Run) -> Plan:
    """The plan that a run of a table belongs to."""
    config = run.config
    experiments = tuple(table.experiments.values())
    return Plan(run.corpus, experiments, seeds=(config.seed,), epochs=config.epochs, table=table)


def chosen_series(frame: Frame, table: Table) -> Series | None:
    """The visitor's runs that the address names, or the last ones; None before the first."""
    ids = str(st.query_params.get(table.name) or st.session_state.get(f"{table.name}-runs") or "")
    if not ids:
        return None
    try:
        runs = list(map(whole_run, ids.split(".")))
        plan = plan_of(table, runs[0])
        names = {plan.config(experiment, plan.seeds[0]): experiment.name for experiment in plan.experiments}
        series = Series(plan, {names.get(run.config, ""): run for run in runs})
        if "" in series.runs or len(series.runs) < len(runs):
            raise InputError("{runs} are not the runs of one reproduction", runs=ids[:80])
    except InputError as error:
        forget(table.name)
        show_error(frame, error)
        return None
    _remember(series)
    return series


def forget(key: str) -> None:
    """Show the shipped results again."""
    set_going(key, False)
    st.session_state.pop(f"{key}-runs", None)
    st.query_params.pop(key, None)


def _remember(series: Series) -> None:
    ids = ".".join(run.id for run in series.runs.values())
    st.session_state[f"{series.key}-runs"] = st.query_params[series.key] = ids
    for run in series.runs.values():
        engine().watch(run.id, visitor())


def advance(frame: Frame, series: Series) -> None:
    """If the series is going and there is room, go on with a run that was halted, or start the next one.

    It waits while other runs take up what the server allows; before its first run nothing would remember it, so that
    it is refused instead.
    """
    if not is_going(series.key):
        return
    moving, halted, missing = series.moving, series.halted, series.missing
    if not (halted or missing):
        set_going(series.key, False)
    elif len(moving) < room() and (not series.runs or engine().has_room(visitor())):
        try:
            begun = _begin(series, halted, missing)
        except InputError as error:
            set_going(series.key, False)
            show_error(frame, error)
            return
        _remember(begun)
        st.rerun()


def _begin(series: Series, halted: list[Run], missing: list[Experiment]) -> Series:
    """The series with one run more that is under way."""
    if halted:
        engine().resume(halted[0].id, visitor=visitor(), unattended=False)
        return series
    config = series.plan.config(missing[0], series.plan.seeds[0])
    run_id = engine().submit(config, series.plan.corpus, visitor=visitor(), unattended=False)
    return Series(series.plan, {**series.runs, missing[0].name: Run.find(run_id)})


def halt(series: Series) -> None:
    """Pause what is under way; what was reached is kept."""
    set_going(series.key, False)
    for run in series.moving:
        engine().pause(run.id)


def room() -> int:
    """How many runs are trained at a time."""
    limits = settings().limits
    return min(AT_ONCE, limits.visitor_runs, limits.runs)


def check(frame: Frame, plan: Plan, seconds: Mapping[str, float]) -> None:
    """Raises InputError where this server does not allow an experiment; `seconds` are what an epoch of each took."""
    limits, V = settings().limits, len(plan.corpus.vocabulary)
    for experiment in plan.experiments:
        limits.check(plan.config(experiment, plan.seeds[0]), V)
        needed = seconds.get(experiment.name, 0) * plan.epochs
        if needed > limits.run_seconds:
            raise InputError(
                "{experiment} needs about {needed:,.0f} seconds; this server allows a run {limit:,}",
                experiment=frame.translate(experiment.label),
                needed=needed,
                limit=limits.run_seconds,
            )
