"""A page of questions: each tab has one, with a picture, something to try, and an explanation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import streamlit as st

from rnnviz.ui.controls import pick
from rnnviz.ui.frame import Frame, introduce, let_it_be_drawn


def ask(frame: Frame, questions: Mapping[str, tuple[str, Callable[[Frame], None]]]) -> None:
    """Show the question that the visitor has chosen; the address names it.

    `questions` map names to a tab's label and the function that draws its picture. Of a question called `reach`,
    the lesson's parts `reach`, `reach_try` and `reach_why` are shown.
    """
    _ = frame.translate
    name = pick(st, _("Question"), tuple(questions), "tab", lambda name: questions[name][0])
    _label, show = questions[name]
    introduce(frame, name)
    show(frame)
    let_it_be_drawn()
    st.header(_("What to try"))
    st.markdown(frame.lesson(f"{name}_try"))
    with st.expander(_("Why it is so")):
        st.markdown(frame.lesson(f"{name}_why"))
