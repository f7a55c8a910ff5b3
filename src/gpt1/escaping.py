"""Texts of others as a terminal, a spreadsheet and markdown may show them."""

from __future__ import annotations

import re

_STEERING = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]|\r(?!\n)")
"""Characters that move a terminal's cursor, colour it, rename it, or reverse what is read."""
_MARKDOWN = re.compile(r"[\\`*\[\]<>&|~]|(?<!\w)_|_(?!\w)")


def printable(text: str) -> str:
    r"""Return `text` as a terminal may show it: what would steer the terminal is spelt out.

    >>> printable("a\tb" + chr(27) + "[31mred")
    'a\tb\\x1b[31mred'
    """
    return _STEERING.sub(_spell, text)


def defuse(text: str) -> str:
    """Return a csv field that no spreadsheet runs as a formula.

    >>> defuse("=1+1"), defuse("-1.5"), defuse("good")
    ("'=1+1", '-1.5', 'good')
    """
    if not text.startswith(tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")):  # full-width ones too
        return text
    try:
        float(text)
    except ValueError:
        return "'" + text
    return text


def escape_markdown(text: str) -> str:
    r"""Return `text` as one line that markdown shows as it is, without links and HTML.

    >>> print(escape_markdown("a|b <i> [x](y)"))
    a\|b \<i\> \[x\](y)
    """
    return _MARKDOWN.sub(r"\\\g<0>", printable(text).replace("\n", "\\n"))


def _spell(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
