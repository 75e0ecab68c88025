"""Train: choose a text and a model, press the button, and watch it learn."""

import streamlit as st

from rnnviz import ui

frame = ui.open_page("train")
_ = frame.translate
ui.engine()  # its workers start while the visitor reads

with st.container(key="training"):  # the head of the page; what it says or not moves nothing below it
    said = st.container(key="training-idea")
    with said:
        run = ui.chosen_run(frame)
        other = ui.run_beside(frame, run)
    if ui.training_bar(frame, run, said):
        said.markdown(frame.lesson("idea"))
shown = run or ui.example(frame)
ui.show_run(frame, shown, frame.lesson("example"), other)
ui.show_downloads(frame, shown)

st.header(_("What to try"))
st.markdown(frame.lesson("try"))
with st.expander(_("What the curves mean")):
    st.markdown(frame.lesson("curves"))
ui.show_code(frame, frame.lesson("code"))
