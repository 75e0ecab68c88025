"""The signals of a recurrent module of torch as pictures: heatmaps, the cell at work, and a table for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from rnnviz.analysis.module_signals import ModuleSignals
from rnnviz.cells import of_layer
from rnnviz.errors import InputError
from rnnviz.figures.cell_view import cell_page, pack_sequence
from rnnviz.figures.gates import Order, signal_figure
from rnnviz.figures.kit import visible
from rnnviz.i18n import SOURCE, match_language, translator
from rnnviz.signals import SIGNALS

_MOST_LABELS = 60


class ModuleTrace(ModuleSignals):
    """What `rnnviz.trace_module` returns for each recurrent module: its signals, and pictures of them.

    Where a picture takes `labels`, they are the names of the steps, such as the tokens that were read: as many as the
    sequence has steps, or as the longest one has. Without them steps are numbered from 1.

    Z near 1 keeps the old state, as in torch and Keras; in Chung et al. (2014) it is one minus this. torch calls
    H_tilde n, and C_tilde g. `html` and `cell` cannot show an LSTM with `proj_size`; `figure` and `signal` can.
    """

    def figure(
        self,
        name: str,
        *,
        batch: int = 0,
        labels: Sequence[str] | None = None,
        layer: int = 1,
        direction: str = "forward",
        order: Order = "similarity",
        language: str = SOURCE,
    ) -> go.Figure:
        """A signal of one sequence as a heatmap: units down, steps across. `language` is "en" or "zh".

        Raises InputError for a signal, layer, direction or sequence that is not there, or labels that do not fit.
        """
        _ = translator(match_language(language))
        known, length = self.known(name, layer, direction), self.length(batch)
        values = self.signal(known, layer, direction)[:length, batch]
        names = visible(self._labels(labels, length))
        figure = go.Figure(signal_figure(self.record, known, values, names, direction, order, _))
        several = len(of_layer(self.signals, 2)) + len(of_layer(self.signals, 1, "backward")) > 0
        where = (_("layer {n}").format(n=layer), _(direction)) if several else ()
        title = f"{self.name}: " + " · ".join((SIGNALS[known].symbol, _(SIGNALS[known].label), *where))
        told = range(0, length, -(-length // _MOST_LABELS))
        axis = {
            "title": {"text": _("time step t")},
            "tickvals": list(told),
            "ticktext": [names[t] for t in told],
            "tickangle": -90 if max(map(len, names)) > 2 else 0,
        }
        return figure.update_layout(title=title, margin={"t": 48, "b": 90}, xaxis=axis, template="plotly_white")

    def html(
        self,
        path: str | Path,
        *,
        batch: int = 0,
        labels: Sequence[str] | None = None,
        layer: int = 1,
        direction: str = "forward",
    ) -> Path:
        """Write a page of the cell at work on one sequence, which plays in a browser without a server or a network.

        A backward direction is shown as it reads, from the end. Returns the path. Raises InputError for what is not
        there, for labels that do not fit, for more numbers than a browser should draw, for an LSTM with `proj_size`,
        and where the file cannot be written.
        """
        signals, X, before = self.sequence(batch, layer, direction)
        names = self._labels(labels, len(X))
        if direction == "backward":
            names = names[::-1]
        packed = pack_sequence(self.record, names, signals, X, before, of_layer(self.weights, layer, direction))
        title = f"{self.name}: {self.module}, layer {layer}, {direction}"
        try:
            Path(path).write_text(cell_page(packed, title), encoding="utf-8")
        except OSError as error:
            raise InputError("{out} cannot be written: {reason}", out=path, reason=error.strerror) from error
        return Path(path)

    def _labels(self, labels: Sequence[str] | None, length: int) -> list[str]:
        if labels is None:
            return [str(t + 1) for t in range(length)]
        if len(labels) not in (length, len(self.inputs)):
            raise InputError(
                "there are {count} labels for the {length} steps of {name}",
                count=len(labels),
                length=length,
                name=self.name,
            )
        return list(labels[:length])

    def _repr_html_(self) -> str:
        """A table of all signals with their range, for notebooks."""
        rows = "".join(
            f"<tr><td>{key}</td><td>{SIGNALS[key.rpartition('.')[2]].symbol}</td>"
            f"<td>{SIGNALS[key.rpartition('.')[2]].label}</td><td>{' × '.join(map(str, values.shape))}</td>"
            f"<td>{'</td><td>'.join(_range(values))}</td></tr>"
            for key, values in self.signals.items()
        )
        heads = "".join(
            f"<th>{head}</th>" for head in ("signal", "symbol", "name", "(T, B, h)", "least", "mean", "most")
        )
        keeps = "<br>Zₜ near 1 keeps the old state, as in torch." if "Z" in self.record.gates else ""
        return (
            f"<p><b>{escape(self.name)}</b>: {escape(self.module)}<br>Our equations differ from its own outputs and "
            f"states by at most {self.largest_difference:.1e}.{keeps}</p>"
            f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        )


def _range(values: NDArray[Any]) -> list[str]:
    """The least, mean and largest number, as words; nothing where there are none, as in an empty batch."""
    return [f"{of(values):.3g}" if values.size else "" for of in (np.nanmin, np.nanmean, np.nanmax)]
