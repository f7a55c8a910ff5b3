"""Shared fixtures: where the real data is, and the vectors that any implementation must match."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import worlds
from gpt1.text.tokenizer import Tokenizer

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("GPT1_DATA", ROOT.parent / "shared" / "data"))
NO_DATA = "without GPT1_DATA"

collect_ignore_glob = ["*conftest.py"]  # they have no doctests, and all the same module name


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real text and data sets; skips where it is missing."""
    if not DATA.is_dir():
        pytest.skip(NO_DATA)
    return DATA


def pytest_report_teststatus(
    report: pytest.TestReport | pytest.CollectReport,
) -> tuple[str, str, str] | None:
    """Count the tests that lack the data apart, so that each is not listed by itself."""
    lacks_data = (
        report.skipped
        and isinstance(report.longrepr, tuple)
        and (report.longrepr[2] == f"Skipped: {NO_DATA}")
    )
    return (NO_DATA, "s", "NO DATA") if lacks_data else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line what was not tested where the data is missing."""
    if lacking := terminalreporter.stats.get(NO_DATA):
        terminalreporter.write_line(
            f"GPT1_DATA: {DATA} does not exist, so {len(lacking)} tests did not run: the released "
            f"vocabulary, real text, the public data sets and the documents' code. Set GPT1_DATA "
            f"to a folder of them.",
            yellow=True,
        )


@pytest.fixture(scope="session")
def release_vocabulary(data_folder: Path) -> Path:
    """The folder of the vocabulary files that OpenAI released."""
    return data_folder / "gpt1_bpe"


@pytest.fixture(scope="session")
def tokenizer_vectors() -> list[dict[str, Any]]:
    return json.loads((ROOT / "tests/vectors/tokenizer-vectors.json").read_text("utf-8"))["vectors"]


@pytest.fixture(scope="session")
def model_vectors() -> dict[str, Any]:
    return json.loads((ROOT / "tests/vectors/model-vectors.json").read_text("utf-8"))


@pytest.fixture(scope="session")
def tiny_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """The tokenizer of the tiny vocabulary; nobody may add tokens to it."""
    return worlds.tokenizer(tmp_path_factory.mktemp("vocabulary"))


@pytest.fixture(scope="module")
def quick_runs() -> Iterator[None]:
    """Runs without a report, and files that are not flushed: nobody pulls the plug here."""
    from gpt1.storage import disk
    from gpt1.training import trainer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "write_report", lambda path: None)
        patch.setattr(disk, "flush", lambda fd: None)
        patch.setattr(disk, "flush_folder", lambda path: None)
        yield
