"""Strategies against brute force, against transformers, and against plain decoding."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

import tiny
from gpt1.checkpoint import huggingface
from gpt1.config import SamplingConfig
from gpt1.errors import InputError
from gpt1.generation.engine import Engine, generate, stream_events
from gpt1.generation.request import Generation
from gpt1.generation.torch_backend import TorchBackend
from gpt1.model.transformer import Transformer
from gpt1.text.tokenizer import Tokenizer
from gpt1.text.vocabulary import Vocabulary

V = len(tiny.vocabulary()) + 1
EOS = V - 1
PROMPT = [3, 50, 60]
SETTINGS: dict[str, dict[str, Any]] = {
    "beams": {"num_beams": 3},
    "groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0},
    "contrastive": {"penalty_alpha": 0.6, "top_k": 4},
    "look-up": {"prompt_lookup_num_tokens": 3},
    "best of": {"best_of": 3, "temperature": 1.0, "seed": 0},
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    vocabulary = Vocabulary.of(tiny.vocabulary(), [tuple(m.split()) for m in tiny.MERGES])
    return Tokenizer(vocabulary, added=["<|endoftext|>"])


@pytest.fixture(scope="module")
def model() -> Transformer:
    return tiny.model(seed=3, vocab_size=V).double()


def write(model: Transformer, tokenizer: Tokenizer, **settings: Any) -> Generation:
    prompt = settings.pop("prompt", PROMPT)
    assistant = settings.pop("assistant", None)
    sampling = SamplingConfig(**{"max_new_tokens": 12, **settings})
    return generate(TorchBackend(model), tokenizer, [prompt], sampling, assistant=assistant)[0]


def logprobs_of(model: Transformer, ids: list[int]) -> list[float]:
    with torch.inference_mode():
        rows = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return [float(rows[i - 1, ids[i]]) for i in range(len(PROMPT), len(ids))]


def test_beams_of_full_width_find_the_best_text(tokenizer: Tokenizer) -> None:
    model = tiny.model(seed=1, vocab_size=V).double()
    few = [5, 44, 60, 70, EOS]
    bias = {i: -100.0 for i in range(V) if i not in few}
    texts = [
        [*PROMPT, *new]
        for n in (1, 2, 3)
        for new in itertools.product(few, repeat=n)
        if EOS not in new[:-1] and (n == 3 or new[-1] == EOS)
    ]
    for penalty in (0.0, 1.0, 2.0):
        found = write(
            model, tokenizer, num_beams=125, max_new_tokens=3, length_penalty=penalty,
            logit_bias=bias, num_return_sequences=3, early_stopping="never",
        )  # fmt: skip

        def score(ids: list[int], penalty: float = penalty) -> float:
            return sum(logprobs_of(model, ids)) / (len(ids) - len(PROMPT)) ** penalty

        ranked = sorted(texts, key=score, reverse=True)
        assert [found.ids, *(other.ids for other in found.others)] == ranked[:3]


@pytest.mark.parametrize("early_stopping", [True, False, "never"])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(2))
def test_beams_are_those_of_transformers(
    tokenizer: Tokenizer, seed: int, length_penalty: float, early_stopping: bool | str
) -> None:
    ours = tiny.model(seed=seed, vocab_size=V).double()
    with torch.no_grad():
        ours.tokens.weight[EOS] *= 3  # ends that compete
    config = OpenAIGPTConfig(**huggingface.write_config(ours.config, None))
    theirs = OpenAIGPTLMHeadModel(config).eval().double()
    missing, unexpected = theirs.load_state_dict(tiny.stored(ours), strict=False)
    assert not unexpected
    assert missing == ["lm_head.weight"] or not missing
    theirs.tie_weights()
    settings = {
        "num_beams": 4, "num_return_sequences": 4, "max_new_tokens": 10,
        "length_penalty": length_penalty, "early_stopping": early_stopping,
    }  # fmt: skip
    for prompt in ([5], [3, 50, 60], [97, 44]):
        rows = theirs.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)).long(),
            do_sample=False, eos_token_id=EOS, pad_token_id=0, repetition_penalty=1.3, **settings,
        ).tolist()  # fmt: skip
        expected = [row[: row.index(EOS) + 1] if EOS in row else row for row in rows]
        found = write(ours, tokenizer, prompt=prompt, repetition_penalty=1.3, **settings)
        assert [found.ids, *(other.ids for other in found.others)] == expected


def test_groups_of_beams_differ(model: Transformer, tokenizer: Tokenizer) -> None:
    settings = {"num_beams": 4, "num_return_sequences": 4, "max_new_tokens": 6}
    one = write(model, tokenizer, num_beam_groups=1, **settings)
    four = write(model, tokenizer, num_beam_groups=4, diversity_penalty=50.0, **settings)
    greedy = write(model, tokenizer, max_new_tokens=6)
    texts = [four, *four.others]
    assert greedy.ids in [text.ids for text in texts]  # the first group has no penalty
    for column in zip(*(text.ids[len(PROMPT) :] for text in texts), strict=False):
        assert len(set(column)) == 4  # so large a penalty lets no group choose another's id
    alone = write(model, tokenizer, num_beam_groups=4, diversity_penalty=0.0, **settings)
    assert [text.ids for text in [alone, *alone.others]] == [greedy.ids] * 4
    assert one.ids != four.ids or one.others != four.others


def test_contrastive_search_is_its_definition(model: Transformer, tokenizer: Tokenizer) -> None:
    alpha, k = 0.6, 5
    ids = list(PROMPT)
    for _ in range(12):
        with torch.inference_mode():
            p = model(torch.tensor([ids])).logits[0, -1].softmax(-1).topk(k)
            scores = []
            for value, i in zip(p.values, p.indices, strict=True):
                states = model.hidden(torch.tensor([[*ids, int(i)]]))[0]
                alike = torch.cosine_similarity(states[-1:], states[:-1]).max()
                scores.append((1 - alpha) * value - alpha * alike)
        ids.append(int(p.indices[torch.stack(scores).argmax()]))
        if ids[-1] == EOS:
            break
    assert write(model, tokenizer, penalty_alpha=alpha, top_k=k).ids == ids
    assert write(model, tokenizer, penalty_alpha=0.0, top_k=k).ids == write(model, tokenizer).ids


@pytest.mark.parametrize("settings", [
    {}, {"temperature": 1.0, "seed": 4}, {"temperature": 0.5, "seed": 1, "top_k": 3},
    {"repetition_penalty": 0.8}, {"temperature": 0.7, "seed": 2, "regex": "[a-z ]+"},
], ids=lambda s: "-".join(s) or "greedy")  # fmt: skip
@pytest.mark.parametrize("drafts", ["look-up", "assistant", "itself"])
def test_drafts_change_no_text(
    model: Transformer, tokenizer: Tokenizer, settings: dict[str, Any], drafts: str
) -> None:
    for prompt in (PROMPT, [5, 6, 5, 6, 5], [9] * 20):
        plain = write(model, tokenizer, prompt=prompt, max_new_tokens=30, **settings)
        other: dict[str, Any] = {"prompt_lookup_num_tokens": 4}
        if drafts != "look-up":
            small = tiny.model(seed=3, vocab_size=V, n_layer=1).double()
            other = {"assistant": TorchBackend(small if drafts == "assistant" else model)}
        found = write(model, tokenizer, prompt=prompt, max_new_tokens=30, **settings, **other)
        assert found == plain or found.logprobs == pytest.approx(plain.logprobs)
        assert (found.ids, found.text, found.finish_reason) == (
            plain.ids, plain.text, plain.finish_reason,
        )  # fmt: skip


def test_guesses_that_are_right_save_steps(tokenizer: Tokenizer, model: Transformer) -> None:
    backend = TorchBackend(model)
    calls = []
    extend = backend.extend
    backend.extend = lambda *a: calls.append(1) or extend(*a)  # type: ignore[method-assign, func-returns-value]
    sampling = SamplingConfig(max_new_tokens=20, num_assistant_tokens=4)
    found = generate(backend, tokenizer, [PROMPT], sampling, assistant=TorchBackend(model))[0]
    assert len(calls) <= math.ceil(len(found.logprobs) / 5) + 1


def test_the_best_of_several_has_the_highest_mean(model: Transformer, tokenizer: Tokenizer) -> None:
    settings = {"temperature": 1.3, "seed": 5}
    found = write(model, tokenizer, best_of=6, num_return_sequences=6, **settings)
    texts = [found, *found.others]
    means = [sum(text.logprobs) / len(text.logprobs) for text in texts]
    assert means == sorted(means, reverse=True)
    assert len({tuple(text.ids) for text in texts}) > 3
    assert write(model, tokenizer, best_of=6, **settings).ids == found.ids
    assert write(model, tokenizer, **settings).ids in [text.ids for text in texts]
    drawn = write(model, tokenizer, num_return_sequences=3, **settings)
    assert drawn.ids == write(model, tokenizer, **settings).ids
    assert len(drawn.others) == 2


@pytest.mark.parametrize("name", SETTINGS)
def test_each_strategy_keeps_limits_constraints_and_names(
    model: Transformer, tokenizer: Tokenizer, name: str
) -> None:
    settings = SETTINGS[name]
    found = write(model, tokenizer, choices=["the dog", "a cat", "no"], **settings)
    assert found.completion.strip() in ("the dog", "a cat", "no")
    assert found.finish_reason == "constraint"
    found = write(model, tokenizer, force_words=["dog"], bad_words=["cat"], **settings)
    assert "dog" in found.completion
    assert "cat" not in found.completion.split()
    assert len(write(model, tokenizer, max_new_tokens=4, **settings).logprobs) <= 4
    full = write(model, tokenizer, max_new_tokens=99, logit_bias={EOS: -100.0}, **settings)
    assert (len(full.ids), full.finish_reason) == (32, "length")
    empty = write(model, tokenizer, max_new_tokens=0, **settings)
    assert (empty.completion, empty.finish_reason) == ("", "length")
    every = write(model, tokenizer, alternatives=2, **settings)
    assert [len(row) for row in every.alternatives] == [2] * len(every.logprobs)
    assert every.logprobs == pytest.approx(logprobs_of(model, every.ids))


@pytest.mark.parametrize("name", SETTINGS)
def test_logits_of_nan_end_the_request_and_say_so(
    model: Transformer, tokenizer: Tokenizer, name: str
) -> None:
    """Only the prompt that meets the NaN fails; the next one in the list is as alone."""
    broken = tiny.model(seed=3, vocab_size=V).double()
    with torch.no_grad():
        broken.positions.weight[30] = math.nan  # which only the first prompt reads
    sampling = SamplingConfig(**{"max_new_tokens": 3, **SETTINGS[name]})
    failed, whole = generate(TorchBackend(broken), tokenizer, [[5] * 31, PROMPT], sampling)
    assert (failed.finish_reason, failed.completion) == ("error", "")
    second = SamplingConfig(**{"max_new_tokens": 3, **SETTINGS[name]})
    if "seed" in SETTINGS[name]:
        second = second.model_copy(update={"seed": 1})
    assert whole.ids == generate(TorchBackend(model), tokenizer, [PROMPT], second)[0].ids


def test_what_does_not_go_together_is_refused(model: Transformer, tokenizer: Tokenizer) -> None:
    for settings, message in (
        ({"num_beams": 2, "temperature": 1.0}, "num_beams=2 needs temperature=0"),
        ({"num_beams": 2, "penalty_alpha": 0.5, "top_k": 4}, "use one of them"),
        ({"num_beams": 3, "num_beam_groups": 2}, "num_beam_groups=2 must divide it"),
        ({"penalty_alpha": 0.5}, "penalty_alpha needs top_k"),
        ({"best_of": 2}, "best_of needs a temperature above 0"),
        ({"num_return_sequences": 2}, "finds 1 text\\. Raise"),
        ({"num_beams": 2, "num_return_sequences": 3}, "finds 2 texts\\. Raise"),
        ({"num_beams": 2, "overflow": "slide"}, "needs plain decoding"),
    ):
        with pytest.raises(ValueError, match=message):
            SamplingConfig(**settings)
    backend = TorchBackend(model)
    with pytest.raises(InputError, match="a slot of the engine writes one text"):
        Engine(backend, tokenizer).submit(PROMPT, SamplingConfig(num_beams=2))
    with pytest.raises(InputError, match="an assistant goes with one text"):
        stream_events(backend, tokenizer, [PROMPT], SamplingConfig(num_beams=2), assistant=backend)
