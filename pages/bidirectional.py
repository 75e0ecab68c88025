"""Bidirectional: both passes over a text, the leak of the future, and a task for which seeing it is right."""

import streamlit as st

from rnnviz import ui
from rnnviz.chapters import bidirectional

frame = ui.open_page("bidirectional")
_ = frame.translate
ui.engine()  # its workers start while the visitor reads

ui.introduce(frame, "idea")
questions = {
    "passes": (_("Both passes"), bidirectional.passes),
    "cell": (_("The cell"), bidirectional.cell),
    "cheat": (_("Perplexity 1"), bidirectional.cheat),
    "leak": (_("The leak"), bidirectional.leak),
    "restore": (_("Masked characters"), bidirectional.restore),
}
ui.ask(frame, questions)
with st.expander(_("What is easily mistaken")):
    st.markdown(frame.lesson("mistaken"))
ui.show_code(frame, frame.lesson("code"))
st.caption(frame.lesson("next"))
