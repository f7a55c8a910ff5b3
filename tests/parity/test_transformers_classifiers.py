"""Classifiers exchanged with transformers: the same labels and logits, or a refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    OpenAIGPTDoubleHeadsModel,
    OpenAIGPTForSequenceClassification,
)

import tiny
from gpt1.errors import Note
from gpt1.model.build import Model
from gpt1.pipeline import load
from gpt1.tasks import network
from gpt1.tasks.kinds import Task, task_from_json
from gpt1.tasks.predictor import Predictor
from gpt1.tasks.spec import Example
from gpt1.text.tokenizer import Tokenizer
from tolerances import FP32

TEXTS = ["the dog and the cat", "a dog", "is the cat a dog: 42 times"]
NAMES = {"metric": "accuracy", "classes": ("bad", "good", "so so")}


def save(path: Path, task: Task, *, bias: float = 0.5, shift: float = 0.1) -> Predictor:
    """Save a classifier with random weights, its biases not 0."""
    tiny.write_vocabulary(path / "vocabulary")
    tokenizer = Tokenizer.load(path / "vocabulary", words="fast")
    model: Model = tiny.model()
    generator = torch.Generator().manual_seed(1)
    network.add_special_rows(model, tokenizer, generator=generator)
    network.add_head(model, task, generator=generator)
    assert model.head is not None
    with torch.no_grad():
        model.head.weight.normal_(0, 0.3, generator=generator)
        model.head.bias.normal_(0, bias, generator=generator)
        model.blocks[-1].ln_2.bias.normal_(shift, abs(shift), generator=generator)
    predictor = Predictor(model, tokenizer, task)
    predictor.save(path / "m")
    return predictor


@pytest.mark.parametrize("bias", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("kind", ["classification", "entailment", "multi-label"])
def test_a_classifier_gives_the_same_scores(tmp_path: Path, kind: str, bias: float) -> None:
    metric = "micro_f1" if kind == "multi-label" else "accuracy"
    task = task_from_json({"kind": kind, **NAMES, "metric": metric})
    ours = save(tmp_path, task, bias=bias)
    theirs, notes = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "m", output_loading_info=True
    )
    assert not any(notes.values())
    assert isinstance(theirs.eval(), OpenAIGPTForSequenceClassification)
    assert list(theirs.config.id2label.values()) == list(NAMES["classes"])
    words = AutoTokenizer.from_pretrained(tmp_path / "m")
    texts: list[Any] = [TEXTS, TEXTS[::-1]] if kind == "entailment" else [TEXTS]
    batch = words(*texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = theirs(**batch).logits
    scores = logits.sigmoid() if kind == "multi-label" else logits.softmax(-1)
    examples = [Example(tuple(row)) for row in zip(*texts, strict=True)]
    expected = ours.probabilities(examples)
    assert np.abs(scores.numpy() - expected).max() <= FP32
    encoded = ours.encode(examples)
    assert ours.model.head is not None
    with torch.no_grad():
        for i, row in enumerate(words(*texts)["input_ids"]):
            state = ours.model.hidden(torch.tensor([row]))[0, -1]
            assert (ours.model.head(state) - logits[i]).abs().max() <= FP32
    assert len(encoded) == len(TEXTS)

    theirs.save_pretrained(tmp_path / "again")
    words.save_pretrained(tmp_path / "again")
    again = Predictor.load(tmp_path / "again")
    assert again.task == task
    again.tokenizer = again.tokenizer.with_words("fast")
    assert np.abs(again.probabilities(examples) - expected).max() <= FP32


@pytest.mark.parametrize("case", ["similarity", "regression", "sequence-labelling", "no shift"])
def test_a_form_that_transformers_lacks_is_refused_there(tmp_path: Path, case: str) -> None:
    values: dict[str, Any] = {
        "similarity": {"kind": "similarity", **NAMES},
        "regression": {"kind": "regression", "scale": (0.0, 5.0), "metric": "pearson"},
        "sequence-labelling": {"kind": "sequence-labelling", **NAMES, "metric": "entity_f1"},
        "no shift": {"kind": "classification", **NAMES},
    }[case]
    save(tmp_path, task_from_json(values), shift=0.0 if case == "no shift" else 0.1)
    with pytest.raises(RuntimeError, match="ize"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path / "m")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "m").lm_head is not None
    card = (tmp_path / "m" / "README.md").read_text()
    assert "refuses it as\nAutoModelForSequenceClassification" in card.replace(
        "as Auto", "as\nAuto"
    )
    assert "pipeline_tag" not in card


@pytest.mark.parametrize("kind", [OpenAIGPTDoubleHeadsModel, OpenAIGPTForSequenceClassification])
def test_models_with_heads_load_as_language_models(tmp_path: Path, kind: Any) -> None:
    model = kind.from_pretrained(Path(load.__code__.co_filename).parent / "assets" / "mini")
    model.save_pretrained(tmp_path / "m")
    AutoTokenizer.from_pretrained(
        Path(load.__code__.co_filename).parent / "assets" / "mini"
    ).save_pretrained(tmp_path / "m")
    with pytest.warns(Note, match="left out, and what is loaded is the language model"):
        loaded = load(tmp_path / "m")
    same = load("mini")
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(loaded.model(ids).logits, same.model(ids).logits)


def test_the_card_tells_what_the_model_is(tmp_path: Path) -> None:
    save(tmp_path, task_from_json({"kind": "classification", **NAMES}))
    card = (tmp_path / "m" / "README.md").read_text()
    assert "Task: classification." in card
    assert "Labels: bad, good, so so." in card
    assert "OpenAIGPTForSequenceClassification" in card
