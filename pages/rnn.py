"""RNN: one step with its numbers, a network trained live, and why its state is carried and detached."""

import streamlit as st

from rnnviz import ui
from rnnviz.chapters import rnn
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import DATA

frame = ui.open_page("rnn")
_ = frame.translate
ui.engine()  # its workers start while the visitor reads

ui.introduce(frame, "idea")
views = {"step": _("One step"), "train": _("Train one"), "carry": _("Carry and detach")}
rnn.take_older_address(tuple(views))
view = ui.pick(st, _("Show"), tuple(views), "show", views.__getitem__)

if view == "step":
    rnn.show_step(frame, ui.chosen_run(frame), frame.lesson("state"))
elif view == "train":
    ui.introduce(frame, "train")
    run = ui.small_training(frame, _("Network"), rnn.variants(_))
    if run is None:
        st.caption(frame.lesson("example"))
    ui.show_run(frame, run or Run.open(DATA / "tiny-tanh"))
else:
    rnn.show_carrying(frame, ui.chosen_run(frame), frame.lesson("carry"), frame.lesson("detach"))

st.header(_("What to try"))
st.markdown(frame.lesson("try"))
with st.expander(_("Why these equations")):
    st.markdown(frame.lesson("equations"))
ui.show_code(frame, frame.lesson("code"))
st.caption(frame.lesson("next"))
