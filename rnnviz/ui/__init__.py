"""The kit that page scripts use, as in `ui.pick` and `ui.show_run`."""

from rnnviz.ui.controls import pick, select, stepper
from rnnviz.ui.forms import choose_text, chosen_corpus, small_training, training_bar
from rnnviz.ui.frame import (
    Frame,
    engine,
    introduce,
    let_it_be_drawn,
    link_to_next,
    navigation,
    open_page,
    settings,
    show_code,
    show_error,
)
from rnnviz.ui.pictures import beside, picture
from rnnviz.ui.questions import ask
from rnnviz.ui.run_view import chosen_run, example, run_beside, show_downloads, show_run

__all__ = [
    "Frame",
    "ask",
    "beside",
    "choose_text",
    "chosen_corpus",
    "chosen_run",
    "engine",
    "example",
    "introduce",
    "let_it_be_drawn",
    "link_to_next",
    "navigation",
    "open_page",
    "pick",
    "picture",
    "run_beside",
    "select",
    "settings",
    "show_code",
    "show_downloads",
    "show_error",
    "show_run",
    "small_training",
    "stepper",
    "training_bar",
]
