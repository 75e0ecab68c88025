"""Train: choose a text and a model, press the button, and watch it learn."""

import streamlit as st

from rnnviz import ui
from rnnviz.runs import Run

frame = ui.open_page("train")
_ = frame.translate
engine = ui.engine()  # its workers start while the visitor reads

st.markdown(frame.lesson("idea"))
run = ui.chosen_run(frame)
live = run is not None and engine.view(run.id).moving

# Each in a place of its own: what one says or not moves no other, of which the browser would show two for a moment.
with st.container(border=True):
    with st.container():
        config = ui.training_form(frame)
    with st.container():
        corpus = ui.chosen_corpus(frame, config) if config else None
    ui.training_buttons(frame, config, corpus, run)

with st.container():
    if run is None:
        st.caption(frame.lesson("example"))
ui.show_run(frame, run or Run.open(ui.EXAMPLE), live=live)
ui.show_downloads(frame, run or Run.open(ui.EXAMPLE))

st.subheader(_("What to try"))
st.markdown(frame.lesson("try"))
with st.expander(_("What the curves mean")):
    st.markdown(frame.lesson("curves"))
with st.expander(_("In code")):
    st.markdown(frame.lesson("code"))
