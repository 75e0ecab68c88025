"""Sequences: from a typed text to vectors, and from a corpus to mini-batches."""

import streamlit as st

from rnnviz import ui
from rnnviz.chapters import sequences

frame = ui.open_page("sequences")
_ = frame.translate

ui.introduce(frame, "idea")
parts = {"vectors": _("From text to vectors"), "batches": _("From text to mini-batches")}
if ui.pick(st, _("Part"), tuple(parts), "part", parts.__getitem__) == "vectors":
    sequences.show_vectors(frame, frame.lesson("text"))
    st.markdown(frame.lesson("vectors"))
    st.header(_("What to try"))
    st.markdown(frame.lesson("try_vectors"))
    with st.expander(_("Why one-hot vectors")):
        st.markdown(frame.lesson("one_hot"))
    ui.show_code(frame, frame.lesson("vectors_code"))
else:
    ui.introduce(frame, "batches")
    sequences.show_batches(frame)
    st.header(_("What to try"))
    st.markdown(frame.lesson("try_batches"))
    with st.expander(_("How many characters an epoch leaves out")):
        st.markdown(frame.lesson("counting"))
    ui.show_code(frame, frame.lesson("batches_code"))
st.markdown(frame.lesson("next"))
