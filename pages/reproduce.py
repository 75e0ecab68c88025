"""Reproduce: published tables beside ours, trained again live, and what holds memorising back."""

import streamlit as st

from rnnviz import ui
from rnnviz.chapters import reproduce

frame = ui.open_page("reproduce")
_ = frame.translate
ui.engine()  # its workers start while the visitor reads

st.markdown(frame.lesson("idea"))
questions = {
    "notes": (_("The notes’ six"), reproduce.notes),
    "d2l": (_("The book’s table"), reproduce.d2l),
    "held_back": (_("What holds it back"), reproduce.held_back),
}
ui.ask(frame, questions)
ui.show_code(frame, frame.lesson("code"))
st.caption(frame.lesson("next"))
