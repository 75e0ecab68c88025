"""A model trained elsewhere on the GRU's and the LSTM's pages: two files, and every tab works with it."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any

import pytest
import streamlit as st
import torch
from safetensors.torch import save
from streamlit.testing.v1 import AppTest
from torch import nn

from rnnviz.runs.folder import Run, all_runs
from tests.chapters.helpers import cells_of, charts
from tests.helpers import IdleEngine, open_app

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
TEXT = "the quick brown fox jumps over the lazy dog. " * 8


@pytest.fixture(autouse=True)
def _workers(engine: IdleEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer calls to workers at once, in this process."""

    def compute(self: IdleEngine, function: str, run: Any = None, *, visitor: str = "", **arguments: Any) -> Any:
        folder = {"folder": str(run.folder)} if run else {}
        return resolve_name(function)(**folder, **arguments)

    monkeypatch.setattr(IdleEngine, "compute", compute, raising=False)
    st.cache_data.clear()


def bring(app: AppTest, model: bytes, vocabulary: bytes) -> AppTest:
    """The page after a visitor has chosen two files and pressed the button."""
    app.session_state["own-model-uploaded"] = ("model.safetensors", model)
    app.session_state["own-vocabulary-uploaded"] = ("text.txt", vocabulary)
    app.run().button(key="open-own").click().run()
    assert not app.exception
    return app


def state_of(kind: str, layers: int = 1) -> bytes:
    torch.manual_seed(0)
    V = len(set(TEXT))
    parts = {"emb": nn.Embedding(V, 8), "rnn": getattr(nn, kind)(8, 12, layers), "fc": nn.Linear(12, V)}
    return save(nn.ModuleDict(parts).state_dict())


@pytest.mark.parametrize("page", ["gru", "lstm"])
def test_two_files_are_a_model_like_any_other(page: str) -> None:
    """It is drawn at once, with no progress to show; the other tabs rank its units and write with it."""
    app = bring(open_app(page), state_of(page.upper()), TEXT.encode())
    (run,) = all_runs()
    assert Run.open(run.folder).status().state == "finished"
    (cell,) = cells_of(app)
    assert len(cell["order"]) == 12
    assert "".join(cell["text"]).startswith("the␣quick")
    assert "".join(app.query_params["run"]) == run.id
    assert not app.error
    assert not list(app.main.get("progress"))
    found = open_app(page, run=run.id, tab="find", model="own")
    assert not found.exception
    assert "ranking" in charts(found)
    surgery = open_app(page, run=run.id, tab="surgery", model="own", prefix="the ")
    assert not surgery.exception
    assert not surgery.error


@pytest.mark.parametrize(
    ("kind", "layers", "vocabulary", "reason"),
    [
        ("GRU", 2, TEXT, "The run is a GRU of 2 layers"),
        ("LSTM", 1, TEXT, "allowed here: one GRU layer"),
        ("GRU", 1, "abc", "The vocabulary has 3 entries"),
    ],
)
def test_what_the_page_cannot_show_is_refused(kind: str, layers: int, vocabulary: str, reason: str) -> None:
    """The reason stands beside the files, and no run is made."""
    app = bring(open_app("gru"), state_of(kind, layers), vocabulary.encode())
    (error,) = app.error
    assert reason in error.value.replace("\\", "")
    assert not all_runs()


def test_a_pickle_is_refused_in_the_readers_language() -> None:
    """With the way to save it as safetensors."""
    (error,) = bring(open_app("gru", "zh"), b"PK\x03\x04", TEXT.encode()).error
    assert "这是 .pt 文件" in error.value.replace("\\", "")
    assert "save_file(model.state_dict()" in error.value.replace("\\", "")


def test_files_are_limited_as_texts_are(host: pytest.MonkeyPatch) -> None:
    """By what the host allows for an upload."""
    host.setenv("RNNVIZ_MAX_UPLOAD_MIB", "1")
    (error,) = bring(open_app("gru"), b"x" * 1_200_000, TEXT.encode()).error
    assert "The file has 1,200,000 bytes" in error.value
