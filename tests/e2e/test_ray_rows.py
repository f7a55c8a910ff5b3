"""gpt1 predict, embed and score --engine ray: the bytes of the local engine, on Ray Data."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tiny
import worlds
from commands import run_gpt1_process
from gpt1.checkpoint import folder
from gpt1.data import ray_data, units
from gpt1.data.tables import RowCounts
from gpt1.errors import DataError, GPT1Error, InputError
from gpt1.tasks.kinds import Classification
from gpt1.tasks.predictor import Predictor
from gpt1.text.tokenizer import Tokenizer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, a fine-tuned one, and a file of several units."""
    place = tmp_path_factory.mktemp("place")
    tiny.write_vocabulary(place / "words")
    folder.save(place / "model", tiny.model(), Tokenizer.load(place / "words"))
    words, task = worlds.tokenizer(place / "task-words"), Classification(("no", "yes"))
    Predictor(worlds.model(task, words).float(), words, task).save(place / "task")
    draw = random.Random(1)
    rows = []
    for _ in range(3 * units.ROWS + 10):
        words_of = [draw.choice(["the", "dog", "cat", "is", "a", "and"]) for _ in range(40)]
        rows.append(json.dumps({"text": " ".join(words_of[: draw.randint(0, 40)])}) + "\n")
    (place / "rows.jsonl").write_text("".join(rows))
    return place


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray of two processors."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    options = {"num_cpus": 2, "object_store_memory": 100 << 20, "log_to_driver": False}
    ray.init("local", include_dashboard=False, logging_level="ERROR", **options)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers lack this module
    yield
    ray.shutdown()


@pytest.mark.parametrize(
    ("command", "out"),
    [
        ("predict task rows.jsonl --keep-columns --allow-unknown", "csv"),
        ("embed rows.jsonl --model model", "npy"),
        ("score rows.jsonl --model model", "jsonl"),
    ],
)
@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_commands_write_the_same_bytes(
    place: Path, command: str, out: str, threads: str
) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "RAY_ADDRESS": "", "COLUMNS": "100"}
    done = {}
    for engine in ("local", "ray"):
        words = [*command.split(), "--engine", engine, "--force", "--out", f"{engine}.{out}"]
        run = run_gpt1_process(*words, cwd=place, env=environment, timeout=300).check()
        assert run.stdout == f"{engine}.{out}\n"
        lines = [line for line in run.stderr.splitlines() if not line.startswith(command[:4])]
        done[engine] = (lines, (place / f"{engine}.{out}").read_bytes())
    assert done["ray"] == done["local"]
    assert "rows from 1 file" in done["ray"][0][0]


class Lengths:
    """A table of texts; reading `bad` raises."""

    def __init__(self, count: int, bad: int = -1) -> None:
        self.count, self.bad, self.counts = count, bad, RowCounts()

    def __iter__(self) -> Iterator[str]:
        for number in range(self.count):
            if number == self.bad:
                raise DataError("rows.csv:7: a bad row")
            self.counts.rows += 1
            yield f"{number} " + "x" * 1000


def _ends(unit: list[str]) -> tuple[list[str], int]:
    time.sleep(0.5)  # or the first process is done before a second has started
    return [text.split()[0] for text in unit], os.getpid()


@pytest.mark.usefixtures("cluster")
def test_units_come_in_order_from_several_processes() -> None:
    cut: units.Units[str] = units.Units(Lengths(20 * units.ROWS), len)
    results = list(ray_data.compute(cut, _ends, threads=1))
    assert [text for found, _ in results for text in found] == [*map(str, range(20 * units.ROWS))]
    assert len({process for _, process in results}) > 1
    assert os.getpid() not in {process for _, process in results}
    assert cut.counts.rows == 20 * units.ROWS


@pytest.mark.usefixtures("cluster")
def test_a_task_whose_process_dies_is_tried_again(tmp_path: Path) -> None:
    killed = tmp_path / "killed"

    def deadly(unit: list[str]) -> Any:
        if unit[0].startswith(f"{units.ROWS} ") and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return _ends(unit)

    cut: units.Units[str] = units.Units(Lengths(5 * units.ROWS), len)
    results = list(ray_data.compute(cut, deadly, threads=1))
    assert killed.exists()
    assert [text for found, _ in results for text in found] == [*map(str, range(5 * units.ROWS))]


@pytest.mark.usefixtures("cluster")
def test_a_unit_that_kills_every_process_ends_with_an_error() -> None:
    def deadly(unit: list[str]) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(GPT1Error, match=r"Ray gave up: the process of a task died 4 times\. Every"):
        list(ray_data.compute(units.Units(Lengths(10), len), deadly, threads=1))


@pytest.mark.usefixtures("cluster")
def test_errors_are_those_of_the_local_engine() -> None:
    def refuse(unit: list[str]) -> None:
        raise InputError("a text is wrong")

    with pytest.raises(InputError, match="a text is wrong"):
        list(ray_data.compute(units.Units(Lengths(10), len), refuse, threads=1))
    cut: units.Units[str] = units.Units(Lengths(5 * units.ROWS, bad=4 * units.ROWS + 1), len)
    found = []
    with pytest.raises(DataError, match=r"rows\.csv:7: a bad row"):
        found.extend(ray_data.compute(cut, _ends, threads=1))


@pytest.mark.usefixtures("cluster")
def test_a_file_larger_than_rays_memory_and_ours_is_streamed() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = 300 * units.ROWS  # 300 MB, three times the object store
    seen = sum(
        len(found)
        for found, _ in ray_data.compute(units.Units(Lengths(rows), len), _ends, threads=1)
    )
    assert seen == rows
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 << 10  # KiB
