"""Sections as one HTML page that holds all it needs: no script, no font, nothing from elsewhere.

So a page can be mailed and printed. jinja2 escapes every text; charts are images within the page.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby

import jinja2

from gpt1.reports.charts import draw_svg
from gpt1.reports.sections import Card, LineChart, Picture, Section


def render_page(
    title: str, summary: Sequence[str], sections: Iterable[Section], cards: Sequence[Card] = ()
) -> bytes:
    """Return the page: its title, a paragraph for each text of `summary`, cards, sections."""
    groups = [
        (narrow, list(group)) for narrow, group in groupby(sections, lambda each: each.narrow)
    ]
    text = _template().render(title=title, summary=summary, cards=cards, groups=groups)
    return text.encode(errors="replace")  # half a surrogate pair cannot be written


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gpt1", "reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    environment.filters["kind"] = lambda content: type(content).__name__
    return environment.get_template("page.html")


def _data_uri(chart: LineChart | Picture) -> str:
    if isinstance(chart, Picture):
        form, data = "png", chart.png
    else:
        form, data = "svg+xml", draw_svg(chart)
    return f"data:image/{form};base64,{base64.b64encode(data).decode()}"
