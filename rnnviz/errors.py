"""The one exception for what a user can mend."""

from __future__ import annotations

from functools import partial
from typing import Any


class InputError(ValueError):
    """Something given by a user is wrong: a text, a setting, a file, a folder.

    The message says what was wrong, which value, and what is allowed. The command prints it on
    one line and exits with 2; a page shows it beside the widget. `message` and `values` stand
    apart so that a page can translate the first and then fill in the second.
    """

    def __init__(self, message: str, **values: object) -> None:
        self.message = message
        self.values = values
        super().__init__(message.format(**values))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled between our own processes with its values, so that a page can still translate it."""
        return partial(type(self), self.message, **self.values), ()


class HostError(InputError):
    """The host cannot go on for the moment: a full disk, no workers. What it was doing can be resumed later."""
