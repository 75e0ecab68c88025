"""Home: what this is, a trained run to look at, and the way to train one."""

import streamlit as st

from rnnviz import ui
from rnnviz.runs import Run

frame = ui.open_page("home")
_ = frame.translate

st.markdown(frame.lesson("idea"))
st.page_link("pages/train.py", label=_("Train one live"), icon=":material/play_circle:")
st.caption(frame.lesson("example"))
ui.show_run(frame, Run.open(ui.EXAMPLE), live=False)
st.markdown(frame.lesson("try"))
