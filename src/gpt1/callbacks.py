"""How long calls report their progress."""

from __future__ import annotations

from collections.abc import Callable

ProgressCallback = Callable[[int, int], None]
"""Called with (done, total) in the caller's unit: rows, bytes, tokens; a total of 0 is unknown."""
