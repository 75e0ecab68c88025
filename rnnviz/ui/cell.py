"""The cell view on a page: a model reads a text, and the browser plays it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from rnnviz.analysis.reading import Reading
from rnnviz.analysis.surgery import Hold
from rnnviz.cells import CellName
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.figures.cell_view import CELL_PLACE, cell_script, cell_style, pack_cell, pack_checkpoints
from rnnviz.runs.folder import Run
from rnnviz.ui.forms import small_training
from rnnviz.ui.frame import Frame, engine
from rnnviz.ui.live import MOVING, live_part
from rnnviz.ui.own_model import bring_model
from rnnviz.ui.reading import choose_model, choose_text, reading_of, turn_to_new
from rnnviz.ui.run_view import follow, phase_of, ships, show_progress

_LEAST_SECONDS = 1.0  # between two readings of a run that trains

_DOOR = """
export default ({ data, parentElement, setTriggerValue }) => {
  const packed = JSON.parse(new TextDecoder().decode(data));
  const tell = { want: () => setTriggerValue("wanted", true) };
  if (packed.held) tell.operate = (holds) => setTriggerValue("holds", holds);
  if (packed.stack) tell.choose = (layer) => setTriggerValue("layer", layer);
  return showCell(parentElement.querySelector(".cell-view"), packed, tell);
};
"""


@st.cache_resource
def _component() -> Any:
    """The component, registered once per server."""
    return st.components.v2.component(
        "rnnviz_cell_view",
        html=CELL_PLACE,
        css=cell_style(),
        js=cell_script() + _DOOR,
        isolate_styles=False,
    )


def cell_view(
    frame: Frame,
    reading: Reading,
    *,
    key: str,
    revision: str,
    back: Run | None = None,
    holds: Sequence[Hold] | None = None,
    on_holds: Callable[[], None] = lambda: None,
    layers: Sequence[Reading] = (),
    whole: bool = False,
    on_layer: Callable[[], None] = lambda: None,
    playing: bool = False,
    written: int | None = None,
) -> None:
    """Show a reading, or put a newer one into the view with this key, which keeps its place.

    Everything else happens in the browser: it steps, plays and operates the network without the server.
    If there is a run to look `back` on, a slider covers its checkpoints, which are sent when the slider is
    first moved. With `holds` the view begins with these gates held, and a button beside the levers calls
    `on_holds`; the component's value under this key then has the held gates as its `holds`. With `playing` the
    view starts to play by itself, and from the text's end again from its beginning, unless the visitor prefers reduced
    motion. From the character `written` on, the text is the model's own.

    With the readings of all `layers` their states stand below the cell, or with `whole` below all of their cells. A
    click on another layer calls `on_layer`; the value then has its number as its `layer`, or "all". The `revision` must
    name the layer that is drawn.
    """
    wanted = f"{key}-wanted"
    if "step" in st.query_params:
        st.session_state[wanted] = revision

    def want() -> None:
        st.session_state[wanted] = revision

    steps = tuple(back.checkpoint_steps()) if back else ()
    sent = st.session_state.get(wanted) == revision
    held = None if holds is None else tuple(holds)
    data = _packed(frame, reading, layers, whole, back, steps, revision, sent, held, playing, written)
    _component()(
        data=data,
        key=key,
        height="content",
        on_wanted_change=want,
        on_holds_change=on_holds,
        on_layer_change=on_layer,
    )


@st.cache_data(max_entries=32, show_spinner=False)
def _packed(
    _frame: Frame,
    _reading: Reading,
    _layers: Sequence[Reading],
    whole: bool,
    _back: Run | None,
    steps: tuple[int, ...],
    revision: str,
    with_checkpoints: bool,
    holds: tuple[Hold, ...] | None,
    playing: bool,
    written: int | None,
) -> bytes:
    last = _last_step(_back) if _back and steps else None
    earlier = [step for step in steps if last is not None and step < last]
    packed = pack_cell(
        _reading,
        _frame.translate,
        revision=revision,
        steps=earlier,
        last=last,
        layers=_layers,
        whole=whole,
        written=written,
    )
    packed |= {"address": True, "playing": playing}
    kept = packed["kept"]
    if _back and with_checkpoints and kept["steps"]:
        weights = (_back.load_checkpoint(step).weights() for step in kept["steps"])
        packed["kept"] = kept | {"arrays": pack_checkpoints(_reading, weights)}
    if holds is not None:
        packed["held"] = {
            hold.gate: {"value": hold.value, "unit": hold.units, "first": hold.first, "last": hold.last}
            for hold in holds
        }
    return json.dumps(packed, allow_nan=False).encode()


def _last_step(run: Run) -> int:
    return int(run.load_checkpoint().meta["step"])


def variants(frame: Frame, cell: CellName) -> dict[str, tuple[str, TrainConfig]]:
    """What can be trained beside the cell, by its number of hidden units."""
    small = TrainConfig(
        max_chars=10_000, keep_line_breaks=True, batch_size=16, num_steps=32, epochs=100, optimizer="adam",
        learning_rate=0.01, clip=1.0, predict_every=25,
    )  # fmt: skip

    def config(units: int) -> TrainConfig:
        bias = 1.0 if cell == "lstm" else 0.0
        model = ModelConfig(cell=cell, hidden_size=units, initialisation="uniform", forget_bias=bias)
        return small.with_settings(vars(model))

    return {str(units): (str(units), config(units)) for units in (64, 32, 16)}


def show_cell(frame: Frame, cell: CellName, shipped: Mapping[str, str]) -> None:
    """The cell at work, and below it which model reads which text, and the form to train one."""

    def show(run: Run, text: str, phase: str) -> None:
        reading = reading_of(frame, run, text, cell)
        if reading is not None:
            cell_view(
                frame,
                reading,
                key="cell-view",
                revision=revision_of(frame, run, text, phase),
                back=None if phase == MOVING else run,
            )

    def choose() -> Run | None:
        own = small_training(frame, frame.translate("Hidden units"), variants(frame, cell))
        bring_model(frame, cell)
        return own

    with_model(frame, cell, shipped, choose, show)


def with_model(
    frame: Frame,
    cell: CellName,
    shipped: Mapping[str, str],
    train: Callable[[], Run | None],
    show: Callable[[Run, str, str], None],
) -> None:
    """A view of what a model makes of a text; below it which model and which text, and the way to train one.

    `train` draws the form, as `small_training` does, and returns the visitor's own run. `show` is given the run, the
    text, and the run's phase; while the run trains it is called again and again.
    """
    place, row = st.container(), st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    own = train()
    own = own if own is not None and own.config.model.cell == cell else None
    turn_to_new(frame, own)
    run = choose_model(frame, row, shipped, own)
    text = choose_text(frame, row, run)

    def draw(phase: str) -> None:
        if phase == MOVING and not run.checkpoint_path().exists():
            st.caption(frame.translate("The gates appear with the first recording."))
            return
        show(run, text, phase)
        if not ships(run) and (phase != "finished" or run.reports_size()):  # not a model trained elsewhere
            show_progress(frame, run, engine().view(run.id), follow(run).story())

    with place:
        live_part(frame, lambda: phase_of(run), draw, least_seconds=_LEAST_SECONDS)


def revision_of(frame: Frame, run: Run, text: str, *more: str) -> str:
    """What a view of a run's newest weights depends on."""
    return json.dumps([frame.language, str(run.folder), run.reports_size(), text, *more])
