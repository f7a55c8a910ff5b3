"""`gpt1 explain --html` in a real browser: the model's numbers, by keyboard, and no request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import browser as browsers
import commands
import serving
from gpt1.pipeline import GPT1

pytest.importorskip("playwright", reason="without playwright")

TEXT = "My dog is cute and </script><b>"
NEAR = {"rel": 1e-6, "abs": 1e-6}
WINDOWS = [
    pytest.param({"width": 1280, "height": 900}, "en", "light", id="desktop-en-light"),
    pytest.param({"width": 390, "height": 844}, "pt-BR", "dark", id="phone-pt-dark"),
]


@pytest.fixture(scope="module")
def gpt() -> GPT1:
    return serving.gpt()


@pytest.fixture(scope="module")
def file(gpt: GPT1, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(gpt.explain(TEXT).page, "utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsers.chromium() as browser:
        yield browser


def numbers(page: Any, selector: str, name: str) -> list[float]:
    found = page.eval_on_selector_all(selector, f"all => all.map((one) => one.dataset.{name})")
    return [float(value) for value in found if value is not None]


def check_access(page: Any, place: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page).response["violations"]
    bad = [(v["id"], v["nodes"][0]["html"][:120]) for v in found]
    bad = [b for b, v in zip(bad, found, strict=True) if v["impact"] in ("serious", "critical")]
    assert bad == [], place


@pytest.mark.parametrize(("size", "locale", "scheme"), WINDOWS)
def test_the_page_shows_the_models_numbers_and_asks_for_nothing(
    browser: Any, gpt: GPT1, file: Path, size: Any, locale: str, scheme: Any
) -> None:
    ids = gpt.tokenizer.encode(TEXT)
    with torch.inference_mode():
        output = gpt.transformer()(
            torch.tensor([ids]), output_hidden_states=True, output_attentions=True
        )
        layers = [gpt.transformer().logits(h[0]).softmax(-1) for h in output.hidden_states]
    logits = output.logits[0]
    context = browser.new_context(viewport=size, locale=locale, color_scheme=scheme)
    page, errors, requested = context.new_page(), [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.on("request", lambda request: requested.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_selector(".token.after")
    assert page.get_attribute("html", "lang") == locale
    expected = [float(logits[t].log_softmax(-1)[id]) for t, id in enumerate(ids[1:])]
    assert numbers(page, ".paper .token[data-id]", "logprob") == pytest.approx(expected, **NEAR)
    best = logits[-1].topk(10)
    assert numbers(page, ".bars .row", "id") == best.indices.tolist()
    assert numbers(page, ".bars .row", "logit") == pytest.approx(best.values.tolist(), **NEAR)
    check_access(page, "tokens")

    page.focus(".token[tabindex='0']")
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.dataset.index") == str(len(ids) - 4)
    p = logits[len(ids) - 5].softmax(-1).topk(10).values.tolist()
    assert numbers(page, ".bars .row", "p") == pytest.approx(p, **NEAR)

    page.click(".tab[data-view=inside]")
    page.wait_for_selector(".map")
    page.focus("[name=layer]")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector(".heads [aria-label$=' 1']")
    page.select_option("[name=layer]", index=1)
    assert page.evaluate("document.activeElement.name") == "layer"
    page.click("[data-head='1']")
    weights = output.attentions[1][0, 1]
    lower = [float(weights[t, s]) for t in range(len(ids)) for s in range(t + 1)]
    assert numbers(page, ".map td[data-weight]", "weight") == pytest.approx(lower, **NEAR)
    check_access(page, "attention")
    page.click("[data-value=lens]")
    page.wait_for_selector(".lens")
    best = [float(p) for layer in reversed(layers) for p in layer.max(-1).values]
    assert numbers(page, ".lens tbody button", "p") == pytest.approx(best, **NEAR)
    table, cell = (
        page.locator(selector).bounding_box()
        for selector in (".scroll:has(.lens)", ".lens [aria-pressed=true]")
    )
    assert table["x"] <= cell["x"] <= table["x"] + table["width"] - cell["width"]
    check_access(page, "lens")

    other = "pt" if locale == "en" else "en"
    page.click(f"[data-value={other}]")
    page.wait_for_selector(f"html[lang^={other}]")
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert requested == [file.as_uri()]
    assert errors == []
    context.close()


def test_a_notebooks_frame_runs_the_same_page(browser: Any, gpt: GPT1) -> None:
    page = browser.new_page()
    page.set_content(gpt.explain(TEXT)._repr_html_())
    page.frame_locator("iframe").locator(".token.after").wait_for()
    assert page.frame_locator("iframe").locator(".token[data-id]").count() > 4
    page.close()


def test_the_command_writes_a_page_once(tmp_path: Path) -> None:
    given = ("explain", "The old clock", "--steps", "1")
    plain = commands.run_gpt1(*given)
    path = tmp_path / "page.html"
    told = commands.run_gpt1(*given, "--html", str(path))
    assert told.stdout == plain.stdout
    assert path.stat().st_size < 200_000
    again = commands.run_gpt1(*given, "--html", str(path))
    assert again.code == 2
    assert "which exists. Choose another name, or add --force" in again.message
    assert commands.run_gpt1(*given, "--html", str(path), "--force").code == 0
