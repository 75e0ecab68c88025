"""Backpropagation through time over a word, one step at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import streamlit as st

from rnnviz.analysis.experiments import shipped_unrolled
from rnnviz.analysis.unrolled import Unrolled, unroll
from rnnviz.errors import InputError
from rnnviz.figures.gradients.unrolled import contributions_figure, product_figure, product_table, unrolled_figure
from rnnviz.figures.kit import subscript
from rnnviz.i18n import quantity
from rnnviz.ui.charts import Chart
from rnnviz.ui.controls import by_step, formula, stepper
from rnnviz.ui.frame import Frame, show_error
from rnnviz.ui.pictures import pictures

_WORD, _SHORTEST, _LONGEST = "rivers", 3, 9
_shipped_unrolled = st.cache_resource(shipped_unrolled)


def unrolled(frame: Frame) -> None:
    """A small RNN reads a word of the visitor's, and backpropagation goes back through it one product at a time."""
    _ = frame.translate
    weights, vocabulary = _shipped_unrolled()
    place = st.container()
    word = st.text_input(
        _("A word for the RNN to read, {low} to {high} characters").format(low=_SHORTEST, high=_LONGEST),
        _WORD,
        max_chars=_LONGEST,
        key="word",
        bind="query-params",
        persist_state="session",
        width=420,
    )
    try:
        check_word(word, vocabulary.characters)
    except InputError as error:
        show_error(frame, error)
        return
    u = unroll(weights, vocabulary.encode(word))
    steps = range(1, u.T + 1)
    with place:
        network = st.container()
        slider = stepper(frame, "at", word[:-1], u.T - 1)
        by_step(slider).markdown("\n\n".join(formula(_equation(u, t)) for t in steps))
    with network:
        pictures([_network_chart(frame, u, word, t) for t in steps], key="network", follows=slider)
    pictures(
        [_product_chart(frame, u, t) for t in steps],
        [_contributions_chart(frame, u, word, t) for t in steps],
        key="products",
        follows=slider,
    )


def _network_chart(frame: Frame, u: Unrolled, word: str, t: int) -> Chart:
    return Chart(
        unrolled_figure(u, word, t, frame.translate),
        name="unrolled",
        description=_describe_unrolled(frame, u, t),
        table=_unrolled_table(frame, u, word),
        height=330,
    )


def _product_chart(frame: Frame, u: Unrolled, t: int) -> Chart:
    _ = frame.translate
    return Chart(
        product_figure(u, t, _),
        name="product",
        title=_("This step’s product, unit by unit"),
        description=_("The product that takes the gradient from step {t} to step {before}, as {h} numbers.").format(
            t=t, before=t - 1, h=len(u.W_hh)
        ),
        table=product_table(u, t, _),
        height=440,
    )


def _contributions_chart(frame: Frame, u: Unrolled, word: str, t: int) -> Chart:
    _ = frame.translate
    return Chart(
        contributions_figure(u, word, t, _),
        name="contributions",
        title=_("What each step adds to the gradient of {matrix}").format(matrix="W_hh"),
        description=_("The sum of the terms from step {t} on has the norm {norm}.").format(
            t=t, norm=quantity(float(np.linalg.norm(u.dW[t - 1 :].sum(axis=0))))
        ),
        height=440,
    )


def check_word(word: str, known: str) -> None:
    """Raises InputError if the small RNN cannot read the word."""
    if not _SHORTEST <= len(word) <= _LONGEST:
        raise InputError(
            "the word has {length:,} characters; allowed: {low} to {high}",
            length=len(word),
            low=_SHORTEST,
            high=_LONGEST,
        )
    unknown = "".join(dict.fromkeys(character for character in word if character not in known))
    if unknown:
        raise InputError(
            "this RNN has never seen {unknown!r}; it knows {known}", unknown=unknown, known=known.replace(" ", "␣")
        )


def _equation(u: Unrolled, t: int) -> str:
    """This step's product with the norms of its factors below the braces."""
    i = t - 1
    own = float(np.linalg.norm(u.own[i - 1])) if t > 1 else 0.0
    before = u.carried[i] + (u.own[i - 1] if t > 1 else 0.0)

    def braced(symbol: str, norm: float) -> str:
        return rf"\underbrace{{{symbol}}}_{{{quantity(norm)}}}"

    return "".join(
        (
            braced(rf"dH_{{{t - 1}}}", float(np.linalg.norm(before))),
            " = \\big(",
            braced(rf"dH_{{{t}}}", float(np.linalg.norm(u.dH[i]))),
            r" \odot ",
            braced(rf"\varphi'(A_{{{t}}})", float(u.slope[i].max())),
            "\\big)\\,",
            braced(r"W_{hh}^\top", float(np.linalg.norm(u.W_hh, 2))),
            " + ",
            braced(rf"\partial \ell_{{{t - 1}}} / \partial H_{{{t - 1}}}" if t > 1 else "0", own),
        )
    )


def _describe_unrolled(frame: Frame, u: Unrolled, t: int) -> str:
    norms = ", ".join(f"‖dL/dH{subscript(k)}‖ = {quantity(_length(u.dH[k - 1]))}" for k in range(u.T, t - 1, -1))
    return frame.translate("The network over {T} characters; the gradient has come back to step {t}: {norms}.").format(
        T=u.T, t=t, norms=norms
    )


def _unrolled_table(frame: Frame, u: Unrolled, word: str) -> dict[str, Iterable[Any]]:
    _ = frame.translate
    return {
        _("step"): list(range(1, u.T + 1)),
        _("character"): list(word[:-1]),
        _("next"): list(word[1:]),
        _("loss in nats"): u.loss,
        "‖dL/dH‖": np.linalg.norm(u.dH, axis=1),
        _("own loss"): np.linalg.norm(u.own, axis=1),
        "‖dA W_hhᵀ‖": np.linalg.norm(u.carried, axis=1),
        "‖Hᵀ dA‖": np.linalg.norm(u.dW, axis=(1, 2)),
    }


def _length(values: Any) -> float:
    return float(np.linalg.norm(values))
