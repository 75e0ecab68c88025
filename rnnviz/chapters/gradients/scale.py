"""Every recurrent matrix times s: the gradient vanishes or explodes."""

from __future__ import annotations

import streamlit as st

from rnnviz.analysis.gradient_study import Study
from rnnviz.chapters.gradients.reach import describe_lag, lag_table
from rnnviz.chapters.gradients.spectrum import spectrum_table
from rnnviz.chapters.gradients.three import Three, choose_cell, telling_matrix, with_three
from rnnviz.figures.gradients.reach import Range, common_range
from rnnviz.figures.gradients.scale import scale_figure
from rnnviz.figures.gradients.spectrum import plane_figure
from rnnviz.i18n import quantity
from rnnviz.ui.charts import Chart, Slider
from rnnviz.ui.frame import Frame
from rnnviz.ui.pictures import pictures


def scale(frame: Frame) -> None:
    """Every recurrent matrix times s: the eigenvalues cross the circle, the gradient vanishes or explodes."""
    with_three(frame, _draw_scale)


def _draw_scale(frame: Frame, three: Three) -> None:
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    study = three.studies[choose_cell(frame, row, three)]
    low, high = common_range(study.by_scale, 20)
    values = [f"{s:.3g}" for s in study.scales]
    pictures(
        [_scale_chart(frame, study, k, (max(low, 1e-14), high)) for k in range(len(values))],
        [_scaled_plane_chart(frame, study, s) for s in study.scales],
        key="scaled",
        slider=Slider(
            "s",
            frame.translate("Scale s of the recurrent matrices"),
            values,
            [f"× {s}" for s in values],
            values.index("1"),
        ),
    )


def _scale_chart(frame: Frame, study: Study, k: int, limits: Range) -> Chart:
    _, lag = frame.translate, study.by_scale[k]
    return Chart(
        scale_figure(study, k, limits, _),
        name="scale",
        title=_("Gradient against the lag, s = {s}").format(s=f"{study.scales[k]:.3g}"),
        description=describe_lag(frame, lag),
        table=lag_table(frame, lag),
        height=440,
    )


def _scaled_plane_chart(frame: Frame, study: Study, s: float) -> Chart:
    """The eigenvalues of the most informative matrix after the last step, times s."""
    _ = frame.translate
    name = telling_matrix(study.spectrum.names)
    eigenvalues = s * study.spectrum.eigenvalues[name][-1]
    singular = s * study.spectrum.singular_values[name][-1]
    largest, sigma = float(abs(eigenvalues[0])), float(singular[0])
    return Chart(
        plane_figure(eigenvalues, sigma, 1.15 * max(2.0, largest), _),
        name="scaled-plane",
        title=_("Eigenvalues of s {name}").format(name=name),
        description=_("Largest eigenvalue of s {name}: size {size}. Largest singular value: {sigma}.").format(
            name=name, size=quantity(largest), sigma=quantity(sigma)
        ),
        table=spectrum_table(eigenvalues, singular),
        height=440,
    )
