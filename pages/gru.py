"""GRU: the cell at work on a text, and one question about it on each tab."""

import streamlit as st

from rnnviz import ui
from rnnviz.chapters import gru

frame = ui.open_page("gru")
_ = frame.translate
ui.engine()  # its workers start while the visitor reads

ui.introduce(frame, "idea")
questions = {
    "cell": (_("The cell"), gru.cell),
    "limits": (_("What the gates are for"), gru.limits),
    "reset": (_("Reset before or after"), gru.reset),
    "implementations": (_("Scratch, fused and torch"), gru.implementations),
    "find": (_("Find a unit"), gru.find),
    "surgery": (_("Gate surgery"), gru.surgery),
}
ui.ask(frame, questions)
with st.expander(_("What is easily mistaken")):
    st.markdown(frame.lesson("mistaken"))
ui.show_code(frame, frame.lesson("code"))
st.caption(frame.lesson("next"))
