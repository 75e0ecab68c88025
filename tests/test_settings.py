"""What the host may set by environment variables."""

from __future__ import annotations

import pytest

from rnnviz.errors import InputError
from rnnviz.settings import Settings


@pytest.mark.parametrize(
    ("environment", "settings"),
    [
        ({}, Settings(None, None)),
        ({"RNNVIZ_SCHEDULER": "", "RNNVIZ_WORKERS": ""}, Settings(None, None)),
        ({"RNNVIZ_SCHEDULER": "tcp://10.0.0.1:8786"}, Settings("tcp://10.0.0.1:8786", None)),
        ({"RNNVIZ_WORKERS": "1"}, Settings(None, 1)),
        ({"RNNVIZ_WORKERS": "256"}, Settings(None, 256)),
        ({"RNNVIZ_SCHEDULER": "tls://a:1", "RNNVIZ_WORKERS": "3", "OTHER": "x"}, Settings("tls://a:1", 3)),
    ],
)
def test_settings_come_from_the_environment(environment: dict[str, str], settings: Settings) -> None:
    """What is unset or empty stays None."""
    assert Settings.from_environment(environment) == settings


@pytest.mark.parametrize(
    "value", ["0", "257", "-1", "+2", "1.5", "two", " 2", "2\n", "²", "1e2", "0x2", "999999999999"]
)
def test_a_wrong_count_of_workers_is_told(value: str) -> None:
    """With the variable's name, its value and what is allowed."""
    with pytest.raises(InputError, match=r"RNNVIZ_WORKERS is .*; allowed: a whole number from 1 to 256") as wrong:
        Settings.from_environment({"RNNVIZ_WORKERS": value})
    assert repr(value) in str(wrong.value)


def test_the_environment_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read when it is asked for, not when the module was imported."""
    monkeypatch.setenv("RNNVIZ_SCHEDULER", "tcp://one:1")
    monkeypatch.setenv("RNNVIZ_WORKERS", "7")
    assert Settings.from_environment() == Settings("tcp://one:1", 7)
    monkeypatch.delenv("RNNVIZ_SCHEDULER")
    monkeypatch.delenv("RNNVIZ_WORKERS")
    assert Settings.from_environment() == Settings()
