"""What the model makes of a text as one HTML file: views of the studio that need no server."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib import resources
from itertools import product

import numpy as np
import torch

from gpt1.escaping import printable
from gpt1.generation.explain import Explanation, NextToken, explain
from gpt1.generation.inside import Inside, look_inside
from gpt1.model.transformer import Transformer
from gpt1.text.tokenizer import Tokenizer

MOST = 64
"""The tokens whose attention and lens a page holds, as many as the studio draws."""
_ALTERNATIVES, _LENS = 10, 5
_STATIC = resources.files("gpt1") / "serving" / "static"
_IMPORT = re.compile(r'^import (?:(\w+)|(\{.+?\})) from "(.+?)";$', re.M)
_EXPORT = re.compile(r"^export (?:(default) )?(?:(const|function) (\w+))?", re.M)


@dataclass(frozen=True, repr=False)
class IllustratedExplanation(Explanation):
    """An explanation that a notebook shows as the studio does.

    page: the studio's view of the text, a whole HTML file that needs no network.
    """

    page: str

    def _repr_html_(self) -> str:
        frame = (
            f'<iframe srcdoc="{escape(self.page)}" sandbox="allow-scripts" title="gpt1 studio" '
            f'style="width: 100%; height: 46rem; border: 0"></iframe>'
        )
        return frame + super()._repr_html_()


def illustrate(
    model: Transformer, tokenizer: Tokenizer, text: str, *, steps: int = 20
) -> IllustratedExplanation:
    """Return what `explain` does, and the page of the text. Raises as it does."""
    walk = explain(model, tokenizer, text, steps=steps)
    page = render(model, tokenizer, text, walk.ids)
    return IllustratedExplanation(**vars(walk), page=page)


def render(model: Transformer, tokenizer: Tokenizer, text: str, ids: Sequence[int]) -> str:
    """Return the page of a text of `ids`: probabilities, alternatives, attention, logit lens.

    Of a longer text, attention and lens are of the first `MOST` tokens. Every number is the model's
    within 1e-6.
    """
    config, vocab = model.config, model.config.vocab_size
    read = look_inside(model, tokenizer, ids, alternatives=min(_ALTERNATIVES, vocab))
    heads = [*product(range(config.n_layer), range(config.n_head))]
    inner = look_inside(
        model, tokenizer, ids[:MOST], heads=heads, lens=min(_LENS, vocab), alternatives=0
    )
    shape = {"n_layer": config.n_layer, "n_head": config.n_head}
    held = _pack(text, read, inner) | {"config": shape | {"parameters": model.num_parameters()}}
    return _html(text, held)


def _pack(text: str, read: Inside, inner: Inside) -> dict[str, object]:
    """Return what the page computes from: tokens by id, numbers in 7 digits, 24-bit weights."""
    texts: dict[int, str] = {}

    def number(value: float | None) -> float | None:
        return None if value is None else float(f"{value:.7g}")

    def candidates(tokens: Sequence[NextToken]) -> list[list[float | None]]:
        texts.update((t.id, t.text) for t in tokens)
        return [[t.id, number(t.probability), number(t.logit)] for t in tokens]

    texts.update((p.id, p.text) for p in read.positions)
    maps = torch.stack([*inner.attention.values()]).double().cpu().numpy()  # (heads, T, T)
    lower = maps[:, *np.tril_indices(maps.shape[1])]
    levels = np.rint(lower * (2**24 - 1)).astype("<u4").reshape(-1, 1).view(np.uint8)
    return {
        "text": text,
        "ids": read.ids,
        "scores": [[number(p.logprob), p.rank] for p in read.positions],
        "alternatives": [candidates(p.alternatives) for p in read.positions],
        "next": candidates(read.next),
        "lens": [[candidates(place) for place in layer] for layer in inner.lens],
        "attention": base64.b64encode(levels[:, :3].tobytes()).decode(),
        "texts": texts,
    }


def _html(text: str, held: dict[str, object]) -> str:
    data = json.dumps(held, separators=(",", ":")).replace("<", "\\u003c")  # no tag ends it
    script, style = bundle("page.js"), _source("style.css")
    title = escape(printable(" ".join(text.split())[:60])).encode(errors="replace").decode()
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        f"base-uri 'none'; form-action 'none'"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · gpt1</title>
<style>{style}</style>
</head>
<body>
<div id="studio"></div>
<noscript>This page needs JavaScript. What it shows is also what gpt1 explain prints.</noscript>
<script type="application/json" id="held">{data}</script>
<script type="module">{script}</script>
</body>
</html>
"""


@cache
def bundle(entry: str) -> str:
    """Return a module of the studio, with all that it imports, as one script.

    Each module becomes a function that is called once and returns its exports.
    """
    parts: dict[str, str] = {}

    def add(path: str) -> None:
        def imported(match: re.Match[str]) -> str:
            default, names, target = match.groups()
            found = _resolve(path, target)
            if found not in parts:
                add(found)
            return f'const {default or names} = modules["{found}"]{".default" if default else ""};'

        exports: list[str] = []

        def exported(match: re.Match[str]) -> str:
            default, kind, name = match.groups()
            exports.append(f"default: {name or '$default'}" if default else name)
            return f"{kind} {name}" if name else "const $default = "  # export default {...}

        code = _EXPORT.sub(exported, _IMPORT.sub(imported, _source(path)))
        returned = f"return {{ {', '.join(exports)} }};"
        parts[path] = f'modules["{path}"] = (() => {{\n{code}{returned}\n}})();\n'

    add(entry)
    return "const modules = {};\n" + "".join(parts.values())


def _resolve(path: str, target: str) -> str:
    """Return the module that `path` calls `target`.

    >>> _resolve("views/read.js", "../place.js"), _resolve("views/read.js", "./ask.js")
    ('place.js', 'views/ask.js')
    """
    folder = path.rpartition("/")[0]
    if target.startswith("../"):
        return target.removeprefix("../")
    return "/".join(part for part in (folder, target.removeprefix("./")) if part)


def _source(path: str) -> str:
    return _STATIC.joinpath(path).read_text("utf-8")


def _hash(source: str) -> str:
    """Return what a policy calls an inline script or style that may be used."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
