"""The app: `streamlit run app.py`. The pages are in `pages/`.

Streamlit reads this file in two ways: as a module when its server starts, which does a little
more than Streamlit's own, and as a script whenever a page is asked for.
"""

import streamlit as st

if __name__ == "__main__":
    from rnnviz import ui

    ui.navigation().run()
else:
    from rnnviz.server import check_settings, lifespan, routes

    check_settings()
    app = st.App(__file__, routes=routes(), lifespan=lifespan)
