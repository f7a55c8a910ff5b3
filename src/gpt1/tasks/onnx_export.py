"""A model as a folder for onnxruntime: its graph, with its task's head, and its vocabulary.

    input_ids, attention_mask (B, T)       classification, entailment, multi-label
    input_ids, attention_mask (B, T)       sequence labelling: a row of scores for every id
    input_ids, attention_mask (B, S, T)    similarity, regression: S = 2 orders; choice: S answers

All return `probabilities`, and regression the expected `scores` as well. Padding is on the right;
a head reads the last id that is none, which must be the extract token.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gpt1._version import __version__
from gpt1.checkpoint import huggingface
from gpt1.checkpoint.folder import CONFIG, FORMAT, OWN
from gpt1.errors import CheckpointError, GPT1Error
from gpt1.model import onnx_graph
from gpt1.model.build import Model
from gpt1.model.heads import Head
from gpt1.model.onnx_graph import Graph
from gpt1.storage import json_bytes, write_folder
from gpt1.tasks.kinds import Choice, MultiLabel, Regression, SequenceLabelling, Task, task_from_json
from gpt1.text.tokenizer import Tokenizer

GRAPH = "model.onnx"


def export(
    path: Path | str,
    model: Model,
    tokenizer: Tokenizer,
    extra: Mapping[str, Any],
    *,
    replace: bool = False,
) -> None:
    """Write a folder with `model.onnx`, the vocabulary, config.json and gpt1.json, whole or not.

    extra: what gpt1.json holds besides; a task in it gives the graph its head. `replace` lets the
    folder take the place of an earlier one. Raises ConfigError for the LSTM baseline, GPT1Error
    without onnx, CheckpointError, StorageError.
    """
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise GPT1Error('a graph needs onnx. Run pip install "gpt1[onnx]".') from None
    huggingface.check_finite(model.state_dict(), "the model")
    if "task" in extra:
        graph = task_model(model, task_from_json(extra["task"]))
    else:
        graph = onnx_graph.language_model(model, f"gpt1 {__version__}")
    own = {"format": FORMAT, "gpt1": __version__, "tokenizer": tokenizer.description(), **extra}
    contents = {
        GRAPH: graph.SerializeToString(),
        CONFIG: json_bytes(huggingface.write_config(model.config, tokenizer.eos_id)),
        **tokenizer.files(longest=model.config.n_ctx),
        OWN: json_bytes(own),
    }
    write_folder(path, contents, replace=replace)


def task_model(model: Model, task: Task) -> Any:
    """Return the graph of a model with its task's head, an onnx.ModelProto."""
    head = model.head
    if head is None or len(head.bias) != task.num_outputs:
        raise CheckpointError("the model's head does not fit its task. Restore it from a copy.")
    S = task.num_sequences
    shape = ("batch", "ids") if S == 1 else ("batch", S, "ids")
    graph = Graph()
    ids, mask = (graph.input(n, np.int64, shape) for n in ("input_ids", "attention_mask"))
    if S > 1:
        T = graph.add("Concat", graph.constant([-1]), graph.size(ids, 2), axis=0)
        ids, mask = (graph.add("Reshape", tensor, T) for tensor in (ids, mask))
    states, _ = onnx_graph.states(graph, model, ids, mask)  # (B * S, T, C)
    _answer(task, graph, head, states, mask)
    return graph.model(f"gpt1 {__version__}")


@singledispatch
def _answer(task: Task, graph: Graph, head: Head, states: str, mask: str) -> None:
    _return(graph, "Softmax", _logits(graph, head, _summed(task, graph, states, mask)), task)


@_answer.register
def _(task: MultiLabel, graph: Graph, head: Head, states: str, mask: str) -> None:
    _return(graph, "Sigmoid", _logits(graph, head, _summed(task, graph, states, mask)), task)


@_answer.register
def _(task: Choice, graph: Graph, head: Head, states: str, mask: str) -> None:
    logits = _logits(graph, head, _extracted(graph, states, mask))  # (B * S, 1)
    logits = graph.add("Reshape", logits, graph.constant([-1, task.num_sequences]))
    _return(graph, "Softmax", logits, task)


@_answer.register
def _(task: SequenceLabelling, graph: Graph, head: Head, states: str, mask: str) -> None:
    probabilities = graph.add("Softmax", _logits(graph, head, states), axis=-1)
    graph.output(probabilities, "probabilities", np.float32, ("batch", "ids", task.num_scores))


@_answer.register
def _(task: Regression, graph: Graph, head: Head, states: str, mask: str) -> None:
    logits = _logits(graph, head, _summed(task, graph, states, mask))
    probabilities = _return(graph, "Softmax", logits, task)
    anchors = graph.weight("anchors", torch.tensor(task.anchors))
    scores = graph.add("MatMul", probabilities, anchors)
    graph.output(scores, "scores", np.float32, ("batch",))


def _return(graph: Graph, function: str, logits: str, task: Task) -> str:
    probabilities = graph.add(function, logits)  # of the last axis, where that matters
    graph.output(probabilities, "probabilities", np.float32, ("batch", task.num_scores))
    return probabilities


def _logits(graph: Graph, head: Head, states: str) -> str:
    product = graph.add("MatMul", states, graph.weight("head.weight", head.weight.T))
    return graph.add("Add", product, graph.weight("head.bias", head.bias))


def _extracted(graph: Graph, states: str, mask: str) -> str:
    """Return the states (B * S, C) at the last id of each row that is no padding."""
    places = graph.range(graph.constant([0]), graph.size(mask, 1))
    last = graph.add("ReduceMax", graph.add("Mul", mask, places), graph.constant([1]))
    return graph.add("GatherND", states, last, batch_dims=1)


def _summed(task: Task, graph: Graph, states: str, mask: str) -> str:
    """Return the states (B, C) at the extract tokens, added up over the sequences of an example."""
    extracted = _extracted(graph, states, mask)
    if task.num_sequences == 1:
        return extracted
    shape = graph.constant([-1, task.num_sequences])
    width = graph.size(extracted, 1)
    apart = graph.add("Reshape", extracted, graph.add("Concat", shape, width, axis=0))
    return graph.add("ReduceSum", apart, graph.constant([1]), keepdims=0)
