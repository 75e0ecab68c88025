"""`rnnviz reproduce` on a small budget: its numbers, its outputs, and going on after an interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnviz.__main__ import main
from rnnviz.analysis.published import EXPERIMENTS
from rnnviz.analysis.reproduction import Machine, Plan
from rnnviz.analysis.shipped_reproduction import from_json
from rnnviz.config import PRESETS, TrainConfig
from rnnviz.engine import engine as engine_module
from rnnviz.engine import series
from rnnviz.errors import InputError
from rnnviz.nn.execution import Execution
from rnnviz.nn.training import Trainer, train
from rnnviz.reproduce import Reproduction, ship
from rnnviz.runs.folder import Run, Status
from rnnviz.runs.reports import EpochReport, PredictionReport, Report
from rnnviz.text.corpora import Corpus, corpus_of, split
from tests.helpers import SECONDS, CommandResult, InProcess, until

ROOT = Path(__file__).resolve().parent.parent
TEXT = "分开以后 我们不分开 " + "the quick brown fox jumps over the lazy dog. " * 60
NAMES = list(EXPERIMENTS)
SHAPE = {"experiment", "implementation", "epochs", "perplexity", "held_out", "seconds_per_epoch", "notes"}
FEW = ["--only=gru", "--only=lstm-scratch", "--epochs=3"]


class Result(CommandResult):
    def numbers(self) -> list[dict[str, Any]]:
        """The lines without what depends on the machine's speed."""
        return [{key: value for key, value in line.items() if key != "seconds_per_epoch"} for line in self.lines]


Command = Callable[..., Result]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a home of its own, and small models trained by this process instead of a cluster."""
    monkeypatch.setenv("RNNVIZ_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(engine_module, "Connection", lambda *_: InProcess())
    monkeypatch.setattr(engine_module, "KEEP_SECONDS", 0.05)
    monkeypatch.setattr(series, "LOOK_SECONDS", 0.02)
    for name in NAMES:
        small = replace(PRESETS[name].config, batch_size=8)
        small = replace(small, model=replace(small.model, hidden_size=8))
        monkeypatch.setitem(PRESETS, name, replace(PRESETS[name], config=small))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("text.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path / "here"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `rnnviz reproduce` on a text file."""

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["rnnviz", "reproduce", "--corpus=text.txt", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code or 0
        assert isinstance(code, int)
        return Result(code, *capsys.readouterr())

    return run


def interrupt_after(monkeypatch: pytest.MonkeyPatch, tasks: int) -> None:
    """Press Ctrl-C during the so-manieth task, which goes on until the command has noticed."""
    left, advance = [None] * tasks, Execution.advance

    def pressed(execution: Execution, *arguments: Any) -> list[Report]:
        reports = advance(execution, *arguments)
        if left:
            left.pop()
            if not left:
                signal.raise_signal(signal.SIGINT)
                until(lambda: execution.run.status().state == "paused")
        return reports

    monkeypatch.setattr(Execution, "advance", pressed)


def runs_in(folder: Path) -> dict[str, Run]:
    return {path.name: Run.open(path) for path in sorted((folder / "runs").iterdir())}


# What it computes


def test_every_experiment_comes_out_as_in_the_plain_library(command: Command) -> None:
    """All six, exactly, with the keys that programs rely on, and with what it takes to judge them."""
    result = command("--epochs=2", "--seed=5", "--json")
    assert result.code == 0, result.err
    assert [line["experiment"] for line in result.lines] == NAMES
    corpus = split(TEXT, "text.txt")
    for line, experiment in zip(result.lines, EXPERIMENTS.values(), strict=True):
        reports = list(train(Plan(corpus, epochs=2).config(experiment, 5), corpus))
        last = [report for report in reports if isinstance(report, EpochReport)][-1]
        assert set(line) >= SHAPE
        assert line["perplexity"] == {"2": last.perplexity}
        assert line["held_out"] == {"2": last.held_out_perplexity}
        assert line["seconds_per_epoch"] > 0
        assert line["notes"]["perplexity"]["160"] == experiment.perplexity[3]
        assert (line["implementation"], line["epochs"], line["corpus"], line["seeds"]) == ("fused", 2, "text.txt", [5])
        assert line["torch"].startswith("2.")
        assert line["held_out_sees_the_future"] == (experiment.name == "gru-bidirectional")
        assert set(line["references"]) == {"uniform", "unigram", "2-gram", "3-gram", "4-gram", "5-gram"}
        written = [report for report in reports if isinstance(report, PredictionReport)]
        assert [(p["prefix"], p["text"]) for p in line["predictions"]] == [(p.prefix, p.text) for p in written]
        assert [p["prefix"] for p in line["predictions"]] == ["分开", "不分开"]


def test_one_seed_gives_the_same_numbers_and_another_other_ones(command: Command) -> None:
    """And several seeds give their median and range."""
    first, second = (command(*FEW, "--json").numbers() for _ in range(2))
    assert first == second
    three = command(*FEW, "--seeds=3", "--json").lines[0]
    ones = [command(*FEW, f"--seed={seed}", "--json").lines[0]["perplexity"]["3"] for seed in range(3)]
    assert three["seeds"] == [0, 1, 2]
    assert len(set(ones)) == 3
    assert three["perplexity"]["3"] == sorted(ones)[1]
    assert three["range"]["perplexity"]["3"] == [min(ones), max(ones)]
    assert len(three["predictions"]) == 6


@pytest.mark.parametrize("implementation", ["scratch", "torch"])
def test_another_implementation_gets_the_same_perplexities(command: Command, implementation: str) -> None:
    """To rounding."""
    fused = command(*FEW, "--json").lines
    other = command(*FEW, f"--implementation={implementation}", "--json").lines
    for one, two in zip(fused, other, strict=True):
        assert two["implementation"] == implementation
        assert two["perplexity"]["3"] == pytest.approx(one["perplexity"]["3"], rel=1e-4)


def test_the_notes_own_file_may_be_a_zip(command: Command, here: Path) -> None:
    """Of a long text the first 10,000 characters are trained on, and those that follow are held out."""
    with zipfile.ZipFile("song.txt.zip", "w") as archive:
        archive.writestr("song.txt", TEXT * 6)
    assert command("--only=gru", "--epochs=1", "--corpus=song.txt.zip", "--out=out", "--prefix=fox").code == 0
    (run,) = runs_in(here / "out").values()
    text = TEXT * 6
    assert run.corpus == Corpus("song.txt.zip", text[:10_000], text[10_000:11_000])
    assert run.config.prefixes == ("fox",)


def test_the_books_table_is_another(command: Command) -> None:
    """Its own experiments with their settings, beside what the book printed; on our tales unless a text is given."""
    few = ["--table=d2l", "--only=d2l-rnn-scratch", "--epochs=1"]
    (line,) = command(*few, "--json").lines
    assert (line["experiment"], line["corpus"]) == ("d2l-rnn-scratch", "text.txt")
    assert line["d2l"] == {"perplexity": {"500": 1.0}, "seconds_per_epoch": None}
    assert command("--table=d2l", "--only=gru", "--epochs=1").code == 2
    assert command("--table=book").code == 2


def test_what_was_reached_ships(command: Command, here: Path) -> None:
    """The app reads from one file what the runs in a folder say, whatever of the table was run."""
    plan = Plan(corpus_of(TrainConfig()), (EXPERIMENTS["gru"], EXPERIMENTS["lstm"]), epochs=1)
    assert command("--only=gru", "--epochs=1", "--corpus=lyrics-zh", "--out=out").code == 0
    ship(plan, here / "out", here / "new" / "notes.json")
    shipped = from_json(json.loads((here / "new" / "notes.json").read_text(encoding="utf-8")))
    trained, missing = shipped.results
    (run,) = runs_in(here / "out").values()
    (epoch,) = (report for report in run.reports() if isinstance(report, EpochReport))
    assert trained.outcomes[0].perplexity(1) == pytest.approx(epoch.perplexity, rel=1e-5)
    assert set(trained.outcomes[0].texts) == {"分开", "不分开"}
    assert (missing.outcomes, missing.finished) == ((), False)
    assert shipped.machine == Machine.here()


@pytest.mark.parametrize(("status", "ships"), [(0, True), (2, True), (130, False)])
def test_make_ships_a_reproduction_in_which_a_training_diverged(here: Path, status: int, ships: bool) -> None:
    """But not one that was interrupted."""
    python = here / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$2" >> {here}/asked\n[ "$2" = rnnviz.reproduce ] || exit {status}\n')
    python.chmod(0o755)
    (here / "venv" / ".installed").touch()
    made = subprocess.run(
        ["make", "-C", ROOT, "reproduction", f"VENV={here / 'venv'}"], capture_output=True, check=False
    )
    assert (made.returncode == 0) == ships
    asked = (here / "asked").read_text().split()
    assert asked == (["rnnviz", "rnnviz.reproduce"] * 2 if ships else ["rnnviz"])


# What it shows


def test_people_read_a_table_beside_the_notes(command: Command) -> None:
    """Ours, the notes', held-out and its references, predictions and how much of them is quoted."""
    result = command(*FEW)
    assert result.code == 0, result.err
    assert "Trained on 2,440 characters of text.txt, " in result.out
    assert "Implementation fused, seed 0, torch 2." in result.out
    assert result.out.count(" notes ") == 2
    assert result.out.count("held-out ") == 2
    assert "held-out, to compare: uniform " in result.out
    assert "gru, seed 0, " in result.out
    assert "% quoted: 分开" in result.out
    assert "not the perplexity of a language model" not in result.out
    other = command("--only=gru-bidirectional", "--epochs=1")
    assert "held-out¹" in other.out
    assert "not the perplexity of a language model" in other.out


def test_the_progress_is_on_standard_error(command: Command) -> None:
    """A bar for each experiment and one for all; standard output stays JSON."""
    result = command(*FEW, "--json")
    assert "GRU concise, Adam" in result.err
    assert "LSTM from scratch, SGD" in result.err
    assert "all " in result.err
    assert len(result.lines) == 2


def test_out_is_a_report_with_its_runs(command: Command, here: Path) -> None:
    """A page in Markdown, a picture for each experiment, and runs that the other commands read."""
    result = command(*FEW, "--out=mine")
    assert result.out.splitlines()[-1] == "mine/report.md"
    page = Path("mine/report.md").read_text(encoding="utf-8")
    assert "Implementation fused, seed 0, torch 2." in page
    assert "![GRU concise, Adam](gru.svg)" in page
    assert sorted(path.name for path in Path("mine").iterdir()) == ["gru.svg", "lstm-scratch.svg", "report.md", "runs"]
    assert list(runs_in(here / "mine")) == ["gru-0", "lstm-scratch-0"]


# Going on


@pytest.mark.parametrize("tasks", [1, 3, 6])
def test_after_ctrl_c_the_same_folder_goes_on_bit_for_bit(
    command: Command, monkeypatch: pytest.MonkeyPatch, here: Path, tasks: int
) -> None:
    """What there is is shown and reported; then every report and every weight is as without an interruption."""
    few = [*FEW, "--epochs=30", "--json"]
    whole = command(*few, "--out=whole")
    with monkeypatch.context() as pressed:
        interrupt_after(pressed, tasks)
        halted = command(*few, "--out=half")
    assert halted.code == 130
    assert "Traceback" not in halted.err
    assert [line["experiment"] for line in halted.lines] == ["gru", "lstm-scratch"]
    assert any(line["perplexity"]["30"] is None for line in halted.lines)
    assert "Not finished" in Path("half/report.md").read_text(encoding="utf-8")
    assert {run.status().state for run in runs_in(here / "half").values()} <= {"paused", "finished"}
    resumed = command(*few, "--out=half")
    assert (resumed.code, resumed.numbers()) == (0, whole.numbers())
    assert "Not finished" not in Path("half/report.md").read_text(encoding="utf-8")
    for name, run in runs_in(here / "half").items():
        other = Run.open(here / "whole" / "runs" / name)
        assert run.reports() == other.reports()
        ours, theirs = run.load_checkpoint().weights(), other.load_checkpoint().weights()
        assert {key: value.tobytes() for key, value in ours.items()} == {k: v.tobytes() for k, v in theirs.items()}


def begun(folder: Path, steps: int) -> Run:
    """The run of a reproduction whose process was killed: more is reported than its last checkpoint has."""
    corpus = split(TEXT, "text.txt")
    config = Plan(corpus, epochs=3).config(EXPERIMENTS["gru"], 0)
    run = Run.create(config, corpus, folder / "runs" / "gru-0")
    Execution.start(run, Trainer(config, corpus)).advance(steps)
    run.set_status(Status("running"))
    return run


def test_after_its_process_was_killed_the_same_folder_goes_on(command: Command, here: Path) -> None:
    """From the last checkpoint, and nothing is reported twice."""
    run = begun(here / "out", 11)
    assert command(*FEW, "--out=out", "--json").numbers() == command(*FEW, "--json").numbers()
    assert run.reports() == list(train(run.config, run.corpus))


def test_two_commands_do_not_share_a_folder(command: Command, here: Path) -> None:
    """The second one is told so; the first goes on."""
    run = begun(here / "out", 11)
    before = run.reports_size()
    with run.driven():
        result = command("--only=gru", "--epochs=3", "--out=out")
    assert result.code == 2
    assert "another process trains this run" in result.err.splitlines()[-1]
    assert (run.reports_size(), run.status().state) == (before, "running")


def test_what_is_finished_is_not_trained_again(command: Command, here: Path) -> None:
    """More seeds are added to those that are there."""
    one = command(*FEW, "--out=out", "--json")
    before = {name: run.last_change() for name, run in runs_in(here / "out").items()}
    again = command(*FEW, "--out=out", "--json")
    assert again.lines == one.lines
    assert {name: run.last_change() for name, run in runs_in(here / "out").items()} == before
    assert command(*FEW, "--out=out", "--seeds=2").code == 0
    assert {name: run.last_change() for name, run in runs_in(here / "out").items()}.items() > before.items()
    assert len(runs_in(here / "out")) == 4


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--epochs=2"], "gru-0 has other settings or another text"),
        (["--implementation=torch"], "gru-0 has other settings or another text"),
        (["--corpus=tales-en"], "gru-0 has other settings or another text"),
        (["--prefix=fox"], "gru-0 has other settings or another text"),
    ],
)
def test_other_settings_need_another_folder(command: Command, arguments: list[str], reason: str) -> None:
    """Nothing of what is there is touched."""
    assert command("--only=gru", "--epochs=1", "--out=out").code == 0
    before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    result = command("--only=gru", "--epochs=1", "--out=out", *arguments)
    assert (result.code, result.out) == (2, "")
    assert reason in result.err
    assert {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("--only=rnn", "only is rnn; allowed: gru-scratch, gru, lstm-scratch, lstm, lstm-deep, gru-bidirectional"),
        ("--seeds=0", "--seeds"),
        ("--epochs=0", "epochs is 0"),
        ("--seed=-1", "seed is -1"),
        ("--implementation=numpy", "numpy"),
        ("--corpus=nowhere.txt", "nowhere.txt is neither a corpus"),
        ("--corpus=short.txt", "the training text has 90 characters"),
        ("--out=taken", "taken is not empty; a reproduction needs a new folder"),
        ("--out=text.txt", "text.txt is not empty"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_made(command: Command, here: Path, arguments: str, reason: str) -> None:
    """Exit code 2, before anything is trained."""
    Path("short.txt").write_text("abcdefghij" * 10, encoding="utf-8")
    Path("taken").mkdir()
    Path("taken/report.md").write_text("mine")
    result = command("--out=new", *arguments.split())
    assert (result.code, result.out) == (2, "")
    (line,) = result.err.splitlines()
    assert reason in line
    assert sorted(path.name for path in here.iterdir()) == ["short.txt", "taken", "text.txt"]
    assert Path("taken/report.md").read_text() == "mine"


def test_a_training_that_diverges_is_told_after_the_others(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other experiment has its figures; the line names the one that has none, and why."""
    wild = replace(PRESETS["gru"].config, learning_rate=1e4, clip=0.0, optimizer="sgd")
    monkeypatch.setitem(PRESETS, "gru", replace(PRESETS["gru"], config=wild))
    result = command(*FEW, "--json", "--out=out")
    assert result.code == 2
    assert result.err.splitlines()[-1].startswith("rnnviz: gru, seed 0: the training diverged: ")
    assert result.lines[1]["perplexity"]["3"] > 1
    assert command(*FEW, "--json", "--out=out").code == 2  # it is not forgotten


def test_a_report_that_cannot_be_written_is_one_line(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs are there for the next attempt."""
    assert command(*FEW, "--out=out").code == 0
    Path("out/report.md").unlink()
    Path("out/report.md").mkdir()
    result = command(*FEW, "--out=out")
    assert result.code == 2
    assert "out/report.md cannot be written: " in result.err.splitlines()[-1]


def test_a_plan_is_for_scripts_too(here: Path) -> None:
    """The library trains it and says how far it is."""
    plan = Plan(split(TEXT), (EXPERIMENTS["gru"],), epochs=1)
    reproduction = Reproduction(plan)
    assert reproduction.progress(EXPERIMENTS["gru"]) == 0
    reproduction.train(lambda: None, lambda: False)
    until(lambda: reproduction.progress(EXPERIMENTS["gru"]) == 1)
    (result,) = reproduction.results()
    assert result.finished
    with pytest.raises(InputError, match="is not empty"):
        Reproduction(plan, here)


@pytest.mark.slow
def test_from_a_shell_ctrl_c_and_again(here: Path) -> None:
    """With a real cluster: exit code 130 and a report, then the rest, and the numbers of the plain library."""
    options = ["--corpus=text.txt", "--only=gru-bidirectional", "--epochs=40", "--json", "--out=out"]
    start = [sys.executable, "-m", "rnnviz", "reproduce", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as training:
        try:
            until(lambda: any(path.stat().st_size for path in Path("out").glob("runs/*/reports.jsonl")))
            training.send_signal(signal.SIGINT)
            out, err = training.communicate(timeout=SECONDS)
        finally:
            training.kill()
    assert training.returncode == 130, err
    assert "Traceback" not in err
    assert len(out.splitlines()) == 1
    assert Path("out/report.md").exists()
    again = subprocess.run(start, capture_output=True, text=True, env=environment, timeout=SECONDS, check=True)
    assert len(again.stdout.splitlines()) == 1
    for run in runs_in(here / "out").values():
        assert run.reports() == list(train(run.config, run.corpus))
