"""The command line: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnnviz
from rnnviz.__main__ import main
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.execution import Execution, load
from rnnviz.reports import EpochReport, PredictionReport
from rnnviz.runs import Run
from rnnviz.signals import CELL_SIGNALS
from rnnviz.text import Corpus, decode, read, split
from rnnviz.training import Trainer

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
    "gradient_norm_before",
    "gradient_norm_after",
    "tokens_per_second",
    "seconds",
}
PREDICTION_KEYS = {"epoch", "prefix", "text"}
TIMES = ("tokens_per_second", "seconds")


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Standard output as JSON, an object a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def epochs(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if "perplexity" in line]

    @property
    def predictions(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if "text" in line]

    def numbers(self) -> list[dict[str, Any]]:
        """The lines without what depends on the machine's speed."""
        return [{k: v for k, v in line.items() if k not in TIMES} for line in self.lines]


Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process, in an empty folder with a home of its own."""
    monkeypatch.setenv("RNNVIZ_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # no power cut here, and many small files
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["rnnviz", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Result(ended.value.code or 0, *capsys.readouterr())

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
    """A run that the tests of this file only look at."""
    return train_in(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def lstm(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same with an LSTM of two layers."""
    return train_in(tmp_path_factory.mktemp("lstm"), cell="lstm", num_layers=2)


def assert_complains(result: Result, reason: str) -> None:
    """Exit code 2 and one line on standard error that gives the reason; nothing else anywhere."""
    assert result.code == 2
    assert result.out == ""
    (line,) = result.err.splitlines()
    assert re.search(reason, line), line
    assert line.startswith("rnnviz: ")


def only_run(home: Path) -> Run:
    (folder,) = (home / "runs").iterdir()
    return Run.open(folder)


# Help and usage


def test_the_command_alone_says_what_there_is(command: Command) -> None:
    """Without a subcommand it prints the help, and that is no mistake."""
    result = command()
    assert (result.code, result.err) == (0, "")
    assert all(name in result.out for name in ("train", "generate", "gates"))


@pytest.mark.parametrize("name", ["train", "generate", "gates"])
def test_every_subcommand_has_help(command: Command, name: str) -> None:
    """It ends well and on standard output."""
    result = command(name, "--help")
    assert (result.code, result.err) == (0, "")
    assert "--help" in result.out


def test_the_defaults_are_the_settings_of_the_notes(command: Command) -> None:
    """GRU-256 by hand, SGD at 100, θ = 0.01, 32 rows by 35 steps, 160 epochs, 10,000 characters, sequential."""
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


def test_what_is_not_said_is_the_default(command: Command, tmp_path: Path) -> None:
    """The run's configuration holds what was given and TrainConfig's own values otherwise."""
    assert command("train", "--corpus=sums", "--epochs=1", "--hidden-size=2", "--json").code == 0
    expected = replace(TrainConfig(), corpus="sums", epochs=1, model=replace(ModelConfig(), hidden_size=2))
    assert only_run(tmp_path / "home").config == expected


def test_every_setting_reaches_the_run(command: Command, tmp_path: Path) -> None:
    """No option is read and forgotten."""
    given = {
        "max_chars": 200,
        "held_out_chars": 30,
        "sampling": "random",
        "batch_size": 3,
        "num_steps": 7,
        "epochs": 1,
        "optimizer": "adam",
        "learning_rate": 0.125,
        "clip": 0.5,
        "seed": 9,
        "device": "cpu",
        "predict_every": 1,
        "predict_length": 3,
        "probe": "1+1=2",
    }
    model = {
        "cell": "lstm",
        "activation": "relu",
        "implementation": "scratch",
        "initialisation": "uniform",
        "hidden_size": 3,
        "num_layers": 2,
        "reset": "before",
        "forget_bias": 1.5,
    }
    options = [f"--{name.replace('_', '-')}={value}" for name, value in {**given, **model}.items()]
    flags = ["--keep-line-breaks", "--bidirectional", "--prefix=1+", "--prefix=9", "--json"]
    assert command("train", "--corpus=sums", *options, *flags).code == 0
    config = TrainConfig(
        ModelConfig(**model, bidirectional=True),
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
def test_a_mistake_is_one_line_and_exit_code_2(command: Command, tmp_path: Path, arguments: str, reason: str) -> None:
    """Whatever is wrong, the line says it, and no folder of a run is left behind."""
    assert_complains(command(*arguments.split(" ")), reason)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("arguments", [["train", "--cell=elman"], ["generate", "nowhere"]])
def test_a_mistake_ends_the_process_with_2(tmp_path: Path, arguments: list[str]) -> None:
    """From a shell: exit code 2, nothing on standard output, one line on standard error and no traceback."""
    ended = subprocess.run(
        [sys.executable, "-m", "rnnviz", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "RNNVIZ_HOME": str(tmp_path)},
        check=False,
    )
    assert_complains(Result(ended.returncode, ended.stdout, ended.stderr), arguments[-1].split("=")[-1])


# Training


def test_json_is_one_object_a_line_with_these_keys(command: Command, tmp_path: Path) -> None:
    """An epoch a line, and a prediction a line and prefix; they agree with the reports of the run."""
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
            "gradient_norm_before": epoch.norm_before,
            "gradient_norm_after": epoch.norm_after,
            "tokens_per_second": epoch.characters_per_second,
            "seconds": epoch.seconds,
        }
    texts = [r.text for r in reports if isinstance(r, PredictionReport)]
    assert [line["text"] for line in result.predictions] == texts
    assert all(len(line["text"]) == len(line["prefix"]) + 6 for line in result.predictions)


def test_one_seed_gives_the_same_numbers_and_another_other_ones(command: Command) -> None:
    """All but the times, however often it is run."""
    first, second, other = (command("train", *TINY, f"--seed={seed}", "--json").numbers() for seed in (3, 3, 4))
    assert first == second
    assert [line["perplexity"] for line in first if "perplexity" in line] != [
        line["perplexity"] for line in other if "perplexity" in line
    ]


def test_without_a_held_out_part_its_perplexity_is_null(command: Command) -> None:
    """Not a number that nobody measured."""
    result = command("train", *TINY, "--held-out-chars=0", "--json")
    assert [line["held_out_perplexity"] for line in result.epochs] == [None] * 4
    assert all(line["held_out_perplexity"] > 1 for line in command("train", *TINY, "--json").epochs)


@pytest.mark.parametrize(("every", "epochs"), [(0, []), (1, [1, 2, 3, 4]), (3, [3]), (5, [])])
def test_predictions_come_every_so_many_epochs(command: Command, every: int, epochs: list[int]) -> None:
    """0 turns them off."""
    result = command("train", *TINY, f"--predict-every={every}", "--prefix=1+", "--json")
    assert [line["epoch"] for line in result.predictions] == epochs


def test_a_prefix_may_be_given_several_times(command: Command) -> None:
    """Each is continued, in the order in which they were given."""
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
def test_a_file_of_ones_own_is_a_corpus(command: Command, tmp_path: Path, name: str, data: bytes) -> None:
    """UTF-8, GB18030, or a zip that holds one text; the run knows the file's name, not its folder."""
    (tmp_path / name).write_bytes(data)
    result = command("train", *TINY, f"--corpus={tmp_path / name}", "--json")
    assert result.code == 0, result.err
    run = only_run(tmp_path / "home")
    assert run.corpus == split(decode(data), name, max_chars=300)
    assert run.corpus.training.startswith("北京天气很好，我们去公园散步。 北京")
    assert run.config.corpus == name
    assert result.predictions[0]["prefix"] == "北京天气"


def test_people_read_predictions_a_table_and_the_folder(command: Command, tmp_path: Path) -> None:
    """On standard output; the progress bar is on standard error."""
    result = command("train", *TINY, f"--out={tmp_path / 'mine'}")
    assert result.code == 0
    run = Run.open(tmp_path / "mine")
    texts = [f"epoch {r.epoch}: {r.text}" for r in run.reports() if isinstance(r, PredictionReport)]
    assert result.out.splitlines()[:4] == texts
    assert result.out.splitlines()[-1] == f"run: {run.folder}"
    assert "perplexity" in result.out
    assert "held-out" in result.out
    assert "Traceback" not in result.err


def test_predictions_are_printed_as_they_are(command: Command) -> None:
    """What looks like markup or like the name of an emoji is text."""
    result = command("train", *TINY, "--predict-every=4", "--prefix=[red]:cat:")
    assert "epoch 4: [red]:cat:" in result.out


def test_a_finished_run_says_so(command: Command, tmp_path: Path) -> None:
    """Status, checkpoints and a recording stand in the folder as after a run in the app."""
    command("train", *TINY, "--json")
    run = only_run(tmp_path / "home")
    steps = run.reports()[-1].step
    assert run.status().state == "finished"
    assert run.load_checkpoint().meta["step"] == run.checkpoint_steps()[-1] == run.recording_steps()[-1] == steps
    assert run.recording() is not None


def test_a_folder_in_use_is_refused(command: Command, tmp_path: Path) -> None:
    """Nothing in it is touched."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert_complains(command("train", *TINY, f"--out={tmp_path / 'mine'}"), "mine is not empty")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_diverging_ends_with_the_reason_and_a_run_to_read(command: Command, tmp_path: Path) -> None:
    """Exit code 2, the reason on one line, and the folder opens with finite weights."""
    wild = "--cell=rnn --activation=relu --learning-rate=10000 --clip=0 --optimizer=sgd --hidden-size=16"
    result = command("train", *TINY, *wild.split(), "--initialisation=uniform", f"--out={tmp_path / 'wild'}", "--json")
    assert result.code == 2
    assert "Traceback" not in result.err
    (line,) = [line for line in result.err.splitlines() if "diverged" in line]
    assert line == result.err.splitlines()[-1]
    assert re.match(r"rnnviz: the training diverged: in step \d+ \(epoch \d+\) .* = (inf|nan|-inf)", line)
    run = Run.open(tmp_path / "wild")
    status = run.status()
    assert status.state == "failed"
    assert status.message.format(**(status.values or {})) in line
    assert run.reports()
    assert all(bool(values.isfinite().all()) for values in load(run).weights().values())


TORCH_PROCESS = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_reached(command: Command, tmp_path: Path) -> None:
    """Exit code 130, no traceback, and a folder in which the last whole epoch can be looked at."""
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


@pytest.mark.slow
def test_the_process_ends_with_0(tmp_path: Path) -> None:
    """From a shell: train, then generate, through `python -m rnnviz`."""
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
def test_a_reader_that_leaves_early_is_no_traceback(tmp_path: Path) -> None:
    """`rnnviz train --json | head -1`."""
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
    """As many characters as asked for, out of the run's vocabulary; by default what the run continued."""
    result = command("generate", trained.folder, "--prefix=1+2=", "--length=30")
    assert (result.code, result.err) == (0, "")
    text = result.out.removesuffix("\n")
    assert text.startswith("1+2=")
    assert len(text) == 4 + 30
    assert set(text) <= set(trained.corpus.vocabulary.characters)
    assert command("generate", trained.folder).out.startswith("12+34=")
    assert len(command("generate", trained.folder).out) == len("12+34=") + 200 + 1


def test_temperature_0_is_the_same_whatever_the_seed(command: Command, trained: Run) -> None:
    """It is the library's `predict`."""
    texts = {
        command("generate", trained.folder, "--prefix=1+", "--temperature=0", f"--seed={seed}").out for seed in range(3)
    }
    assert texts == {rnnviz.predict(load(trained), trained.corpus.vocabulary, "1+", 200) + "\n"}


def test_a_seed_decides_what_is_drawn(command: Command, trained: Run) -> None:
    """The same one gives the same text, another one another."""
    first, second, other = (command("generate", trained.folder, f"--seed={seed}").out for seed in (3, 3, 4))
    assert first == second != other


def test_top_1_is_greedy(command: Command, trained: Run) -> None:
    """Where only the likeliest may be chosen, no temperature matters."""
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
def test_odd_wishes_are_refused(command: Command, trained: Run, options: str, reason: str) -> None:
    """With one line that says which."""
    assert_complains(command("generate", trained.folder, options), reason)


@pytest.mark.parametrize("options", ["--temperature=1e-40", "--temperature=1e30", "--top-k=100000"])
def test_extreme_wishes_are_fulfilled(command: Command, trained: Run, options: str) -> None:
    """They are allowed, so they write."""
    result = command("generate", trained.folder, options, "--length=5")
    assert (result.code, result.err) == (0, "")
    assert len(result.out) == len("12+34=") + 5 + 1


@pytest.mark.parametrize("kind", ["damaged checkpoint", "no checkpoint", "no folder of checkpoints", "damaged text"])
def test_a_run_that_cannot_write_says_why(command: Command, tmp_path: Path, kind: str) -> None:
    """One line, whatever part of the folder is missing or damaged."""
    run = Run.create(CONFIG, Corpus("test", "abcabc", "a"), tmp_path / "run")
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
def test_recorded_arrays_are_those_of_the_library(
    command: Command, tmp_path: Path, request: pytest.FixtureRequest, which: str, suffix: str
) -> None:
    """Every signal of every layer, bit for bit, with the text it speaks of."""
    run = request.getfixturevalue(which)
    out = tmp_path / f"gates{suffix}"
    result = command("gates", run.folder, "--text=1+2 =?", f"--out={out}")
    assert (result.code, result.out, result.err) == (0, f"{out}\n", "")
    expected = rnnviz.trace(load(run), run.corpus.vocabulary, "1+2 =?")
    if suffix == ".npz":
        with np.load(out, allow_pickle=False) as file:
            values = {name: file[name] for name in file.files}
    else:
        values = json.loads(out.read_text(encoding="utf-8"))
    about = {name: str(values.pop(name)) for name in ("text", "cell", "reset", "activation")}
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
    """The data that a page hands to Plotly."""
    html = page.read_text(encoding="utf-8")
    start = html.index("[", html.rindex("Plotly.newPlot("))
    data: list[dict[str, Any]] = json.JSONDecoder().raw_decode(html, start)[0]
    assert {trace["type"] for trace in data} == {"heatmap"}
    return data


@pytest.mark.parametrize("which", ["trained", "lstm"])
def test_the_page_of_gates_needs_no_network(
    command: Command, tmp_path: Path, request: pytest.FixtureRequest, which: str
) -> None:
    """Plotly is inside, nothing is loaded from elsewhere, and there is one heatmap a signal."""
    run = request.getfixturevalue(which)
    assert command("gates", run.folder, "--text=1+2", f"--out={tmp_path / 'gates.html'}").code == 0
    html = (tmp_path / "gates.html").read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img|iframe)\b[^>]*\b(src|href)\s*=", html)
    assert "plotly.js v" in html
    layers = run.config.model.num_layers
    assert len(heatmaps(tmp_path / "gates.html")) == layers * len(CELL_SIGNALS[run.config.model.cell])


def test_the_deepest_model_has_a_page_too(command: Command, tmp_path: Path) -> None:
    """Eight layers in two directions with six signals each: ninety-six heatmaps."""
    run = train_in(tmp_path / "deep", 0, cell="lstm", num_layers=8, bidirectional=True, hidden_size=2)
    result = command("gates", run.folder, "--text=1+", f"--out={tmp_path / 'gates.html'}")
    assert (result.code, result.err) == (0, "")
    assert len(heatmaps(tmp_path / "gates.html")) == 96


@pytest.mark.parametrize("name", ["gates.pdf", "gates", "gates.html.gz", ".npz"])
def test_another_kind_of_file_is_refused(command: Command, trained: Run, tmp_path: Path, name: str) -> None:
    """The line says which there are, and nothing is written."""
    result = command("gates", trained.folder, "--text=1", f"--out={tmp_path / name}")
    assert_complains(result, r"ends in none of \.html, \.npz, \.json")
    assert not (tmp_path / name).exists()


def test_the_suffix_may_be_in_capitals(command: Command, trained: Run, tmp_path: Path) -> None:
    """GATES.NPZ is an .npz."""
    assert command("gates", trained.folder, "--text=1", f"--out={tmp_path / 'GATES.NPZ'}").code == 0
    with np.load(tmp_path / "GATES.NPZ") as arrays:
        assert "layer1.forward.Z" in arrays.files


def test_gates_over_nothing_are_refused(command: Command, trained: Run, tmp_path: Path) -> None:
    """An empty text has no steps."""
    assert_complains(command("gates", trained.folder, "--text=", f"--out={tmp_path / 'a.npz'}"), "the text is empty")


def test_a_place_that_cannot_be_written_is_named(command: Command, trained: Run, tmp_path: Path) -> None:
    """A missing folder, or a folder in the file's place."""
    (tmp_path / "folder.npz").mkdir()
    for name in ("missing/a.npz", "folder.npz"):
        result = command("gates", trained.folder, "--text=1", f"--out={tmp_path / name}")
        assert_complains(result, f"{name} cannot be written: ")


def test_looking_at_a_run_changes_nothing(command: Command, trained: Run, tmp_path: Path) -> None:
    """Neither `generate` nor `gates` writes into the run's folder."""
    before = {path: path.read_bytes() for path in trained.folder.rglob("*") if path.is_file()}
    command("generate", trained.folder, "--length=3")
    command("gates", trained.folder, "--text=1", f"--out={tmp_path / 'a.json'}")
    assert {path: path.read_bytes() for path in trained.folder.rglob("*") if path.is_file()} == before
