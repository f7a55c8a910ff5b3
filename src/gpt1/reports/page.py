"""Sections as one HTML page that can be mailed and printed: it needs no script and no other file.

jinja2 escapes every text, and spells out what would reverse or hide it; charts are images within
the page.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby
from operator import attrgetter
from typing import Any

import jinja2

from gpt1.escaping import printable
from gpt1.reports.charts import draw_svg
from gpt1.reports.sections import LineChart, Picture, Section


def render_page(
    title: str,
    summary: Sequence[str],
    sections: Iterable[Section],
    cards: Sequence[tuple[str, str, str]] = (),
) -> bytes:
    """Return the page: title, a paragraph for each text of `summary`, cards, sections.

    cards: the figures the page begins with, as (name, value, interval or "").
    """
    groups = [(narrow, list(group)) for narrow, group in groupby(sections, attrgetter("narrow"))]
    text = _template().render(title=title, summary=summary, cards=cards, groups=groups)
    return text.encode(errors="replace")  # half a surrogate pair cannot be written


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gpt1", "reports"),
        autoescape=True,
        finalize=_printable,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    environment.filters["kind"] = lambda content: type(content).__name__
    return environment.get_template("page.html")


def _printable(value: Any) -> Any:
    return printable(value) if type(value) is str else value  # not what a macro has made


def _data_uri(chart: LineChart | Picture) -> str:
    form, data = ("png", chart.png) if isinstance(chart, Picture) else ("svg+xml", draw_svg(chart))
    return f"data:image/{form};base64,{base64.b64encode(data).decode()}"
