"""The page of one text: complete, small, and no text of a stranger ends a tag of it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from gpt1.config import ModelConfig
from gpt1.errors import ContextError
from gpt1.generation import inside_page
from gpt1.model.transformer import Transformer
from gpt1.pipeline import GPT1
from gpt1.text.tokenizer import Tokenizer

HOSTILE = (
    "</script><img src=x onerror=hit()> \"'&<!-- \u2028\u2029 ]]> \ud800 </title><script>hit()"
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> GPT1:
    folder = tmp_path_factory.mktemp("vocabulary")
    tiny.write_vocabulary(folder)
    return GPT1(tiny.model(n_ctx=96), Tokenizer.load(folder), dtype="float32")


def held(page: str) -> dict[str, Any]:
    return json.loads(re.search(r'id="held">(.*?)</script>', page, re.S)[1])


def test_it_holds_what_the_model_computes(small: GPT1) -> None:
    text = "the dog and the cat"
    page = held(small.explain(text).page)
    ids = small.tokenizer.encode(text)
    with torch.no_grad():
        output = small.model(torch.tensor([ids]), output_hidden_states=True, output_attentions=True)
    logprobs = output.logits[0].log_softmax(-1)
    expected = [float(logprobs[t, id]) for t, id in enumerate(ids[1:])]
    assert page["ids"] == ids
    assert page["scores"][0] == [None, None]
    assert [p for p, _ in page["scores"][1:]] == pytest.approx(expected, rel=1e-6)
    raw = base64.b64decode(page["attention"])
    weights = [
        int.from_bytes(raw[n : n + 3], "little") / (2**24 - 1) for n in range(0, len(raw), 3)
    ]
    lower = [
        float(layer[0, head, t, s])
        for layer in output.attentions
        for head in range(layer.shape[1])
        for t in range(len(ids))
        for s in range(t + 1)
    ]
    assert weights == pytest.approx(lower, abs=1e-7)
    for states, layer in zip(output.hidden_states, page["lens"], strict=True):
        best = small.transformer().logits(states[0].detach()).softmax(-1).topk(5)
        assert [[t[0] for t in place] for place in layer] == best.indices.tolist()
        found = [t[1] for place in layer for t in place]
        assert found == pytest.approx(best.values.flatten().tolist(), rel=1e-5)


@pytest.mark.parametrize("text", [HOSTILE, "the dog"], ids=["hostile", "plain"])
def test_no_text_ends_a_tag_and_nothing_comes_from_elsewhere(small: GPT1, text: str) -> None:
    walk = small.explain(text)
    page = walk.page
    page.encode()
    assert page.count("<script") == page.count("</script") == 2
    assert (page.count("<title"), page.count("<img"), page.count("<!--")) == (1, 0, 0)
    assert "\u2028" not in page
    assert held(page)["text"] == text
    assert not re.search(r"https?:|//[a-z]+\.|url\(|@import|<[a-z][^<>]*\s(src|href|srcset)=", page)
    script = re.search(r'<script type="module">(.*?)</script>', page, re.S)[1]
    style = re.search(r"<style>(.*?)</style>", page, re.S)[1]
    assert not re.search(r"^\s*(import|export)\b|\bfetch\(|XMLHttp", script, re.M)
    for kind, source in (("script", script), ("style", style)):
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in page
    assert "default-src 'none'" in page
    shown = walk._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert (shown.count("<iframe"), shown.count("<script")) == (1, 0)
    assert 'sandbox="allow-scripts"' in shown


def test_a_longer_text_has_maps_of_its_start_and_too_long_a_one_is_refused(small: GPT1) -> None:
    page = held(small.explain("dog " * 80).page)
    assert (len(page["ids"]), len(page["scores"])) == (80, 80)
    assert {len(layer) for layer in page["lens"]} == {64}
    with pytest.raises(ContextError, match="97 ids long; the model has 96 positions"):
        small.explain("dog " * 97)


def test_gpt1s_shape_fits_in_two_megabytes(small: GPT1) -> None:
    shape = ModelConfig(vocab_size=len(small.tokenizer), n_ctx=64, n_embd=24, n_layer=12, n_head=12)
    model = Transformer(shape, generator=torch.Generator().manual_seed(0)).eval()
    text = "dog " * 64
    ids = small.tokenizer.encode(text)
    assert len(inside_page.render(model, small.tokenizer, text, ids).encode()) < 1_900_000


def test_both_ends_agree_on_what_is_shown() -> None:
    view = Path(inside_page.__file__).parents[1] / "serving/static/views/inside.js"
    assert f"const MOST = {inside_page.MOST};" in view.read_text("utf-8")
