"""The app: `streamlit run app.py`. Navigation and nothing else; the pages are in `pages/`."""

from rnnviz import ui

ui.navigation().run()
