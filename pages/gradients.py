"""Gradients: through time step by step, against the lag, with the spectrum, scaled, clipped, and over a map."""

import streamlit as st

from rnnviz import ui
from rnnviz.ui import gradients

frame = ui.open_page("gradients")
_ = frame.translate
ui.engine()  # its workers start while the visitor reads

questions = {
    "unrolled": (_("Unrolled"), frame.lesson("unrolled"), gradients.unrolled),
    "reach": (_("Against the lag"), frame.lesson("reach"), gradients.reach),
    "spectrum": (_("Spectrum"), frame.lesson("spectrum"), gradients.spectrum),
    "scale": (_("Scaled"), frame.lesson("scale"), gradients.scale),
    "clipping": (_("Clipping"), frame.lesson("clipping"), gradients.clipping),
    "map": (_("Map"), frame.lesson("map"), gradients.learning_map),
}
more = {
    "unrolled": (frame.lesson("unrolled_try"), frame.lesson("unrolled_why")),
    "reach": (frame.lesson("reach_try"), frame.lesson("reach_why")),
    "spectrum": (frame.lesson("spectrum_try"), frame.lesson("spectrum_why")),
    "scale": (frame.lesson("scale_try"), frame.lesson("scale_why")),
    "clipping": (frame.lesson("clipping_try"), frame.lesson("clipping_why")),
    "map": (frame.lesson("map_try"), frame.lesson("map_why")),
}

st.markdown(frame.lesson("idea"))
question = ui.pick(st, _("Question"), tuple(questions), "tab", lambda name: questions[name][0])
_label, idea, show = questions[question]
st.markdown(idea)
show(frame)

what_to_try, why = more[question]
st.subheader(_("What to try"))
st.markdown(what_to_try)
with st.expander(_("Why it is so")):
    st.markdown(why)
with st.expander(_("In code")):
    st.markdown(frame.lesson("code"))
st.markdown(frame.lesson("further"))
