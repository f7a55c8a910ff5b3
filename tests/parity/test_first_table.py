"""README's first table: its rows that do not depend on speed are what its script gives today."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import first_table


@pytest.mark.parametrize("row", first_table.STEADY, ids=lambda row: row.__name__)
def test_readme_says_what_is_measured_today(row: Callable[[], first_table.Row]) -> None:
    assert first_table.line(row()) in first_table.README.read_text("utf-8").splitlines()
