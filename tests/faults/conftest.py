from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import clients
import harness
import pytest

import serving
from gpt1 import pipeline
from gpt1.pipeline import GPT1
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


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model to serve."""
    folder = tmp_path_factory.mktemp("served") / "tiny"
    serving.gpt().save(folder)
    return folder


@pytest.fixture(scope="session")
def gpt(folder: Path) -> GPT1:
    return pipeline.load(folder, dtype="float32")


@pytest.fixture(scope="session")
def questions(gpt: GPT1) -> list[clients.Question]:
    return clients.questions(gpt, 150)


@pytest.fixture(scope="session")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[clients.Process]:
    """A server with short deadlines and a short queue; it must be left with nothing to do."""
    log = tmp_path_factory.mktemp("log") / "stderr"
    settings = {"slots": 16, "queue": 64, "head_seconds": 3, "body_seconds": 4, "write_seconds": 2}
    process = clients.Process(folder, log, **settings)
    try:
        yield process.wait()
        assert "Traceback" not in process.log
    finally:
        process.stop()
