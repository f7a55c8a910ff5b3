"""Runs so small that a test can make several: a corpus, a call, and what is left of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import gpt1
from gpt1 import storage
from gpt1.data.shards import write_shards
from gpt1.data.tables import Texts
from gpt1.text.tokenizer import Tokenizer
from gpt1.training.step import Updater

TIMING = ("seconds", "tokens_per_second", "loader_share", "log_sha256")


@dataclass(frozen=True)
class Corpus:
    """Shards to train on and to validate on, and the usual settings of a run over them."""

    place: Path
    settings: tuple[str, ...]

    def train(self, out: Path, *more: str, resume: bool = False, **changes: Any) -> gpt1.GPT1:
        """Pre-train in `out`; `changes` are other arguments of gpt1.pretrain."""
        arguments: dict[str, Any] = {
            "valid": self.place / "valid",
            "size": str(self.place / "size.toml"),
            "recipe": "pretrain",
            **changes,
        }
        data = arguments.pop("data", self.place / "train")
        overrides = [*self.settings, *more]
        return gpt1.pretrain(data, out=out, resume=resume, overrides=overrides, **arguments)


def make_corpus(
    place: Path, stories: list[str], tokenizer: Tokenizer, shape: dict[str, int], *settings: str
) -> Corpus:
    """Write the shards, and a size of this shape."""
    lines = [f"{name} = {value}\n" for name, value in {"vocab_size": 80, **shape}.items()]
    (place / "size.toml").write_text("".join(["[model]\n", *lines]))
    for name, texts in (("train", stories[:50]), ("valid", stories[50:])):
        rows = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (place / f"{name}.jsonl").write_text(rows)
        write_shards(place / name, Texts(place / f"{name}.jsonl"), tokenizer, workers=1)
    return Corpus(place, settings)


def history(run: Path) -> list[dict[str, Any]]:
    """Return the lines of metrics.jsonl but for their times."""
    return [
        {key: value for key, value in line.items() if key not in TIMING}
        for line in storage.Log(run / "metrics.jsonl").read()
    ]


def same(a: gpt1.GPT1, b: gpt1.GPT1) -> bool:
    """Tell whether two models have the same weights, bit for bit."""
    weights = b.model.state_dict()
    return all(torch.equal(x, weights[name]) for name, x in a.model.state_dict().items())


def before_updates(patch: pytest.MonkeyPatch, act: Callable[[Updater, int], None]) -> None:
    """Call act(updater, number) before each update; the first has number 0."""
    update = Updater.update

    def acted(self: Updater, batches: Any, number: int, *more: Any) -> Any:
        act(self, number)
        return update(self, batches, number, *more)

    patch.setattr(Updater, "update", acted)


def cut_off(corpus: Corpus, out: Path, *more: str, after: int) -> None:
    """Start a run that raises in the middle, `after` so many updates."""

    def act(updater: Updater, number: int) -> None:
        if number == after:
            raise RuntimeError("cut off")

    with pytest.MonkeyPatch.context() as patch:
        before_updates(patch, act)
        with pytest.raises(RuntimeError, match="cut off"):
            corpus.train(out, *more)
