"""The studio in a real browser: what a reader does, and that every number is the model's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import browser as browsers
import serving
from gpt1.config import SamplingConfig
from gpt1.pipeline import GPT1
from gpt1.serving.models import Served
from serving import Running

pytest.importorskip("playwright", reason="without playwright")

PROMPT = "My dog is cute and"
VIEWS = ("write", "walk", "inside", "tasks", "compare")
NEAR = {"rel": 1e-6, "abs": 1e-6}


@pytest.fixture(scope="module")
def gpt() -> GPT1:
    return serving.gpt()


@pytest.fixture(scope="module")
def server(gpt: GPT1) -> Iterator[Running]:
    models = [Served.of("tiny", gpt, slots=4), Served.of("other", serving.gpt(seed=6), slots=4)]
    with serving.running(models) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsers.chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def window(browser: Any) -> Iterator[Any]:
    """A window, and the errors of its console."""
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 800})
    page, errors = context.new_page(), []
    page.set_default_timeout(20_000)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    yield page, errors
    context.close()


@pytest.fixture
def page(window: Any, server: Running) -> Iterator[Any]:
    """The page on its first visit; errors on its console fail the test."""
    page, errors = window
    page.goto("about:blank")
    page.goto(server.base_url)
    page.wait_for_selector("main h1")
    page.fill("#prompt", PROMPT)
    yield page
    assert errors == []


def write(page: Any) -> list[int]:
    """Let it write, and return the ids on the page."""
    page.click("button.primary")
    page.wait_for_selector(".token.after")
    return ids_of(page)


def ids_of(page: Any) -> list[int]:
    return numbers(page, ".paper .token[data-id]", "id", int)


def numbers(page: Any, selector: str, name: str, kind: Any = float) -> list[Any]:
    """Return an attribute of elements, in their order."""
    found = page.eval_on_selector_all(selector, f"all => all.map((one) => one.dataset.{name})")
    return [None if value is None else kind(value) for value in found]


def logits_of(gpt: GPT1, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return gpt.transformer()(torch.tensor([ids])).logits[0]


def view(page: Any, name: str) -> None:
    page.click(f".tab[data-view={name}]")
    ready = {"walk": ".step", "inside": ".map, .lens", "tasks": ".figure", "compare": ".column"}
    page.wait_for_selector(ready.get(name, "#prompt"))


def test_written_tokens_have_the_models_probabilities(page: Any, gpt: GPT1) -> None:
    ids = write(page)
    read = len(gpt.tokenizer.encode(PROMPT))
    assert ids[:read] == gpt.tokenizer.encode(PROMPT)
    assert len(ids) > read
    logits = logits_of(gpt, ids)
    logprobs = logits.log_softmax(-1)
    expected = [float(logprobs[t, id]) for t, id in enumerate(ids[1:])]
    shown = numbers(page, ".paper .token[data-id]", "logprob")
    assert shown[0] is None
    assert shown[1:] == pytest.approx(expected, **NEAR)
    best = logits[-1].topk(10)
    assert numbers(page, ".bars .row", "id", int) == best.indices.tolist()
    assert numbers(page, ".bars .row", "logit") == pytest.approx(best.values.tolist(), **NEAR)
    p = logits[-1].softmax(-1)[best.indices].tolist()
    assert numbers(page, ".bars .row", "p") == pytest.approx(p, **NEAR)


def test_the_alternatives_of_a_token_by_pointer_and_by_keys(page: Any, gpt: GPT1) -> None:
    ids = write(page)
    p = logits_of(gpt, ids).softmax(-1)

    def shown() -> list[float]:
        return numbers(page, ".bars .row", "p")

    page.hover(".token[data-index='5']")
    assert shown() == pytest.approx(p[4].topk(10).values.tolist(), **NEAR)
    page.click(".token[data-index='6']")
    assert shown() == pytest.approx(p[5].topk(10).values.tolist(), **NEAR)
    page.mouse.move(2, 2)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.dataset.index") == "4"
    assert shown() == pytest.approx(p[3].topk(10).values.tolist(), **NEAR)


def test_another_choice_is_a_branch_and_the_first_is_kept(page: Any) -> None:
    first = write(page)
    page.click(".token[data-index='7']")
    page.mouse.move(2, 2)
    other = page.locator(".bars .row:not([aria-current])").first
    chosen = int(other.get_attribute("data-id"))
    other.click()
    page.wait_for_selector(".branches")
    page.wait_for_selector(".token.after")
    second = ids_of(page)
    assert second[:7] == first[:7]
    assert second[7] == chosen != first[7]
    page.locator(".branches ul ul .branch").first.click()
    page.wait_for_selector(f".token[data-index='7'][data-id='{first[7]}']")
    assert ids_of(page) == first


def test_a_link_holds_the_page_and_a_broken_one_is_told(page: Any, browser: Any) -> None:
    ids = write(page)
    page.click("[data-value=pt]")
    page.wait_for_selector("html[lang=pt-BR]")
    again = browser.new_page()
    again.goto(page.url)
    again.wait_for_selector(".token.after")
    assert ids_of(again) == ids
    assert again.inner_text("h1") == "Veja o modelo escrever"
    again.goto("about:blank")
    again.goto(page.url[:-9])
    again.wait_for_selector(".alert p")
    assert "damaged" in again.inner_text(".alert")
    assert ids_of(again) == []
    again.close()


def test_the_walk_is_next_tokens_at_any_temperature(page: Any, gpt: GPT1) -> None:
    view(page, "walk")
    for step in range(1, 6):
        page.click("button.next")
        assert page.get_attribute("[aria-current=step]", "data-step") == str(step)
    expected = gpt.next_tokens(PROMPT, k=10)
    assert numbers(page, ".bars .row", "id", int) == [token.id for token in expected]
    logits = [token.logit for token in expected]
    assert numbers(page, ".bars .row", "logit") == pytest.approx(logits, **NEAR)
    page.keyboard.press("ArrowRight")
    p = [token.probability for token in expected]
    assert numbers(page, ".bars .row", "p") == pytest.approx(p, **NEAR)
    page.fill("#temperature", "0.5")
    ids = gpt.tokenizer.encode(PROMPT)
    colder = (logits_of(gpt, ids)[-1].double() / 0.5).softmax(-1)
    top = colder.topk(10).values.tolist()
    assert numbers(page, ".bars .row", "p") == pytest.approx(top, **NEAR)
    page.click("[data-step='7']")
    page.click(".strip + .actions button >> nth=0")
    page.click(".drawn button")
    page.wait_for_selector("[data-step='5'][aria-current]")
    after = logits_of(gpt, [*ids, expected[0].id])[-1].topk(10)
    assert numbers(page, ".bars .row", "id", int) == after.indices.tolist()


def test_attention_and_the_lens_are_the_models(page: Any, gpt: GPT1) -> None:
    view(page, "inside")
    page.select_option("[name=layer]", index=1)
    page.wait_for_selector("[aria-label='Layer 2, head 2']")
    page.click("[data-head='1']")
    ids = gpt.tokenizer.encode(PROMPT)
    with torch.inference_mode():
        output = gpt.transformer()(
            torch.tensor([ids]), output_hidden_states=True, output_attentions=True
        )
        layers = [gpt.transformer().logits(h[0]).softmax(-1) for h in output.hidden_states]
    weights = output.attentions[1][0, 1]
    lower = [float(weights[t, s]) for t in range(len(ids)) for s in range(t + 1)]
    assert numbers(page, ".map td[data-weight]", "weight") == pytest.approx(lower, **NEAR)
    page.click("[data-value=lens]")
    page.wait_for_selector(".lens")
    best = [float(p) for layer in reversed(layers) for p in layer.max(-1).values]
    assert numbers(page, ".lens tbody button", "p") == pytest.approx(best, **NEAR)


def test_the_sequences_of_a_task_are_the_papers(page: Any) -> None:
    view(page, "tasks")
    page.click("[data-value=similarity]")
    page.wait_for_selector(".figure.similarity")
    part = "(each) => each.dataset.special ?? each.dataset.text"
    parts = f"all => all.map((row) => [...row.children].map({part}))"
    first, second = page.eval_on_selector_all(".sequence", parts)
    assert first == ["start", "0", "delimiter", "1", "extract"]
    assert second == ["start", "1", "delimiter", "0", "extract"]


def test_two_models_read_the_same_text(page: Any, gpt: GPT1) -> None:
    view(page, "compare")
    page.wait_for_selector(".column >> nth=1")
    shown = numbers(page, ".column .big", "perplexity")
    expected = [model.score(PROMPT).perplexity for model in (gpt, serving.gpt(seed=6))]
    assert shown == pytest.approx(expected, rel=1e-5)


def test_both_languages_say_everything(page: Any) -> None:
    tree = """async () => {
        const shape = (value) => !value || typeof value !== "object" ? typeof value
            : Object.fromEntries(Object.keys(value).sort().map((key) => [key, shape(value[key])]));
        const [en, pt] = [await import("./strings.en.js"), await import("./strings.pt.js")];
        return [shape(en.default), shape(pt.default)];
    }"""
    english, portuguese = page.evaluate(tree)
    assert english == portuguese


def test_the_server_takes_every_control(page: Any, server: Running) -> None:
    controls = page.evaluate("async () => (await import('./settings.js')).CONTROLS")
    for control in controls:
        name = {"max_tokens": "max_new_tokens"}.get(control["name"], control["name"])
        for bound in ("low", "high"):
            if bound in control:
                SamplingConfig(**{name: control[bound]})
    given = {c["name"]: "dog\ncute" if c.get("lines") else c["low"] for c in controls}
    fields = page.evaluate(
        "async (given) => (await import('./settings.js')).requestFields(given)",
        {**given, "temperature": 0.5, "no_repeat_ngram_size": 2},
    )
    assert set(fields) == {control["name"] for control in controls}
    assert fields["stop"] == ["dog", "cute"]
    answer = server.post("/v1/completions", {"prompt": "my dog", **fields})
    assert answer.status_code == 200, answer.text


def test_a_phone_needs_no_sideways_scrolling_and_dark_is_dark(
    browser: Any, server: Running
) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, color_scheme="dark", locale="pt-BR"
    )
    page = context.new_page()
    page.goto(server.base_url)
    page.fill("#prompt", PROMPT)
    for name in VIEWS:
        view(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
    colours = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", colours)[:3])) < 64
    context.close()


def test_a_server_with_keys_is_asked_with_one(browser: Any, gpt: GPT1) -> None:
    page = browser.new_page()
    with serving.running([Served.of("tiny", gpt, slots=1)], keys=["secret"]) as locked:
        page.goto(locked.base_url)
        page.fill(".alert input", "wrong")
        page.click(".alert button")
        page.wait_for_selector(".alert input:not(:focus)")
        page.fill(".alert input", "secret")
        page.click(".alert button")
        page.fill("#prompt", PROMPT)
        assert write(page)
        assert "secret" not in page.url
        page.close()


COMBINATIONS = [
    pytest.param("en", "light", id="en-light"),
    *(
        pytest.param(language, theme, marks=pytest.mark.slow, id=f"{language}-{theme}")
        for language, theme in (("en", "dark"), ("pt", "light"), ("pt", "dark"))
    ),
]


@pytest.mark.parametrize(("language", "theme"), COMBINATIONS)
def test_axe_finds_nothing_serious(page: Any, language: str, theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def check(place: str) -> None:
        bad = [
            (v["id"], v["nodes"][0]["html"][:120], v["nodes"][0].get("failureSummary"))
            for v in axe.run(page).response["violations"]
            if v["impact"] in ("serious", "critical")
        ]
        assert bad == [], place

    page.click(f"[data-value={language}]")
    page.click(f"[data-value={theme}]")
    for name in VIEWS:
        view(page, name)
        if name == "write":
            write(page)
            page.click(".token[data-index='3']")
        check(name)
    if (language, theme) == ("en", "light"):
        return
    view(page, "inside")
    page.click("[data-value=lens]")
    page.wait_for_selector(".lens")
    check("lens")
