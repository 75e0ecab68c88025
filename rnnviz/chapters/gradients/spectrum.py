"""Eigenvalues and singular values of a recurrent matrix, checkpoint by checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from rnnviz.analysis.gradient_study import Study
from rnnviz.cells import CellName
from rnnviz.chapters.gradients.three import Three, checkpoints, choose_cell, step_slider, telling_matrix, with_three
from rnnviz.figures.gradients.spectrum import growth_figure, plane_figure
from rnnviz.i18n import quantity
from rnnviz.ui.charts import Chart
from rnnviz.ui.controls import pick
from rnnviz.ui.frame import Frame
from rnnviz.ui.pictures import pictures


def spectrum(frame: Frame) -> None:
    """Eigenvalues and singular values of a recurrent matrix, checkpoint by checkpoint."""
    with_three(frame, _draw_spectrum)


def _draw_spectrum(frame: Frame, three: Three) -> None:
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    cell, name = _choose_matrix(frame, row, three)
    study = three.studies[cell]
    shown = checkpoints(study, live=three.live)
    pictures(
        [_plane_chart(frame, study, name, k) for k in shown],
        [_growth_chart(frame, study, name, k) for k in shown],
        key="spectrum",
        slider=step_slider(frame, study, live=three.live),
    )


def _plane_chart(frame: Frame, study: Study, name: str, k: int) -> Chart:
    """The eigenvalues of one checkpoint."""
    _ = frame.translate
    eigenvalues, singular = study.spectrum.eigenvalues[name][k], study.spectrum.singular_values[name]
    return Chart(
        plane_figure(eigenvalues, float(singular[k, 0]), 1.15 * float(max(1.2, singular[:, 0].max())), _),
        name="plane",
        title=_("Eigenvalues in the complex plane, step {step:,}").format(step=study.steps[k]),
        description=_(
            "{count} eigenvalues of {name} at step {step:,}; the largest has the size {size}, {outside} lie "
            "outside the unit circle. Largest singular value: {sigma}."
        ).format(
            count=len(eigenvalues),
            name=name,
            step=study.steps[k],
            size=quantity(float(abs(eigenvalues[0]))),
            outside=int((np.abs(eigenvalues) > 1).sum()),
            sigma=quantity(float(singular[k, 0])),
        ),
        table=spectrum_table(eigenvalues, singular[k]),
        height=440,
    )


def spectrum_table(eigenvalues: NDArray[Any], singular: NDArray[Any]) -> dict[str, Iterable[Any]]:
    """The numbers of a picture of the plane."""
    return {"Re λ": eigenvalues.real, "Im λ": eigenvalues.imag, "|λ|": abs(eigenvalues), "σ": singular}


def _growth_chart(frame: Frame, study: Study, name: str, k: int) -> Chart:
    """The spectrum over all checkpoints, one of them marked."""
    _ = frame.translate
    eigenvalues, singular = study.spectrum.eigenvalues[name], study.spectrum.singular_values[name]
    return Chart(
        growth_figure(study.steps, study.spectrum, name, k, _),
        name="growth",
        title=_("As training goes on"),
        description=_("Largest singular value of {name}: {first} before training, {last} at step {step:,}.").format(
            name=name,
            first=quantity(float(singular[0, 0])),
            last=quantity(float(singular[-1, 0])),
            step=study.steps[-1],
        ),
        table={_("step"): study.steps, "σ_max": singular[:, 0], "|λ|_max": abs(eigenvalues[:, 0])},
        height=440,
    )


def _choose_matrix(frame: Frame, row: Any, three: Three) -> tuple[CellName, str]:
    cell = choose_cell(frame, row, three)
    names = three.studies[cell].spectrum.names
    return cell, pick(row, frame.translate("Matrix"), names, f"matrix-{cell}", str, telling_matrix(names))
