"""Vectors of texts: against states taken by hand, alone or together, from Python and the shell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
import worlds
from commands import run_gpt1
from gpt1.checkpoint import folder
from gpt1.errors import ConfigError, InputError, Note
from gpt1.generation.embedding import Pool
from gpt1.pipeline import GPT1
from gpt1.tasks.predictor import Predictor
from gpt1.tasks.spec import Example
from gpt1.text.tokenizer import Tokenizer
from tolerances import FP32

TEXTS = ["the dog", "a cat is a cat and the dog is a dog", "dog", "the cat and the dog", "is"] * 9


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return worlds.tokenizer(tmp_path_factory.mktemp("words"), words="fast")


@pytest.fixture(scope="module")
def gpt(words: Tokenizer) -> GPT1:
    return GPT1(tiny.model(n_layer=3), words)


@pytest.mark.parametrize("pool", ["mean", "last"])
@pytest.mark.parametrize("layer", [-1, 3, 1, 0, -4])
def test_a_vector_is_the_state_that_is_asked_for(gpt: GPT1, pool: Pool, layer: int) -> None:
    found = gpt.embed(TEXTS, pool=pool, layer=layer)
    assert (found.dtype, found.shape) == (np.float32, (45, 24))
    for text, vector in zip(TEXTS[:5], found, strict=False):
        ids = torch.tensor([gpt.tokenizer.encode(text)])
        with torch.no_grad():
            states = gpt.transformer()(ids, output_hidden_states=True).hidden_states
        assert states is not None
        state = states[layer][0]
        expected = state.mean(0) if pool == "mean" else state[-1]
        assert np.abs(vector - expected.numpy()).max() < FP32 * np.abs(expected.numpy()).max()
        alone = gpt.embed([text], pool=pool, layer=layer)[0]
        assert np.abs(vector - alone).max() < FP32 * np.abs(alone).max()
    assert not np.allclose(found[0], found[1])


def test_extract_is_the_state_that_a_tasks_head_reads(words: Tokenizer) -> None:
    task = worlds.TASKS["classification"]
    own = words.with_words("fast")
    model = worlds.model(task, own).float()
    gpt = GPT1(model, own)
    vector = torch.from_numpy(gpt.embed(["the dog is a cat"], pool="extract"))

    expected = Predictor(model, own, task).probabilities([Example(("the dog is a cat",))])
    assert model.head is not None
    with torch.no_grad():
        logits = model.head(vector)
    np.testing.assert_allclose(logits.double().softmax(1).numpy(), expected, atol=1e-6)


def test_what_cannot_be_embedded_is_told(gpt: GPT1) -> None:
    with pytest.raises(InputError, match=r"no tokens _start_.*fine-tuned on a task"):
        gpt.embed(["the dog"], pool="extract")
    with pytest.raises(ConfigError, match="pool is 'max'; it must be mean, last or extract"):
        gpt.embed(["the dog"], pool="max")  # type: ignore[arg-type]
    for layer in (4, -5, True, 1.0):
        with pytest.raises(ConfigError, match=r"layer is .*; this model has layers 0"):
            gpt.embed(["the dog"], layer=layer)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"texts\[1\] has no tokens"):
        gpt.embed(["the dog", " "])
    with pytest.raises(InputError, match="single text 'the dog'; put it into a list"):
        gpt.embed("the dog")
    with pytest.warns(Note, match="1 of 2 texts exceeds the model's length"):
        long, same = gpt.embed(["the " * 40, "the " * 32], pool="last")
    np.testing.assert_allclose(long, same, rtol=1e-5)
    assert gpt.embed([]).shape == (0, 24)


def test_the_command_writes_a_row_for_each_row(gpt: GPT1, tmp_path: Path) -> None:
    folder.save(tmp_path / "model", gpt.model, gpt.tokenizer)
    table = tmp_path / "texts.csv"
    table.write_text("id,text\n1,the dog\n2,\n3,a cat is a cat\n", "utf-8")
    out = tmp_path / "vectors.npy"
    command = ("embed", table, "--model", tmp_path / "model", "--out", out)
    done = run_gpt1(*command, "--pool", "last", "--layer", "1").check()
    assert done.stdout == f"{out}\n"
    assert "1 row could not be used and became NaN" in done.stderr
    vectors = np.load(out)
    assert (vectors.dtype, np.isnan(vectors).any(1).tolist()) == (np.float32, [False, True, False])
    expected = gpt.embed(["the dog", "a cat is a cat"], pool="last", layer=1)
    np.testing.assert_allclose(vectors[[0, 2]], expected, rtol=1e-5, atol=1e-6)
    refused = run_gpt1(*command)
    assert refused.code == 2
    assert "add --force to replace it" in refused.message
    np.testing.assert_array_equal(np.load(out), vectors)
    run_gpt1(*command, "--force").check()
    assert not np.allclose(np.load(out)[0], vectors[0])
