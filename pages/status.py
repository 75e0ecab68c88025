"""Status: for the host. Runs, queue, workers, memory and disk; only where RNNVIZ_STATUS=1."""

import streamlit as st

from rnnviz import ui

frame = ui.open_page("status")
if ui.settings().status_page:
    st.markdown(frame.lesson("idea"))
    ui.show_status(frame)
else:
    st.info(frame.lesson("off"))
