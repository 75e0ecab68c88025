"""Gate surgery: gates are held, by a shipped operation or by the levers, and the model writes again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from rnnviz.analysis.surgery import Operated, parse_holds
from rnnviz.cells import CellName, cell_of
from rnnviz.errors import InputError
from rnnviz.i18n import Translate, quantity
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import default_prefixes, default_probe
from rnnviz.ui.cell import cell_view
from rnnviz.ui.controls import pick, select
from rnnviz.ui.frame import Frame, engine, put_in_address, show_error, starts_anew, visitor
from rnnviz.ui.painted_text import painted_text
from rnnviz.ui.reading import choose_model, reading_of

LENGTH = 200  # characters that are written
OWN = "own"
_KEY = "operated"


@dataclass(frozen=True)
class Operation:
    """What is held, in the form that `parse_holds` reads, its name for the reader, and a question to answer first."""

    holds: str
    label: str
    predict: str


def operations(cell: CellName, translate: Translate) -> dict[str, Operation]:
    """The operations to try, five on each page."""
    _ = translate
    gru = {
        "keep": Operation(
            "Z=1:5-",
            _("Z = 1 after four characters"),
            _("H stays as it is. Does the text go on, and does it ever change what it expects?"),
        ),
        "rewrite": Operation(
            "Z=0",
            _("Z = 0: rewrite everything"),
            _("Every unit is written anew at every character. What is left of its memory, and where is it?"),
        ),
        "reset": Operation(
            "R=0",
            _("R = 0: the candidate sees only the character"),
            _("Is all of the past lost? Think of what Z still carries, then look at the words."),
        ),
        "plain": Operation(
            "R=1;Z=0",
            _("R = 1 and Z = 0: a plain RNN"),
            _("These are a plain RNN's equations, its weights learned with gates. Better or worse than Z = 0 alone?"),
        ),
        "pause": Operation(
            "Z=1:30-60",
            _("Z = 1 from step 30 to 60"),
            _("The state sleeps for thirty characters. What does the model write after it wakes?"),
        ),
    }
    lstm = {
        "freeze": Operation(
            "F=1;I=0:5-",
            _("F = 1, and I = 0 after four characters"),
            _("C stays as it is, yet O still changes. Does the text freeze as with Z = 1 in the GRU?"),
        ),
        "forget": Operation(
            "F=0",
            _("F = 0: forget at once"),
            _("C holds the newest candidate alone. Does the model still spell words?"),
        ),
        "never": Operation(
            "F=1",
            _("F = 1: never forget"),
            _("C can only be added to. Where does it go, and what becomes of the text after a hundred characters?"),
        ),
        "mute": Operation(
            "O=0",
            _("O = 0: the memory shows nothing"),
            _("H is zero. From what is each character drawn now?"),
        ),
        "closed": Operation(
            "I=0:20-",
            _("I = 0 from step 20"),
            _("Nothing new is written, and F lets the old go. How long does the text stay sensible?"),
        ),
    }
    return gru if cell == "gru" else lstm


def show_surgery(frame: Frame, cell: CellName, shipped: Mapping[str, str], own: Run | None) -> None:
    """The cell with gates held, and below it what the model writes with and without them."""
    _ = frame.translate
    own = own if own is not None and own.config.model.cell == cell else None
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    run = choose_model(frame, row, shipped, own)
    known = operations(cell, _)
    names = {name: operation.label for name, operation in known.items()} | {OWN: _("your own")}
    chosen = select(row, _("Operation"), names, "operation", next(iter(known)))
    question, place = st.container(), st.container()  # always both, so that the cell view keeps its place
    holds = _own_holds(frame, row) if chosen == OWN else known[chosen].holds
    if chosen != OWN:
        question.info(
            _("Predict first: {question}").format(question=known[chosen].predict), icon=":material/psychology:"
        )
    try:
        model = run.config.model
        operation = parse_holds(holds, cell_of(model), model.hidden_size)
        text = run.config.probe or default_probe(run.corpus)
        reading = reading_of(frame, run, text, cell)
        if reading is None:
            return
        revision = json.dumps([frame.language, str(run.folder), run.reports_size(), text, holds])
        with place:
            cell_view(frame, reading, key=_KEY, revision=revision, holds=operation, on_holds=_take_holds)
    except InputError as error:
        show_error(frame, error)
        return
    show_written(frame, run, holds)


def show_written(frame: Frame, run: Run, holds: str, layer: int = 1) -> None:
    """What a model writes with gates of a layer held and without, from the visitor's prefix, and what holding costs."""
    prefix, temperature, seed = _writing(frame, run)
    try:
        with st.spinner(frame.translate("Writing")):
            operated = _operated(str(run.folder), run.reports_size(), holds, layer, prefix, temperature, seed)
    except InputError as error:
        show_error(frame, error)
        return
    _show_perplexity(frame, operated)
    _show_texts(frame, operated)


def _take_holds() -> None:
    """The levers' button was pressed: what they hold becomes the visitor's own operation."""
    st.session_state["operation"] = OWN
    st.session_state["holds"] = str(st.session_state[_KEY].holds or "")


def _own_holds(frame: Frame, row: object) -> str:
    _ = frame.translate
    if starts_anew("holds"):
        st.session_state["holds"] = st.query_params.get("holds", "")
    row.text_input(  # type: ignore[attr-defined]
        _("Held gates"),
        key="holds",
        max_chars=200,
        placeholder="Z=1; F=0.5@3,17:10-40",
        help=_("A gate and its value; after @ units, after : the first and the last step. Or use the levers."),
        persist_state="session",
    )
    return put_in_address("holds", "").replace(" ", "")


def _writing(frame: Frame, run: Run) -> tuple[str, float, int]:
    """The beginning of the texts, how they are drawn, and the seed."""
    _ = frame.translate
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    if starts_anew("prefix"):
        st.session_state["prefix"] = st.query_params.get("prefix", "")
    usual = default_prefixes(run.corpus)[0]
    row.text_input(_("Prefix"), key="prefix", max_chars=100, placeholder=usual, persist_state="session")
    prefix = put_in_address("prefix", "") or usual
    ways = {"0": _("the likeliest"), "0.5": _("drawn, temperature 0.5"), "1": _("drawn, temperature 1")}
    temperature = float(pick(row, _("Next character"), tuple(ways), "temperature", ways.__getitem__, "0.5"))
    if starts_anew("seed"):
        asked = st.query_params.get("seed", "")
        st.session_state["seed"] = int(asked) if asked.isdecimal() and asked.isascii() and len(asked) < 7 else 0
    row.number_input(_("Seed"), min_value=0, max_value=999_999, step=1, key="seed", persist_state="session")
    return prefix, temperature, int(put_in_address("seed", "0"))


@st.cache_data(max_entries=128, show_spinner=False)
def _operated(
    folder: str, version: int, holds: str, layer: int, prefix: str, temperature: float, seed: int
) -> Operated:
    operated: Operated = engine().compute(
        "rnnviz.nn.surgery:write",
        visitor=visitor(),
        folder=folder,
        holds=holds,
        layer=layer,
        prefix=prefix,
        length=LENGTH,
        temperature=temperature,
        seed=seed,
    )
    return operated


def _show_perplexity(frame: Frame, operated: Operated) -> None:
    _ = frame.translate
    measured = {
        _("Training perplexity, gates held throughout"): operated.training,
        _("Held-out perplexity, gates held throughout"): operated.held_out,
    }
    with st.container(horizontal=True, gap="large"):
        for label, both in measured.items():
            if both is None:
                continue
            before, after = both
            st.metric(
                label,
                f"{quantity(before)} → {quantity(after)}",
                _("{factor} times").format(factor=quantity(after / before)),
                delta_color="off",
                delta_arrow="off",
                width="content",
            )
        differing = operated.differing
        first = differing.index(True) + 1 if any(differing) else None
        st.metric(
            _("Characters that differ"),
            f"{sum(differing)} / {LENGTH}",
            _("the first at step {t}").format(t=first) if first else None,
            delta_color="off",
            delta_arrow="off",
            width="content",
        )


def _show_texts(frame: Frame, operated: Operated) -> None:
    _ = frame.translate
    titles = {"before": _("Untouched"), "after": _("With the gates held")}
    texts = {"before": operated.before, "after": operated.after}
    for place, (key, title) in zip(st.columns(2, gap="large"), titles.items(), strict=True):
        with place:
            st.markdown(f"**{title}**")
            painted_text(texts[key], key=f"text-{key}", label=title, marks=operated.differing)
