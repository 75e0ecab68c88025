"""The command line: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import base64
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnnviz
from rnnviz.__main__ import main
from rnnviz.cells import cell_of
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.errors import InputError
from rnnviz.figures.report import perplexity_text
from rnnviz.i18n import quantity
from rnnviz.nn.execution import Execution, load_model
from rnnviz.nn.training import Trainer
from rnnviz.runs.folder import DISK_FULL, Run
from rnnviz.runs.reports import EpochReport, PredictionReport, best_held_out
from rnnviz.text.corpora import Corpus, decode, read, split
from rnnviz.text.ngram import references
from tests.helpers import CommandResult

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 120
TINY = [
    "--corpus=sums",
    "--max-chars=300",
    "--hidden-size=4",
    "--batch-size=4",
    "--num-steps=10",
    "--epochs=4",
    "--optimizer=adam",
    "--learning-rate=0.05",
    "--clip=1",
    "--predict-every=2",
    "--predict-length=6",
    "--probe=12",
    "--device=cpu",
]
CONFIG = TrainConfig(
    ModelConfig(hidden_size=4, initialisation="uniform"),
    corpus="sums",
    max_chars=300,
    batch_size=4,
    num_steps=10,
    epochs=4,
    optimizer="adam",
    learning_rate=0.05,
    clip=1.0,
    device="cpu",
    probe="12",
)
EPOCH_KEYS = {
    "epoch",
    "perplexity",
    "held_out_perplexity",
    "future_read",
    "held_out_accuracy",
    "gradient_norm_before",
    "gradient_norm_after",
    "tokens_per_second",
    "seconds",
}
PREDICTION_KEYS = {"epoch", "prefix", "text"}
TIMES = ("tokens_per_second", "seconds")


class Result(CommandResult):
    @property
    def epochs(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if "perplexity" in line]

    @property
    def predictions(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if "text" in line]

    def numbers(self) -> list[dict[str, Any]]:
        """The lines without anything that depends on the machine's speed."""
        return [{k: v for k, v in line.items() if k not in TIMES} for line in self.lines]


Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command in this process, in an empty folder with its own home folder."""
    monkeypatch.setenv("RNNVIZ_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # there is no power cut here, but many small files
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["rnnviz", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code or 0
        assert isinstance(code, int)
        return Result(code, *capsys.readouterr())

    return run


def train_in(folder: Path, steps: int = 10**6, **model: Any) -> Run:
    """A run, trained by the library."""
    corpus = split(read("sums"), "sums", max_chars=300)
    config = replace(CONFIG, model=replace(CONFIG.model, **model))
    run = Run.create(config, corpus, folder)
    Execution.start(run, Trainer(config, corpus)).advance(steps)
    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that the tests of this file only read."""
    return train_in(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def lstm(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same with an LSTM of two layers."""
    return train_in(tmp_path_factory.mktemp("lstm"), cell="lstm", num_layers=2)


def assert_complains(result: Result, reason: str) -> None:
    """Check for exit code 2, one line on standard error that gives the reason, and no other output."""
    assert result.code == 2
    assert result.out == ""
    (line,) = result.err.splitlines()
    assert re.search(reason, line), line
    assert line.startswith("rnnviz: ")


def only_run(home: Path) -> Run:
    (folder,) = (home / "runs").iterdir()
    return Run.open(folder)


# Help and usage


def test_the_command_alone_prints_its_help(command: Command) -> None:
    """A missing subcommand is not an error."""
    result = command()
    assert (result.code, result.err) == (0, "")
    assert all(name in result.out for name in ("train", "generate", "gates"))


@pytest.mark.parametrize("name", ["train", "generate", "gates"])
def test_every_subcommand_has_help(command: Command, name: str) -> None:
    """The command succeeds and prints to standard output."""
    result = command(name, "--help")
    assert (result.code, result.err) == (0, "")
    assert "--help" in result.out


def test_the_defaults_are_the_settings_of_the_lecture_notes(command: Command) -> None:
    """GRU-256 from scratch, SGD at 100, θ = 0.01, 32 rows by 35 steps, 160 epochs, 10,000 characters, sequential."""
    config = TrainConfig()
    assert (config.model.cell, config.model.hidden_size, config.model.num_layers) == ("gru", 256, 1)
    assert (config.model.implementation != "torch", config.model.initialisation) == (True, "normal")
    assert not config.model.bidirectional
    assert (config.optimizer, config.learning_rate, config.clip) == ("sgd", 100, 0.01)
    assert (config.batch_size, config.num_steps, config.epochs) == (32, 35, 160)
    assert (config.max_chars, config.sampling, config.corpus) == (10_000, "sequential", "lyrics-zh")
    shown = re.split(r"\s(?=--[a-z])", " ".join(command("train", "--help").out.split()))
    defaults = {match[1]: match[2] for part in shown if (match := re.match(r"(--[\w-]+).*\[default: ([^\]]*)\]", part))}
    told = {"corpus": "lyrics-zh", "max-chars": "10000", "cell": "gru", "hidden-size": "256", "num-layers": "1"}
    told |= {"implementation": config.model.implementation, "optimizer": "sgd", "learning-rate": "100.0"}
    told |= {"clip": "0.01", "batch-size": "32", "num-steps": "35", "epochs": "160", "sampling": "sequential"}
    told |= {"seed": "0", "predict-every": "40", "predict-length": "50", "device": "auto"}
    assert {name: defaults.get(f"--{name}") for name in told} == told


def test_omitted_settings_have_their_defaults(command: Command, tmp_path: Path) -> None:
    """The run's configuration has what was given, and otherwise the defaults of TrainConfig."""
    assert command("train", "--corpus=sums", "--epochs=1", "--hidden-size=2", "--json").code == 0
    expected = replace(TrainConfig(), corpus="sums", epochs=1, model=replace(ModelConfig(), hidden_size=2))
    assert only_run(tmp_path / "home").config == expected


def test_torchs_layers_have_torchs_initialisation_and_reset(command: Command, tmp_path: Path) -> None:
    """Options on the command line take precedence."""
    tiny = ["--corpus=sums", "--epochs=1", "--hidden-size=2", "--implementation=torch", "--json"]
    assert command("train", *tiny, f"--out={tmp_path / 'own'}").code == 0
    model = Run.open(tmp_path / "own").config.model
    assert (model.initialisation, model.reset) == ("uniform", "after-bias")
    assert command("train", *tiny, "--reset=after", f"--out={tmp_path / 'given'}").code == 0
    assert Run.open(tmp_path / "given").config.model.reset == "after"


def test_every_setting_reaches_the_run(command: Command, tmp_path: Path) -> None:
    """No option is ignored."""
    given: dict[str, Any] = {
        "max_chars": 200,
        "held_out_chars": 30,
        "sampling": "random",
        "batch_size": 3,
        "num_steps": 7,
        "epochs": 1,
        "optimizer": "adam",
        "learning_rate": 0.125,
        "clip": 0.5,
        "weight_decay": 0.75,
        "seed": 9,
        "device": "cpu",
        "predict_every": 1,
        "predict_length": 3,
        "probe": "1+1=2",
    }
    model: dict[str, Any] = {
        "cell": "lstm",
        "activation": "relu",
        "implementation": "scratch",
        "initialisation": "uniform",
        "hidden_size": 3,
        "num_layers": 2,
        "reset": "before",
        "forget_bias": 1.5,
        "dropout": 0.25,
    }
    options = [f"--{name.replace('_', '-')}={value}" for name, value in {**given, **model}.items()]
    flags = ["--keep-line-breaks", "--bidirectional", "--residual", "--prefix=1+", "--prefix=9", "--json"]
    assert command("train", "--corpus=sums", *options, *flags).code == 0
    config = TrainConfig(
        ModelConfig(**model, bidirectional=True, residual=True),
        corpus="sums",
        keep_line_breaks=True,
        prefixes=("1+", "9"),
        **given,
    )
    assert only_run(tmp_path / "home").config == config


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("dance", "dance"),
        ("train --dance", "--dance"),
        ("train --epochs", "--epochs"),
        ("train --epochs=many", "--epochs"),
        ("train --epochs=0", "epochs is 0; allowed: 1 to"),
        ("train --cell=elman", "elman.*rnn.*gru.*lstm"),
        ("train --optimizer=magic", "magic.*sgd.*adam"),
        ("train --hidden-size=-3", "hidden_size is -3"),
        ("train --learning-rate=nan", "learning_rate is nan"),
        ("train --clip=-1", "clip is -1"),
        ("train --seed=-1", "seed is -1"),
        ("train --seed=99999999999999999999", "seed is 99999999999999999999"),
        ("train --prefix=", "prefix is empty"),
        ("train --implementation=torch --reset=before", "reset=before has no torch implementation"),
        ("train --corpus=nowhere.txt", r"nowhere\.txt is neither a corpus \(lyrics-zh.*nor a file"),
        ("train --corpus=.", "directory|not a file"),
        ("train --corpus=sums --max-chars=20", "the training text has .* characters; one batch"),
        ("train --corpus=sums --held-out-chars=500000", "leaves none to learn from"),
        ("train extra", "extra"),
        ("generate", "RUN"),
        ("generate nowhere", "nowhere is not the folder of a run"),
        ("gates nowhere --text=a --out=a.npz", "nowhere is not the folder of a run"),
        ("gates nowhere --out=a.npz", "--text"),
        ("gates nowhere --text=a", "--out"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(command: Command, tmp_path: Path, arguments: str, reason: str) -> None:
    """The line says what is wrong, and no run folder is left behind."""
    assert_complains(command(*arguments.split(" ")), reason)
    assert not (tmp_path / "home").exists()


ODD = os.fsdecode(b"\xff")  # what Python makes of an argument that is not UTF-8


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--prefix", ODD],
        ["train", f"--probe=a{ODD}"],
        ["train", "--corpus", ODD],
        ["train", "--out", ODD],
        ["generate", "run", "--prefix", ODD],
        ["gates", "run", "--text", ODD, "--out", "gates.json"],
        ["gates", "run", "--text", "a", "--out", f"{ODD}.json"],
    ],
    ids=" ".join,
)
def test_an_argument_that_is_not_utf_8_is_refused(command: Command, tmp_path: Path, arguments: list[str]) -> None:
    """It is refused before anything is read or written, so the next attempt finds an empty place."""
    assert_complains(command(*arguments), r"the argument b'.*\\xff.*' is not in UTF-8")
    assert list(Path.cwd().iterdir()) == []
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("failure", [InputError("no"), MemoryError(), KeyboardInterrupt()])
def test_a_start_that_fails_leaves_no_folder(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    """An error before the first step leaves nothing behind, so that the same folder can be used again."""

    def fail(self: Execution) -> None:
        raise failure

    with monkeypatch.context() as broken:
        broken.setattr(Execution, "save", fail)
        with suppress(MemoryError):  # it is not the user's mistake, so it is shown as it is
            assert command("train", *TINY, f"--out={tmp_path / 'run'}").code != 0
    assert not (tmp_path / "run").exists()
    assert command("train", *TINY, f"--out={tmp_path / 'run'}").code == 0


@pytest.mark.parametrize("arguments", [["train", "--cell=elman"], ["generate", "nowhere"], ["train", b"--probe=\xff"]])
def test_an_error_ends_the_process_with_exit_code_2(tmp_path: Path, arguments: list[Any]) -> None:
    """From a shell there is nothing on standard output, one line on standard error and no traceback."""
    ended = subprocess.run(
        [sys.executable, "-m", "rnnviz", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "RNNVIZ_HOME": str(tmp_path)},
        check=False,
    )
    named = {"--cell=elman": "elman", "nowhere": "nowhere", b"--probe=\xff": r"b'--probe=\\xff' is not in UTF-8"}
    assert_complains(Result(ended.returncode, ended.stdout, ended.stderr), named[arguments[-1]])


# Training


def test_json_is_one_object_a_line_with_these_keys(command: Command, tmp_path: Path) -> None:
    """There is a line per epoch, and one per prediction and prefix; they agree with the reports of the run."""
    result = command("train", *TINY, "--json")
    assert result.code == 0
    assert all(set(line) in (EPOCH_KEYS, PREDICTION_KEYS) for line in result.lines)
    assert [line["epoch"] for line in result.epochs] == [1, 2, 3, 4]
    assert [(line["epoch"], line["prefix"]) for line in result.predictions] == [
        (2, "12+34="),
        (2, "7+8="),
        (4, "12+34="),
        (4, "7+8="),
    ]
    reports = only_run(tmp_path / "home").reports()
    for line, epoch in zip(result.epochs, (r for r in reports if isinstance(r, EpochReport)), strict=True):
        assert line == {
            "epoch": epoch.epoch,
            "perplexity": epoch.perplexity,
            "held_out_perplexity": epoch.held_out_perplexity,
            "future_read": False,
            "held_out_accuracy": None,
            "gradient_norm_before": epoch.norm_before,
            "gradient_norm_after": epoch.norm_after,
            "tokens_per_second": epoch.characters_per_second,
            "seconds": epoch.seconds,
        }
    texts = [r.text for r in reports if isinstance(r, PredictionReport)]
    assert [line["text"] for line in result.predictions] == texts
    assert all(len(line["text"]) == len(line["prefix"]) + 6 for line in result.predictions)


def test_one_seed_gives_the_same_numbers_and_another_seed_others(command: Command) -> None:
    """Everything but the times is the same, however often it is run."""
    first, second, other = (command("train", *TINY, f"--seed={seed}", "--json").numbers() for seed in (3, 3, 4))
    assert first == second
    assert [line["perplexity"] for line in first if "perplexity" in line] != [
        line["perplexity"] for line in other if "perplexity" in line
    ]


def test_a_bidirectional_perplexity_is_never_a_bare_number(command: Command, tmp_path: Path) -> None:
    """Table, best epoch, progress and JSON say that the future was read, and why it cannot write; others are silent."""
    folder = tmp_path / "both"
    told = command("train", *TINY, "--bidirectional", f"--out={folder}")
    words = " ".join(told.out.split())
    assert words.count("future read") == 3
    assert "lowest held-out perplexity, future read:" in words
    assert "not a language model’s perplexity" in words
    assert "cannot continue a text" in words
    assert re.search(r"held-out [\d.]+, future read", " ".join(told.err.split()))
    written = command("generate", str(folder), "--length=5")
    assert "cannot continue a text" in written.err
    assert written.code == 0
    assert all(line["future_read"] for line in command("train", *TINY, "--bidirectional", "--json").epochs)
    plain = command("train", *TINY)
    assert "future" not in plain.out + plain.err


def test_masked_characters_are_restored_and_nothing_is_written(command: Command, tmp_path: Path) -> None:
    """The table and the JSON have the share restored; no perplexity is called one of the future; generate refuses."""
    folder = tmp_path / "masked"
    told = command("train", *TINY, "--bidirectional", "--task=restore", f"--out={folder}")
    assert "restored" in told.out
    assert "future" not in told.out + told.err
    lines = command("train", *TINY, "--bidirectional", "--task=restore", "--json").lines
    assert all(0 <= line["held_out_accuracy"] <= 1 for line in lines)
    assert len(lines) == 4
    assert_complains(command("generate", str(folder)), "does not continue texts")


def test_without_a_held_out_part_its_perplexity_is_null(command: Command) -> None:
    """It is not a number that was never measured."""
    result = command("train", *TINY, "--held-out-chars=0", "--json")
    assert [line["held_out_perplexity"] for line in result.epochs] == [None] * 4
    assert all(line["held_out_perplexity"] > 1 for line in command("train", *TINY, "--json").epochs)


@pytest.mark.parametrize(("every", "epochs"), [(0, []), (1, [1, 2, 3, 4]), (3, [3]), (5, [])])
def test_predictions_come_every_so_many_epochs(command: Command, every: int, epochs: list[int]) -> None:
    """0 turns predictions off."""
    result = command("train", *TINY, f"--predict-every={every}", "--prefix=1+", "--json")
    assert [line["epoch"] for line in result.predictions] == epochs


def test_a_prefix_may_be_given_several_times(command: Command) -> None:
    """Each prefix is continued, in the order given."""
    result = command("train", *TINY, "--predict-every=4", "--prefix=9", "--prefix=1+1=", "--prefix=?", "--json")
    assert [line["prefix"] for line in result.predictions] == ["9", "1+1=", "?"]
    assert all(line["text"].startswith(line["prefix"]) for line in result.predictions)


CHINESE = "北京天气很好，我们去公园散步。\n" * 20


def _zipped(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("文本.txt", CHINESE.encode("utf-8")),
        ("gb.txt", CHINESE.encode("gb18030")),
        ("gb.txt.zip", _zipped("gb.txt", CHINESE.encode("gb18030"))),
    ],
)
def test_a_users_file_is_a_corpus(command: Command, tmp_path: Path, name: str, data: bytes) -> None:
    """It may be UTF-8, GB18030, or a zip with one text; the run stores the file's name, not its folder."""
    (tmp_path / name).write_bytes(data)
    result = command("train", *TINY, f"--corpus={tmp_path / name}", "--json")
    assert result.code == 0, result.err
    run = only_run(tmp_path / "home")
    assert run.corpus == split(decode(data), name, max_chars=300)
    assert run.corpus.training.startswith("北京天气很好，我们去公园散步。 北京")
    assert run.config.corpus == name
    assert result.predictions[0]["prefix"] == "北京天气"


@pytest.mark.parametrize("codec", ["cp932", "euc_jp"])
def test_a_guessed_encoding_is_reported(command: Command, tmp_path: Path, codec: str) -> None:
    """Whoever reads nonsense then knows why, and can choose another."""
    japanese = "むかしむかし、あるところにおじいさんとおばあさんがいました。" * 10
    (tmp_path / "a.txt").write_bytes(japanese.encode(codec))
    train = ("train", *TINY, f"--corpus={tmp_path / 'a.txt'}", "--json")
    name = {"cp932": "Shift-JIS", "euc_jp": "EUC-JP"}[codec]
    guessed = command(*train, f"--out={tmp_path / 'guessed'}")
    assert f"rnnviz: the file is read as {name}; --encoding names another encoding" in guessed.err
    assert japanese.startswith(Run.open(tmp_path / "guessed").corpus.training)
    named = command(*train, f"--out={tmp_path / 'named'}", f"--encoding={name.lower()}")
    assert "is read as" not in named.err
    assert japanese.startswith(Run.open(tmp_path / "named").corpus.training)
    assert_complains(command(*train, "--encoding=UTF-8"), "the file is not in UTF-8")
    assert_complains(command(*train, "--encoding=latin"), "encoding is latin; allowed: UTF-8, ")


def test_the_output_for_people_has_predictions_a_table_and_the_folder(command: Command, tmp_path: Path) -> None:
    """These are on standard output, and the progress bar is on standard error."""
    result = command("train", *TINY, f"--out={tmp_path / 'mine'}")
    assert result.code == 0
    run = Run.open(tmp_path / "mine")
    texts = [f"epoch {r.epoch}: {r.text}" for r in run.reports() if isinstance(r, PredictionReport)]
    assert result.out.splitlines()[:4] == texts
    assert result.out.splitlines()[-1] == f"run: {run.folder}"
    assert "perplexity" in result.out
    assert "held-out" in result.out
    (line,) = (line for line in result.out.splitlines() if line.startswith("held-out, to compare: "))
    measured = references(run.corpus)
    assert line.startswith(f"held-out, to compare: uniform {perplexity_text(measured.uniform)}, unigram ")
    assert line.endswith(f", 5-gram {perplexity_text(measured.ngrams[5])}")
    assert "Traceback" not in result.err


def test_nothing_is_compared_with_n_grams_that_is_no_language_model(command: Command) -> None:
    """Nor without a held-out part."""
    for setting in ("--bidirectional", "--task=restore", "--held-out-chars=0"):
        assert "to compare" not in command("train", *TINY, setting).out


def test_predictions_are_printed_as_they_are(command: Command) -> None:
    """Text that looks like markup or like the name of an emoji stays text."""
    result = command("train", *TINY, "--predict-every=4", "--prefix=[red]:cat:")
    assert "epoch 4: [red]:cat:" in result.out


def test_a_finished_run_says_so(command: Command, tmp_path: Path) -> None:
    """Status, checkpoints and a recording are in the folder, as after a run in the app."""
    command("train", *TINY, "--json")
    run = only_run(tmp_path / "home")
    steps = run.reports()[-1].step
    assert run.status().state == "finished"
    assert run.load_checkpoint().meta["step"] == run.checkpoint_steps()[-1] == run.recording_steps()[-1] == steps
    assert run.recording() is not None


def test_a_folder_in_use_is_refused(command: Command, tmp_path: Path) -> None:
    """Nothing in it is changed."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert_complains(command("train", *TINY, f"--out={tmp_path / 'mine'}"), "mine is not empty")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_stopped_run_is_resumed(command: Command, tmp_path: Path) -> None:
    """It has its own settings and gives exactly the numbers of an uninterrupted run; then it cannot go on."""
    whole, half = train_in(tmp_path / "whole"), train_in(tmp_path / "half", 13)
    result = command("train", f"--resume={half.folder}", "--json")
    assert result.code == 0
    assert half.reports() == whole.reports()
    assert half.status().state == "finished"
    assert_complains(command("train", f"--resume={half.folder}"), "half has finished")


def test_a_resumed_run_accepts_no_settings(command: Command, trained: Run) -> None:
    """They would differ from those that it was trained with so far."""
    result = command("train", f"--resume={trained.folder}", "--epochs=9", "--clip=1")
    assert_complains(result, "a resumed run has its own settings; leave out clip, epochs")


def test_a_run_that_another_process_trains_is_not_resumed(command: Command, tmp_path: Path) -> None:
    """Nothing is written to it, not even a status."""
    half = train_in(tmp_path / "half", 13)
    before = half.reports_size(), half.status()
    with half.driven():
        assert_complains(command("train", f"--resume={half.folder}"), "another process trains this run")
    assert (half.reports_size(), half.status()) == before


def test_a_diverging_run_gives_the_reason_and_a_readable_folder(command: Command, tmp_path: Path) -> None:
    """The exit code is 2, the reason is one line, and the folder opens with finite weights."""
    wild = "--cell=rnn --activation=relu --learning-rate=10000 --clip=0 --optimizer=sgd --hidden-size=16"
    result = command("train", *TINY, *wild.split(), "--initialisation=uniform", f"--out={tmp_path / 'wild'}", "--json")
    assert result.code == 2
    assert "Traceback" not in result.err
    (line,) = [line for line in result.err.splitlines() if "diverged" in line]
    assert line == result.err.splitlines()[-1]
    assert re.match(r"rnnviz: the training diverged: in step \d+ \(epoch \d+\) .* = (inf|nan|-inf)", line)
    told = result.lines[-1]
    assert f"rnnviz: {told['diverged']}" == line
    run = Run.open(tmp_path / "wild")
    failure = run.reports()[-1]
    assert (told["epoch"], told["step"]) == (failure.epoch, failure.step)
    status = run.status()
    assert status.state == "failed"
    assert status.message.format(**(status.values or {})) in line
    assert run.reports()
    assert all(bool(values.isfinite().all()) for values in load_model(run).weights().values())


def test_an_absurd_perplexity_counts_as_divergence(command: Command, tmp_path: Path) -> None:
    """The numbers stay finite to the end, but with --json the last line says that the training diverged."""
    wild = "--cell=rnn --learning-rate=1000 --clip=0 --optimizer=sgd --hidden-size=16 --initialisation=uniform"
    result = command("train", *TINY, *wild.split(), f"--out={tmp_path / 'wild'}", "--json")
    assert result.code == 2
    assert [set(line) for line in result.lines[-2:]] == [EPOCH_KEYS, {"epoch", "step", "diverged"}]
    assert "the training diverged: in the last epoch (4) the perplexity is" in result.err.splitlines()[-1]
    assert result.lines[-1]["diverged"] in result.err
    assert Run.open(tmp_path / "wild").status().state == "failed"


TORCH_PROCESS = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_ctrl_c_keeps_what_the_run_has_reached(command: Command, tmp_path: Path) -> None:
    """The exit code is 130, there is no traceback, and the last whole epoch can be looked at in the folder."""
    out = tmp_path / "run"
    arguments = [*TINY, "--epochs=100000", "--predict-every=0", "--json", f"--out={out}"]
    with subprocess.Popen(
        [sys.executable, "-m", "rnnviz", "train", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=TORCH_PROCESS,
    ) as training:
        try:
            assert training.stdout is not None
            first = json.loads(training.stdout.readline())
            training.send_signal(signal.SIGINT)
            rest, err = training.communicate(timeout=SECONDS)
        finally:
            training.kill()
    assert training.returncode == 130
    assert first["epoch"] == 1
    assert all(set(json.loads(line)) == EPOCH_KEYS for line in rest.splitlines())
    assert "Traceback" not in err
    run = Run.open(out)
    assert run.status().state == "stopped"
    assert run.load_checkpoint().meta["step"] == run.reports()[-1].step
    written = command("generate", out, "--length=5", "--prefix=1+")
    assert (written.code, written.err) == (0, "")
    assert len(written.out) == len("1+") + 5 + 1


def press_ctrl_c(monkeypatch: pytest.MonkeyPatch, while_it_saves: int) -> list[bytes]:
    """Press once during training, and then so many times during the final save; returns the messages printed."""
    said: list[bytes] = []
    monkeypatch.setattr(os, "write", lambda number, data: said.append(data))
    advance, save = Execution.advance, Execution.save

    def pressed_while_training(execution: Execution, target: int) -> list[Any]:
        if execution.trainer.step == 5:
            signal.raise_signal(signal.SIGINT)
            monkeypatch.setattr(Execution, "save", pressed_while_saving)
        return advance(execution, target)

    def pressed_while_saving(execution: Execution) -> None:
        for _ in range(while_it_saves):
            signal.raise_signal(signal.SIGINT)
        save(execution)

    monkeypatch.setattr(Execution, "advance", pressed_while_training)
    return said


def test_a_second_ctrl_c_does_not_skip_the_last_save(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message says that saving goes on, and what a third Ctrl-C would do."""
    said = press_ctrl_c(monkeypatch, while_it_saves=1)
    result = command("train", *TINY, "--epochs=100000", "--json", f"--out={tmp_path / 'run'}")
    assert result.code == 130
    assert said == [b"\nrnnviz: saving what was reached; press Ctrl-C once more to leave without it\n"]
    run = Run.open(tmp_path / "run")
    assert (run.status().state, run.load_checkpoint().meta["step"]) == ("stopped", 6)


def test_a_third_ctrl_c_ends_at_once(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no traceback, and the checkpoint before is still there."""
    before = signal.getsignal(signal.SIGINT)
    press_ctrl_c(monkeypatch, while_it_saves=2)
    result = command("train", *TINY, "--epochs=100000", "--json", f"--out={tmp_path / 'run'}")
    assert result.code == 130
    assert "Traceback" not in result.err
    assert Run.open(tmp_path / "run").load_checkpoint().meta["step"] == 0
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("number", DISK_FULL)
@pytest.mark.parametrize("writes", [0, 4, 9, 13, 20])
def test_a_full_disk_is_one_line_and_exit_code_1(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int, number: int
) -> None:
    """Whatever was being written, everything saved before is kept and can be looked at."""
    left = [None] * writes

    def fsync(descriptor: int) -> None:
        if not left:
            raise OSError(number, os.strerror(number))
        left.pop()

    monkeypatch.setattr(os, "fsync", fsync)
    result = command("train", *TINY, "--json", f"--out={tmp_path / 'run'}")
    assert result.code == 1
    assert "Traceback" not in result.err
    assert re.fullmatch(rf"rnnviz: .*{os.strerror(number)}", result.err.splitlines()[-1])
    if writes >= 9:
        assert "what was saved before stays in" in result.err
        assert load_model(Run.open(tmp_path / "run")).weights()
    assert not list(tmp_path.rglob("run/**/.*"))


def test_a_disk_too_full_for_reports_is_reported(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reports are appended to, so half a line of them is left, which the next attempt cuts off."""
    append = Run.append

    def full(run: Run, reports: Any) -> None:
        append(run, reports)
        if run.count_reports() > 7:
            with (run.folder / "reports.jsonl").open("ab") as file:
                file.write(b'{"kind": "st')
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Run, "append", full)
    result = command("train", *TINY, f"--out={tmp_path / 'run'}")
    assert (result.code, "the disk is full" in result.err) == (1, True)
    run = Run.open(tmp_path / "run")
    assert run.status().state == "paused"
    assert run.count_reports() == len(run.reports()) == 8


@pytest.mark.slow
def test_the_process_ends_with_exit_code_0(tmp_path: Path) -> None:
    """From a shell, it trains and then generates, through `python -m rnnviz`."""
    for arguments in (["train", *TINY, "--json", f"--out={tmp_path / 'run'}"], ["generate", str(tmp_path / "run")]):
        ended = subprocess.run(
            [sys.executable, "-m", "rnnviz", *arguments],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=TORCH_PROCESS,
            timeout=SECONDS,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout


@pytest.mark.slow
def test_a_reader_that_leaves_early_causes_no_traceback(tmp_path: Path) -> None:
    """An example is `rnnviz train --json | head -1`."""
    with subprocess.Popen(
        [sys.executable, "-m", "rnnviz", "train", *TINY, "--epochs=2000", "--json", f"--out={tmp_path / 'run'}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=TORCH_PROCESS,
    ) as training:
        try:
            assert training.stdout is not None
            assert training.stderr is not None
            training.stdout.readline()
            training.stdout.close()
            err = training.stderr.read()
            training.wait(SECONDS)
        finally:
            training.kill()
    assert "Traceback" not in err


# Writing


def test_a_run_continues_a_prefix(command: Command, trained: Run) -> None:
    """It writes as many characters as asked for, from the run's vocabulary; the default prefix is the run's own."""
    result = command("generate", trained.folder, "--prefix=1+2=", "--length=30")
    assert (result.code, result.err) == (0, "")
    text = result.out.removesuffix("\n")
    assert text.startswith("1+2=")
    assert len(text) == 4 + 30
    assert set(text) <= set(trained.corpus.vocabulary.characters)
    assert command("generate", trained.folder).out.startswith("12+34=")
    assert len(command("generate", trained.folder).out) == len("12+34=") + 200 + 1


def test_temperature_0_is_the_same_whatever_the_seed(command: Command, trained: Run) -> None:
    """It equals the library's `predict`."""
    texts = {
        command("generate", trained.folder, "--prefix=1+", "--temperature=0", f"--seed={seed}").out for seed in range(3)
    }
    assert texts == {rnnviz.predict(load_model(trained), trained.corpus.vocabulary, "1+", 200) + "\n"}


def test_the_seed_determines_what_is_drawn(command: Command, trained: Run) -> None:
    """The same seed gives the same text, another seed another."""
    first, second, other = (command("generate", trained.folder, f"--seed={seed}").out for seed in (3, 3, 4))
    assert first == second != other


def test_the_best_held_out_epoch_writes(command: Command, tmp_path: Path) -> None:
    """Training says which epoch it was; with its weights the run writes what the library does, and no other name is
    known."""
    result = command("train", *TINY, "--hidden-size=16", "--epochs=9", f"--out={tmp_path / 'run'}")
    run = Run.open(tmp_path / "run")
    best = best_held_out(run.epochs())
    assert best is not None
    assert f"lowest held-out perplexity: {quantity(best.held_out_perplexity or 0)} in epoch {best.epoch};" in result.out
    assert re.search(r"perplexity \d\S* held-out \d", result.err)
    greedy = ("--prefix=1+", "--temperature=0", "--length=20")
    written = command("generate", run.folder, *greedy, "--checkpoint=best").out
    assert written == rnnviz.predict(load_model(run, "best"), run.corpus.vocabulary, "1+", 20) + "\n"
    assert command("generate", run.folder, *greedy, "--checkpoint=first").code == 2
    run.checkpoint_path("best").unlink()
    assert_complains(command("generate", run.folder, "--checkpoint=best"), "the run has no checkpoint best")


def test_top_1_is_greedy(command: Command, trained: Run) -> None:
    """If only the likeliest character may be chosen, the temperature does not matter."""
    greedy = command("generate", trained.folder, "--temperature=0").out
    assert command("generate", trained.folder, "--top-k=1", "--temperature=5").out == greedy


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--temperature=-1", "temperature is -1"),
        ("--temperature=nan", "temperature is nan"),
        ("--temperature=hot", "--temperature"),
        ("--top-k=0", "top-k is 0"),
        ("--length=0", "--length.* 1"),
        ("--length=100001", "--length.* 100000"),
        ("--prefix=", "prefix is empty"),
        ("--seed=99999999999999999999", "seed"),
    ],
)
def test_invalid_options_are_refused(command: Command, trained: Run, options: str, reason: str) -> None:
    """One line says which option it is."""
    assert_complains(command("generate", trained.folder, options), reason)


@pytest.mark.parametrize("options", ["--temperature=1e-40", "--temperature=1e30", "--top-k=100000"])
def test_extreme_options_are_accepted(command: Command, trained: Run, options: str) -> None:
    """They are within the limits, so text is written."""
    result = command("generate", trained.folder, options, "--length=5")
    assert (result.code, result.err) == (0, "")
    assert len(result.out) == len("12+34=") + 5 + 1


@pytest.mark.parametrize("kind", ["damaged checkpoint", "no checkpoint", "no folder of checkpoints", "damaged text"])
def test_a_run_that_cannot_write_says_why(command: Command, tmp_path: Path, kind: str) -> None:
    """It says so in one line, whichever part of the folder is missing or damaged."""
    run = Run.create(CONFIG, Corpus("test", "abc" * 20, "a"), tmp_path / "run")
    reason = "no checkpoint latest"
    if kind == "damaged checkpoint":
        run.checkpoint_path().write_bytes(b"garbage")
        reason = r"checkpoint latest\.safetensors is damaged"
    elif kind == "no folder of checkpoints":
        (run.folder / "checkpoints").rmdir()
    elif kind == "damaged text":
        (run.folder / "corpus.json").write_text("{")
        reason = r"corpus\.json of the run cannot be read"
    assert_complains(command("generate", run.folder), reason)


# Gates


@pytest.mark.parametrize("which", ["trained", "lstm"])
@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_recorded_arrays_equal_those_of_the_library(
    command: Command, tmp_path: Path, request: pytest.FixtureRequest, which: str, suffix: str
) -> None:
    """Every signal of every layer is the same bit for bit, and the text is stored with it."""
    run = request.getfixturevalue(which)
    out = tmp_path / f"gates{suffix}"
    result = command("gates", run.folder, "--text=1+2 =?", f"--out={out}")
    assert (result.code, result.out, result.err) == (0, f"{out}\n", "")
    expected = rnnviz.trace(load_model(run), run.corpus.vocabulary, "1+2 =?")
    if suffix == ".npz":
        with np.load(out, allow_pickle=False) as file:
            values = {name: file[name] for name in file.files}
    else:
        values = json.loads(out.read_text(encoding="utf-8"))
    about = {name: str(values.pop(name)) for name in ("text", "cell", "reset", "activation")}
    assert int(values.pop("format")) == 2
    assert about == {
        "text": "1+2 =?",
        "cell": run.config.model.cell,
        "reset": run.config.model.reset,
        "activation": "tanh",
    }
    assert values.keys() == expected.signals.keys()
    for name, array in expected.signals.items():
        np.testing.assert_array_equal(np.asarray(values[name], dtype=np.float32), array, err_msg=name)
        assert np.asarray(values[name]).shape == (6, 4)


def heatmaps(page: Path) -> list[dict[str, Any]]:
    """The data that a page passes to Plotly."""
    html = page.read_text(encoding="utf-8")
    start = html.index("[", html.rindex("Plotly.newPlot("))
    data: list[dict[str, Any]] = json.JSONDecoder().raw_decode(html, start)[0]
    assert {trace["type"] for trace in data} == {"heatmap"}
    return data


@pytest.mark.parametrize("which", ["trained", "lstm"])
def test_the_page_of_heatmaps_needs_no_network(
    command: Command, tmp_path: Path, request: pytest.FixtureRequest, which: str
) -> None:
    """It contains Plotly, loads nothing from elsewhere, and has one heatmap per signal."""
    run = request.getfixturevalue(which)
    assert (
        command("gates", run.folder, "--text=1+2", f"--out={tmp_path / 'gates.html'}", "--picture=heatmaps").code == 0
    )
    html = (tmp_path / "gates.html").read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img|iframe)\b[^>]*\b(src|href)\s*=", html)
    assert "plotly.js v" in html
    layers = run.config.model.num_layers
    assert len(heatmaps(tmp_path / "gates.html")) == layers * len(cell_of(run.config.model).equations)


def test_the_deepest_model_has_a_page(command: Command, tmp_path: Path) -> None:
    """It has eight layers in two directions with six signals each, so ninety-six heatmaps."""
    run = train_in(tmp_path / "deep", 0, cell="lstm", num_layers=8, bidirectional=True, hidden_size=2)
    result = command("gates", run.folder, "--text=1+", f"--out={tmp_path / 'gates.html'}", "--picture=heatmaps")
    assert (result.code, result.err) == (0, "")
    assert len(heatmaps(tmp_path / "gates.html")) == 96


def test_the_page_of_the_cell_is_one_file(command: Command, tmp_path: Path) -> None:
    """For a deep model it shows the chosen layer; script and style are inside, and nothing is loaded from elsewhere."""
    run = train_in(tmp_path / "deep", 0, cell="lstm", num_layers=2, hidden_size=3)
    result = command("gates", run.folder, "--text=1+2", "--layer=2", f"--out={tmp_path / 'cell.html'}")
    assert (result.code, result.err) == (0, "")
    html = (tmp_path / "cell.html").read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img|iframe)\b[^>]*\b(src|href)\s*=", html)
    packed = json.loads(html.split('id="data">')[1].split("</script>")[0])["packed"]
    values = np.frombuffer(base64.b64decode(packed["signals"]["C"]["values"]["data"]), "<f4").reshape(3, 3)
    np.testing.assert_array_equal(values, rnnviz.trace(load_model(run), run.corpus.vocabulary, "1+2").signal("C", 2))


@pytest.mark.parametrize("name", ["latest", "best"])
def test_the_gates_are_those_of_the_chosen_checkpoint(command: Command, tmp_path: Path, name: str) -> None:
    """In the arrays and on the page; a run without such a checkpoint says so."""
    run = train_in(tmp_path / "run", 30, hidden_size=3)
    run.save_checkpoint(Trainer(CONFIG.with_settings({"hidden_size": 3, "seed": 9}), run.corpus).checkpoint(), "best")
    expected = rnnviz.trace(load_model(run, name), run.corpus.vocabulary, "1+2").signal("H")
    asked = ("gates", run.folder, "--text=1+2", f"--checkpoint={name}")
    assert command(*asked, f"--out={tmp_path / 'a.npz'}").code == 0
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["layer1.forward.H"], expected)
    assert command(*asked, f"--out={tmp_path / 'a.html'}").code == 0
    html = (tmp_path / "a.html").read_text(encoding="utf-8")
    packed = json.loads(html.split('id="data">')[1].split("</script>")[0])["packed"]
    values = np.frombuffer(base64.b64decode(packed["signals"]["H"]["values"]["data"]), "<f4").reshape(3, 3)
    np.testing.assert_array_equal(values, expected)
    run.checkpoint_path("best").unlink()
    assert (command(*asked, f"--out={tmp_path / 'b.npz'}").code == 2) == (name == "best")


@pytest.mark.parametrize(
    ("characters", "layer", "reason"),
    [(2001, 1, "2,001 characters; allowed: at most 2,000"), (3, 2, "allowed here: one that has a layer 2")],
)
def test_an_impossible_page_of_the_cell_is_refused(
    command: Command, trained: Run, tmp_path: Path, characters: int, layer: int, reason: str
) -> None:
    """The text is too long for a browser, or the model lacks the layer."""
    page = tmp_path / "cell.html"
    text = "1" * characters
    assert_complains(command("gates", trained.folder, f"--text={text}", f"--layer={layer}", f"--out={page}"), reason)
    assert not page.exists()


@pytest.mark.parametrize("name", ["gates.pdf", "gates", "gates.html.gz", ".npz"])
def test_an_unknown_kind_of_file_is_refused(command: Command, trained: Run, tmp_path: Path, name: str) -> None:
    """The message lists the kinds there are, and nothing is written."""
    result = command("gates", trained.folder, "--text=1", f"--out={tmp_path / name}")
    assert_complains(result, r"ends in none of \.html, \.npz, \.json")
    assert not (tmp_path / name).exists()


def test_the_suffix_may_be_upper_case(command: Command, trained: Run, tmp_path: Path) -> None:
    """GATES.NPZ is an .npz file."""
    assert command("gates", trained.folder, "--text=1", f"--out={tmp_path / 'GATES.NPZ'}").code == 0
    with np.load(tmp_path / "GATES.NPZ") as arrays:
        assert "layer1.forward.Z" in arrays.files


def test_gates_over_an_empty_text_are_refused(command: Command, trained: Run, tmp_path: Path) -> None:
    """An empty text has no steps."""
    assert_complains(command("gates", trained.folder, "--text=", f"--out={tmp_path / 'a.npz'}"), "the text is empty")


def test_an_output_that_cannot_be_written_is_named(command: Command, trained: Run, tmp_path: Path) -> None:
    """Its folder is missing, or there is a folder of its name."""
    (tmp_path / "folder.npz").mkdir()
    for name in ("missing/a.npz", "folder.npz"):
        result = command("gates", trained.folder, "--text=1", f"--out={tmp_path / name}")
        assert_complains(result, f"{name} cannot be written: ")


def test_reading_a_run_does_not_change_it(command: Command, trained: Run, tmp_path: Path) -> None:
    """Neither `generate` nor `gates` writes to the run's folder."""
    before = {path: path.read_bytes() for path in trained.folder.rglob("*") if path.is_file()}
    command("generate", trained.folder, "--length=3")
    command("gates", trained.folder, "--text=1", f"--out={tmp_path / 'a.json'}")
    assert {path: path.read_bytes() for path in trained.folder.rglob("*") if path.is_file()} == before
