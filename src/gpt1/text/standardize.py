"""Clean text as the release does before it splits words: ftfy, then its own standardization.

`repair` is ftfy with its default settings (spec 2.2.1); `standardize` is `text_standardize` of the
release's text_utils.py (spec 2.2.2).
"""

from __future__ import annotations

import re

# ftfy leaves such text unchanged: ASCII without "&" (an entity) and without the control characters
# that it drops or turns into newlines.
_PLAIN = b"\t\n\f" + bytes(range(0x20, 0x7F)).replace(b"&", b"")

_REPLACED = str.maketrans({"—": "-", "–": "-", "―": "-", "…": "...", "´": "'"})
_PADDED = r"-+|~+|!+|\"+|;+|\?+|\++|,+|\)+|\(+|/+|\*+|\[+|\]+|\}+|\{+|\|+|_+"
_PAD = re.compile(f"({_PADDED})")
_PAD_BACKSLASH = re.compile(rf"({_PADDED}|\\+)")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


def repair(text: str) -> str:
    """Return ftfy.fix_text(text), calling ftfy only for lines that it could change.

    >>> repair("plain text")
    'plain text'
    """
    if _is_plain(text):
        return text
    import ftfy

    if "&" in text:  # whether entities are decoded depends on the lines before (spec 2.2.1)
        return ftfy.fix_text(text)
    lines = _LINE.findall(text)
    return "".join(line if _is_plain(line) else ftfy.fix_text(line) for line in lines)


def _is_plain(text: str) -> bool:
    return text.isascii() and not text.encode().translate(None, _PLAIN)


def parts(chunk: str, *, backslash: bool = False) -> list[str]:
    """Return the parts between which standardization puts spaces (spec 2.2.2 a, b).

    The release's pattern is not a raw string, so it does not pad the backslash; transformers' slow
    tokenizer does (`backslash`).

    >>> parts("well--wait…")
    ['well', '--', 'wait...']
    """
    if not chunk.isascii():
        chunk = chunk.translate(_REPLACED)
    return [part for part in (_PAD_BACKSLASH if backslash else _PAD).split(chunk) if part]


def standardize(text: str, *, backslash: bool = False) -> str:
    r"""Return `text` as the release's `text_standardize` does (spec 2.2.2).

    >>> standardize("One,two\n\n three ")
    'One , two \n three'
    """
    lines = (
        [part for chunk in line.split() for part in parts(chunk, backslash=backslash)]
        for line in text.split("\n")
    )
    return " \n ".join(" ".join(line) for line in lines if line)
