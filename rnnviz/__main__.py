"""The command line: `rnnviz app`, `train`, `generate RUN`, `gates RUN`, `reproduce`, `bench` and `load`.

Exit codes: 0; 2 for bad usage, bad input or a training that diverged; 1 if the host cannot go on,
as with a full disk (both with one line that says what is wrong); 130 after Ctrl-C, with the
progress saved.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import HORIZONTALS
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table as Grid

from rnnviz.analysis.published import TABLES, Table
from rnnviz.analysis.reproduction import Machine, Plan
from rnnviz.cells import Activation, CellName, Reset, cell_of, find_cell
from rnnviz.config import PRESETS, Device, Implementation, Initialisation, Optimizer, Sampling, Task, TrainConfig
from rnnviz.errors import HostError, InputError
from rnnviz.i18n import quantity, why_it_cannot_continue, why_not_a_language_model
from rnnviz.runs.folder import DISK_FULL, CheckpointName, Run, Status
from rnnviz.runs.reports import EpochReport, FailureReport, PredictionReport, Report, best_held_out
from rnnviz.text import corpora
from rnnviz.text.ngram import References, references

if TYPE_CHECKING:
    from rnnviz.nn.execution import Execution
    from rnnviz.reproduce import Reproduction

_DEFAULTS = TrainConfig()
_INTERRUPTED = 130


def _names(tables: Iterable[Table]) -> str:
    return ", ".join(name for table in tables for name in table.experiments)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    """Train small recurrent language models, let them write, and look inside."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("app")
def start_app(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="The first free one from 8501 on, unless given.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Where to listen: this machine alone, unless given; 0.0.0.0: everywhere.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the app in a browser.")] = False,
) -> None:
    """Start the app: its pages, its texts and its trained models."""
    from rnnviz.server import serve

    serve(address, port, browser=not no_browser)


@app.command()
def train(
    context: typer.Context,
    preset: Annotated[str | None, typer.Option(help=f"Start from one of {', '.join(PRESETS)}.")] = None,
    corpus: Annotated[
        str, typer.Option(help=f"One of {', '.join(corpora.CORPORA)}, or a file (.txt, .zip).")
    ] = "lyrics-zh",
    encoding: Annotated[
        str | None, typer.Option(help=f"Of the file: {', '.join(corpora.ENCODINGS)}. It is found unless given.")
    ] = None,
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
        Reset,
        typer.Option(
            help="Where the GRU's reset gate acts: before the matrix product (the papers), after it (the lecture "
            "notes' code), or after it with a bias b_hn inside the gate (after-bias: torch's form, and the default of "
            "its implementation)."
        ),
    ] = _DEFAULTS.model.reset,
    forget_bias: Annotated[float, typer.Option(help="Added to the LSTM's b_f.")] = _DEFAULTS.model.forget_bias,
    residual: Annotated[bool, typer.Option(help="Layers add their input to their output.")] = False,
    dropout: Annotated[
        float, typer.Option(help="Share dropped between layers while training.")
    ] = _DEFAULTS.model.dropout,
    sampling: Annotated[Sampling, typer.Option()] = _DEFAULTS.sampling,
    batch_size: Annotated[int, typer.Option()] = _DEFAULTS.batch_size,
    num_steps: Annotated[int, typer.Option(help="Time steps of a mini-batch.")] = _DEFAULTS.num_steps,
    epochs: Annotated[int, typer.Option()] = _DEFAULTS.epochs,
    optimizer: Annotated[Optimizer, typer.Option()] = _DEFAULTS.optimizer,
    learning_rate: Annotated[float, typer.Option()] = _DEFAULTS.learning_rate,
    clip: Annotated[float, typer.Option(help="Threshold theta of the global gradient norm; 0: off.")] = _DEFAULTS.clip,
    weight_decay: Annotated[
        float,
        typer.Option(help="Each step also multiplies the weights by 1 - learning_rate * weight_decay (SGD, AdamW)."),
    ] = _DEFAULTS.weight_decay,
    seed: Annotated[int, typer.Option()] = _DEFAULTS.seed,
    device: Annotated[Device, typer.Option()] = _DEFAULTS.device,
    prefixes: Annotated[
        list[str] | None, typer.Option("--prefix", help="What to continue; give it several times.")
    ] = None,
    predict_every: Annotated[int, typer.Option(help="Epochs between predictions; 0: none.")] = _DEFAULTS.predict_every,
    predict_length: Annotated[int, typer.Option(help="Characters to predict.")] = _DEFAULTS.predict_length,
    probe: Annotated[str, typer.Option(help="The text over which gates are recorded.")] = "",
    task: Annotated[
        Task, typer.Option(help="predict the next character, or restore characters that are masked in the input.")
    ] = _DEFAULTS.task,
    out: Annotated[Path | None, typer.Option(help="The run's folder; new or empty.")] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped, by its own settings.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output.")] = False,
) -> None:
    """Train a model. By default the GRU from scratch of the lecture notes, which follow Dive into Deep Learning."""
    if resume is not None:
        _refuse_settings(context)
        _resume(resume, as_json)
        return
    if preset is not None and preset not in PRESETS:
        raise InputError(
            "{name} is {value}; allowed: {allowed}", name="preset", value=preset, allowed=", ".join(PRESETS)
        )
    start = PRESETS[preset].config if preset else _DEFAULTS
    given = {name: context.params[name] for name in _given(context) if name in start.settings()}
    if given.get("implementation") == "torch":
        given = {"initialisation": "uniform", "reset": "after-bias", **given}
    _train(start.with_settings(given), encoding, out, as_json)


def _text(config: TrainConfig, encoding: str | None) -> str:
    """The whole text. If its encoding is a guess, standard error says so."""
    if config.corpus in corpora.CORPORA:
        return corpora.read(config.corpus, seed=config.seed)
    known = {name.lower(): name for name in corpora.ENCODINGS}
    if encoding is not None and encoding.lower() not in known:
        allowed = ", ".join(corpora.ENCODINGS)
        raise InputError("{name} is {value}; allowed: {allowed}", name="encoding", value=encoding, allowed=allowed)
    data = corpora.read_file(config.corpus)
    chosen = corpora.find_encoding(data) if encoding is None else known[encoding.lower()]
    if encoding is None and chosen not in (None, "UTF-8"):
        print(f"rnnviz: the file is read as {chosen}; --encoding names another encoding", file=sys.stderr)
    return corpora.decode(data, encoding=chosen)


def _given(context: typer.Context) -> list[str]:
    """The parameters given on the command line."""
    source = context.get_parameter_source
    return [name for name in context.params if getattr(source(name), "name", "") == "COMMANDLINE"]


def _refuse_settings(context: typer.Context) -> None:
    others = [name for name in sorted(_given(context)) if name not in ("resume", "as_json")]
    if others:
        raise InputError("a resumed run has its own settings; leave out {names}", names=", ".join(others))


def _resume(folder: Path, as_json: bool) -> None:
    run = Run.open(folder)
    if run.status().state == "finished":
        raise InputError("the run in {folder} has finished", folder=folder)
    from rnnviz.nn.execution import Execution

    _use_one_thread()
    with _full_disk_told(run), run.driven(), run.attempt():
        _drive(Execution.resume(run), as_json)


def _train(config: TrainConfig, encoding: str | None, out: Path | None, as_json: bool) -> None:
    corpus = corpora.corpus_of(config, _text(config, encoding))
    from rnnviz.nn.execution import Execution
    from rnnviz.nn.training import Trainer

    _use_one_thread()
    config = replace(config, corpus=corpus.name)
    trainer = Trainer(config, corpus)  # before the folder is made, so that a wrong setting leaves none behind
    run = Run.create(config, corpus, out)
    with _full_disk_told(run):
        with run.starting():
            execution = Execution.start(run, trainer)
        with run.driven(), run.attempt():
            _drive(execution, as_json)


def _use_one_thread() -> None:
    """Use one thread: small products gain little from more, and lose much when other programs run."""
    from rnnviz.nn.execution import use_one_thread

    if not os.environ.get("OMP_NUM_THREADS"):  # torch reads it by itself
        use_one_thread()


def _drive(execution: Execution, as_json: bool) -> None:
    """Train to the end, or until Ctrl-C."""
    run, trainer = execution.run, execution.trainer
    run.set_status(Status("running"))
    errors = Console(stderr=True)
    epochs: list[EpochReport] = []
    with _interruption() as interrupted:
        with _progress(errors, trainer.total_steps, reads_ahead=run.config.reads_ahead) as advance:
            while not trainer.finished and not interrupted():
                for report in execution.advance(trainer.step + 1):
                    advance(report, trainer.step)
                    epochs += [report] if isinstance(report, EpochReport) else []
                    _tell(report, as_json, reads_ahead=run.config.reads_ahead)
        execution.save()
        _finish(run, trainer.failure, epochs, errors if as_json else Console())
        if trainer.failure:
            raise InputError(trainer.failure.message, **trainer.failure.values)
        run.set_status(Status("finished" if trainer.finished else "stopped"))
    if not trainer.finished:
        raise typer.Exit(_INTERRUPTED)


def _tell(report: Report, as_json: bool, *, reads_ahead: bool) -> None:
    """Print one report on standard output: JSON for programs, predictions for people.

    `future_read` says whether the perplexities are those of a model that `reads_ahead`, and so not a language model's.
    The reason why a training diverged is also a line of JSON; people read it at the end, on standard error.
    """
    if isinstance(report, PredictionReport):
        if as_json:
            _print_json({"epoch": report.epoch, "prefix": report.prefix, "text": report.text})
        else:
            Console().print(f"epoch {report.epoch:,}: {report.text}", markup=False, highlight=False, emoji=False)
    elif isinstance(report, FailureReport) and as_json:
        _print_json({"epoch": report.epoch, "step": report.step, "diverged": report.reason})
    elif isinstance(report, EpochReport) and as_json:
        _print_json(
            {
                "epoch": report.epoch,
                "perplexity": report.perplexity,
                "held_out_perplexity": report.held_out_perplexity,
                "future_read": reads_ahead,
                "held_out_accuracy": report.held_out_accuracy,
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
    """Print a short table of the results, and the run's folder."""
    ahead = run.config.reads_ahead
    if failure:
        run.set_status(Status("failed", failure.message, failure.values))
    if epochs:
        last = epochs[-1]
        names = ["perplexity, future read", "held-out, future read"] if ahead else ["perplexity", "held-out"]
        table = Grid("epoch", *names, "‖g‖ before", "‖g‖ after", "characters/s")
        numbers = (last.perplexity, last.norm_before, last.norm_after, last.characters_per_second)
        perplexity, before, after, speed = map(quantity, numbers)
        cells = [f"{last.epoch:,}", perplexity, _held_out(last), before, after, speed]
        if last.held_out_accuracy is not None:
            table.add_column("restored")
            cells.append(f"{last.held_out_accuracy:.1%}")
        table.add_row(*cells)
        console.print(table)
        best = best_held_out(run.epochs())
        if best and run.has_best:
            console.print(
                f"lowest held-out perplexity{', future read' if ahead else ''}: {_held_out(best)} "
                f"in epoch {best.epoch:,}; "
                "rnnviz generate RUN --checkpoint best writes with its weights",
                highlight=False,
                soft_wrap=True,
            )
        if last.epoch == run.config.epochs and run.config.is_language_model and run.corpus.held_out:
            console.print(_to_compare(references(run.corpus)), highlight=False, soft_wrap=True)
        if ahead:
            console.print(why_not_a_language_model(str), why_it_cannot_continue(str), highlight=False)
    console.print(f"run: {run.folder}", markup=False, highlight=False, emoji=False, soft_wrap=True)


def _to_compare(compared: References) -> str:
    """What guessing and counting get on the same held-out characters."""
    from rnnviz.figures.report import perplexity_text, reference_values

    values = (f"{name} {perplexity_text(value)}" for name, value in reference_values(compared).items())
    return f"held-out, to compare: {', '.join(values)}"


def _held_out(report: EpochReport) -> str:
    return "–" if report.held_out_perplexity is None else quantity(report.held_out_perplexity)


@contextmanager
def _interruption() -> Iterator[Any]:
    """Let Ctrl-C only set a flag: the current step is finished, and the run is saved.

    The second Ctrl-C prints an explanation; the third ends the process at once.
    """
    pressed: list[int] = []

    def note(number: int, frame: object) -> None:
        pressed.append(number)
        if len(pressed) == 2:
            os.write(2, b"\nrnnviz: saving what was reached; press Ctrl-C once more to leave without it\n")
        elif len(pressed) > 2:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _full_disk_told(run: Run) -> Iterator[None]:
    """If the disk is full, leave the run paused with what was saved last."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        told = HostError(
            "the disk is full; what was saved before stays in {folder}: {reason}",
            folder=run.folder,
            reason=error.strerror,
        )
        with suppress(OSError):
            run.set_status(
                Status("paused", "the disk is full; free some space, then resume: {reason}", {"reason": error.strerror})
            )
        raise told from error


@contextmanager
def _progress(console: Console, total: int, *, reads_ahead: bool) -> Iterator[Any]:
    """A progress bar with perplexity, speed and time left; the value is a function that moves it."""
    ahead = ", future read" if reads_ahead else ""
    columns = (
        BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,}"),
        TextColumn("perplexity {task.fields[perplexity]}" + ahead),
        TextColumn("held-out {task.fields[held_out]}" + ahead),
        TextColumn("{task.fields[speed]} characters/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=total, perplexity="–", held_out="–", speed="–")

        def advance(report: Report, step: int) -> None:
            progress.update(task, completed=step)
            if isinstance(report, EpochReport):
                speed = quantity(report.characters_per_second)
                held_out = _held_out(report)
                progress.update(task, perplexity=quantity(report.perplexity), held_out=held_out, speed=speed)

        yield advance


RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.")]
Checkpoint = Annotated[
    CheckpointName, typer.Option(help="The newest, or the best: of the epoch with the lowest held-out perplexity.")
]


@app.command()
def generate(
    run: RunFolder,
    prefix: Annotated[str | None, typer.Option(help="What to continue; by default what the run continued.")] = None,
    length: Annotated[int, typer.Option(min=1, max=100_000)] = 200,
    temperature: Annotated[float, typer.Option(help="0 always takes the likeliest character.")] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="Choose among the k likeliest only.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1)] = 0,
    checkpoint: Checkpoint = "latest",
) -> None:
    """Let a trained run write."""
    opened = Run.open(run)
    if opened.config.task == "restore":
        raise InputError("the run restores masked characters; it does not continue texts")
    if opened.config.model.bidirectional:
        print(f"rnnviz: {why_it_cannot_continue(str)}", file=sys.stderr)
    from rnnviz.nn import execution

    prefixes = opened.config.prefixes or corpora.default_prefixes(opened.corpus)
    written = execution.generate(
        str(opened.folder),
        prefixes[0] if prefix is None else prefix,
        length,
        temperature=temperature,
        top_k=top_k,
        seed=seed,
        checkpoint=checkpoint,
    )
    print(written.text)


class _Format(Enum):
    HTML = ".html"
    NPZ = ".npz"
    JSON = ".json"


class _Picture(Enum):
    CELL = "cell"
    HEATMAPS = "heatmaps"


@app.command()
def gates(
    run: RunFolder,
    passage: Annotated[str, typer.Option("--text", help="The text to read.")],
    out: Annotated[Path, typer.Option(help=".html: a page that needs no network; .npz or .json: the arrays.")],
    picture: Annotated[
        _Picture,
        typer.Option(help="Of the page: the cell at work, playing the text, or every signal as a heatmap."),
    ] = _Picture.CELL,
    layer: Annotated[int, typer.Option(min=1, help="Of a deep model: whose cell the page shows.")] = 1,
    checkpoint: Checkpoint = "latest",
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
    if form is _Format.HTML and picture is _Picture.CELL:
        data = _cell_page(opened, passage, layer, checkpoint)
    else:
        data = _recording(opened, passage, form, checkpoint)
    try:
        out.write_bytes(data)
    except OSError as error:
        raise InputError("{out} cannot be written: {reason}", out=out, reason=error.strerror) from error
    print(out)


def _cell_page(run: Run, passage: str, layer: int, checkpoint: CheckpointName) -> bytes:
    """A page with the cell of a layer at work on a text."""
    from rnnviz.figures.cell_view import cell_page, check_size, pack_cell
    from rnnviz.nn.execution import read

    model = run.config.model
    check_size(cell_of(model), model.hidden_size, len(passage))  # before it is read: an absurdly long text takes long
    reading = read(str(run.folder), passage, layer, checkpoint)
    return cell_page(pack_cell(reading), f"{find_cell(model.cell).label}: {run.id}").encode()


def _recording(run: Run, passage: str, form: _Format, checkpoint: CheckpointName) -> bytes:
    """Every signal over a text: heatmaps, or the arrays."""
    from rnnviz.figures.gates import gates_page
    from rnnviz.nn.execution import load_model
    from rnnviz.nn.tracing import trace

    recorded = trace(load_model(run, checkpoint), run.corpus.vocabulary, passage)
    if form is _Format.HTML:
        return gates_page(recorded).encode()
    if form is _Format.NPZ:
        return recorded.to_bytes()
    return json.dumps(recorded.to_json(), ensure_ascii=False).encode()


class _TableName(Enum):
    NOTES = "notes"
    D2L = "d2l"


@app.command()
def reproduce(
    table: Annotated[
        _TableName,
        typer.Option(help="notes: the lecture notes' six; d2l: the nine of Dive into Deep Learning, 500 epochs each."),
    ] = _TableName.NOTES,
    corpus: Annotated[
        str | None,
        typer.Option(help="A file (.txt, .zip) or one of ours, of which 10,000 characters are used."),
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Of the file. It is found unless given.")] = None,
    implementation: Annotated[Implementation, typer.Option(help="With which all are trained.")] = "fused",
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"One of {_names(TABLES.values())}; give it several times."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="How many; their median and range are shown.")] = 1,
    seed: Annotated[int, typer.Option(help="The first of them.")] = _DEFAULTS.seed,
    epochs: Annotated[int | None, typer.Option(help="Fewer than were published give a quick look.")] = None,
    prefixes: Annotated[
        list[str] | None, typer.Option("--prefix", help="What to continue; give it several times.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A folder for the report and the runs. Give it again to go on.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object an experiment on standard output.")] = False,
) -> None:
    """Train published experiments, those of the lecture notes by default, and compare what they reach."""
    from rnnviz.reproduce import Reproduction

    chosen = TABLES[table.value]
    plan = _plan(
        chosen,
        corpus,
        encoding,
        only,
        range(seed, seed + seeds),
        implementation,
        chosen.epochs if epochs is None else epochs,
        prefixes,
    )
    reproduction = Reproduction(plan, out)
    with _interruption() as interrupted:
        with _reproduction_progress(reproduction) as look:
            reproduction.train(look, interrupted)
        if as_json:
            for line in reproduction.to_json():
                _print_json(line)
        else:
            _tell_results(reproduction)
        if out is not None:
            print(reproduction.write_report(out), file=sys.stderr if as_json else sys.stdout)
    for (experiment, failed_seed), reason in reproduction.failures().items():
        raise InputError(
            "{experiment}, seed {seed}: {reason}", experiment=experiment.name, seed=failed_seed, reason=reason
        )
    if not all(result.finished for result in reproduction.results()):
        raise typer.Exit(_INTERRUPTED)


def _plan(
    table: Table,
    corpus: str | None,
    encoding: str | None,
    only: Sequence[str] | None,
    seeds: Sequence[int],
    implementation: Implementation,
    epochs: int,
    prefixes: Sequence[str] | None,
) -> Plan:
    """What is to be trained. Raises InputError where a name or a setting is not allowed."""
    names = only or list(table.experiments)
    for name in names:
        if name not in table.experiments:
            raise InputError("{name} is {value}; allowed: {allowed}", name="only", value=name, allowed=_names([table]))
    config = _DEFAULTS.with_settings({"corpus": corpus or table.corpus})
    return Plan(
        corpora.corpus_of(config, _text(config, encoding)),
        tuple(experiment for name, experiment in table.experiments.items() if name in names),
        implementation,
        tuple(seeds),
        epochs,
        tuple(prefixes or ()),
        table,
    )


@contextmanager
def _reproduction_progress(reproduction: Reproduction) -> Iterator[Callable[[], None]]:
    """A bar for each experiment and one for all, with the time left; the value is a function that moves them."""
    experiments = reproduction.plan.experiments
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks = {experiment: progress.add_task(experiment.label) for experiment in experiments}
        whole = progress.add_task("all", total=sum(map(reproduction.work, experiments)))

        def look() -> None:
            done = {experiment: reproduction.progress(experiment) for experiment in experiments}
            for experiment, task in tasks.items():
                progress.update(task, completed=100 * done[experiment])
            progress.update(whole, completed=sum(done[e] * reproduction.work(e) for e in experiments))

        yield look


def _tell_results(reproduction: Reproduction) -> None:
    """A table of our figures and the notes', the reference perplexities, and what the models write."""
    from rnnviz.figures.report import (
        SEES_THE_FUTURE,
        published_text,
        setting_text,
        spread_text,
    )

    console, plan, results = Console(), reproduction.plan, reproduction.results()
    print(setting_text(plan, Machine.here().torch))
    marks = [str(epoch) for epoch in plan.marks]
    heading = "perplexity after so many epochs"
    table = Grid("experiment", "", *marks, "s/epoch", title=heading, box=HORIZONTALS, pad_edge=False)
    for result in results:
        experiment, seconds = result.experiment, result.seconds_per_epoch
        published = experiment.seconds_per_epoch
        ours = [spread_text(result.perplexity(epoch)) for epoch in plan.marks]
        theirs = [published_text(result, epoch) for epoch in plan.marks]
        held_out = [spread_text(result.held_out(epoch)) for epoch in plan.marks]
        table.add_row(experiment.name, "training", *ours, quantity(seconds.median) if seconds else "–")
        table.add_row("", plan.table.name, *theirs, quantity(published) if published else "")
        table.add_row("", "held-out" + "¹" * experiment.sees_the_future, *held_out, end_section=True)
    console.print(table)
    if any(result.experiment.sees_the_future for result in results):
        print(f"¹ It {SEES_THE_FUTURE}.")
    print(_to_compare(reproduction.references))
    for result in results:
        for outcome in result.outcomes:
            for text in outcome.texts.values():
                share = reproduction.source.quoted(text).share
                console.print(
                    f"{result.experiment.name}, seed {outcome.seed}, {share:.0%} quoted: {text}",
                    markup=False,
                    highlight=False,
                    emoji=False,
                    soft_wrap=True,
                )


@app.command()
def bench(
    quick: Annotated[
        bool, typer.Option(help="The default model's size and one thread only; takes half a minute.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output.")] = False,
) -> None:
    """Measure a training step of every implementation, side by side, in turns."""
    from rnnviz.nn.bench import run

    table = Grid("setting", "cell", "threads", "implementation", "characters/s", "of fused", "of the peak")
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


@app.command("load")
def load_test(
    viewers: Annotated[int, typer.Option(min=1, max=200, help="Visitors who watch.")] = 30,
    runs: Annotated[int, typer.Option(min=1, max=50, help="Runs that train at the same time.")] = 8,
    seconds: Annotated[float, typer.Option(min=5, max=300, help="How long everybody watches.")] = 20,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="As many as the app has by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Start an app on this machine, fill it with visitors and runs, and report what they experience."""
    from rnnviz.load_test import run

    outcome = run(viewers, runs, seconds, workers).figures
    if as_json:
        _print_json(outcome)
        return
    table = Grid("measured", "value", title=f"{viewers} viewers, {runs} runs")
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
        _check_encoding(sys.argv[1:])
        code = app(standalone_mode=False)
    except HostError as error:
        code = _complain(str(error), 1)
    except InputError as error:
        code = _complain(str(error))
    except typer.TyperException as error:
        code = _complain(getattr(error, "format_message", error.__str__)())
    except (typer.Abort, KeyboardInterrupt):
        code = _INTERRUPTED
    sys.exit(code)


def _check_encoding(arguments: Sequence[str]) -> None:
    """Raises InputError for an argument that is not UTF-8, which neither JSON nor a terminal can show."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise InputError("the argument {argument} is not in UTF-8", argument=os.fsencode(argument)) from error


def _complain(message: str, code: int = 2) -> int:
    print(f"rnnviz: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
