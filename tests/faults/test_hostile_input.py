"""Hostile names, tables, vocabularies, settings, folders and hubs: a message, and no traceback.

Every input is a mutation of a good one, drawn from a seed; GPT1_FAULT_SEED gives others.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import harness
import pandas as pd
import pytest
from huggingface_hub import constants

import tiny
import worlds
from commands import run_gpt1
from gpt1.checkpoint import folder, hub
from gpt1.config import RunConfig, SamplingConfig
from gpt1.storage import transfer
from hub import Answer, LoopbackHub
from run_logs import make_run, update

TEXT = "the dog and the cat is the dog. the cat sat.\n" * 8
ROWS = "text,label\n" + "the dog is the cat,a\nthe cat and the dog,b\n" * 4
STRANGE = (
    "", "\x00", "\x1b[31m", "\ud800", "\udcff", "\u202e", "'", '"', "=1+1", "@x", "{", "[" * 3000,
    "-", "../" * 4, "a" * 300, "9" * 5000, "1e999", "NaN", "null", "true", "\n", "\r", ",", ";",
    "\t", "é", "[/]", "\ufeff", "🙂", "%s", "$HOME", "~nobody", "CON", "nan", "-1", "0", "1_0", "٣",
    "[bold]",
)  # fmt: skip
VALUES = (
    None, True, -1, 0, 2**70, 1.5, -0.0, "", "x", "\ud800", [], {}, [[]], [None], {"a": None},
    float("nan"), 1e308, list(range(50)),
)  # fmt: skip


def mutate_text(text: str, numbers: random.Random) -> bytes:
    """Return `text` with something strange put in, cut off, or doubled, as bytes."""
    for _ in range(numbers.randint(1, 3)):
        at, to = sorted(numbers.choices(range(len(text) + 1), k=2))
        text = numbers.choice((
            text[:at] + numbers.choice(STRANGE) + text[at:],
            text[:at] + text[to:],
            text[:to] + text[at:],
            text.replace(numbers.choice(",\n\"t"), numbers.choice(STRANGE)[:300]),
        ))  # fmt: skip
    data = text.encode(numbers.choice(("utf-8", "utf-8", "utf-16", "latin-1")), "replace")
    if numbers.random() < 0.2:
        data = bytes(numbers.choices(range(256), k=20)) + data
    return data


def mutate_bytes(data: bytes, numbers: random.Random) -> bytes:
    """Return `data` with a byte changed, cut off, doubled, or with something strange put in."""
    at, to = sorted(numbers.choices(range(min(len(data), numbers.choice((200, 10**9))) + 1), k=2))
    strange = numbers.choice(STRANGE).encode("utf-8", "replace")
    return numbers.choice((
        data[:at] + bytes([numbers.randrange(256)]) + data[at + 1 :],
        data[:at], data[:at] + data[to:], data[:to] + data[at:], data[:at] + strange + data[to:],
    ))  # fmt: skip


def mutate_json(value: object, numbers: random.Random) -> object:
    """Return a JSON value with one part replaced, removed or renamed."""
    if isinstance(value, dict) and value and numbers.random() < 0.9:
        key = numbers.choice(sorted(value))
        kind = numbers.random()
        if kind < 0.15:
            return {k: v for k, v in value.items() if k != key}
        if kind < 0.3:
            return {**value, numbers.choice(STRANGE): numbers.choice(VALUES)}
        return {**value, key: mutate_json(value[key], numbers)}
    if isinstance(value, list) and value and numbers.random() < 0.7:
        at = numbers.randrange(len(value))
        return [*value[:at], mutate_json(value[at], numbers), *value[at + 1 :]]
    return numbers.choice(VALUES)


def edit(path: Path, numbers: random.Random) -> None:
    """Mutate a file, as JSON if it is that."""
    data = path.read_bytes()
    if path.suffix == ".json" and numbers.random() < 0.7:
        path.write_text(json.dumps(mutate_json(json.loads(data), numbers)))
    elif path.suffix in (".json", ".jsonl", ".txt", ".md"):
        path.write_bytes(mutate_text(data.decode("utf-8", "replace"), numbers))
    else:
        path.write_bytes(mutate_bytes(data, numbers))


def spoil(place: Path, numbers: random.Random) -> None:
    """Mutate one file of a folder, more often than not one that no checksum covers any more."""
    seal = numbers.random() < 0.7
    for file in sorted(place.rglob("*.json")) if seal else ():
        if file.name == "manifest.json":
            file.unlink()
        elif file.name == "run.json":
            record = json.loads(file.read_bytes())
            record.pop("sha256", None)
            file.write_text(json.dumps(record))
    edit(numbers.choice(sorted(path for path in place.rglob("*") if path.is_file())), numbers)


def _table(numbers: random.Random) -> list[str]:
    ending = numbers.choice(
        (".csv", ".csv", ".tsv", ".json", ".jsonl", ".txt", ".parquet", ".xlsx")
    )
    good = {
        ".json": json.dumps([{"text": "the dog", "label": "a"}] * 3),
        ".jsonl": '{"text": "the dog", "label": "a"}\n' * 3,
        ".txt": TEXT,
    }.get(ending, ROWS)
    file, data = Path("in" + ending), mutate_text(good, numbers)
    if ending in (".parquet", ".xlsx"):
        frame = pd.DataFrame({"text": ["the dog", "a cat"], "label": ["a", "b"]})
        frame.to_parquet(file) if ending == ".parquet" else frame.to_excel(file, index=False)
        data = mutate_bytes(file.read_bytes(), numbers)
    if numbers.random() < 0.15:
        data = gzip.compress(data)
        data = mutate_bytes(data, numbers) if numbers.random() < 0.5 else data
    file.write_bytes(data)
    flags = ("--delimiter", "--encoding", "--text-column", "--label-column", "--columns")
    more = [numbers.choice(flags), _argument(numbers)] if numbers.random() < 0.3 else []
    return numbers.choice((
        ["evaluate", "tiny", file.name],
        ["evaluate", "task", file.name, *more],
        ["predict", "task", file.name],
        ["learn-bpe", file.name, "--out", "out", "--vocab-size", "60"],
        ["finetune", file.name, "--model", "tiny", "--task", "classification", "--out", "out",
         "--set", "train.steps=1", *more],
        ["finetune", file.name, "--model", "tiny", "--out", "out", "--set", "train.steps=1"],
        ["prepare", file.name, "--tokenizer", "vocabulary", "--out", "out", "--workers", "1"],
    ))  # fmt: skip


def _argument(numbers: random.Random) -> str:
    """Return a strange argument that a shell can give."""
    return numbers.choice([text for text in STRANGE if text not in ("\x00", "\ud800")])


def _name(numbers: random.Random) -> list[str]:
    name = _argument(numbers) + _argument(numbers)
    return numbers.choice((
        ["evaluate", name, "text.txt"], ["evaluate", "tiny", name], ["compare", "run", name],
        ["generate", name, "--model", "tiny", "--max-new-tokens", "1"], ["tokenize", name],
        ["convert", name, "--out", name], ["learn-bpe", "text.txt", "--out", name],
        ["predict", "task", name], ["resume", name], ["generate", "the", "--model", name],
        ["predict", "task", "--text", name], ["predict", "task", "text.txt", "--out", name],
        ["compare", "run", "run", "--out", name + ".html"], ["explain", name, "--model", "tiny"],
        ["zero-shot", "--data", name], ["reproduce", name, "--data", name, "--out", name],
        ["pull", name, "--out", name], ["doctor", "--model", name], ["verify", name],
    ))  # fmt: skip


def _model(numbers: random.Random) -> list[str]:
    shutil.copytree(numbers.choice(("tiny", "task", "lstm", "trained/model")), "hostile")
    spoil(Path("hostile"), numbers)
    return numbers.choice((
        ["generate", "the dog", "--model", "hostile", "--max-new-tokens", "1"],
        ["evaluate", "hostile", "text.txt"], ["predict", "hostile", "text.txt", "--lines"],
        ["evaluate", "hostile", "rows.csv"], ["predict", "hostile", "rows.csv"],
        ["convert", "hostile", "--out", "out"], ["tokenize", "the dog", "--model", "hostile"],
        ["prepare", "text.txt", "--tokenizer", "hostile", "--out", "out", "--workers", "1"],
        ["finetune", "rows.csv", "--task", "classification", "--model", "hostile", "--out", "out",
         "--set", "train.steps=1"],
    ))  # fmt: skip


def _run(numbers: random.Random) -> list[str]:
    shutil.copytree(numbers.choice(("run", "trained")), "hostile")
    spoil(Path("hostile"), numbers)
    return numbers.choice((
        ["compare", "run", "hostile"], ["compare", "hostile", "trained", "--json"],
        ["compare", "hostile", "run", "--out", "it.html"], ["resume", "hostile"],
        ["resume", "hostile", "--steps", "3"], ["evaluate", "hostile", "rows.csv"],
    ))  # fmt: skip


def _settings(numbers: random.Random) -> list[str]:
    section, fields = numbers.choice(list(RunConfig().model_dump().items()))
    section = numbers.choice((section, section, "x"))
    value = numbers.choice(
        (_argument(numbers), json.dumps(numbers.choice(VALUES)), "1", "2", "0.5")
    )
    setting = f"{section}.{numbers.choice([*fields, 'name', 'x'])}={value}"
    sampling = f"sampling.{numbers.choice([*SamplingConfig.model_fields, 'x'])}={value}"
    train = ["finetune", "rows.csv", "--model", "tiny", "--out", "out"]
    if numbers.random() < 0.3:
        own = mutate_text("[train]\nsteps = 2\nseed = 1\n[optimizer]\nlr = 1e-4\n", numbers)
        Path("own.toml").write_bytes(own)
        return [*train, "--task", "lm", "--config", "own.toml", "--set", "train.steps=1"]
    return numbers.choice((
        ["generate", "the", "--model", "tiny", "--max-new-tokens", "1", "--set", sampling],
        [*train, "--task", "classification", "--set", setting, "--set", "train.steps=1"],
        [*train, "--task", "lm", "--set", setting, "--set", "train.steps=1"],
    ))  # fmt: skip


def _hub(numbers: random.Random) -> list[str]:
    name = f"me/{numbers.choice(('tiny', 'task', 'rows'))}"
    return numbers.choice(
        (
            ["generate", "the", "--model", name, "--max-new-tokens", "1"],
            ["pull", name, "--out", "out"],
            ["evaluate", "task", f"hub:{name}"],
        )
    )


def spoil_answer(answer: Answer, numbers: random.Random) -> Answer:
    """Mutate an answer of a hub, or leave it."""
    status, headers, body = answer
    kind = numbers.random()
    if kind < 0.7:
        return answer
    if kind < 0.75:
        return numbers.choice((200, 204, 206, 301, 302, 401, 404, 416, 429, 500)), headers, body
    if kind < 0.87:
        name = numbers.choice([*headers, "ETag", "Location", "X-Linked-Size", "X-Linked-Etag"])
        value = numbers.choice(
            ("", "../../x", "0", "-1", "9" * 30, '"a"', "/", "http://127.0.0.1:9")
        )
        return status, {**headers, name: value}, body
    with contextlib.suppress(ValueError):
        return status, headers, json.dumps(mutate_json(json.loads(body), numbers)).encode()
    return status, headers, mutate_bytes(body, numbers)


KINDS: dict[str, Callable[[random.Random], list[str]]] = {
    "table": _table, "name": _name, "model": _model, "run": _run, "settings": _settings,
    "hub": _hub,
}  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models, a vocabulary, runs, a text and rows, all sound."""
    place = tmp_path_factory.mktemp("good")
    (place / "text.txt").write_text(TEXT)
    (place / "rows.csv").write_text(ROWS)
    (place / "data").mkdir()
    (place / "data/rows.csv").write_text(ROWS)
    tokenizer = worlds.tokenizer(place / "plain", words="fast")
    tokenizer.save(place / "vocabulary")
    folder.save(place / "tiny", tiny.model(), tokenizer)
    lstm = worlds.model(worlds.TASKS["classification"], tokenizer, n_hidden=8)
    folder.save(place / "lstm", lstm.float(), tokenizer)
    with contextlib.chdir(place):
        train = "finetune rows.csv --model tiny --task classification --steps 2 --out trained"
        run_gpt1(f"{train} --set train.eval_every=1").check()
    shutil.copytree(place / "trained/model", place / "task")
    make_run(place / "run", [update(1, 2.5), {"step": 1, "valid_loss": 2.0}])
    return place


@pytest.fixture
def hostile_hub(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[LoopbackHub, random.Random]]:
    """A hub with the models and the rows, whose answers are spoilt by these random numbers."""
    numbers = harness.generator("hub")
    models = {f"me/{name}": good / name for name in ("tiny", "task")}
    with LoopbackHub(models=models, datasets={"me/rows": good / "data"}) as server:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        for name, value in (("PATIENCE", 2.0), ("TIMEOUT", 0.5), ("_PAUSE", 0.01)):
            monkeypatch.setattr(transfer, name, value)
        server.change = lambda answer: spoil_answer(answer, numbers)
        yield server, numbers


@pytest.mark.parametrize("count", [60, harness.long(1000)])
def test_hostile_input_is_never_a_traceback(
    good: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hostile_hub: tuple[LoopbackHub, random.Random],
    count: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    numbers, ends, slowest = harness.generator("fuzz"), Counter[str](), 0.0
    for n in range(count):
        place = tmp_path / str(n)
        shutil.copytree(good, place)
        monkeypatch.chdir(place)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(place / "cache"))
        hub._fetch.cache_clear()
        kind = list(KINDS)[n % len(KINDS)]
        command, began = KINDS[kind](numbers), time.process_time()
        try:
            done = run_gpt1(*command)
        except Exception as error:
            raise AssertionError(f"input {n}: gpt1 {command!r}") from error
        assert done.code in (0, 1, 2), command
        assert done.code == 0 or done.stderr.strip(), command
        assert not {"\x1b", "\x00", "\u202e"} & set(done.stdout + done.stderr), command
        slowest = max(slowest, time.process_time() - began)
        assert slowest < 60, command
        ends[f"{kind} {'refused' if done.code else 'taken'}"] += 1
        shutil.rmtree(place)
    with capsys.disabled():
        print(f"\n{count} hostile inputs, seed {harness.SEED}, the slowest {slowest:.1f} s:")
        print(dict(sorted(ends.items())))
    assert sum(n for end, n in ends.items() if "refused" in end) > count / 3
