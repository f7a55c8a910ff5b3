"""gpt1 prepare --engine ray: the bytes of the local engine, whatever becomes of a worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import Completed
from gpt1.data import ray_engine
from gpt1.data.parallel import EncodedJob
from gpt1.data.ray_engine import encode_on_worker, encode_texts
from gpt1.data.shards import write_shards
from gpt1.data.tables import Texts
from gpt1.errors import GPT1Error, InputError
from gpt1.text.tokenizer import Tokenizer

pytestmark = [pytest.mark.slow]

TEXTS = [f"It was dark and stormy, and the café's {i}th guest didn't come. " * i for i in range(90)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS, vocab_size=90)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    """A folder with a vocabulary, a corpus, and its shards by the local engine."""
    place = tmp_path_factory.mktemp("place")
    tokenizer.save(place / "vocabulary")
    rows = [*TEXTS, " ", "a\0b", "\ud83d", "end"]
    (place / "corpus.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in rows))
    write_shards(place / "local", Texts(place / "corpus.jsonl"), tokenizer, workers=1)
    return place


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A Ray of two processors; its address."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    options = {"num_cpus": 2, "object_store_memory": 100 << 20, "log_to_driver": False}
    ray.init("local", include_dashboard=False, logging_level="ERROR", **options)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many jobs."""
    monkeypatch.setattr(ray_engine, "_JOB", 10_000)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def _write(place: Path, out: Path, tokenizer: Tokenizer, workers: int) -> None:
    texts = Texts(place / "corpus.jsonl")
    write_shards(out, texts, tokenizer, workers=workers, encode=encode_texts)


def _is_up() -> bool:
    import ray

    return bool(ray.cluster_resources()["CPU"] == 2)


def _prepare(place: Path, out: Path, address: str) -> Completed:
    where = ["corpus.jsonl", "--tokenizer", "vocabulary", "--out", out]
    # os.environ of now: Ray keeps in it what lets a process talk to the cluster
    environment = {**os.environ, "RAY_ADDRESS": address}
    engine = ["--engine", "ray", "--workers", "2"]
    done = subprocess.run(  # -W: Ray's own processes do not inherit it
        [sys.executable, "-W", "error", "-m", "gpt1", "prepare", *where, *engine],
        cwd=place, env=environment, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return Completed(done.returncode, done.stdout, done.stderr)


def test_the_command_starts_ray_writes_the_same_bytes_and_ends_it(
    place: Path, tmp_path: Path
) -> None:
    done = _prepare(place, tmp_path / "out", "")
    assert done.check().stderr == ""
    assert done.stdout.startswith("94 rows from 1 file: 90 used, 4 rejected (NUL character: 1, ")
    assert _bytes(tmp_path / "out") == _bytes(place / "local")


def test_the_command_works_on_a_cluster_and_leaves_it_running(
    place: Path, tmp_path: Path, cluster: str
) -> None:
    done = _prepare(place, tmp_path / "out", cluster)
    assert done.check().stderr == ""
    assert _bytes(tmp_path / "out") == _bytes(place / "local")
    assert _is_up()


def test_a_cluster_that_is_not_there_is_said_at_once(place: Path, tmp_path: Path) -> None:
    start = time.monotonic()
    done = _prepare(place, tmp_path / "out", "127.0.0.1:1")
    assert done.code == 1
    assert "gpt1: could not reach the Ray at 127.0.0.1:1 (RAY_ADDRESS)" in done.stderr
    assert "take the engine local" in done.stderr
    assert time.monotonic() - start < 30
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("cluster", "small")
def test_ids_come_in_order_whatever_the_number_of_tasks(tokenizer: Tokenizer) -> None:
    texts = [*TEXTS, "\ud83d", "", *["a", ""] * 50]
    expected = [tokenizer.encode(text) for text in texts]
    for workers in (1, 2, None):
        assert [ids.tolist() for ids in encode_texts(tokenizer, texts, workers)] == expected
    assert _is_up(), "it ends only what it began"


@pytest.mark.usefixtures("cluster", "small")
def test_shards_are_the_same_though_a_worker_is_killed_on_the_way(
    place: Path, tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = tmp_path / "killed"

    def deadly(texts: list[str], state: bytes) -> EncodedJob:  # runs in a worker
        if any(" 40th guest" in text for text in texts) and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return encode_on_worker(texts, state)

    monkeypatch.setattr(ray_engine, "encode_on_worker", deadly)
    _write(place, tmp_path / "out", tokenizer, workers=2)
    assert killed.exists()
    assert _bytes(tmp_path / "out") == _bytes(place / "local")


@pytest.mark.usefixtures("cluster", "small")
def test_a_text_that_kills_every_worker_ends_with_an_error(
    place: Path, tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deadly(texts: list[str], state: bytes) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(ray_engine, "encode_on_worker", deadly)
    with pytest.raises(GPT1Error, match=r"Ray gave up: the process of a task died 4 times\. Every"):
        _write(place, tmp_path / "out", tokenizer, workers=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("cluster", "small")
def test_errors_are_those_of_the_local_engine(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = tokenizer.with_words("fast")
    texts = ["fine " * 200] * 50 + ["not \ud83d fine"]
    with pytest.raises(InputError) as local:
        fast.encode_batch(texts)
    with pytest.raises(InputError) as far:
        list(encode_texts(fast, texts, 2))
    assert str(far.value) == str(local.value)
    for wrong in ("a str", ["a", 3]):
        with pytest.raises(InputError, match=r"it must be|put it into a list"):
            list(encode_texts(fast, wrong, 2))  # type: ignore[arg-type]

    def broken(texts: list[str], state: bytes) -> None:
        raise ModuleNotFoundError("No module named 'gpt1'")

    monkeypatch.setattr(ray_engine, "encode_on_worker", broken)
    with pytest.raises(GPT1Error, match="gave up: ModuleNotFoundError: No module named 'gpt1'"):
        list(encode_texts(fast, texts, 2))


@pytest.mark.usefixtures("cluster", "small")
def test_texts_are_read_not_far_ahead(tokenizer: Tokenizer) -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "some words " * 100

    arrays = encode_texts(tokenizer, endless(), workers=2)
    for _ in range(10):
        next(arrays)
    arrays.close()  # type: ignore[attr-defined]
    assert read < 2 * 4 * 11 + 22  # two workers' four jobs of nine texts, and some
