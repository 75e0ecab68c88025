"""Train: choose a text and a model, press the button, and watch it learn."""

import streamlit as st

from rnnviz import ui

frame = ui.open_page("train")
_ = frame.translate
ui.engine()  # its workers start while the visitor reads

ui.introduce(frame, "idea")
run = ui.chosen_run(frame)

# Each has its own place: if one says nothing, the others stay where they are, and the browser never shows one twice.
if not ui.watching():
    with st.container(border=True):
        with st.container():
            config = ui.training_form(frame)
        with st.container():
            limit = f"{_('All settings')} → {_('Training characters')}"
            corpus = ui.chosen_corpus(frame, config, limit) if config else None
        ui.training_buttons(frame, config, corpus, run)

with st.container():
    if run is None:
        st.caption(frame.lesson("example"))
shown = run or ui.example(frame)
ui.show_run(frame, shown)
ui.show_downloads(frame, shown)

st.header(_("What to try"))
st.markdown(frame.lesson("try"))
with st.expander(_("What the curves mean")):
    st.markdown(frame.lesson("curves"))
with st.expander(_("In code")):
    st.markdown(frame.lesson("code"))
