"""Studies survive saving and loading; their means, spectra and clipping agree with independent calculations."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnviz.analysis.experiments import (
    CELLS,
    MAPS,
    THETAS,
    MapCell,
    learning_rates,
    map_cells,
    shipped_map,
    shipped_study,
)
from rnnviz.analysis.gradient_study import Lag, Norms, Study, geometric_mean, norms_of, spectrum_of
from rnnviz.errors import InputError
from rnnviz.runs.reports import StepReport


@pytest.mark.parametrize("cell", CELLS)
def test_a_study_survives_saving_and_loading(cell: str) -> None:
    """Every number, in single precision, and every text is read back as it was written."""
    study = shipped_study(cell)  # type: ignore[arg-type]
    again = Study.load(io.BytesIO(study.to_bytes()))
    for name in ("cell", "texts", "steps", "scales", "perplexity", "held_out_perplexity"):
        assert getattr(again, name) == getattr(study, name)
    for ours, theirs in zip(study.by_step + study.by_scale, again.by_step + again.by_scale, strict=True):
        for name in ("H", "C", "bound", "sigma", "direct"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    for name in study.spectrum.names:
        np.testing.assert_array_equal(study.spectrum.eigenvalues[name], again.spectrum.eigenvalues[name])
    np.testing.assert_array_equal(study.norms.values, again.norms.values)
    assert again.norms.names == study.norms.names


@pytest.mark.parametrize("cell", CELLS)
def test_shipped_studies_obey_the_theory(cell: str) -> None:
    """The shipped RNN lies below its bounds at every checkpoint and scale; cells with gates have no bounds."""
    study = shipped_study(cell)  # type: ignore[arg-type]
    assert study.cell == cell
    assert len(study.steps) == len(study.by_step)
    for lag in study.by_step + study.by_scale:
        assert (lag.bound is not None) is (cell == "rnn")
        sigma = lag.sigma_bound()
        if lag.bound is not None and sigma is not None:
            assert (lag.bound * 1.0001 >= lag.H).all()
            assert (lag.bound <= sigma * 1.0001).all()
    for name in study.spectrum.names:
        sizes = np.abs(study.spectrum.eigenvalues[name][:, 0])
        assert (sizes <= study.spectrum.singular_values[name][:, 0] * 1.0001).all()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no zip", b"hello"])
def test_a_damaged_study_is_reported(data: bytes) -> None:
    """Any damage to the file raises an InputError."""
    with pytest.raises(InputError, match="cannot be read"):
        Study.load(io.BytesIO(data))


def test_the_geometric_mean_is_the_exp_of_the_mean_logarithm() -> None:
    """The mean of 10 and 1000 is 100; a zero does not raise an error."""
    assert geometric_mean(np.array([[10.0, 1.0], [1000.0, 4.0]])).tolist() == pytest.approx([100, 2])
    assert np.isfinite(geometric_mean(np.array([[0.0], [1.0]]))).all()


def test_the_spectra_of_known_matrices() -> None:
    """Twice a quarter turn has the eigenvalues ±2i and the singular values 2, 2; for a shear the two differ."""
    rotation, shear = np.array([[0.0, -2.0], [2.0, 0.0]]), np.array([[1.0, 3.0], [0.0, 0.5]])
    name = "layer1.forward.W_hh"
    spectrum = spectrum_of([{name: rotation, "W_hq": shear}, {name: shear, "W_hq": shear}])
    assert spectrum.names == ("W_hh",)
    assert sorted(spectrum.eigenvalues["W_hh"][0].imag) == pytest.approx([-2, 2])
    assert spectrum.singular_values["W_hh"][0].tolist() == pytest.approx([2, 2])
    assert np.abs(spectrum.eigenvalues["W_hh"][1]).tolist() == pytest.approx([1, 0.5])
    assert spectrum.singular_values["W_hh"][1, 0] > 3


def test_the_bound_by_sigma_is_a_power_of_sigma() -> None:
    """It is ‖dH_T‖ sigma^lag in every window."""
    lag = Lag(H=np.array([[2.0, 0.5, 0.1], [1.0, 1.0, 1.0]]), sigma=3.0)
    assert lag.sigma_bound().tolist() == [[2, 6, 18], [1, 3, 9]]  # type: ignore[union-attr]


@given(st.lists(st.floats(1e-6, 1e3), min_size=2, max_size=5), st.floats(1e-3, 1e2))
def test_clipping_by_the_global_norm_keeps_the_direction(values: list[float], theta: float) -> None:
    """The norm afterwards is min(norm, theta), and all parameters shrink by one factor; clipped singly they do not."""
    norms = Norms(np.array([1]), tuple("abcde"[: len(values)]), np.array([values]))
    after = norms.clipped(theta)[0]
    assert np.linalg.norm(after) == pytest.approx(min(np.linalg.norm(values), theta))
    ratios = after / np.array(values)
    assert ratios == pytest.approx(np.full(len(values), ratios[0]))
    assert norms.clipped_singly(theta)[0].tolist() == [min(value, theta) for value in values]


def test_no_threshold_clips_nothing() -> None:
    """A theta of 0 leaves every norm as it is."""
    norms = Norms(np.array([1]), ("a", "b"), np.array([[3.0, 4.0]]))
    assert norms.clipped(0).tolist() == norms.clipped_singly(0).tolist() == [[3, 4]]
    assert norms.total().tolist() == [5]


def test_norms_come_from_the_steps_of_a_run() -> None:
    """They have short names, in the order reported; a run without steps has none."""
    reports = [StepReport(s, 1, 2.0, 10, 5.0, 1.0, {"layer1.forward.W_hh": 3.0, "b_q": 4.0}) for s in (1, 2)]
    norms = norms_of(reports)
    assert norms.names == ("W_hh", "b_q")
    assert norms.steps.tolist() == [1, 2]
    assert norms.total().tolist() == [5, 5]
    assert norms_of([]).values.shape == (0, 0)


@pytest.mark.parametrize("name", MAPS)
def test_a_map_ships_for_every_model(name: str) -> None:
    """It has one training for each threshold and rate, of which some learned and some diverged."""
    cells = shipped_map(name)
    assert len(cells) == len(map_cells(name)) == len(THETAS) * len(learning_rates(name))
    assert 0 < sum(cell.diverged for cell in cells) < len(cells)
    assert min(cell.end for cell in cells) < 10


@pytest.mark.parametrize(
    ("end", "diverged"), [(3.0, False), (40.0, False), (41.0, True), (np.inf, True), (np.nan, True)]
)
def test_a_training_diverged_if_it_ended_worse_than_it_began(end: float, diverged: bool) -> None:
    """It also diverged if it ended with NaN or infinity."""
    assert MapCell(40.0, end).diverged is diverged
