"""Tables and pictures that the chapters share."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest

from rnnviz.ui.pictures import _csv
from tests.helpers import FORMULAS


@pytest.mark.parametrize("text", FORMULAS)
def test_a_visitors_text_is_not_a_formula_in_a_spreadsheet(text: str) -> None:
    """It is safe as a cell and as a title."""
    titles, row = csv.reader(io.StringIO(_csv({text: [text]}).decode("utf-8-sig"), newline=""))
    assert titles == row == [f"'{text}"]


def test_numbers_and_other_texts_stay_unchanged() -> None:
    """Negative numbers stay too, even as text, and single characters are not formulas."""
    table: dict[str, list[Any]] = {
        "number": [-1.5, np.float32(-2), -3, None],
        "written": ["-1.5", "+2e3", "-inf", ""],
        "character": ["=", "-", "@", "分"],
        "text": ["a=b", " =1", "'=1", "开始"],
    }
    rows = list(csv.reader(io.StringIO(_csv(table).decode("utf-8-sig"), newline="")))
    assert rows[0] == list(table)
    columns = list(map(list, zip(*rows[1:], strict=True)))
    assert columns == [["-1.5", "-2.0", "-3", ""], *(table[name] for name in ("written", "character", "text"))]
