"""Every setting of sampling x what people send by mistake, from Python and from the shell."""

from __future__ import annotations

import inspect
import math
import re
import typing
from typing import Any

import pytest

import gpt1
from commands import run_gpt1
from gpt1.config import SamplingConfig
from gpt1.errors import ConfigError
from gpt1.generation.options import SamplingOptions
from gpt1.model.transformer import Transformer
from gpt1.pipeline import GPT1
from gpt1.settings import describe
from gpt1.text.tokenizer import Tokenizer

VALUES: dict[str, Any] = {  # as TOML writes them: what Python has
    "nan": math.nan, "inf": math.inf, "-0.0": -0.0, "-1": -1, "1e308": 1e308, "true": True,
    '"1"': "1", "none": None, "18446744073709551616": 2**64,
}  # fmt: skip
ALLOWED = {  # all others are refused
    "max_length": {"none"},
    "temperature": {"-0.0"},
    "top_k": {"none", "18446744073709551616"},
    "top_p": {"none"},
    "min_p": {"none", "-0.0"},
    "typical_p": {"none"},
    "presence_penalty": {"-0.0", "-1"},
    "frequency_penalty": {"-0.0", "-1"},
    "regex": {"none"},
    "diversity_penalty": {"-0.0"},
    "length_penalty": {"-0.0", "-1"},
    "early_stopping": {"true"},
    "penalty_alpha": {"none"},
    "prompt_lookup_num_tokens": {"none"},
    "seed": {"none"},
    "truecase": {"true"},
}
TABLE = [
    (name, text)
    for name in SamplingConfig.model_fields
    for text in VALUES
    if (name, text) not in (("regex", '"1"'), ("penalty_alpha", "-0.0"))  # are what they should be
]


@pytest.fixture(scope="module")
def gpt(model: Transformer, tokenizer: Tokenizer) -> GPT1:
    return GPT1(model, tokenizer)


def test_python_takes_what_is_allowed_and_names_what_is_not(gpt: GPT1) -> None:
    for name, text in TABLE:
        settings = {"max_new_tokens": 2, name: VALUES[text]}
        if text in ALLOWED.get(name, ()) or (name == "stop" and text in ('"1"', "none")):
            assert gpt.generate("my dog", **settings).finish_reason in ("length", "stop")
            continue
        for call in (gpt.generate, gpt.stream):
            with pytest.raises(ConfigError, match=rf"^{name} is .*; it should be "):
                call("my dog", **settings)


def test_the_shell_takes_what_is_allowed_and_names_what_is_not(
    gpt: GPT1, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpt1, "load", lambda name, **options: gpt, raising=False)
    for name, text in TABLE:
        done = run_gpt1("generate", "my dog", "--set", f"sampling.{name}={text}")
        if text in ALLOWED.get(name, ()):
            assert done.code == 0, (name, text, done.stderr)
        else:
            assert done.code == 2, (name, text)
            assert re.search(rf"sampling\.{name} is .*; it should be ", done.message), done.stderr


@pytest.mark.parametrize("bias", [{True: 1.0}, {"dog": True}, {"dog": math.nan}, {1: 101}])
def test_the_values_of_a_table_are_checked_too(gpt: GPT1, bias: dict[Any, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^logit_bias\.\w+.* is .*; it should be "):
        gpt.generate("my dog", logit_bias=bias)


def test_all_places_name_the_same_settings(gpt: GPT1) -> None:
    fields = SamplingConfig.model_fields
    assert (
        list(typing.get_type_hints(SamplingOptions))
        == list(fields)
        == list(describe(SamplingConfig))
    )
    for method in (GPT1.generate, GPT1.stream):
        _, prompt, assistant, *parameters = inspect.signature(method).parameters.values()
        assert (prompt.name, assistant.name) == ("prompt", "assistant")
        assert {p.name: p.default for p in parameters} == {n: f.default for n, f in fields.items()}
    with pytest.raises(
        TypeError, match=r"stream\(\) has no parameter 'topk'. Did you mean 'top_k'"
    ):
        gpt.stream("my dog", topk=3)  # type: ignore[call-arg]


def test_each_setting_is_described_with_its_bounds() -> None:
    told = describe(SamplingConfig)
    assert told["top_p"].startswith("float, > 0, <= 1, or none; default none. Sample only from")
    assert told["overflow"].startswith("stop or slide; default stop. ")
    assert all(text.endswith(".") and len(text) < 200 for text in told.values())
