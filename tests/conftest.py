"""Settings for every test: deterministic property tests, and one thread for torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import settings

if TYPE_CHECKING:
    from tests.helpers import IdleEngine

settings.register_profile("rnnviz", derandomize=True, deadline=None, print_blob=False)
settings.load_profile("rnnviz")
torch.set_num_threads(1)
torch.set_warn_always(True)  # a warning given only once would hit whichever test came first


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[IdleEngine]:
    """An engine whose runs wait for ever, behind every page that a test opens."""
    from rnnviz.ui.frame import close_engine  # imports Streamlit, which most tests do without
    from tests.helpers import IdleEngine

    monkeypatch.setenv("RNNVIZ_HOME", str(tmp_path))
    idle = IdleEngine()
    monkeypatch.setattr("rnnviz.ui.frame.Engine", lambda *_, **__: idle)
    monkeypatch.setattr("rnnviz.ui.frame._HEAD_START", 0)  # no browser draws what they show
    close_engine()
    yield idle
    close_engine()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Set the host's settings through the environment."""
    from rnnviz.ui.frame import settings as of_host

    of_host.cache_clear()
    yield monkeypatch
    of_host.cache_clear()
