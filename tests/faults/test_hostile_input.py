"""Hostile names, JSON, csv, vocabularies and settings: an exit code and a message, no traceback.

Every input is a mutation of a good one, drawn from a seed; GPT1_FAULT_SEED gives others.
"""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import harness
import pytest

import tiny
from commands import run_gpt1
from gpt1.checkpoint import folder
from gpt1.text.tokenizer import Tokenizer
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
    text = path.read_bytes().decode("utf-8", "replace")
    if path.suffix == ".json" and numbers.random() < 0.7:
        path.write_text(json.dumps(mutate_json(json.loads(text), numbers)))
    else:
        path.write_bytes(mutate_text(text, numbers))


def _table(numbers: random.Random) -> list[str]:
    ending = numbers.choice((".csv", ".tsv", ".json", ".jsonl", ".txt"))
    good = {
        ".json": json.dumps([{"text": "the dog", "label": "a"}] * 3),
        ".jsonl": '{"text": "the dog", "label": "a"}\n' * 3,
        ".txt": TEXT,
    }.get(ending, ROWS)
    Path("in" + ending).write_bytes(mutate_text(good, numbers))
    return numbers.choice((
        ["evaluate", "tiny", "in" + ending],
        ["learn-bpe", "in" + ending, "--out", "out", "--vocab-size", "60"],
        ["finetune", "in" + ending, "--model", "tiny", "--task", "classification", "--out", "out",
         "--set", "train.steps=0"],
        ["prepare", "in" + ending, "--tokenizer", "vocabulary", "--out", "out", "--workers", "1"],
    ))  # fmt: skip


def _name(numbers: random.Random) -> list[str]:
    strange = [text for text in STRANGE if text not in ("\x00", "\ud800")]  # no shell gives them
    name = "".join(numbers.choices(strange, k=2))
    command = numbers.choice((
        ["evaluate", name, "text.txt"], ["evaluate", "tiny", name], ["compare", "run", name],
        ["generate", name, "--model", "tiny", "--max-new-tokens", "1"], ["tokenize", name],
        ["convert", name, "--out", name], ["learn-bpe", "text.txt", "--out", name],
        ["predict", "tiny", name], ["resume", name], ["generate", "the", "--model", name],
    ))  # fmt: skip
    return [*command[:1], *(part or "''" for part in command[1:])]


def _model(numbers: random.Random) -> list[str]:
    shutil.copytree("tiny", "hostile")
    (Path("hostile") / "manifest.json").unlink()
    names = ("config.json", "vocab.json", "merges.txt", "tokenizer.json", "gpt1.json")
    edit(Path("hostile") / numbers.choice(names), numbers)
    return ["generate", "the dog", "--model", "hostile", "--max-new-tokens", "1"]


def _run(numbers: random.Random) -> list[str]:
    shutil.copytree("run", "hostile")
    edit(Path("hostile") / numbers.choice(("run.json", "metrics.jsonl")), numbers)
    return numbers.choice((["compare", "run", "hostile"], ["resume", "hostile"]))


def _settings(numbers: random.Random) -> list[str]:
    sections = ("train", "model", "data", "optimizer", "schedule", "task", "sampling", "x")
    fields = ("steps", "lr", "batch_size", "seed", "prefix", "stop", "name", "n_ctx", "patience")
    value = numbers.choice((*STRANGE, *(json.dumps(v) for v in VALUES)))
    setting = f"{numbers.choice(sections)}.{numbers.choice(fields)}={value}"
    if numbers.random() < 0.3:
        Path("own.toml").write_bytes(mutate_text('[train]\nsteps = 2\nprefix = "x"\n', numbers))
        return ["finetune", "text.txt", "--model", "tiny", "--out", "out", "--config", "own.toml",
                "--set", "train.steps=0"]  # fmt: skip
    return ["generate", "the", "--model", "tiny", "--max-new-tokens", "1", "--set", setting]


KINDS: dict[str, Callable[[random.Random], list[str]]] = {
    "table": _table, "name": _name, "model": _model, "run": _run, "settings": _settings,
}  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model, its vocabulary, a run and a text."""
    place = tmp_path_factory.mktemp("good")
    (place / "text.txt").write_text(TEXT)
    tiny.write_vocabulary(place / "plain")
    tokenizer = Tokenizer.load(place / "plain", words="fast")
    tokenizer.save(place / "vocabulary")
    folder.save(place / "tiny", tiny.model(), tokenizer)
    make_run(place / "run", [update(1, 2.5), {"step": 1, "valid_loss": 2.0}])
    return place


@pytest.mark.parametrize("count", [60, harness.long(1000)])
def test_hostile_input_is_never_a_traceback(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    numbers, codes = harness.generator("fuzz"), Counter[int]()
    for n in range(count):
        place = tmp_path / str(n)
        shutil.copytree(good, place)
        monkeypatch.chdir(place)
        command = KINDS[list(KINDS)[n % len(KINDS)]](numbers)
        try:
            done = run_gpt1(*command)
        except Exception as error:
            raise AssertionError(f"input {n}: gpt1 {command!r}") from error
        assert done.code in (0, 1, 2), command
        assert done.code == 0 or done.stderr.strip(), command
        assert not {"\x1b", "\x00", "\u202e"} & set(done.stdout + done.stderr), command
        codes[done.code] += 1
        shutil.rmtree(place)
    assert codes[1] + codes[2] > count / 3
