"""Home: what the app is, a cell at work, and the way to the chapters."""

import streamlit as st

from rnnviz import ui
from rnnviz.chapters import home

frame = ui.open_page("home")
_ = frame.translate

words, start = st.columns([5, 1], vertical_alignment="center")
words.markdown(frame.lesson("idea"))
with start.container(key="start"):
    st.page_link("pages/train.py", label=_("Train one live"), icon=":material/play_circle:")
home.cell(frame)
ui.let_it_be_drawn()
st.caption(frame.lesson("example"))
st.header(_("The chapters"))
home.chapters(frame)
home.own_runs(frame)
st.header(_("In a lecture"))
home.lectures(frame)
