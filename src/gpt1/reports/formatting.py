"""How figures and names are written for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

Item = TypeVar("Item")


def format_perplexity(loss: float) -> str:
    """Return exp(loss) as text.

    >>> format_perplexity(2.9124), format_perplexity(10.6085)  # the paper's 18.4, ln 40478
    ('18.40', '40477')
    >>> format_perplexity(1000.0)
    'inf'
    """
    from gpt1.model import losses  # which imports torch

    value = losses.perplexity(loss)
    return f"{value:.2f}" if value < 1000 else f"{value:.5g}"


def format_duration(seconds: float) -> str:
    """Return a duration as text.

    >>> format_duration(42.2), format_duration(150), format_duration(7300)
    ('42 s', '2.5 min', '2.0 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def format_percent(value: float) -> str:
    """Return a share in percent, with one decimal."""
    return f"{100 * value:.1f}"


def format_interval(value: float, low: float, high: float, more: str = "") -> str:
    """Return a share in percent with its interval, and `more` within the brackets.

    >>> format_interval(0.5, 0.25, 0.75)
    '50.0 (25.0 to 75.0)'
    """
    return f"{format_percent(value)} ({format_percent(low)} to {format_percent(high)}{more})"


def format_setting(value: Any) -> str:
    """Return a setting's value as text.

    >>> format_setting(None), format_setting(True), format_setting([1, 0.5]), format_setting("")
    ('none', 'true', '1, 0.5', '""')
    """
    if value is None or value == "":
        return "none" if value is None else '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(map(format_setting, value)) or "none"
    return str(value)


def spread(items: Sequence[Item], limit: int) -> list[Item]:
    """Return at most `limit` items, evenly spaced, the first and the last among them.

    >>> spread(range(10), 4)
    [0, 3, 6, 9]
    """
    if len(items) <= limit:
        return list(items)
    return [items[round(i * (len(items) - 1) / (limit - 1))] for i in range(limit)]


def short_names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest names that tell folders apart: the ends of their paths.

    >>> short_names([Path("/runs/a/mini"), Path("/runs/b/mini")])
    ['a/mini', 'b/mini']
    """
    # a name may hold bytes that are not text and cannot be printed
    printable = [Path(str(path).encode(errors="replace").decode()) for path in paths]
    parts = [path.resolve().parts for path in printable]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(path[-length:]) for path in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{path} ({number})" for number, path in enumerate(printable, 1)]  # the same folder
