"""Engines with a cluster, without one, and with a client that a test controls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rnnviz.engine.engine import Engine
from rnnviz.engine.settings import Settings
from tests.helpers import Script


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home folder of this file's runs, set before the workers start."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNNVIZ_HOME", str(folder))
        yield folder


@pytest.fixture
def script() -> Script:
    """A client that a test controls."""
    return Script()


@pytest.fixture
def settings() -> Settings:
    """The settings of `scripted`; a test may parametrize them."""
    return Settings()


@pytest.fixture
def scripted(home: Path, script: Script, settings: Settings) -> Iterator[Engine]:
    """An engine whose tasks go to the script."""
    engine = Engine(settings, connection=script)  # type: ignore[arg-type]
    yield engine
    engine.close()
