"""Regular expressions of strangers: a short one can have an automaton of any size."""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict

from gpt1.serving.protocol import Refusal

MOST_STATES = 500
_SECONDS = 3
_TRIAL = """
import sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
except ImportError:
    pass
try:
    from outlines_core import Index, Vocabulary
    vocabulary = Vocabulary(95, {chr(32 + i): [i] for i in range(95)})
    index = Index(sys.stdin.buffer.read().decode(), vocabulary)
except (ImportError, ValueError, TypeError):
    sys.exit(0)  # the engine says what is wrong
sys.exit(len(index.get_transitions()) > int(sys.argv[1]))
"""


class Patterns:
    """Tries patterns in a process of its own, one at a time, whose memory and time are bounded."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, bool] = OrderedDict()
        self._one = asyncio.Lock()

    async def check(self, pattern: str) -> None:
        """Raise Refusal for a pattern whose automaton is too large."""
        async with self._one:
            if pattern not in self._known:
                self._known[pattern] = await _is_small(pattern)
                if len(self._known) > 256:
                    self._known.popitem(last=False)
            if not self._known[pattern]:
                raise Refusal(
                    400,
                    f"regex needs an automaton of more than {MOST_STATES} states; simplify it, or "
                    f"use GPT1.generate.",
                    param="regex",
                )


async def _is_small(pattern: str) -> bool:
    trial = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _TRIAL, str(MOST_STATES)),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await asyncio.wait_for(trial.communicate(pattern.encode()), _SECONDS)
        return trial.returncode == 0
    except TimeoutError:
        return False
    finally:
        if trial.returncode is None:
            trial.kill()
            await trial.wait()
