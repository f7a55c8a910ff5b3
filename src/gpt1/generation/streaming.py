"""Ids to text, piece by piece: text is returned as soon as no later id can change it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TypeVar

from gpt1.errors import Note
from gpt1.text.bpe import END
from gpt1.text.detokenize import CLEAN_UP, join
from gpt1.text.pre_tokenizers import UNKNOWN
from gpt1.text.tokenizer import Tokenizer
from gpt1.text.truecase import Truecaser

T = TypeVar("T")


class TextStreamer:
    """Turns a row's new ids into text, and holds back what a stop string may still remove.

    `text` is all text returned so far; it follows `prompt_text`. Stop strings are searched in the
    completion only, as the tokenizer writes them (lower case, cleaned up) or as they are given,
    across token borders. The completion ends right before the one that is complete first (the
    longest, if two end together). `truecase` restores capitals and spaces in what is returned, in
    `prompt_text` too, after stop strings are found.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompt: Sequence[int],
        stop: Sequence[str] = (),
        *,
        truecase: bool = False,
    ) -> None:
        self._tokenizer = tokenizer
        self._prompt = tuple(prompt)
        self._stop = tuple(dict.fromkeys([*stop, *(as_written(s, tokenizer) for s in stop)]))
        self._decoder = StreamDecoder(tokenizer, prompt)
        self._caser = Truecaser() if truecase else None
        self.prompt_text = self._cased(self._decoder.prompt_text, last=True)
        self._held = ""
        self._plain = ""  # `text` before its capitals
        self.text = ""
        self.stopped = False

    def push(self, new_id: int) -> str:
        """Read one id; return the text that later ids cannot change, perhaps empty."""
        return self._give(self._take(self._decoder.push(new_id), last=False), last=False)

    def finish(self) -> str:
        """Return the rest of the text; no ids may follow."""
        rest = "" if self.stopped else self._take(self._decoder.finish(), last=True)
        return self._give(rest, last=True)

    def count_needed(self, new_ids: Sequence[int]) -> int:
        """Return how many of `new_ids` it takes to write `text`: the last may reach beyond it."""
        count = len(new_ids)
        while count and self._decode(new_ids[: count - 1]).startswith(self._plain):
            count -= 1
        return count

    def copy(self) -> TextStreamer:
        """Return a streamer that goes on from here by itself."""
        other = _copy(self)
        other._decoder = self._decoder.copy()
        other._caser = self._caser and _copy(self._caser)
        return other

    def _decode(self, new_ids: Sequence[int]) -> str:
        decoder = StreamDecoder(self._tokenizer, self._prompt)
        return "".join(map(decoder.push, new_ids)) + decoder.finish()

    def _take(self, piece: str, *, last: bool) -> str:
        self._held += piece
        stops = [(at + len(s), at) for s in self._stop if (at := self._held.find(s)) >= 0]
        self.stopped = bool(stops)
        undecided = 0 if last else self._undecided()
        end = min(stops)[1] if stops else len(self._held) - undecided
        out, self._held = self._held[:end], self._held[end:]
        self._plain += out
        return out

    def _give(self, piece: str, *, last: bool) -> str:
        piece = self._cased(piece, last=last)
        self.text += piece
        return piece

    def _cased(self, piece: str, *, last: bool) -> str:
        """Return a piece with its capitals, as far as nothing later changes them."""
        if self._caser is None:
            return piece
        return self._caser.push(piece) + (self._caser.finish() if last else "")

    def _undecided(self) -> int:
        """Return the length of the longest end of the held text that begins a stop string."""
        longest = max((len(s) - 1 for s in self._stop), default=0)
        for size in range(min(longest, len(self._held)), 0, -1):
            if any(s.startswith(self._held[-size:]) for s in self._stop):
                return size
        return 0


def as_written(stop: str, tokenizer: Tokenizer) -> str:
    r"""Return a stop string as the model writes it; a Note says if that is different, or never.

    Its letters are those of the tokenizer, and so are its blanks; a line break is " \n ".
    """
    core = stop.strip()
    ids = tokenizer.encode(core)
    if tokenizer.unknown_id in ids or (core and not ids):
        if stop not in UNKNOWN:
            note = f"the model never writes {stop!r}, so it stops nothing: its vocabulary lacks it"
            warnings.warn(note, Note, stacklevel=2)
        return stop
    before, after = stop[: len(stop) - len(stop.lstrip())], stop[len(stop.rstrip()) :]
    start = ("\n " if "\n" in before else " ") if before else ""
    end = (" \n" if "\n" in after else " ") if after else ""
    written = f"{start}{tokenizer.decode(ids)}{end}" if core else start.strip(" ") or " "
    for old, new in CLEAN_UP:
        written = written.replace(old, new)
    if written != stop:
        note = f"the stop string {stop!r} is {written!r} as the model writes it"
        warnings.warn(note, Note, stacklevel=2)
    return written


class StreamDecoder:
    """Decode ids one at a time: the joined pieces are `Tokenizer.decode` of all.

    decoder = StreamDecoder(tokenizer, prompt_ids)
    for id in new_ids:
        print(decoder.push(id), end="")
    print(decoder.finish())

    A piece holds back only what later ids may still change (the space after a word, the start of a
    clean-up). With `prompt_ids` the pieces go on from `prompt_text` = decode(prompt_ids), so that
    prompt_text + pieces == decode(prompt_ids + new ids) whenever that text starts with prompt_text.
    Where clean-up would change the prompt's own end ("do n" + "'t"), the prompt stays as it is.
    """

    def __init__(self, tokenizer: Tokenizer, prompt_ids: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self.prompt_text = tokenizer.decode(prompt_ids)
        """The text of the prompt by itself."""
        tokens = tokenizer.tokens(prompt_ids)
        self._space = " " if tokens and tokens[-1].endswith(END) else ""
        """What stands before the next token. It is the only part of the prompt that a clean-up may
        begin with: each drops a space, and the prompt's own spaces have been given out."""
        self._stages: list[_Replace | _Strip] = [_Replace(old, new) for old, new in CLEAN_UP]
        if tokenizer.words == "slow":
            raw = join(tokens, slow=False, clean_up=False).replace(END, " ") + self._space
            self._space = raw[len(raw.rstrip()) :]  # prompt_text is stripped of it
            self._stages = [_Replace(END, " "), _Strip(bool(self.prompt_text)), *self._stages]

    def push(self, id: int) -> str:
        """Return the text that `id` completes, perhaps empty. Raises InputError if out of range."""
        return self.push_token(*self._tokenizer.tokens([id]))

    def push_token(self, token: str) -> str:
        """Return the text that a token of the vocabulary completes, perhaps empty."""
        text = self._space + token.removesuffix(END)
        self._space = " " if token.endswith(END) else ""
        for stage in self._stages:
            text = stage.push(text)
        return text

    def finish(self) -> str:
        """Return what was held back; no ids may follow."""
        text = ""
        for stage in self._stages:
            text = stage.push(text) + stage.finish()
        return text

    def copy(self) -> StreamDecoder:
        """Return a decoder that goes on from here by itself."""
        other = _copy(self)
        other._stages = [_copy(stage) for stage in self._stages]
        return other

    @property
    def state(self) -> tuple[object, ...]:
        """Everything that later text depends on."""
        held = [(s._held, isinstance(s, _Strip) and s._started) for s in self._stages]
        return self._space, *held


def _copy(thing: T) -> T:
    """Return a shallow copy, in a tenth of copy.copy's time."""
    other = object.__new__(type(thing))
    other.__dict__.update(thing.__dict__)
    return other


class _Replace:
    """str.replace, piece by piece."""

    def __init__(self, old: str, new: str) -> None:
        self._old, self._new = old, new
        self._held = ""

    def push(self, text: str) -> str:
        *before, rest = (self._held + text).split(self._old)
        held = next(n for n in range(len(self._old) - 1, -1, -1) if rest.endswith(self._old[:n]))
        self._held = self._old[:held]
        return self._new.join([*before, rest[: len(rest) - held]])

    def finish(self) -> str:
        held, self._held = self._held, ""
        return held


class _Strip:
    """str.strip, piece by piece; `started`: text stands before, so only the end is stripped."""

    def __init__(self, started: bool) -> None:
        self._started = started
        self._held = ""

    def push(self, text: str) -> str:
        text = self._held + text
        if not self._started:
            text = text.lstrip()
        done = text.rstrip()
        self._started = self._started or bool(done)
        self._held = text[len(done) :]
        return done

    def finish(self) -> str:
        return ""
