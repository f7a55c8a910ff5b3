"""gpt1 verify: a model against every value that was published for the released weights."""

from __future__ import annotations

import json as json_
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpt1.cli import options, print_json
from gpt1.errors import DataError, GPT1Error

if TYPE_CHECKING:
    from gpt1.pipeline import GPT1


@dataclass(frozen=True)
class Check:
    """One published value and the model's, which must be equal up to the tolerance."""

    name: str
    expected: Any
    found: Any
    tolerance: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the model's value is the published one."""
        import numpy as np

        if not self.tolerance:
            return bool(self.expected == self.found)
        # a missing value becomes nan, which is near nothing
        expected, actual = np.array(self.expected, float), np.array(self.found, float)
        same_shape = expected.shape == actual.shape
        return same_shape and bool((abs(expected - actual) <= self.tolerance).all())


def verify(
    model: options.ModelArgument,
    expected: Annotated[
        Path | None,
        typer.Option(
            help="A JSON file with other values, in the form of published.json.",
            show_default="the published values",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Check a model against the values published for the released weights; exit 1 if any differs.

    The values are the article's (ids, logits, probability, loss, texts), those of transformers' own
    integration test, and the number of parameters. Everything is computed in float32.
    """
    import gpt1
    from gpt1.reports.sections import Table
    from gpt1.reports.tables import print_table

    path = expected or resources.files("gpt1") / "assets" / "published.json"
    try:
        values = json_.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"the expected values in {path} cannot be read: {error}.") from None
    gpt = gpt1.load(model, dtype="float32")
    try:
        checks = list(run_checks(gpt, values))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if expected is None or isinstance(error, GPT1Error):
            raise
        what = f"lacks {error}" if isinstance(error, KeyError) else f"has another form: {error}"
        raise DataError(f"{path} {what}. Give it the form of assets/published.json.") from None
    failed = sum(not check.passed for check in checks)
    if json:
        results = [{**vars(check), "passed": check.passed} for check in checks]
        print_json({"failed": failed, "checks": results})
    else:
        rows = [
            (c.name, _short(c.expected), _short(c.found), "pass" if c.passed else "FAIL")
            for c in checks
        ]
        columns = ("check", "published", "found", "")
        passed = f"{len(checks) - failed} of {len(checks)} pass"
        print_table(model, Table(columns, rows), passed)
    if failed:
        raise typer.Exit(1)


def run_checks(gpt: GPT1, values: dict[str, Any]) -> Iterator[Check]:
    """Compare a model with published values, in the order of the article (spec 9.2-9.5, 10.2)."""
    from gpt1.generation.explain import explain

    steps = values["text_loop"]["steps"]
    walk = explain(gpt.transformer(), gpt.tokenizer, values["prompt"], steps=steps)
    yield Check("parameters", values["parameters"], walk.parameters)
    yield Check("ids of the prompt", values["ids"], walk.ids)
    logits = values["logits"]
    corners = {
        (row, column): walk.corners[i][j]
        for i, row in enumerate(walk.corner_rows)
        for j, column in enumerate(walk.corner_columns)
    }
    for row, published in logits["rows"].items():
        found = [corners.get((int(row), column)) for column in logits["columns"]]
        yield Check(f"logits after id {row}", published, found, logits["tolerance"])
    best, following = walk.next_tokens[0], values["next"]
    yield Check("most likely next id", following["id"], best.id)
    yield Check("... as text", following["text"], best.text)
    probability = following["probability"]
    yield Check("... its probability", probability, best.probability, following["tolerance"])
    yield Check("loss", values["loss"]["value"], walk.loss, values["loss"]["tolerance"])
    for continuation in values["continuations"]:
        out = gpt.generate(continuation["prompt"], max_length=continuation["max_length"])
        yield Check(f"greedy ids, {continuation['source']}", continuation["ids"], out.ids)
        if "text" in continuation:
            yield Check("... as text", continuation["text"], gpt.tokenizer.decode(out.ids))
    yield Check("greedy loop on text", values["text_loop"]["text"], walk.article_text)


def _short(value: Any) -> str:
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, list):
        return ", ".join(_short(item) for item in value)
    return f"{value:.4f}" if isinstance(value, float) else f"{value}"
