"""A model that the visitor has trained elsewhere: two files, from then on a model like any other."""

from __future__ import annotations

import streamlit as st

from rnnviz.analysis.own_model import own_run
from rnnviz.cells import CellName
from rnnviz.engine.settings import MIB
from rnnviz.errors import InputError
from rnnviz.ui.frame import Frame, engine, settings, show_error, watching
from rnnviz.ui.own_text import uploaded_file
from rnnviz.ui.reading import check_drawable
from rnnviz.ui.run_view import remember_run


def bring_model(frame: Frame, cell: CellName) -> None:
    """A place for a state dict and its vocabulary; the button makes them this page's run, "your model".

    Those who only watch see none.
    """
    if watching():
        return
    _ = frame.translate
    with st.expander(_("Your model, trained elsewhere"), icon=":material/upload:"):
        st.caption(
            _(
                "A character model of torch: an embedding or none, one GRU or LSTM layer, one linear layer. Its "
                "parts are found by their shapes."
            )
        )
        left, right = st.columns(2)
        with left:
            model = uploaded_file(frame, _("Its state dict, a .safetensors file"), "own-model")
        with right:
            vocabulary = uploaded_file(frame, _("Its characters: a text, or a JSON list"), "own-vocabulary")
        ready = model is not None and vocabulary is not None
        if st.button(_("Open"), icon=":material/login:", disabled=not ready, key="open-own") and ready:
            _open(frame, cell, model or b"", vocabulary or b"")


def _open(frame: Frame, cell: CellName, model: bytes, vocabulary: bytes) -> None:
    limit = settings().limits.upload_mib * MIB
    try:
        size = max(len(model), len(vocabulary))
        if size > limit:
            raise InputError("the file has {size:,} bytes; allowed: at most {limit:,}", size=size, limit=limit)
        config, corpus, checkpoint = own_run(model, vocabulary)
        check_drawable(config, cell)
        remember_run(frame, engine().keep(config, corpus, checkpoint))
    except InputError as error:
        show_error(frame, error)
    else:
        st.rerun()
