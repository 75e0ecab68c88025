"""Controls whose value is in the address: choices, sliders, and stepping along a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from rnnviz.figures.kit import visible
from rnnviz.ui.charts import Slider, live_charts, together
from rnnviz.ui.frame import Frame, gone_back, put_in_address, start_from_address, starts_anew


def offer(key: str, ours: str) -> None:
    """Before a choice: start at the address's value or at ours, which may change until the visitor chooses."""
    offered = f"{key}-offered"
    if starts_anew(key):
        st.session_state[key] = st.query_params.get(key, ours)
    elif st.session_state[key] == st.session_state.get(offered):
        st.session_state[key] = ours
    st.session_state[offered] = ours


def pick(
    row: Any, label: str, options: Sequence[str], key: str, show: Callable[[str], str], default: str | None = None
) -> Any:
    """Choose one of a few options, shown side by side; the address holds the choice."""
    default = default or options[0]
    start_from_address(key, options, default)
    row.segmented_control(label, options, format_func=show, key=key, persist_state="session", required=True)
    return put_in_address(key, default)


def select(
    place: Any,
    label: str,
    names: Mapping[str, str],
    key: str,
    default: str,
    *,
    named: bool = False,
    disabled: bool = False,
) -> str:
    """Choose one of several options by its name in the reader's language; the address holds the choice.

    `named` writes the default there as well, for defaults that differ between visitors.
    """
    start_from_address(key, list(names), default)
    _tell_again(key)
    place.selectbox(
        label, list(names), format_func=names.__getitem__, key=key, persist_state="session", disabled=disabled
    )
    return put_in_address(key, "" if named else default)


def _tell_again(key: str) -> None:
    """After a change of language, send its value to a select box again, or it goes on showing the old label."""
    told, language = f"{key}-told-in", st.session_state["lang"]
    if st.session_state.get(told) != language:
        st.session_state[key] = st.session_state[key]
        st.session_state[told] = language


def stepper(frame: Frame, key: str, text: str, default: int = 0) -> Slider:
    """Draw a slider over the characters of a text, which the arrow keys move as well."""
    names = [f"{t}  {character}" for t, character in enumerate(visible(text), start=1)]
    return walk(frame, key, frame.translate("Time step t"), names, default, in_browser=True)


def walk(
    frame: Frame, key: str, label: str, names: Sequence[str], default: int = 0, *, in_browser: bool = False
) -> Slider:
    """Draw a slider over the names of several things, which the arrow keys move as well."""
    _ = frame.translate
    values, steps = [str(i) for i in range(len(names))], (_("Back"), _("Next"))
    slider = Slider(key, label, values, names, default, steps, in_browser)
    note(slider, live_charts(together(sliders=[slider]), key=f"{key}-slider"))
    return slider


def by_step(slider: Slider) -> Any:
    """A place for Markdown with one block, a paragraph or a formula, for each value of the slider.

    The browser shows the block of the value at which the slider stands.
    """
    return st.container(key=f"by-{slider.key}")


def formula(latex: str) -> str:
    """LaTeX as a block of Markdown."""
    return f"$$\n{latex}\n$$"


def note(slider: Slider, moved: Mapping[str, str]) -> None:
    """Tell Streamlit what the browser has put into the address; otherwise it would write an older address back.

    After Back or Forward the address is newer than what was moved before.
    """
    value = moved.get(slider.key)
    if gone_back():
        return
    if value == slider.values[slider.default]:
        st.query_params.pop(slider.key, None)
    elif value is not None and value in slider.values:
        st.query_params[slider.key] = value


def chosen(slider: Slider) -> int:
    """The index of the value at which a slider stands, which the browser writes to the address."""
    asked = st.query_params.get(slider.key)
    return slider.values.index(asked) if asked in slider.values else slider.default
