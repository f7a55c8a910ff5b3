"""Reads the pages that reports write, and checks what holds for all of them."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """What is on a page: rows of tables, headings, cards, and charts as the text of their SVG.

    Asserts that all tags are closed, and that the page runs nothing and asks for nothing.
    """

    def __init__(self, data: bytes | str) -> None:
        super().__init__()
        self.text = data.decode() if isinstance(data, bytes) else data
        self.rows: list[list[str]] = []
        self.marked: list[list[str]] = []
        self.headings: list[str] = []
        self.facts: dict[str, str] = {}
        self.charts: list[str] = []
        self._open: list[str] = []
        self._label = ""
        self.feed(self.text)
        self.close()
        assert not self._open
        assert "default-src 'none'" in self.text
        assert not re.search(r"https?:|url\(|@import", self.text)

    def chart(self, title: str) -> str:
        """Return the chart of this title."""
        found = self.text.partition(f"<figcaption>{title}<")[2].partition("</figure>")[0]
        return Page.svg(found.partition('src="')[2].partition('"')[0])

    @staticmethod
    def svg(uri: str) -> str:
        start, _, data = uri.partition(";base64,")
        assert start in ("data:image/svg+xml", "data:image/png"), uri[:80]
        return base64.b64decode(data).decode() if "svg" in start else ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "iframe", "object", "embed", "svg", "i")
        given = {name: value or "" for name, value in attrs}
        assert given.keys().isdisjoint({"href", "srcset", "data", "onerror", "onclick"})
        if tag == "img":
            self.charts.append(Page.svg(given["src"]))
        if tag not in ("meta", "br", "img"):
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
            if given.get("class") == "changed":
                self.marked.append(self.rows[-1])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag in ("h1", "h2", "figcaption"):
            self.headings.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        at = self._open[-1] if self._open else ""
        if at in ("td", "th"):
            self.rows[-1][-1] += data
        elif at in ("h1", "h2", "figcaption"):
            self.headings[-1] += data
        elif at == "dt":
            self._label = data
        elif at == "dd":
            self.facts[self._label] = data
