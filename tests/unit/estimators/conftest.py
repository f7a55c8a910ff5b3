"""Fixtures of estimators: quick runs, a tiny model, and estimators that are fitted once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tiny
import worlds
from fits import make, rows
from gpt1.checkpoint import folder
from gpt1.storage import disk
from gpt1.training import trainer


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    """Runs without a report, and files that are not flushed: nobody pulls the plug here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "write_report", lambda path: None)
        patch.setattr(disk, "flush", lambda fd: None)
        patch.setattr(disk, "flush_folder", lambda path: None)
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny model with random weights."""
    place = tmp_path_factory.mktemp("estimators")
    words = worlds.tokenizer(place / "words", words="fast")
    folder.save(place / "model", tiny.model(initializer_range=0.1), words)
    return str(place / "model")


@pytest.fixture(scope="module")
def learned(model: str) -> Callable[[str], Any]:
    """A function that gives the fitted estimator of a kind."""
    known: dict[str, Any] = {}

    def fitted(kind: str) -> Any:
        if kind not in known:
            known[kind] = make(kind, model, epochs=12).fit(*rows(kind, 80))
        return known[kind]

    return fitted
