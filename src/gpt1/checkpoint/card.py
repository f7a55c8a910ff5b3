"""README.md of a model folder: what the model is, and how to use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpt1._version import __version__
from gpt1.checkpoint.classifier import CLASS
from gpt1.config import ModelConfig
from gpt1.errors import counted
from gpt1.escaping import escape_markdown
from gpt1.model.build import Model
from gpt1.text.tokenizer import Tokenizer

_LABELS = 50  # more are not listed
_SIMPLER = " Its tokenizer splits words in a simpler way than this model was made for."


def write(
    model: Model, tokenizer: Tokenizer | None, extra: Mapping[str, Any], *, as_classifier: bool
) -> str:
    """Return the card. as_classifier: transformers gives the task's scores too."""
    config = model.config
    sizes = (
        f"width {config.n_embd}, {config.n_ctx} positions, {config.vocab_size:,} tokens, "
        f"{model.num_parameters():,} parameters. Made with gpt1 {__version__}."
    )
    simpler = _SIMPLER if tokenizer is not None and tokenizer.words != "fast" else ""
    task = extra.get("task") if model.head is not None else None
    if isinstance(task, dict):
        return _of_task(task, extra, _shape(config) + sizes, simpler, as_classifier)
    if config.n_hidden is not None:
        return f"""---
library_name: gpt1
---
# The LSTM baseline of the GPT-1 paper

{_shape(config)}{sizes}

    gpt1 evaluate THIS_FOLDER TEXT.txt

transformers does not know this model.
"""
    return f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [gpt1, openai-gpt]
---
# A GPT-1

{_shape(config)}{sizes}

    gpt1 generate "Once upon a time" --model THIS_FOLDER

transformers loads it too, as `OpenAIGPTLMHeadModel`.{simpler}
"""


def _shape(config: ModelConfig) -> str:
    if config.n_hidden is not None:
        return f"One layer of {config.n_hidden:,} units, "
    return f"{counted(config.n_layer, 'layer')}, {counted(config.n_head, 'head')}, "


def _of_task(
    task: Mapping[str, Any], extra: Mapping[str, Any], shape: str, simpler: str, known: bool
) -> str:
    """Return the card of a model that was fine-tuned on a task."""
    lines = [f"Task: {task['kind']}."]
    if labels := list(map(str, task.get("classes", ()))):
        more = f" and {len(labels) - _LABELS} more" if len(labels) > _LABELS else ""
        lines.append(f"Labels: {', '.join(labels[:_LABELS])}{more}.")
    if isinstance(rows := extra.get("rows"), dict):
        lines.append(f"Trained on {counted(rows['train'], 'row')}, {rows['held_out']:,} held out.")
    training, metric = extra.get("training", {}), task.get("metric", "")
    if isinstance(value := training.get("validation", {}).get(metric), float):
        lines.append(f"On the held-out rows: {metric} {value:.4f}.")
    text = "\n".join(f"* {escape_markdown(' '.join(line.split()))}" for line in lines)
    if known:
        head, pipeline = "transformers", "pipeline_tag: text-classification\n"
        use = f"transformers loads it too, as `{CLASS}`, with the same scores.{simpler}"
    else:
        head, pipeline = "gpt1", ""
        use = (
            "Modeling note: transformers has no model of this form, and refuses it as "
            "AutoModelForSequenceClassification rather than guess a head. The language model "
            "below the head loads there as `OpenAIGPTLMHeadModel`."
        )
    return f"""---
library_name: {head}
{pipeline}tags: [gpt1, openai-gpt]
---
# A GPT-1 for {task["kind"]}

{text}

{shape}

    gpt1 predict THIS_FOLDER NEW.csv

{use}
"""
