"""What a long call reports while it works."""

from __future__ import annotations

from collections.abc import Callable

ProgressCallback = Callable[[int, int], None]
"""Called with (done, total); the unit is the caller's: rows, bytes, tokens. Total 0: not known."""
