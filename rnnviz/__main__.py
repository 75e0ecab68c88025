"""The command line: `rnnviz train`, `rnnviz generate RUN`, `rnnviz gates RUN`, `rnnviz bench`, `rnnviz load`.

Exit codes: 0; 2 for bad usage, bad input or a training that diverged, with one line that says
what is wrong; 130 after Ctrl-C, with what was reached saved.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rnnviz import text
from rnnviz.config import (
    PRESETS,
    Device,
    Implementation,
    Initialisation,
    Optimizer,
    Sampling,
    TrainConfig,
)
from rnnviz.errors import InputError
from rnnviz.i18n import quantity
from rnnviz.reports import EpochReport, FailureReport, PredictionReport, Report
from rnnviz.runs import Run, Status
from rnnviz.signals import Activation, CellName, Reset

_DEFAULTS = TrainConfig()
_INTERRUPTED = 130
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    """Train small recurrent language models, let them write, and look inside."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def train(
    context: typer.Context,
    preset: Annotated[str | None, typer.Option(help=f"Start from one of {', '.join(PRESETS)}.")] = None,
    corpus: Annotated[
        str, typer.Option(help=f"One of {', '.join(text.CORPORA)}, or a file (.txt, .zip).")
    ] = "lyrics-zh",
    max_chars: Annotated[int, typer.Option(help="Characters of the training part.")] = _DEFAULTS.max_chars,
    held_out_chars: Annotated[int | None, typer.Option(help="Characters held out; a tenth by default.")] = None,
    keep_line_breaks: Annotated[bool, typer.Option(help="Keep line breaks; otherwise they become spaces.")] = False,
    cell: Annotated[CellName, typer.Option()] = _DEFAULTS.model.cell,
    activation: Annotated[Activation, typer.Option(help="Of the RNN cell.")] = _DEFAULTS.model.activation,
    implementation: Annotated[Implementation, typer.Option()] = _DEFAULTS.model.implementation,
    initialisation: Annotated[
        Initialisation | None,
        typer.Option(help="normal: N(0, 0.01); uniform: torch's own, the default with --implementation torch."),
    ] = None,
    hidden_size: Annotated[int, typer.Option()] = _DEFAULTS.model.hidden_size,
    num_layers: Annotated[int, typer.Option()] = _DEFAULTS.model.num_layers,
    bidirectional: Annotated[bool, typer.Option()] = False,
    reset: Annotated[
        Reset, typer.Option(help="Where the GRU's reset gate acts: before or after the matrix product.")
    ] = _DEFAULTS.model.reset,
    forget_bias: Annotated[float, typer.Option(help="Added to the LSTM's b_f.")] = _DEFAULTS.model.forget_bias,
    sampling: Annotated[Sampling, typer.Option()] = _DEFAULTS.sampling,
    batch_size: Annotated[int, typer.Option()] = _DEFAULTS.batch_size,
    num_steps: Annotated[int, typer.Option(help="Time steps of a mini-batch.")] = _DEFAULTS.num_steps,
    epochs: Annotated[int, typer.Option()] = _DEFAULTS.epochs,
    optimizer: Annotated[Optimizer, typer.Option()] = _DEFAULTS.optimizer,
    learning_rate: Annotated[float, typer.Option()] = _DEFAULTS.learning_rate,
    clip: Annotated[float, typer.Option(help="Threshold theta of the global gradient norm; 0: off.")] = _DEFAULTS.clip,
    seed: Annotated[int, typer.Option()] = _DEFAULTS.seed,
    device: Annotated[Device, typer.Option()] = _DEFAULTS.device,
    prefixes: Annotated[
        list[str] | None, typer.Option("--prefix", help="What to continue; give it several times.")
    ] = None,
    predict_every: Annotated[int, typer.Option(help="Epochs between predictions; 0: none.")] = _DEFAULTS.predict_every,
    predict_length: Annotated[int, typer.Option(help="Characters to predict.")] = _DEFAULTS.predict_length,
    probe: Annotated[str, typer.Option(help="The text over which gates are recorded.")] = "",
    out: Annotated[Path | None, typer.Option(help="The run's folder; new or empty.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output.")] = False,
) -> None:
    """Train a model. The defaults are the GRU from scratch of the notes."""
    if preset is not None and preset not in PRESETS:
        raise InputError(
            "{name} is {value}; allowed: {allowed}", name="preset", value=preset, allowed=", ".join(PRESETS)
        )
    start = PRESETS[preset].config if preset else _DEFAULTS
    given = {
        name: value
        for name, value in context.params.items()
        if name in start.settings() and getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }
    if given.get("implementation") == "torch":
        given = {"initialisation": "uniform", **given}
    _train(start.with_settings(given), out, as_json)


def _train(config: TrainConfig, out: Path | None, as_json: bool) -> None:
    name = config.corpus if config.corpus in text.CORPORA else Path(config.corpus).name
    whole = text.read(config.corpus, seed=config.seed)
    parts = text.split(
        whole,
        name,
        max_chars=config.max_chars,
        held_out_chars=config.held_out_chars,
        keep_line_breaks=config.keep_line_breaks,
    )
    import torch

    from rnnviz.execution import Execution
    from rnnviz.training import Trainer

    # Small products gain little from more threads, and lose much where other programs run.
    if not os.environ.get("OMP_NUM_THREADS"):  # which torch reads by itself
        torch.set_num_threads(1)

    config = replace(config, corpus=name)
    trainer = Trainer(config, parts)  # before the folder, which a wrong setting must not leave behind
    run = Run.create(config, parts, out)
    execution = Execution.start(run, trainer)
    run.set_status(Status("running"))
    errors = Console(stderr=True)
    epochs: list[EpochReport] = []
    with _interruption() as interrupted, _progress(errors, trainer.total_steps) as advance:
        while not trainer.finished and not interrupted():
            for report in execution.advance(trainer.step + 1):
                advance(report, trainer.step)
                epochs += [report] if isinstance(report, EpochReport) else []
                _tell(report, as_json)
    execution.save()
    _finish(run, trainer.failure, epochs, errors if as_json else Console())
    if trainer.failure:
        raise InputError(trainer.failure.message, **trainer.failure.values)
    if not trainer.finished:
        run.set_status(Status("stopped"))
        raise typer.Exit(_INTERRUPTED)
    run.set_status(Status("finished"))


def _tell(report: Report, as_json: bool) -> None:
    """One report on standard output: JSON for programs, predictions for people."""
    if isinstance(report, PredictionReport):
        if as_json:
            _print_json({"epoch": report.epoch, "prefix": report.prefix, "text": report.text})
        else:
            Console().print(f"epoch {report.epoch}: {report.text}", markup=False, highlight=False, emoji=False)
    elif isinstance(report, EpochReport) and as_json:
        _print_json(
            {
                "epoch": report.epoch,
                "perplexity": report.perplexity,
                "held_out_perplexity": report.held_out_perplexity,
                "gradient_norm_before": report.norm_before,
                "gradient_norm_after": report.norm_after,
                "tokens_per_second": report.characters_per_second,
                "seconds": report.seconds,
            }
        )


def _print_json(values: dict[str, Any]) -> None:
    finite = {k: None if isinstance(v, float) and abs(v) == float("inf") else v for k, v in values.items()}
    print(json.dumps(finite, ensure_ascii=False, allow_nan=False), flush=True)


def _finish(run: Run, failure: FailureReport | None, epochs: list[EpochReport], console: Console) -> None:
    """The run's last words: a short table, and where it is."""
    if failure:
        run.set_status(Status("failed", failure.message, failure.values))
    if epochs:
        last = epochs[-1]
        table = Table("epoch", "perplexity", "held-out", "‖g‖ before", "‖g‖ after", "characters/s")
        held_out = "–" if last.held_out_perplexity is None else quantity(last.held_out_perplexity)
        numbers = (last.perplexity, last.norm_before, last.norm_after, last.characters_per_second)
        perplexity, before, after, speed = map(quantity, numbers)
        table.add_row(str(last.epoch), perplexity, held_out, before, after, speed)
        console.print(table)
    console.print(f"run: {run.folder}", markup=False, highlight=False, emoji=False, soft_wrap=True)


@contextmanager
def _interruption() -> Iterator[Any]:
    """Ctrl-C only raises a flag here: the step under way ends, and what there is gets saved."""
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Any]:
    """A progress bar with perplexity, speed and time left; the value is a function that moves it."""
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("perplexity {task.fields[perplexity]}"),
        TextColumn("{task.fields[speed]} characters/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=total, perplexity="–", speed="–")

        def advance(report: Report, step: int) -> None:
            progress.update(task, completed=step)
            if isinstance(report, EpochReport):
                speed = quantity(report.characters_per_second)
                progress.update(task, perplexity=quantity(report.perplexity), speed=speed)

        yield advance


RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.")]


@app.command()
def generate(
    run: RunFolder,
    prefix: Annotated[str | None, typer.Option(help="What to continue; by default what the run continued.")] = None,
    length: Annotated[int, typer.Option(min=1, max=100_000)] = 200,
    temperature: Annotated[float, typer.Option(help="0 always takes the likeliest character.")] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="Choose among the k likeliest only.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1)] = 0,
) -> None:
    """Let a trained run write."""
    opened = Run.open(run)
    import torch

    from rnnviz.execution import load
    from rnnviz.generation import generate as write

    prefixes = opened.config.prefixes or text.default_prefixes(opened.corpus)
    written = write(
        load(opened),
        opened.corpus.vocabulary,
        prefixes[0] if prefix is None else prefix,
        length,
        temperature=temperature,
        top_k=top_k,
        generator=torch.Generator().manual_seed(seed),
    )
    print(written.text)


class _Format(Enum):
    HTML = ".html"
    NPZ = ".npz"
    JSON = ".json"


@app.command()
def gates(
    run: RunFolder,
    passage: Annotated[str, typer.Option("--text", help="The text to read.")],
    out: Annotated[Path, typer.Option(help=".html: an interactive figure; .npz or .json: the arrays.")],
) -> None:
    """Record every gate and state of a trained run over a text."""
    try:
        form = _Format(out.suffix.lower())
    except ValueError:
        allowed = ", ".join(f.value for f in _Format)
        raise InputError("{out} ends in none of {allowed}", out=out, allowed=allowed) from None
    if not passage:
        raise InputError("the text is empty; it needs at least one character")
    opened = Run.open(run)
    from rnnviz.execution import load
    from rnnviz.figures import gates_page
    from rnnviz.probes import trace

    recorded = trace(load(opened), opened.corpus.vocabulary, passage)
    if form is _Format.HTML:
        data = gates_page(recorded).encode()
    elif form is _Format.NPZ:
        data = recorded.to_bytes()
    else:
        data = json.dumps(recorded.to_json(), ensure_ascii=False).encode()
    try:
        out.write_bytes(data)
    except OSError as error:
        raise InputError("{out} cannot be written: {reason}", out=out, reason=error.strerror) from error
    print(out)


@app.command()
def bench(
    quick: Annotated[bool, typer.Option(help="The notes' setting with one thread, in half a minute.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output.")] = False,
) -> None:
    """Measure a training step of every implementation, side by side, in turns."""
    from rnnviz.bench import run

    table = Table("setting", "cell", "threads", "implementation", "characters/s", "of fused", "of the peak")
    for measured in run(quick=quick):
        if as_json:
            _print_json(asdict(measured))
            continue
        table.add_row(
            measured.setting,
            measured.cell,
            str(measured.threads),
            measured.implementation,
            quantity(measured.tokens_per_second),
            f"{measured.ratio_to_fused:.2f}",
            f"{measured.share_of_peak:.0%}",
        )
    if not as_json:
        Console().print(table)


@app.command()
def load(
    viewers: Annotated[int, typer.Option(min=1, max=200, help="Visitors who watch.")] = 30,
    runs: Annotated[int, typer.Option(min=1, max=50, help="Runs that train at the same time.")] = 8,
    seconds: Annotated[float, typer.Option(min=5, max=300, help="How long everybody watches.")] = 20,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="One a core by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Start an app on this machine, fill it with visitors and runs, and say what they felt."""
    from rnnviz.load import run

    outcome = run(viewers, runs, seconds, workers).figures
    if as_json:
        _print_json(outcome)
        return
    table = Table("measured", "value", title=f"{viewers} viewers, {runs} runs")
    for label, value in (
        ("updates per viewer and second", f"{outcome['updates_per_viewer_and_second']:.2f}"),
        ("an interaction, median", f"{1000 * outcome['latency_p50']:.0f} ms"),
        ("an interaction, 95th percentile", f"{1000 * outcome['latency_p95']:.0f} ms"),
        ("characters per second, all runs", quantity(outcome["speed"])),
        ("  of one run alone", f"{outcome['of_one_run_alone']:.0%}"),
        ("  of the same runs with no viewers", f"{outcome['of_unwatched']:.0%}"),
        ("a run's share off the mean, at most", f"{outcome['worst_share']:.0%}"),
        ("runs lost", str(outcome["lost"])),
        *((f"memory of {name}", f"{size:,.0f} MB") for name, size in outcome["memory"].items()),
        ("memory in all", f"{outcome['memory_total']:,.0f} MB"),
    ):
        table.add_row(label, value)
    Console().print(table)


def main() -> None:
    """Run the command, turning a user's mistake into one line and exit code 2."""
    code: int | None
    try:
        code = app(standalone_mode=False)
    except InputError as error:
        code = _complain(str(error))
    except typer.TyperException as error:
        code = _complain(getattr(error, "format_message", error.__str__)())
    except (typer.Abort, KeyboardInterrupt):
        code = _INTERRUPTED
    sys.exit(code)


def _complain(message: str) -> int:
    print(f"rnnviz: {' '.join(message.split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
