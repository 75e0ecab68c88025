"""Status, for the host: runs, queue, workers, memory and disk; only with RNNVIZ_STATUS=1."""

import streamlit as st

from rnnviz import ui
from rnnviz.chapters import status

frame = ui.open_page("status")
if ui.settings().status_page:
    st.markdown(frame.lesson("idea"))
    status.show_status(frame)
else:
    st.info(frame.lesson("off"))
