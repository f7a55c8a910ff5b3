"""GPT1 in Python: what its methods take, how its results look."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import gpt1
import worlds
from gpt1.config import SamplingConfig
from gpt1.errors import ConfigError, InputError
from gpt1.generation.options import SamplingOptions

TEXTS = ["the dog", "a cat is"]


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> gpt1.GPT1:
    return gpt1.load(worlds.write_model(tmp_path_factory.mktemp("pipeline")), dtype="float32")


@pytest.mark.parametrize("method", ["generate", "stream"])
def test_every_setting_of_sampling_is_a_parameter(method: str) -> None:
    parameters = list(inspect.signature(getattr(gpt1.GPT1, method)).parameters.values())[3:]
    fields = SamplingConfig.model_fields
    assert {p.name: p.default for p in parameters} == {n: f.default for n, f in fields.items()}
    assert {p.name for p in parameters} == SamplingOptions.__annotations__.keys()


SEVERAL: list[Callable[[list[str]], Any]] = [
    tuple,
    np.array,
    pandas.Series,
    lambda texts: np.array(texts)[:, None],
    lambda texts: pandas.DataFrame({"joke": texts}),
]


@pytest.mark.parametrize("form", SEVERAL)
def test_several_texts(form: Callable[[list[str]], Any], gpt: gpt1.GPT1) -> None:
    one_by_one = [gpt.generate(text, max_new_tokens=2).ids for text in TEXTS]
    assert [g.ids for g in gpt.generate(form(TEXTS), max_new_tokens=2)] == one_by_one
    for score, text in zip(gpt.score(form(TEXTS)), TEXTS, strict=True):
        assert score.loss == pytest.approx(gpt.score(text).loss)
    assert gpt.batch(form(TEXTS))[0].tolist() == gpt.batch(TEXTS)[0].tolist()


BAD: list[tuple[str, Any, str]] = [
    ("generate", None, "prompt is None; it must be a list"),
    ("generate", ["a", None], "prompt 1 is None; a prompt is a text"),
    ("generate", ["a", ""], "prompt 1 is empty"),
    ("generate", [float("nan")], "the prompt is nan; a prompt is a text"),
    ("score", 7, "text is 7; it must be a list"),
    ("score", ["the dog", None], r"text\[1\] is None; it must be a text"),
    ("score", ["the dog", ""], r"text\[1\] is empty"),
    ("score", ["the dog", "dog"], r"text\[1\] is 1 id long"),
    ("batch", "the dog", "texts is the single text 'the dog'; put it into a list"),
    ("batch", [], "there are no texts"),
    ("batch", ["dog", "", " "], r"texts\[1\], texts\[2\] has no tokens"),
    ("explain", pandas.Series(TEXTS), "the text is 0 the dog 1 a cat is .*; a prompt is a text"),
    ("next_tokens", None, "the text is None; a prompt is a text"),
    ("stream", TEXTS, "the prompt holds the id 'the dog'"),
]


@pytest.mark.parametrize(("method", "given", "said"), BAD)
def test_what_is_no_text_is_named(method: str, given: Any, said: str, gpt: gpt1.GPT1) -> None:
    with pytest.raises(InputError, match=said) as caught:
        getattr(gpt, method)(given)
    assert len(str(caught.value)) < 300


def test_stop_may_be_one_string(gpt: gpt1.GPT1) -> None:
    stop = gpt.generate("the dog", max_new_tokens=3).completion.strip()[:1]
    stopped = gpt.generate("the dog", stop=[stop])
    assert gpt.generate("the dog", stop=stop) == stopped
    assert gpt.generate("the dog", stop=None) == gpt.generate("the dog")
    assert "".join(gpt.stream("the dog", stop=stop)) == stopped.completion
    with pytest.raises(TypeError, match="temprature"):
        gpt.generate("the dog", temprature=1)  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="top_p is 2"):
        gpt.generate("the dog", top_p=2)


def test_results_are_short(gpt: gpt1.GPT1) -> None:
    results = [gpt, gpt.generate("the dog"), gpt.score("the dog"), gpt.explain("the dog is")]
    for result in results:
        text = repr(result)
        assert text.startswith(f"{type(result).__name__}(")
        assert len(text) < 350
    assert f"{gpt.num_parameters():,} parameters" in repr(gpt)


def test_a_notebook_shows_tables(gpt: gpt1.GPT1) -> None:
    tokens = gpt.next_tokens("the dog", k=3)
    assert tokens[0].probability >= tokens[1].probability
    page = tokens._repr_html_()
    assert page.count("<tr>") == 4
    assert gpt.explain("the dog is")._repr_html_().count("<tr>") == 1 + 3 + 1 + 10
    object.__setattr__(tokens[0], "text", "<script>")
    assert "<script>" not in tokens._repr_html_()


def test_finetune_takes_a_frame_and_refuses_what_is_no_text(
    gpt: gpt1.GPT1, tmp_path: Path, quick_runs: None, capfd: pytest.CaptureFixture[str]
) -> None:
    frame = pandas.DataFrame({"id": range(3), "joke": ["the dog is a cat", "a cat is", "the cat"]})
    more = {"out": tmp_path / "run", "overrides": ["train.steps=1", "data.valid_share=0"]}
    for texts, said in (
        (frame, "has the columns id, joke"),
        ([*frame.joke, None], r"texts\[3\] is None"),
        ("jokes.csv", "no file has this name"),
    ):
        with pytest.raises(InputError, match=said):
            gpt.finetune(texts, **more)
    assert not (tmp_path / "run").exists()
    gpt.finetune(frame, column="joke", **more)
    assert "3 texts to train on" in capfd.readouterr().err


FORK = """
import os, signal, torch, gpt1
torch.set_num_threads(2)
gpt = gpt1.load("mini")
text = gpt.generate("The dog", max_new_tokens=8, temperature=0).text
child = os.fork()
if not child:
    signal.alarm(20)  # ends it if it waits for threads that it does not have
    assert gpt.generate("The dog", max_new_tokens=8, temperature=0).text == text
    assert gpt.score(["xylophones, too"])
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows")
def test_a_fork_of_a_process_that_has_generated_generates() -> None:
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    subprocess.run([sys.executable, "-c", FORK], check=True, env=env)


def test_scores_are_float32_unless_bfloat16_is_named() -> None:
    texts = ["the cat sat on the mat .", "it was a dark and stormy night ."]
    exact = gpt1.load("mini").score(texts)
    assert gpt1.load("mini", dtype="int8").score(texts) == exact
    near = gpt1.load("mini", dtype="bfloat16").score(texts)
    for a, b in zip(near, exact, strict=True):
        assert 0 < abs(a.loss - b.loss) < 0.05
        assert a.ids == b.ids
    for text, score in zip(texts, exact, strict=True):  # in a batch as alone
        assert gpt1.load("mini").score(text).logprobs == pytest.approx(score.logprobs, rel=1e-5)
