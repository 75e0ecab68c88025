"""Deep: the layers of an LSTM over a text, and one question about depth on each tab."""

import streamlit as st

from rnnviz import ui
from rnnviz.chapters import deep

frame = ui.open_page("deep")
_ = frame.translate
ui.engine()  # its workers start while the visitor reads

ui.introduce(frame, "idea")
questions = {
    "stack": (_("The stack"), deep.stack),
    "training": (_("Layer by layer"), deep.training),
    "reach": (_("How far back each layer looks"), deep.reach),
    "start": (_("Why it starts slower"), deep.start),
    "dropout": (_("Dropout"), deep.dropout),
    "cost": (_("What depth costs"), deep.cost),
}
ui.ask(frame, questions)
with st.expander(_("What is easily mistaken")):
    st.markdown(frame.lesson("mistaken"))
ui.show_code(frame, frame.lesson("code"))
st.caption(frame.lesson("next"))
