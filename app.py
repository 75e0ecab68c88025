"""The app: `streamlit run app.py`. The pages are in `pages/`.

Streamlit reads this file in two ways: as a module when its server starts, which adds a
little to Streamlit's own server, and as a script whenever a page is requested.
"""

import streamlit as st

if __name__ == "__main__":
    from rnnviz import ui

    page = ui.navigation()
    page.run()
    ui.link_to_next(page)
else:
    from rnnviz.server import check_settings, lifespan, middleware, prepare_process, routes

    prepare_process()
    app = st.App(__file__, routes=routes(), middleware=middleware(check_settings()), lifespan=lifespan)
