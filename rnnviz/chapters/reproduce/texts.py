"""What the models of a reproduction continued, with what they quote, below their curves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import streamlit as st

from rnnviz.analysis.reproduction import Result
from rnnviz.i18n import why_it_cannot_continue
from rnnviz.text.quotation import quoted_from
from rnnviz.ui.frame import Frame
from rnnviz.ui.writing import explain_marks, in_markdown

_quoted = lru_cache(256)(quoted_from)


def show_texts(frame: Frame, results: Sequence[Result]) -> None:
    """A closed part for each experiment, with the newest text of every seed for every prefix."""
    _ = frame.translate
    st.markdown("**" + _("What they write") + "**")
    for result in results:
        with st.expander(_(result.experiment.label), key=f"texts-{result.experiment.name}"):
            _show_texts_of(frame, result)
    explain_marks(frame, pointed_at=False)


def _show_texts_of(frame: Frame, result: Result) -> None:
    _ = frame.translate
    if result.experiment.sees_the_future:
        st.caption(why_it_cannot_continue(_))
    if not any(outcome.texts for outcome in result.outcomes):
        st.caption(_("The first text appears after some epochs."))
    for outcome in result.outcomes:
        for text in outcome.texts.values():
            seed = _("seed {seed}").format(seed=outcome.seed)
            st.markdown(f"{seed}  \n{in_markdown(_quoted(result.plan.corpus.training, text), _)}")
