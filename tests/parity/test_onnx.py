"""Exported graphs in plain onnxruntime: torch's numbers, whatever the batch and the padding."""

from __future__ import annotations

import json
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

import gpt1
import tiny
import worlds
from commands import run_gpt1
from gpt1.checkpoint import folder
from gpt1.config import ModelConfig
from gpt1.errors import ConfigError, StorageError
from gpt1.model import onnx_graph
from gpt1.model.build import build_model
from gpt1.model.transformer import Transformer
from gpt1.tasks import onnx_export
from gpt1.tasks.predictor import Predictor
from gpt1.text.tokenizer import Tokenizer

LOGITS = 1e-4
"""float32 sums in another order."""


def session(graph: Any) -> onnxruntime.InferenceSession:
    data = graph if isinstance(graph, str) else graph.SerializeToString()
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])


def empty_past(model: onnxruntime.InferenceSession, rows: int) -> dict[str, NDArray[np.float32]]:
    shapes = {i.name: i.shape for i in model.get_inputs() if i.name.startswith("past")}
    return {name: np.zeros((rows, s[1], 0, s[3]), np.float32) for name, s in shapes.items()}


@pytest.mark.parametrize("afn", ["gelu", "relu", "swish"])
def test_the_graph_has_standard_operators_and_torchs_logits(afn: str) -> None:
    model = tiny.model(afn=afn)
    graph = onnx_graph.language_model(model, "tests")
    onnx.checker.check_model(graph, full_check=True)
    assert {node.domain for node in graph.graph.node} == {""}
    V = model.config.vocab_size
    assert sum(V in tensor.dims for tensor in graph.graph.initializer) == 1  # the tied matrix
    ids = torch.randint(V, (3, 11), generator=torch.Generator().manual_seed(0))
    ours = session(graph)
    ones = np.ones((3, 11), np.int64)
    feed = {"input_ids": ids.numpy(), "attention_mask": ones, **empty_past(ours, 3)}
    with torch.no_grad():
        np.testing.assert_allclose(ours.run(["logits"], feed)[0], model(ids).logits, atol=LOGITS)


def cached_steps(model: Transformer, *, left: bool) -> float:
    """Return the largest error of logits over steps of rows that are padded on one side."""
    ours = session(onnx_graph.language_model(model, "tests"))
    draw = torch.Generator().manual_seed(1)
    rows = [
        torch.randint(model.config.vocab_size, (n,), generator=draw).tolist() for n in (9, 4, 1)
    ]
    ids, mask = np.zeros((3, 9), np.int64), np.zeros((3, 9), np.int64)
    for i, row in enumerate(rows):
        part = slice(9 - len(row), 9) if left else slice(0, len(row))
        ids[i, part], mask[i, part] = row, 1
    past, error = empty_past(ours, 3), 0.0
    places = np.array([8, 8, 8] if left else [len(row) - 1 for row in rows])
    for _ in range(5):
        feed = {"input_ids": ids, "attention_mask": mask, **past}
        logits, *present = ours.run(None, feed)
        new = logits[np.arange(3), places]
        for i, row in enumerate(rows):
            with torch.no_grad():
                expected = model(torch.tensor([row])).logits[0, -1].numpy()
            error = max(error, float(np.abs(new[i] - expected).max()))
            row.append(int(new[i].argmax()))
        past = dict(zip(past, present, strict=True))
        ids, places = new.argmax(1)[:, None], np.zeros(3, np.int64)
        mask = np.concatenate([mask, np.ones((3, 1), np.int64)], 1)
    return error


@pytest.mark.parametrize("left", [True, False])
def test_rows_of_different_lengths_go_on_from_the_cache(left: bool) -> None:
    assert cached_steps(tiny.model(), left=left) < LOGITS


def test_the_packaged_model_has_torchs_logits() -> None:
    model = gpt1.load("mini").transformer()
    assert cached_steps(model, left=True) < LOGITS


def test_positions_beyond_the_model_are_an_error_and_never_wrong() -> None:
    model = tiny.model()
    ours = session(onnx_graph.language_model(model, "tests"))
    ids = np.zeros((1, model.config.n_ctx + 1), np.int64)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), **empty_past(ours, 1)}
    with pytest.raises(Exception, match="out of data bounds"):
        ours.run(["logits"], feed)


@pytest.mark.parametrize("kind", worlds.TASKS)
def test_a_task_model_returns_what_its_predictor_returns(kind: str, tmp_path: Path) -> None:
    task = worlds.TASKS[kind]
    words = worlds.tokenizer(tmp_path / "words")
    model = worlds.model(task, words).float()
    predictor = Predictor(model, words, task)
    encoded = predictor.encode(worlds.examples(kind, 9))
    expected = predictor.score(encoded)

    place = tmp_path / "graph"
    onnx_export.export(place, model, words, {"task": task.to_json()})
    ours = session(str(place / onnx_export.GRAPH))
    S = task.num_sequences
    rows = [encoded.ids[a : b - 1].tolist() for a, b in pairwise(encoded.offsets)]
    ids = np.array(list(zip_longest(*rows, fillvalue=0)), np.int64).T
    lengths = np.array([len(row) for row in rows])
    mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)
    if S > 1:
        ids, mask = ids.reshape(9, S, -1), mask.reshape(9, S, -1)
    results = ours.run(None, {"input_ids": ids, "attention_mask": mask})
    probabilities = results[0]
    if kind == "sequence-labelling":
        counts = np.diff(encoded.units)
        probabilities = probabilities[np.arange(9).repeat(counts), encoded.positions[:, 0]]
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    if kind == "regression":
        np.testing.assert_allclose(results[1], predictor.decide(expected), atol=1e-4)
    assert Tokenizer.load(place).encode("the dog.") == words.encode("the dog.")
    assert json.loads((place / "gpt1.json").read_text("utf-8"))["task"]["kind"] == kind


def test_what_cannot_be_exported_says_why(tmp_path: Path) -> None:
    words = worlds.tokenizer(tmp_path / "words")
    shape = tiny.config(n_layer=1, n_hidden=16).model_dump()
    with pytest.raises(ConfigError, match="LSTM baseline, which has no ONNX graph"):
        onnx_export.export(tmp_path / "out", build_model(ModelConfig(**shape)), words, {})
    assert not (tmp_path / "out").exists()
    onnx_export.export(tmp_path / "out", tiny.model(), words, {})
    with pytest.raises(StorageError, match="already there"):
        onnx_export.export(tmp_path / "out", tiny.model(), words, {})
    onnx_export.export(tmp_path / "out", tiny.model(), words, {}, replace=True)
    folder.Folder(tmp_path / "out").verify()  # its manifest


def test_the_command_writes_once_and_replaces_only_its_own_with_force(tmp_path: Path) -> None:
    words = worlds.tokenizer(tmp_path / "words")
    folder.save(tmp_path / "model", tiny.model(), words)
    command = ("export", tmp_path / "model", "--to", "onnx", "--out", tmp_path / "out")
    assert run_gpt1(*command).check().stdout == f"{tmp_path / 'out'}\n"
    before = (tmp_path / "out" / "model.onnx").stat().st_ino
    refused = run_gpt1(*command)
    assert refused.code == 1
    assert "out is already there" in refused.message
    assert (tmp_path / "out" / "model.onnx").stat().st_ino == before
    run_gpt1(*command, "--force").check()
    assert (tmp_path / "out" / "model.onnx").stat().st_ino != before
    (tmp_path / "out" / "mine.txt").write_text("mine", "utf-8")
    assert run_gpt1(*command, "--force").code == 1
    assert (tmp_path / "out" / "mine.txt").exists()
