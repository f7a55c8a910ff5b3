"""Hostile vocabularies and settings: one clear error each, in bounded time."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

import tiny
from gpt1.checkpoint import folder, huggingface
from gpt1.errors import GPT1Error
from gpt1.text.tokenizer import Tokenizer

IDS = tiny.vocabulary()
DIGITS = "9" * 5000
DEEP = "[" * 100_000


def library(**changes: Any) -> str:
    """Return a tokenizer.json as transformers writes it, with changes."""
    model = {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": IDS, "merges": tiny.MERGES}
    content = {"added_tokens": [], "model": model | changes.pop("model", {})} | changes
    return json.dumps(content)


def added(id: Any, content: Any = "<x>") -> str:
    return library(added_tokens=[{"id": id, "content": content}])


BAD_IDS: dict[str, Any] = {
    "text": {"a": "1"},
    "null": {"a": None},
    "a fraction": {"a": 1.5},
    "true": {"a": True},
    "a list": {"a": [1]},
    "negative": {"a": -1},
    "twice": {"new": 3},
    "huge": {"new": 10**4000},
    "half a pair": {"\ud800": len(IDS)},
    "half a pair inside": {"a\udfffb": len(IDS)},
    "long": {"x" * 100_000: len(IDS)},
}
FILES: dict[str, dict[str, str | bytes]] = {
    **{name: {"vocab.json": json.dumps(IDS | change)} for name, change in BAD_IDS.items()},
    **{
        f"{name}, in one file": {"tokenizer.json": library(model={"vocab": IDS | change})}
        for name, change in BAD_IDS.items()
    },
    "a list of tokens": {"vocab.json": json.dumps(list(IDS))},
    "null instead": {"vocab.json": "null"},
    "no unk": {"vocab.json": '{"a": 0}'},
    "5,000 digits": {"vocab.json": f'{{"<unk>": {DIGITS}}}'},
    "deep": {"vocab.json": DEEP},
    "deep objects": {"vocab.json": '{"a":' * 100_000},
    "not UTF-8": {"vocab.json": b'{"\xff": 0}'},
    "too many tokens": {"vocab.json": json.dumps({str(i): i for i in range(2**20 + 1)})},
    "the same merge again": {"merges.txt": "t h\n" * 300_000},
    "a late repetition": {"merges.txt": "\n".join([*tiny.MERGES, tiny.MERGES[-1]])},
    "too many merges": {"merges.txt": "t h\n" * (2**20 + 1)},
    "merges of one": {"merges.txt": "t\n"},
    "merges of three": {"merges.txt": "t h e\n"},
    "merges unknown": {"merges.txt": "t ü\n"},
    "merges not UTF-8": {"merges.txt": b"\xff \xfe\n"},
    "merges are numbers": {"tokenizer.json": library(model={"merges": [[1, 2]]})},
    "merges are null": {"tokenizer.json": library(model={"merges": None})},
    "merges of lists": {"tokenizer.json": library(model={"merges": [[["t"], "h"]]})},
    "merges of halves": {"tokenizer.json": library(model={"merges": [["\ud800", "h"]]})},
    "no model": {"tokenizer.json": '{"model": 3}'},
    "a list in one file": {"tokenizer.json": "[]"},
    "another model": {"tokenizer.json": library(model={"type": "WordPiece"})},
    "deep in one file": {"tokenizer.json": DEEP},
    "added as text": {"tokenizer.json": added("99")},
    "added as null": {"tokenizer.json": added(None)},
    "added as a list": {"tokenizer.json": added([99])},
    "added far behind": {"tokenizer.json": added(10**4000)},
    "added a number": {"tokenizer.json": added(99, 5)},
    "added a half": {"tokenizer.json": added(99, "\ud800")},
    "added an end mark": {"tokenizer.json": added(99, "x</w>")},
    "added of null": {"tokenizer.json": library(added_tokens=None)},
    "added list": {"added_tokens.json": "[1]"},
    "added ids as text": {"added_tokens.json": '{"<x>": "99"}'},
    "own section a list": {"gpt1.json": '{"tokenizer": [1]}'},
    "own words a list": {"gpt1.json": '{"tokenizer": {"words": [], "added": []}}'},
    "own added null": {"gpt1.json": '{"tokenizer": {"words": "fast", "added": null}}'},
    "own added numbers": {"gpt1.json": '{"tokenizer": {"words": "fast", "added": [1]}}'},
    "own hash another": {"gpt1.json": '{"tokenizer": {"words": "fast", "added": [], "sha256": 0}}'},
}


def write(path: Path, files: dict[str, str | bytes]) -> None:
    if "tokenizer.json" not in files:
        tiny.write_vocabulary(path)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
        (path / name).write_bytes(data)


@pytest.mark.parametrize("case", FILES)
def test_a_hostile_vocabulary_ends_in_one_error(tmp_path: Path, case: str) -> None:
    write(tmp_path, FILES[case])
    started = time.monotonic()
    with pytest.raises(GPT1Error) as caught:
        Tokenizer.load(tmp_path)
    assert time.monotonic() - started < 10
    assert len(str(caught.value)) < 700


SETTINGS = {
    "5,000 digits": f'{{"vocab_size": {DIGITS}}}',
    "4,000 digits": f'{{"vocab_size": {DIGITS[:4000]}}}',
    "too large a number": '{"layer_norm_epsilon": 1e999}',
    "not a number": '{"layer_norm_epsilon": NaN}',
    "a list": '{"n_layer": [2]}',
    "null": '{"n_embd": null}',
    "deep": f'{{"n_layer": {DEEP}',
    "nested": '{"n_layer": ' + "[" * 900 + "]" * 900 + "}",
    "half a pair": '{"afn": "\\ud800"}',
    "another type": '{"model_type": ["openai-gpt"]}',
}


@pytest.mark.parametrize("case", SETTINGS)
@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json", "gpt1.json"])
def test_hostile_settings_end_in_one_error(tmp_path: Path, case: str, name: str) -> None:
    values = huggingface.write_config(tiny.config(), None)
    weights = tiny.stored(tiny.model())
    (tmp_path / "config.json").write_text(json.dumps(values))
    stem = "part" if "index" in name else "model"
    safetensors.torch.save_file(weights, tmp_path / f"{stem}.safetensors")
    content = SETTINGS[case]
    if name == "gpt1.json":
        content = content.replace('{"', '{"format": 2, "', 1)
    (tmp_path / name).write_text(content)
    with pytest.raises(GPT1Error) as caught:
        folder.load(tmp_path)
    assert len(str(caught.value)) < 5000


@pytest.mark.parametrize("depth", range(800, 1000, 20))
def test_a_nested_record_loads_and_saves_or_is_refused(tmp_path: Path, depth: int) -> None:
    folder.save(tmp_path / "m", tiny.model(), None)
    (tmp_path / "m" / "manifest.json").unlink()
    nested = '{"format": 1, "training": ' + "[" * depth + "]" * depth + "}"
    (tmp_path / "m" / "gpt1.json").write_text(nested)
    with contextlib.suppress(GPT1Error):
        loaded = folder.load(tmp_path / "m")
        folder.save(tmp_path / "n", folder.build(loaded), None, loaded.extra)
