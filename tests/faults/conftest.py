from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import harness
import pytest

from gpt1.training import run

collect_ignore_glob = [] if hasattr(os, "fork") else ["*.py"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: the tests are about the order of calls."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="gpt1-faults-", dir=memory))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return harness.make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def trainer(corpus: Path) -> harness.Trainer:
    return harness.Trainer(corpus)


@pytest.fixture(scope="session")
def whole(trainer: harness.Trainer, tmp_path_factory: pytest.TempPathFactory) -> harness.Whole:
    return harness.measure(trainer, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="session")
def known(trainer: harness.Trainer, tmp_path_factory: pytest.TempPathFactory) -> harness.Known:
    out = tmp_path_factory.mktemp("known") / "run"
    with mock.patch.object(run.Run, "checkpoints", return_value=[]):  # none is dropped
        trainer.train(out)
    return {n * harness.EVERY: harness.held(c) for n, c in enumerate(harness.checkpoints(out), 1)}
