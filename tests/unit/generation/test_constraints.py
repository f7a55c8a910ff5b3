"""Constraints are never broken, judged on the text as it is read; the impossible is refused."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

import tiny
from gpt1.config import SamplingConfig
from gpt1.errors import ConfigError, InputError, Note
from gpt1.generation.emissions import Emissions
from gpt1.generation.engine import generate
from gpt1.generation.regex import Regex
from gpt1.generation.request import Generation
from gpt1.generation.streaming import StreamDecoder
from gpt1.generation.torch_backend import TorchBackend
from gpt1.text.tokenizer import Tokenizer
from gpt1.text.vocabulary import Vocabulary

PROMPTS = ["the", "it is a dog .", "a 'cat'", [5, 9, 44]]
CHOICES = ["yes", "yes please", "no", "don't", "the dog.", "'s"]
PATTERNS = [
    r"\d{2,4}-\d\d", r"[a-z ]+\.", r"(don't|i'm|it's) [a-z]{3,9}!?", r"it was '[a-z]+'\.",
    r"[^a-t]+",
    r".{5,9}", r"^(the|a) (cat|dog)s?( and the (cat|dog))*$", r"n'?t? ?'m?.*", r"[a-z]+(, [a-z]+)*",
]  # fmt: skip
PHRASES = [("dog",), ("cat and dog", "is"), ("the end", "don't", "i'm")]


@pytest.fixture(scope="module", params=["original", "slow"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    vocabulary = Vocabulary.of(tiny.vocabulary(), [tuple(m.split()) for m in tiny.MERGES])
    return Tokenizer(vocabulary, words=request.param)


def write(tokenizer: Tokenizer, count: int, **settings: Any) -> list[Generation]:
    sampling = SamplingConfig(**{"temperature": 1.2, "max_new_tokens": 18, "seed": 0, **settings})
    prompts = [PROMPTS[i % len(PROMPTS)] for i in range(count)]
    return generate(TorchBackend(tiny.model(seed=count)), tokenizer, prompts, sampling)


def check(tokenizer: Tokenizer, count: int) -> None:
    texts = {tokenizer.decode(tokenizer.encode(choice)) for choice in CHOICES}
    for found in write(tokenizer, count, choices=CHOICES):
        assert found.completion.removeprefix(" ") in texts
        assert found.finish_reason == "constraint"
    for pattern in PATTERNS:
        for found in write(tokenizer, count, regex=pattern):
            assert re.fullmatch(pattern, found.completion.removeprefix(" "), re.DOTALL), pattern
            assert found.finish_reason in ("constraint", "length")
    for phrases in PHRASES:
        for found in write(tokenizer, count, force_words=phrases):
            assert all(phrase in found.completion for phrase in phrases)


def test_a_constraint_is_not_broken(tokenizer: Tokenizer) -> None:
    check(tokenizer, 8)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_constraint_is_not_broken_once_in_a_thousand(tokenizer: Tokenizer) -> None:
    check(tokenizer, 1000)


@pytest.mark.parametrize("seed", range(40))
def test_emissions_are_what_the_decoder_writes(tokenizer: Tokenizer, seed: int) -> None:
    source = random.Random(seed)
    likely = [tokenizer.vocabulary.ids[t] for t in ("'", "n", "t", "m", "n</w>", "'</w>", ".</w>")]
    # a regular expression never allows the line breaks of "slow"
    newline = tokenizer.vocabulary.ids["\n</w>"] if tokenizer.words == "slow" else -1
    ids = [source.choice([source.randrange(1, len(tokenizer)), *likely]) for _ in range(12)]
    ids = [i for i in ids if i != newline]
    prompt = ids[: source.randrange(1, 4)]
    emissions, decoder = Emissions(tokenizer), StreamDecoder(tokenizer, prompt)
    state, written = emissions.start(prompt), ""
    for i in ids:
        texts, following = emissions.after(state)
        head = emissions.head_of[i]
        written += texts[head] + emissions.rests[i]
        state = int(following[head])
    expected = "".join(map(decoder.push, ids)) + decoder.finish()
    assert written + emissions.rest(state) == expected.lstrip(" ")


def test_where_the_text_may_end_the_model_decides(tokenizer: Tokenizer) -> None:
    """Of "yes" and "yes please" the shorter ends where the model would write another word."""
    choices = ["yes", "yes please"]
    found = write(tokenizer, 40, choices=choices, logit_bias={"p": 2.0, "please": 0.0}
                  if len(tokenizer.encode("please")) == 1 else {})  # fmt: skip
    ends = {text.completion.removeprefix(" ") for text in found}
    assert ends <= set(choices)
    assert "yes" in ends
    pleased = write(
        tokenizer, 8, choices=choices, logit_bias={tokenizer.encode("please")[0]: 100.0}
    )
    assert {text.completion.removeprefix(" ") for text in pleased} == {"yes please"}


def test_a_limit_is_kept_with_the_constraint(tokenizer: Tokenizer) -> None:
    need = len(tokenizer.encode("the end")) + 1
    for found in write(tokenizer, 8, force_words=["the end"], max_new_tokens=need):
        assert "the end" in found.completion
    short = len(tokenizer.encode("no"))
    for found in write(tokenizer, 8, choices=CHOICES, max_new_tokens=short):
        assert found.completion.removeprefix(" ") in ("no", "'s")
    for settings in ({"force_words": ["the end"]}, {"regex": r"\d{9}"}, {"choices": ["the end"]}):
        with pytest.raises(InputError, match="room for 1 new id; the constraint needs at least"):
            write(tokenizer, 1, max_new_tokens=1, **settings)


def test_an_empty_expression_allows_no_id(tokenizer: Tokenizer) -> None:
    constraint = Regex("", tokenizer)
    state = constraint.start([9])
    assert constraint.distance(state) == 0
    assert not constraint.allowed(state, 8).any()


def test_capitals_are_lowered_and_it_is_said(tokenizer: Tokenizer) -> None:
    with pytest.warns(Note, match="taken as '\\[a-z\\]es\\\\\\\\S'"):
        found = write(tokenizer, 4, regex=r"[A-Z]es\S")
    assert all(re.fullmatch(r"[a-z]es\S", text.completion.removeprefix(" ")) for text in found)
    with pytest.warns(Note, match="'Yes' is 'yes' as the model writes it"):
        assert write(tokenizer, 1, choices=["Yes"])[0].completion.strip() == "yes"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"regex": "a("}, "cannot compile"),
        ({"regex": r"\bcat"}, "cannot compile"),
        ({"regex": "€+"}, "can write no text that matches"),
        ({"regex": "a.*;"}, "can write no text that matches"),
        ({"choices": ["cat", "€"]}, "choices holds '€', which the vocabulary lacks"),
        ({"force_words": [" "]}, "force_words holds ' ', which the vocabulary lacks"),
    ],
)
def test_what_cannot_be_written_is_refused(
    tokenizer: Tokenizer, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write(tokenizer, 1, **settings)


def test_a_constraint_speaks_of_the_text_as_it_is_returned(tokenizer: Tokenizer) -> None:
    for settings in ({"choices": ["yes", "no"]}, {"regex": "yes|no"}):
        found = write(tokenizer, 3, truecase=True, **settings)
        assert {text.completion.removeprefix(" ") for text in found} <= {"yes", "no"}


def test_constraints_stand_alone(tokenizer: Tokenizer) -> None:
    for settings in ({"regex": "a", "choices": ["a"]}, {"force_words": ["a"], "stop": ["b"]}):
        with pytest.raises(ValueError, match="were given; a text follows one constraint"):
            write(tokenizer, 1, **settings)
    assert issubclass(ConfigError, ValueError)


def test_without_the_library_the_message_names_the_extra(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "outlines_core", None)
    with pytest.raises(InputError, match=r"pip install 'gpt1\[regex\]'"):
        write(tokenizer, 1, regex="something new")
