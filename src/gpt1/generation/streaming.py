"""The text of one row while it grows: ids come in, settled text goes out, stop strings end it."""

from __future__ import annotations

from collections.abc import Sequence

from gpt1.text.detokenize import StreamDecoder
from gpt1.text.tokenizer import Tokenizer


class TextStreamer:
    """Turns a row's new ids into text, and holds back what a stop string may still take away.

    `text` is all that was given out; it goes on from `prompt_text`. A stop string is looked for in
    the completion only, in the form the tokenizer writes (lower case, cleaned up), wherever token
    borders lie; the completion ends right before the one that is complete first (the longest, if
    two end together).
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int], stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._prompt = tuple(prompt)
        self._stop = tuple(stop)
        self._decoder = StreamDecoder(tokenizer, prompt)
        self.prompt_text = self._decoder.prompt_text
        self._held = ""
        self.text = ""
        self.stopped = False

    def push(self, new_id: int) -> str:
        """Read one id; return the text that is now settled."""
        return self._take(self._decoder.push(new_id), last=False)

    def finish(self) -> str:
        """Return the rest of the text; nothing may be pushed afterwards."""
        return "" if self.stopped else self._take(self._decoder.finish(), last=True)

    def count_needed(self, new_ids: Sequence[int]) -> int:
        """Return how many of `new_ids` it takes to write `text`: the last may reach beyond it."""
        count = len(new_ids)
        while count and self._written(new_ids[: count - 1]).startswith(self.text):
            count -= 1
        return count

    def _written(self, new_ids: Sequence[int]) -> str:
        decoder = StreamDecoder(self._tokenizer, self._prompt)
        return "".join([decoder.push(i) for i in new_ids]) + decoder.finish()

    def _take(self, piece: str, *, last: bool) -> str:
        self._held += piece
        found = [(at + len(s), at) for s in self._stop if (at := self._held.find(s)) >= 0]
        self.stopped = bool(found)
        undecided = 0 if last else self._undecided()
        settled = min(found)[1] if found else len(self._held) - undecided
        out, self._held = self._held[:settled], self._held[settled:]
        self.text += out
        return out

    def _undecided(self) -> int:
        """Return the length of the longest end of the held text that begins a stop string."""
        longest = max((len(s) - 1 for s in self._stop), default=0)
        for size in range(min(longest, len(self._held)), 0, -1):
            if any(s.startswith(self._held[-size:]) for s in self._stop):
                return size
        return 0
