"""Gradients: through time step by step, against the lag, with the spectrum, scaled, clipped, and over a map."""

import streamlit as st

from rnnviz import ui
from rnnviz.chapters import gradients

frame = ui.open_page("gradients")
_ = frame.translate
ui.engine()  # its workers start while the visitor reads

ui.introduce(frame, "idea")
questions = {
    "unrolled": (_("Unrolled"), gradients.unrolled),
    "reach": (_("Against the lag"), gradients.reach),
    "spectrum": (_("Spectrum"), gradients.spectrum),
    "scale": (_("Scaled"), gradients.scale),
    "clipping": (_("Clipping"), gradients.clipping),
    "map": (_("Map"), gradients.learning_map),
}
ui.ask(frame, questions)
ui.show_code(frame, frame.lesson("code"))
st.markdown(frame.lesson("further"))
