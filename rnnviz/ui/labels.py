"""Names of settings, choices and states in the reader's language."""

from __future__ import annotations

from rnnviz.cells import all_cells
from rnnviz.i18n import Translate


def setting_labels(_: Translate) -> dict[str, str]:
    """What a setting is called."""
    return {
        "cell": _("Cell"),
        "implementation": _("Implementation"),
        "reset": _("Reset gate (GRU)"),
        "activation": _("Activation (RNN)"),
        "initialisation": _("Initialisation"),
        "sampling": _("Sampling"),
        "optimizer": _("Optimiser"),
        "hidden_size": _("Hidden units"),
        "num_layers": _("Layers"),
        "forget_bias": _("Forget-gate bias (LSTM)"),
        "max_chars": _("Training characters"),
        "batch_size": _("Batch size"),
        "num_steps": _("Time steps"),
        "epochs": _("Epochs"),
        "learning_rate": _("Learning rate"),
        "clip": _("Clipping threshold θ (0: off)"),
        "weight_decay": _("Weight decay λ (0: off)"),
        "seed": _("Seed"),
        "predict_every": _("Write every … epochs (0: never)"),
        "predict_length": _("Characters to write"),
        "bidirectional": _("Bidirectional"),
        "residual": _("Residual between layers"),
        "dropout": _("Dropout between layers"),
        "keep_line_breaks": _("Keep line breaks"),
        "prefixes": _("Prefixes to continue"),
        "probe": _("Probe text for the gates"),
        "task": _("Task"),
    }


def setting_names(_: Translate) -> dict[str, str]:
    """What a choice is called."""
    return {
        **{cell.name: cell.label for cell in all_cells()},
        "fused": _("fused (own BPTT)"),
        "scratch": _("scratch (autograd)"),
        "torch": _("concise (torch.nn)"),
        "before": _("before the product (papers)"),
        "after": _("after the product (lecture notes)"),
        "after-bias": _("after it, with b_hn (torch)"),
        "relu": "ReLU",
        "normal": "N(0, 0.01)",
        "uniform": "U(−1/√h, 1/√h)",
        "sequential": _("sequential"),
        "random": _("random"),
        "sgd": "SGD",
        "adam": "Adam",
    }


def state_names(_: Translate) -> dict[str, str]:
    """What a run is doing."""
    return {
        "queued": _("Starting"),
        "running": _("Training"),
        "paused": _("Paused"),
        "finished": _("Finished"),
        "stopped": _("Stopped"),
        "failed": _("Failed"),
    }


def chart_words(_: Translate) -> dict[str, str]:
    """What the controls of a chart are called."""
    return {
        "tools": _("Chart"),
        "zoom_in": _("Zoom in"),
        "zoom_out": _("Zoom out"),
        "zoom_reset": _("Show all again"),
        "files": _("Table and files"),
        "title": _("Title"),
        "caption": _("Caption"),
        "background": _("Background"),
        "light": _("Light"),
        "dark": _("Dark"),
        "close": _("Close"),
    }
