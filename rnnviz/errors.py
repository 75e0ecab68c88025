"""The exceptions for errors that a user can correct."""

from __future__ import annotations

from functools import partial
from typing import Any


class InputError(ValueError):
    """Something given by a user is wrong: a text, a setting, a file or a folder.

    The message says what was wrong, which value, and what is allowed. The command prints it on
    one line and exits with 2; a page shows it beside the widget. `message` and `values` are
    separate so that a page can translate the message before it fills in the values.
    """

    def __init__(self, message: str, **values: object) -> None:
        self.message = message
        self.values = values
        super().__init__(message.format(**values))

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the values when pickled between our own processes, so that a page can still translate the message."""
        return partial(type(self), self.message, **self.values), ()


class HostError(InputError):
    """The host cannot continue for now, as with a full disk or no workers. The work can be resumed later."""
