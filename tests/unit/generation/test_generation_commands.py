"""gpt1 generate and gpt1 explain, with a model made here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import gpt1
from commands import run_gpt1
from gpt1.config import SamplingConfig
from gpt1.model.transformer import Transformer
from gpt1.pipeline import GPT1
from gpt1.text.tokenizer import Tokenizer


@pytest.fixture
def gpt(model: Transformer, tokenizer: Tokenizer) -> GPT1:
    return GPT1(model, tokenizer)


@pytest.fixture(autouse=True)
def loaded(gpt: GPT1, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []

    def load(name: str, **options: str) -> GPT1:
        asked.append(name)
        return gpt

    monkeypatch.setattr(gpt1, "load", load, raising=False)
    return asked


def run(*arguments: str, stdin: str = "") -> tuple[str, str]:
    done = run_gpt1(*arguments, stdin=stdin).check()
    return done.stdout, done.stderr


def test_generate_writes_text_to_stdout_and_its_seed_to_stderr(gpt: GPT1) -> None:
    out, err = run("generate", "My dog")
    seed = int(err.removeprefix("seed: "))
    sampling = {"temperature": 0.8, "top_k": 40, "seed": seed}
    expected = gpt.generate("My dog", **sampling, truecase=True)
    assert out == expected.text + "\n"
    assert run("generate", "My dog", "--seed", str(seed))[0] == out
    assert run("generate", "-", "--seed", str(seed), stdin="My dog\n")[0] == out
    plain = run("generate", "My dog", "--seed", str(seed), "--no-truecase")[0]
    assert plain == gpt.generate("My dog", **sampling).text + "\n"
    assert plain[0] == "m"
    assert out[0] == "M"


def test_generate_takes_its_settings_from_flags_and_set(gpt: GPT1) -> None:
    out, err = run(
        "generate", "My dog", "--temperature", "0", "--max-new-tokens", "9",
        "--set", "sampling.top_k=none", "--stop", "zz",
        "--set", "sampling.repetition_penalty=1.5", "--json",
    )  # fmt: skip
    expected = gpt.generate("My dog", max_new_tokens=9, repetition_penalty=1.5, truecase=True)
    found = json.loads(out)
    assert "never writes 'zz'" in err
    assert found["text"] == expected.text
    assert found["ids"] == expected.ids
    assert found["finish_reason"] == "length"
    assert sorted(found) == [
        "alternatives", "completion", "finish_reason", "ids", "logprobs", "others", "seed", "text",
    ]  # fmt: skip


def test_the_help_lists_every_setting_with_its_bounds() -> None:
    told = run_gpt1("generate", "--help").check().stdout
    flags = {
        "--max-new-tokens", "--temperature", "--top-k", "--top-p", "--seed", "--stop", "--truecase",
    }  # fmt: skip
    assert all(flag in told for flag in flags)
    for name in SamplingConfig.model_fields:
        assert ("--" + name.replace("_", "-") in flags) != (f"- {name}: " in told)
    assert "- min_p: float, >= 0, <= 1, or none; default none." in told


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--temperature", "-1", "temperature"),
        ("--temperature", "nan", "temperature"),
        ("--top-p", "2", "top_p"),
        ("--set", "sampling.topk=3", "Did you mean 'top_k'"),
        ("--set", "train.steps=3", "only has sampling"),
    ],
)
def test_generate_refuses_settings_before_it_loads_a_model(
    loaded: list[str], flag: str, value: str, message: str
) -> None:
    done = run_gpt1("generate", "My dog", flag, value)
    assert done.code == 2
    assert message in done.stderr
    assert loaded == []


def test_the_model_is_mini_unless_told(loaded: list[str], tmp_path: Path) -> None:
    run("generate", "My dog")
    run("explain", "My dog", "--model", str(tmp_path))
    assert loaded == ["mini", str(tmp_path)]


def test_explain_shows_each_step_of_the_walk(gpt: GPT1) -> None:
    out, err = run("explain", "My dog is cute", "--steps", "3")
    walk = gpt.explain("My dog is cute")
    assert err == ""
    assert f"{walk.parameters:,} parameters" in out
    assert str(list(walk.logits_shape)) in out
    assert f"{walk.loss:.4f}" in out
    for token in walk.next_tokens:
        assert f"{token.probability:.4f}" in out
        assert repr(token.text) in out
    assert len(walk.next_tokens) == 10
    assert "█" * 40 in out  # the likeliest has the longest bar
    for i in range(len(walk.ids)):
        assert repr(walk.tokens[i]) in out
    for choice in walk.steps[:3]:
        assert f"{choice.logit:.4f}" in out
    assert "\x1b" not in out  # plain when piped


def test_explain_as_json_is_the_whole_walk() -> None:
    found = json.loads(run("explain", "My dog is cute", "--steps", "4", "--json")[0])
    assert (len(found["steps"]), len(found["article_steps"])) == (4, 4)
    assert found["logits_shape"][1] == len(found["ids"]) == len(found["positions"])


def test_truecase_in_pieces_is_truecase_of_the_whole_and_changes_no_id(
    gpt: GPT1,
) -> None:
    for seed in range(12):
        sampling = {"max_new_tokens": 40, "temperature": 1.0, "seed": seed}
        prompt = ["my dog .", "i ' m", "hello , i"][seed % 3]
        plain = gpt.generate(prompt, **sampling)
        cased = gpt.generate(prompt, **sampling, truecase=True)
        assert cased.ids == plain.ids
        assert cased.text[0].isupper()
        assert cased.text.casefold().replace(" ", "") == plain.text.casefold().replace(" ", "")
        assert "".join(gpt.stream(prompt, **sampling, truecase=True)) == cased.completion
        assert cased.text == gpt.tokenizer.decode(cased.ids, truecase=True)
        if plain.completion[3:5].strip():
            stops = {"stop": plain.completion[3:5]}
            stopped = gpt.generate(prompt, **sampling, **stops)
            again = gpt.generate(prompt, **sampling, **stops, truecase=True)
            assert (again.finish_reason, again.ids) == (stopped.finish_reason, stopped.ids)
            assert again.completion.casefold() == stopped.completion.casefold()
