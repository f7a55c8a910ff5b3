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
from gpt1.reports.sections import Chart, Columns, Picture, Section


def render_page(title: str, summary: Sequence[str], sections: Iterable[Section]) -> bytes:
    """Return the page: `title` as its heading, a paragraph for each text of `summary`, sections."""
    shown: list[Section] = []
    for narrow, group in groupby(sections, lambda section: section.narrow):
        beside = list(group)
        shown += [Section("", Columns(beside))] if narrow else beside
    template = _environment().get_template("page.html")
    text = template.render(title=title, summary=summary, sections=shown)
    return text.encode(errors="replace")  # half a surrogate pair cannot be written


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gpt1", "reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    environment.filters["kind"] = lambda content: type(content).__name__
    return environment


def _data_uri(chart: Chart) -> str:
    if isinstance(chart, Picture):
        form, data = "png", chart.png
    else:
        form, data = "svg+xml", draw_svg(chart)
    return f"data:image/{form};base64,{base64.b64encode(data).decode()}"
