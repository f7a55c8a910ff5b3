"""The article's walk against torch's own softmax, cross-entropy and plain loops."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from gpt1.config import SamplingConfig
from gpt1.errors import CheckpointError, ContextError, InputError
from gpt1.generation.engine import generate
from gpt1.generation.explain import explain, next_tokens, score_texts
from gpt1.generation.torch_backend import TorchBackend
from gpt1.model.transformer import Transformer
from gpt1.text.tokenizer import Tokenizer

TEXT = "Hello, my dog is cute and"


def test_next_tokens_are_the_largest_of_the_softmax(
    model: Transformer, tokenizer: Tokenizer
) -> None:
    with torch.no_grad():
        logits = model(torch.tensor([tokenizer.encode(TEXT)])).logits[0, -1]
    p, ids = logits.softmax(-1).sort(descending=True)
    found = next_tokens(model, tokenizer, TEXT, k=len(tokenizer))
    assert [token.id for token in found] == ids.tolist()
    assert [token.probability for token in found] == pytest.approx(p.tolist(), rel=1e-5)
    assert [token.logit for token in found] == pytest.approx(logits[ids].tolist(), rel=1e-5)
    assert [token.text for token in found] == [tokenizer.decode([i]) for i in ids.tolist()]
    assert sum(token.probability for token in found) == pytest.approx(1, abs=1e-5)
    assert next_tokens(model, tokenizer, TEXT) == found[:10]


def test_the_score_is_torchs_cross_entropy(model: Transformer, tokenizer: Tokenizer) -> None:
    ids = torch.tensor(tokenizer.encode(TEXT))
    with torch.no_grad():
        logits = model(ids[None]).logits[0]
        labelled = model(ids[None], labels=ids[None]).loss
    each = F.cross_entropy(logits[:-1], ids[1:], reduction="none")
    found = score_texts(model, tokenizer, [TEXT], ["the text"])[0]
    assert found.ids == ids.tolist()
    assert found.logprobs == pytest.approx((-each).tolist(), rel=1e-5)
    assert found.loss == pytest.approx(float(each.mean()), rel=1e-6)
    assert found.loss == pytest.approx(float(labelled), rel=1e-6)
    assert found.perplexity == pytest.approx(math.exp(found.loss))


def test_the_greedy_steps_are_what_generate_writes(
    model: Transformer, tokenizer: Tokenizer
) -> None:
    walk = explain(model, tokenizer, TEXT, steps=12)
    written = generate(TorchBackend(model), tokenizer, [TEXT], SamplingConfig(max_new_tokens=12))[0]
    assert [step.id for step in walk.steps] == written.ids[len(walk.ids) :]
    probabilities = [math.exp(logprob) for logprob in written.logprobs]
    assert [step.probability for step in walk.steps] == pytest.approx(probabilities, rel=1e-4)


def test_the_articles_loop_glues_each_choice_to_the_text(
    model: Transformer, tokenizer: Tokenizer
) -> None:
    walk = explain(model, tokenizer, TEXT, steps=8)
    text = TEXT
    for step in walk.article_steps:
        with torch.no_grad():
            best = model(torch.tensor([tokenizer.encode(text)])).logits[0, -1].argmax()
        assert step.id == int(best)
        text = text + tokenizer.decode([step.id])
    assert walk.article_text == text
    assert len(walk.article_steps) == 8
    assert walk.article_steps[0] == walk.steps[0]  # only then do the two part


def test_the_walk_holds_every_step(model: Transformer, tokenizer: Tokenizer) -> None:
    walk = explain(model, tokenizer, TEXT, k=5, steps=6)
    ids = tokenizer.encode(TEXT)
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    T, V = len(ids), len(tokenizer)
    assert (walk.text, walk.ids, walk.parameters) == (TEXT, ids, model.num_parameters())
    assert walk.tokens == [tokenizer.id_to_token(i) for i in ids]
    assert walk.logits_shape == (1, *logits.shape)
    assert walk.corner_rows == [0, 1, 2, T - 3, T - 2, T - 1]
    assert walk.corner_columns == [0, 1, 2, V - 3, V - 2, V - 1]
    corners = logits[walk.corner_rows][:, walk.corner_columns]
    torch.testing.assert_close(torch.tensor(walk.corners), corners)
    assert walk.loss == score_texts(model, tokenizer, [TEXT], ["the text"])[0].loss
    likeliest = next_tokens(model, tokenizer, TEXT, k=5)
    assert [(t.id, pytest.approx(t.logit, rel=1e-5)) for t in walk.next_tokens] == [
        (t.id, t.logit) for t in likeliest
    ]
    assert [(p.index, p.id) for p in walk.positions] == list(enumerate(ids))
    assert walk.positions[-1].actual is walk.positions[-1].rank is None
    for position, row, actual in zip(walk.positions, logits, ids[1:], strict=False):
        order = row.argsort(descending=True).tolist()
        assert position.predicted.id == order[0]
        assert position.actual is not None
        assert (position.actual.id, position.rank) == (actual, order.index(actual) + 1)
        p = float(row.softmax(-1)[actual])
        assert position.actual.probability == pytest.approx(p, rel=1e-5)
    assert json.loads(json.dumps(asdict(walk)))["ids"] == ids


def test_a_walk_ends_at_the_last_position(model: Transformer, tokenizer: Tokenizer) -> None:
    walk = explain(model, tokenizer, TEXT, steps=1000)
    assert len(walk.ids) + len(walk.steps) == 64
    assert len(walk.article_steps) <= 1000


def test_what_has_no_answer_is_refused(model: Transformer, tokenizer: Tokenizer) -> None:
    walk = explain(model, tokenizer, "i", steps=0)
    assert (len(walk.ids), walk.loss, walk.corner_rows) == (1, None, [0])
    with pytest.raises(InputError, match="the text is 1 id long"):
        score_texts(model, tokenizer, ["i"], ["the text"])

    def score(*args: Any) -> None:
        score_texts(*args[:2], [args[2]], ["the text"])

    for function in (next_tokens, score, explain):
        with pytest.raises(InputError, match="the text is empty"):
            function(model, tokenizer, " ")
        with pytest.raises(ContextError, match=r"is 65 ids long; the model has 64 positions"):
            function(model, tokenizer, "i " * 65)
    for k in (0, -1, 10_000):
        for function in (next_tokens, explain):
            with pytest.raises(InputError, match=rf"k is {k}.* from 1 to {len(tokenizer)}"):
                function(model, tokenizer, TEXT, k=k)
    broken = Transformer(model.config)
    with torch.no_grad():
        broken.positions.weight[0, 0] = math.nan
    with pytest.raises(CheckpointError, match="not finite"):
        score_texts(broken, tokenizer, [TEXT], ["the text"])
