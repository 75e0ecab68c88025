"""What settings, choices and states are called, in the reader's language."""

from __future__ import annotations

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
        "seed": _("Seed"),
        "predict_every": _("Write every … epochs (0: never)"),
        "predict_length": _("Characters to write"),
        "bidirectional": _("Bidirectional"),
        "keep_line_breaks": _("Keep line breaks"),
        "prefixes": _("Prefixes to continue"),
        "probe": _("Probe text for the gates"),
    }


def setting_names(_: Translate) -> dict[str, str]:
    """What a choice is called."""
    return {
        "rnn": "RNN",
        "gru": "GRU",
        "lstm": "LSTM",
        "fused": _("fused (own BPTT)"),
        "scratch": _("scratch (autograd)"),
        "torch": _("concise (torch.nn)"),
        "before": _("before the matrix product"),
        "after": _("after the matrix product"),
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
