"""A study of a model's gradients: against the lag, over training, and norm by norm. No torch here."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from rnnviz.cells import CellName, short_names
from rnnviz.errors import InputError
from rnnviz.runs.reports import Report, StepReport

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Lag:
    """How far back the loss of the last character reaches, as arrays (windows, T), lag 0 first.

    `H` is ‖dL_T/dH_t‖ at the lag T - t, and `C` for the LSTM ‖dL_T/dC_t‖.

    `bound` is ‖dL_T/dH_T‖ times the spectral norms of all diag(phi'(A_k)) W_hh^T in between, and
    `sigma` the largest singular value of W_hh: H <= bound <= ‖dL_T/dH_T‖ sigma^lag (Pascanu et al.
    2013, with |phi'| <= 1). Both hold for the RNN and are None for cells with gates.

    `direct` is the norm of what comes back through the gates alone: dL_T/dC_T times all forget
    gates in between for the LSTM, dL_T/dH_T times all update gates for the GRU. It is not a bound,
    because this is one of many paths that add up. It is None for the RNN, which has no such path.
    """

    H: Array
    C: Array | None = None
    bound: Array | None = None
    sigma: float | None = None
    direct: Array | None = None

    def sigma_bound(self) -> Array | None:
        """‖dL_T/dH_T‖ sigma^lag, (windows, T)."""
        if self.sigma is None:
            return None
        with np.errstate(over="ignore"):
            powers: Array = self.sigma ** np.arange(self.H.shape[1], dtype=np.float64)
            return self.H[:, :1] * powers


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues and singular values (K, h) of each recurrent matrix over K checkpoints, by its textbook name.

    Both are in order of decreasing size.
    """

    eigenvalues: Mapping[str, NDArray[np.complexfloating[Any, Any]]]
    singular_values: Mapping[str, Array]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.singular_values)


@dataclass(frozen=True)
class Norms:
    """Gradient norms of every training step before clipping, parameter by parameter, (n, parameters)."""

    steps: NDArray[np.integer[Any]]
    names: tuple[str, ...]
    values: Array

    def total(self) -> Array:
        """The global norm of every step, (n,): the norm of all parameters' gradients as one vector."""
        norm: Array = np.sqrt((self.values.astype(np.float64) ** 2).sum(axis=1))
        return norm

    def clipped(self, theta: float) -> Array:
        """Norms (n, parameters) after clipping by the global norm, with one factor min(theta / ‖g‖, 1) for all."""
        norm = self.total()
        factor = np.minimum(theta / np.maximum(norm, np.finfo(np.float64).tiny), 1.0) if theta else np.ones_like(norm)
        return self.values * factor[:, None]

    def clipped_singly(self, theta: float) -> Array:
        """Norms (n, parameters) if each parameter were clipped to theta alone, which changes the direction."""
        return np.minimum(self.values, theta) if theta else self.values


@dataclass(frozen=True)
class Study:
    """A trained model's gradients. `by_step` belongs to `steps`, the kept checkpoints, and `by_scale` to `scales`,
    by which every recurrent matrix of the newest checkpoint was multiplied. `texts` are the windows read."""

    cell: CellName
    perplexity: float
    held_out_perplexity: float
    texts: tuple[str, ...]
    steps: tuple[int, ...]
    scales: tuple[float, ...]
    by_step: tuple[Lag, ...]
    by_scale: tuple[Lag, ...]
    spectrum: Spectrum
    norms: Norms

    def save(self, file: BinaryIO) -> None:
        """Write a compressed `.npz` in single precision; plain arrays, nothing pickled."""
        arrays: dict[str, Any] = {name: np.array(getattr(self, name)) for name in _PLAIN}
        for group in ("by_step", "by_scale"):
            lags: tuple[Lag, ...] = getattr(self, group)
            for name in ("H", "C", "bound", "sigma", "direct"):
                if getattr(lags[0], name) is not None:
                    stacked = np.stack([np.asarray(getattr(lag, name)) for lag in lags])
                    arrays[f"{group}.{name}"] = stacked.astype(np.float32)
        for name in self.spectrum.names:
            arrays[f"eigenvalues.{name}"] = self.spectrum.eigenvalues[name].astype(np.complex64)
            arrays[f"singular_values.{name}"] = self.spectrum.singular_values[name].astype(np.float32)
        arrays |= {"norms.steps": self.norms.steps, "norms.names": np.array(self.norms.names)}
        arrays["norms.values"] = self.norms.values.astype(np.float32)
        np.savez_compressed(file, **arrays)

    def to_bytes(self) -> bytes:
        buffer = io.BytesIO()
        self.save(buffer)
        return buffer.getvalue()

    @staticmethod
    def load(file: BinaryIO) -> Study:
        """The study that `save` wrote. Raises InputError for anything else."""
        try:
            with np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            return _study_of(arrays)
        except Exception as error:  # NumPy raises many kinds for a damaged file
            raise InputError("the study cannot be read: {reason}", reason=error) from error


_PLAIN = ("cell", "perplexity", "held_out_perplexity", "texts", "steps", "scales")


def _study_of(arrays: Mapping[str, Any]) -> Study:
    def lags(group: str) -> tuple[Lag, ...]:
        fields = {key.split(".")[1]: value for key, value in arrays.items() if key.startswith(f"{group}.")}
        sigmas = fields.pop("sigma", None)
        return tuple(
            Lag(
                **{name: value[k] for name, value in fields.items()}, sigma=None if sigmas is None else float(sigmas[k])
            )
            for k in range(len(fields["H"]))
        )

    def matrices(group: str) -> dict[str, Any]:
        return {key.removeprefix(f"{group}."): value for key, value in arrays.items() if key.startswith(f"{group}.")}

    return Study(
        cell=cast("CellName", str(arrays["cell"])),
        perplexity=float(arrays["perplexity"]),
        held_out_perplexity=float(arrays["held_out_perplexity"]),
        texts=tuple(map(str, arrays["texts"])),
        steps=tuple(map(int, arrays["steps"])),
        scales=tuple(map(float, arrays["scales"])),
        by_step=lags("by_step"),
        by_scale=lags("by_scale"),
        spectrum=Spectrum(matrices("eigenvalues"), matrices("singular_values")),
        norms=Norms(arrays["norms.steps"], tuple(map(str, arrays["norms.names"])), arrays["norms.values"]),
    )


def geometric_mean(norms: Array) -> Array:
    """exp(mean(log)) over the windows, from (windows, T) to (T,), as a log axis shows a mean."""
    tiny = np.finfo(np.float64).tiny
    mean: Array = np.exp(np.log(np.maximum(norms.astype(np.float64), tiny)).mean(axis=0))
    return mean


def spectrum_of(checkpoints: Sequence[Mapping[str, Array]]) -> Spectrum:
    """The spectra of every recurrent matrix W_h. over a run's checkpoints, given as weights by textbook names."""
    names = [name for name in checkpoints[0] if ".W_h" in name]
    matrices = {
        short: np.stack([weights[name] for weights in checkpoints]).astype(np.float64)
        for short, name in zip(short_names(names), names, strict=True)
    }
    eigenvalues = {name: _largest_first(np.linalg.eigvals(W)) for name, W in matrices.items()}
    return Spectrum(eigenvalues, {name: np.linalg.svd(W, compute_uv=False) for name, W in matrices.items()})


def _largest_first(values: NDArray[Any]) -> NDArray[Any]:
    return np.take_along_axis(values, np.argsort(-np.abs(values), axis=-1, kind="stable"), -1)


def norms_of(reports: Iterable[Report]) -> Norms:
    """The gradient norms that a run reported, step by step."""
    steps = [report for report in reports if isinstance(report, StepReport)]
    names = tuple(steps[0].norms) if steps else ()
    values = np.array([[report.norms.get(name, math.nan) for name in names] for report in steps], dtype=np.float64)
    return Norms(
        np.array([report.step for report in steps], dtype=np.int64),
        tuple(short_names(names)),
        values.reshape(len(steps), len(names)),
    )
