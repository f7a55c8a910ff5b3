"""A tiny model, a tokenizer and invented examples of every kind of task."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch

import tiny
from gpt1.checkpoint import folder
from gpt1.config import ModelConfig
from gpt1.model.build import Model, build_model
from gpt1.tasks import network
from gpt1.tasks.kinds import (
    KINDS,
    Choice,
    Classification,
    Entailment,
    MultiLabel,
    Regression,
    SequenceLabelling,
    Similarity,
    Task,
)
from gpt1.tasks.spec import Example, Label
from gpt1.text.tokenizer import Tokenizer

TASKS: dict[str, Task] = {
    "classification": Classification(("bad", "fine", "good")),
    "entailment": Entailment(("yes", "no")),
    "similarity": Similarity(("different", "same"), metric="f1"),
    "regression": Regression(scale=(0.0, 5.0)),
    "choice": Choice(answers=3),
    "sequence-labelling": SequenceLabelling(("O", "B-X", "I-X")),
    "multi-label": MultiLabel(("animal", "calm", "loud")),
}
assert set(TASKS) == set(KINDS)
PAPER_KINDS = ("classification", "entailment", "similarity", "regression", "choice")
"""The task types of the paper."""


def tokenizer(folder: Path, **options: Any) -> Tokenizer:
    """Return the tokenizer of the tiny vocabulary; `options` are Tokenizer.load's."""
    tiny.write_vocabulary(folder)
    return Tokenizer.load(folder, **options)


def examples(kind: str, count: int, seed: int = 0) -> list[Example]:
    """Return labelled examples of texts of 1 to 12 words."""
    draw = random.Random(seed)

    def text(most: int = 6) -> str:
        return " ".join(draw.choice(["the", "dog", "cat", "is", "a", "and"]) for _ in range(
            draw.randint(1, most)))  # fmt: skip

    task = TASKS[kind]
    found = []
    for _ in range(count):
        if kind in ("classification", "multi-label"):
            texts: tuple[str, ...] = (text(12),)
        elif kind == "choice":
            texts = (text(), *(text(3) for _ in range(3)))
        elif kind == "sequence-labelling":
            texts = tuple(text(12).split())
        else:
            texts = (text(), text())
        label: Label = draw.randrange(task.num_scores)
        if kind == "multi-label":
            label = tuple(i for i in range(3) if draw.random() < 0.4)
        if kind == "sequence-labelling":
            label = tuple(draw.choice(["O", "B-X", "I-X"]) for _ in texts)
        if kind == "regression":
            label = round(draw.uniform(0, 5), 2)
        found.append(Example(texts, label, text(2) if kind == "choice" else ""))
    return found


def write_model(place: Path) -> str:
    """Write the folder of a tiny model that learns quickly; return it."""
    words = tokenizer(place / "words", words="fast")
    folder.save(place / "model", tiny.model(initializer_range=0.1), words)
    return str(place / "model")


def model(task: Task, words: Tokenizer, *, seed: int = 0, **changes: object) -> Model:
    """Return a tiny model ready for a task, float64, without dropout."""
    generator = torch.Generator().manual_seed(seed)
    if changes.get("n_hidden"):
        changes = {"n_layer": 1, **changes}
    shape = tiny.config(embd_pdrop=0, attn_pdrop=0, resid_pdrop=0, **changes)
    made = build_model(ModelConfig(**shape.model_dump()), generator=generator)
    network.add_special_rows(made, words, generator=generator)
    network.add_head(made, task, pdrop=0, generator=generator)
    return made.double().eval()
