"""What the pages are made of; with `live.py` the only part of rnnviz that imports Streamlit."""

from rnnviz.ui.forms import choose_text, chosen_corpus, small_training, training_buttons, training_form
from rnnviz.ui.frame import Frame, engine, navigation, open_page, pick, select, settings, show_error, slide
from rnnviz.ui.parts import beside, picture, stepper
from rnnviz.ui.rnn import rnn_variants, show_carrying, show_step
from rnnviz.ui.runs import EXAMPLE, chosen_run, show_downloads, show_run
from rnnviz.ui.status import show_status

__all__ = [
    "EXAMPLE",
    "Frame",
    "beside",
    "choose_text",
    "chosen_corpus",
    "chosen_run",
    "engine",
    "navigation",
    "open_page",
    "pick",
    "picture",
    "rnn_variants",
    "select",
    "settings",
    "show_carrying",
    "show_downloads",
    "show_error",
    "show_run",
    "show_status",
    "show_step",
    "slide",
    "small_training",
    "stepper",
    "training_buttons",
    "training_form",
]
