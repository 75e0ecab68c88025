"""The app on Streamlit Community Cloud, where this file is the one to point at.

The packages come from `requirements.txt` beside it, ours from the repository around it. The server has
the limits of a hosted one, and one worker. `.streamlit/config.toml` beside it lets the host reach the server.
"""

import os
import sys
from pathlib import Path

import streamlit as st

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("RNNVIZ_HOSTED", "1")

from rnnviz.server import check_settings, lifespan, middleware, prepare_process, routes  # noqa: E402

prepare_process()
# Streamlit finds the server by this line, so it cannot be imported from the other app.py.
app = st.App(ROOT / "app.py", routes=routes(), middleware=middleware(check_settings()), lifespan=lifespan)
