"""LSTM: the cell at work on a text, and one question about it on each tab."""

import streamlit as st

from rnnviz import ui
from rnnviz.chapters import lstm

frame = ui.open_page("lstm")
_ = frame.translate
ui.engine()  # its workers start while the visitor reads

ui.introduce(frame, "idea")
questions = {
    "cell": (_("The cell"), lstm.cell),
    "limits": (_("Limits"), lstm.limits),
    "forget": (_("Forget bias"), lstm.forget),
    "memory": (_("Memory cell and hidden state"), lstm.memory),
    "implementations": (_("Three implementations"), lstm.implementations),
    "find": (_("Find a unit"), lstm.find),
    "surgery": (_("Gate surgery"), lstm.surgery),
}
ui.ask(frame, questions)
with st.expander(_("What is easily mistaken")):
    st.markdown(frame.lesson("mistaken"))
ui.show_code(frame, frame.lesson("code"))
st.caption(frame.lesson("next"))
