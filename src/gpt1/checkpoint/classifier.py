"""A task's head as OpenAIGPTForSequenceClassification has it, and back.

That class applies `score`, a matrix without a bias, to the state at the last token that is no
padding. Where a task reads one row that ends with the extract token, this is our head but for its
bias, and the bias fits into the matrix: a state is gain * norm + shift, and the elements of norm
sum to 0, so sum(state / gain) is the same number for every text.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gpt1.checkpoint.foreign import SCORE
from gpt1.errors import CheckpointError, Note
from gpt1.text.pre_tokenizers import UNKNOWN
from gpt1.text.tokenizer import Tokenizer

CLASS = "OpenAIGPTForSequenceClassification"
_TASK = "gpt1_task"
_ROWS = {
    "classification": ("_start_", "A", "_classify_"),
    "entailment": ("_start_", "A", "_delimiter_", "B", "_classify_"),
    "multi-label": ("_start_", "A", "_classify_"),
}
_ERROR = 3e-6  # the rounding of a logit, roughly, that the bias may add


class Classifier(NamedTuple):
    """What transformers needs besides the language model: score, keys of config.json, its rows.

    row: the special tokens around the texts A and B; empty if transformers has no such model, and
    then `score` has a column too many, so that it is refused instead of being drawn anew.
    """

    score: Tensor
    config: dict[str, Any]
    row: tuple[str, ...]


def describe(
    state: Mapping[str, Tensor], task: Mapping[str, Any], tokenizer: Tokenizer | None
) -> Classifier:
    """Return the head of a task's model, whose state dict is `state`, in transformers' form."""
    weight, bias = (state[f"head.{name}"].detach().cpu().double() for name in ("weight", "bias"))
    labels = list(map(str, task.get("classes", ())))
    score = _fold(state, weight, bias) if "positions.weight" in state else None
    row = _ROWS.get(task["kind"], ())
    if score is None or not row or tokenizer is None or len(labels) != len(weight):
        return Classifier(torch.cat([weight, bias[:, None]], 1).float(), {}, ())
    several = task["kind"] == "multi-label"
    config = {
        "architectures": [CLASS],
        "id2label": {str(i): name for i, name in enumerate(labels)},
        "label2id": {name: i for i, name in enumerate(labels)},
        "problem_type": ("multi" if several else "single") + "_label_classification",
        "pad_token_id": tokenizer.vocabulary.ids[UNKNOWN],  # never last: the extract token is
        _TASK: dict(task),
    }
    return Classifier(score.float().contiguous(), config, row)


def take_head(
    values: Mapping[str, Any], state: dict[str, Tensor], heads: dict[str, Tensor], where: str
) -> dict[str, Any]:
    """Add the head of a classifier in our form to `state`; return its task for gpt1.json.

    Other heads are left out, which is a Note. Raises CheckpointError if it has another shape.
    """
    score, task = heads.get(SCORE), values.get(_TASK)
    if score is None or not isinstance(task, dict):
        warnings.warn(f"{where}: {_left_out(sorted(heads))}", Note, stacklevel=2)
        return {}
    width = state["tokens.weight"].shape[1]
    if score.dim() != 2 or score.shape[1] != width or not torch.isfinite(score).all():
        raise CheckpointError(
            f"{where}: {SCORE} is {list(score.shape)}; a head has finite weights (labels, {width})."
        )
    state["head.weight"] = score.float()
    state["head.bias"] = torch.zeros(len(score))
    names = values.get("id2label")
    if isinstance(names, dict) and len(names) == len(score):
        task = {**task, "classes": [str(names.get(str(i))) for i in range(len(score))]}
    return {"task": task}


def _left_out(names: list[str]) -> str:
    listing = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    if SCORE in names:
        kind, what = "classification", "reads a text's last token, gpt1 a token behind it"
    elif any(name.startswith("multiple_choice_head.") for name in names):
        kind, what = "choice", "is of another form than gpt1's"
    else:
        return f"{listing} left out; what is loaded is the language model"
    return (
        f"the head {listing} {what}; left out, and what is loaded is the language model. "
        f"gpt1 finetune --task {kind} trains a head for it"
    )


def _fold(state: Mapping[str, Tensor], weight: Tensor, bias: Tensor) -> Tensor | None:
    """Return a matrix that does to states what weight and bias do; None if it would be inexact."""
    if not bias.any():
        return weight
    last = sum(name.endswith(".ln_2.weight") for name in state) - 1
    gain, shift = (
        state[f"blocks.{last}.ln_2.{name}"].detach().cpu().double() for name in ("weight", "bias")
    )
    total = (shift / gain).sum()
    error = bias.abs().max() * (1 + (shift / gain).abs()).norm() / total.abs()  # in units of eps
    if not error * torch.finfo(torch.float32).eps < _ERROR:  # or it is not a number
        return None
    return weight + torch.outer(bias, 1 / gain / total)
