"""Names and texts of others are shown as they are: on pages, in markdown, in spreadsheets."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from gpt1.checkpoint import card
from gpt1.escaping import defuse, printable
from gpt1.reports.sections import Section, Table
from gpt1.reproduction.document import Document
from pages import Page

NAMES = (
    "plain", "a|b", "`code`", "<script>alert(1)</script>", "\\<b onclick=x>", "[x](javascript:y)",
    "![x](y)", "two\nlines\n# heading", "\n\n---\n", "*bold*", "_italic_", "mnli_matched",
    "&lt;b&gt;", "~~gone~~", "\\", "\\|", "\x1b[31mred", "\x1b]0;owned\x07", "a\u202egpj.exe",
    "a\rb", "</td><td>", "{{ 1 }}", "$x$",
)  # fmt: skip


def seen(text: str) -> str:
    """Return what is to be read of a name."""
    return printable(text).replace("\n", "\\n")


def flat(text: str) -> list[Token]:
    """Return the pieces of markdown with tables, as a reader sees them."""
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    return [piece for token in parser.parse(text) for piece in (token, *(token.children or ()))]


@pytest.mark.parametrize("name", NAMES)
def test_a_document_shows_names_and_nothing_else(name: str) -> None:
    table = Table(("", f"of {name}"), [(f"ours {name}", "1.0")])
    document = Document("table5", "Title", [f"note {name}"], [Section(f"run {name}", table, name)])
    pieces = flat(document.to_markdown())
    kinds = {piece.type for piece in pieces}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "code_inline", "em_open"}
    assert not kinds & {"strong_open", "s_open", "hr", "fence"}
    shown = ["".join(c.content for c in piece.children) for piece in pieces if piece.children]
    expected = ["Title", f"note {name}", f"run {name}", name, f"of {name}", f"ours {name}", "1.0"]
    assert shown == [seen(text).strip() for text in expected]
    page = Page(document.to_html())
    assert page.rows == [["", f"of {printable(name)}"], [f"ours {printable(name)}", "1.0"]]
    assert not {"\x1b", "\x07", "\u202e"} & set(page.text)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_card_shows_labels_and_nothing_else(name: str) -> None:
    task = {"kind": "classification", "classes": [name, "b"]}
    lines = card._of_task(task, {}, "", "", known=False)
    pieces = flat(lines)
    assert not {p.type for p in pieces} & {
        "html_block",
        "html_inline",
        "link_open",
        "image",
        "s_open",
    }
    assert any("Labels: " in p.content for p in pieces)


@pytest.mark.parametrize("start", "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
def test_formulas_are_defused(start: str) -> None:
    assert defuse(start + "A1") == "'" + start + "A1"
    assert defuse("A1" + start) == "A1" + start
