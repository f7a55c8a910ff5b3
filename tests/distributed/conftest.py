from __future__ import annotations

from pathlib import Path

import launch
import pytest


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return launch.make_corpus(tmp_path_factory.mktemp("corpus"))
