"""Fixtures of estimators: quick runs, a tiny model, and estimators that are fitted once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import worlds
from fits import make, rows


@pytest.fixture(autouse=True, scope="module")
def quick(quick_runs: None) -> None:
    """No test of this folder looks at a report."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny model with random weights."""
    return worlds.write_model(tmp_path_factory.mktemp("estimators"))


@pytest.fixture(scope="module")
def learned(model: str) -> Callable[[str], Any]:
    """A function that gives the fitted estimator of a kind."""
    known: dict[str, Any] = {}

    def fitted(kind: str) -> Any:
        if kind not in known:
            known[kind] = make(kind, model, epochs=12).fit(*rows(kind, 80))
        return known[kind]

    return fitted
