"""Ids back to text: at once, or piece by piece while they are generated.

Raw text, by the way of cutting words:
original, fast   each token's `</w>` becomes a space, but the last token's nothing (spec 2.5.5; the
                 release has no decoder, and this way a newline survives)
slow             all tokens joined, every `</w>` a space, stripped at both ends (spec 2.4.4)

Clean-up then does the ten replacements that transformers did by default in 2024 (spec 2.6.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gpt1.text.bpe import END

if TYPE_CHECKING:
    from gpt1.text.tokenizer import Tokenizer

CLEAN_UP = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)


def join(tokens: Sequence[str], *, slow: bool, clean_up: bool) -> str:
    """Return the text of `tokens`, given as vocabulary strings.

    >>> join(["i</w>", "'m</w>", "here</w>", ".</w>"], slow=False, clean_up=True)
    "i'm here."
    """
    text = "".join([f"{token[:-4]} " if token.endswith(END) else token for token in tokens])
    if slow:
        text = text.replace(END, " ").strip()
    elif tokens and tokens[-1].endswith(END):
        text = text[:-1]
    if clean_up:
        for old, new in CLEAN_UP:
            text = text.replace(old, new)
    return text


class StreamDecoder:
    """Decode ids one at a time: the joined pieces are the text of all.

    decoder = StreamDecoder(tokenizer, prompt_ids)
    for id in new_ids:
        print(decoder.push(id), end="")
    print(decoder.finish())

    A piece holds back only what later ids may still change (the space after a word, the start of a
    clean-up). With `prompt_ids` the pieces go on from `prompt_text` = decode(prompt_ids), so that
    prompt_text + pieces == decode(prompt_ids + new ids) whenever that text starts with prompt_text.
    Where clean-up would change the prompt's own end ("do n" + "'t"), the prompt stays as it is and
    clean-up begins anew behind it.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompt_ids: Sequence[int] = (),
        *,
        clean_up: bool = True,
        skip_special: bool = False,
    ) -> None:
        self._tokenizer = tokenizer
        self._skip_special = skip_special
        self._slow = tokenizer.words == "slow"
        self._clean_up = clean_up
        self._stages = _Stages(self._slow, clean_up)
        self.prompt_text = tokenizer.decode(
            prompt_ids, clean_up=clean_up, skip_special=skip_special
        )
        """The text of the prompt by itself."""
        prompt = tokenizer.tokens(prompt_ids, skip_special=skip_special)
        settled = sum(len(self._stages.push(token)) for token in prompt)
        self._word_ended = bool(prompt) and prompt[-1].endswith(END)
        self._tail = self.prompt_text[settled:]
        """What the stages hold back of the prompt; it is not to be given out again."""
        self._seen = ""
        self._new: list[str] = []

    def push(self, id: int) -> str:
        """Return the text that `id` settles, perhaps empty. Raises InputError if out of range."""
        return "".join(
            map(self._push, self._tokenizer.tokens([id], skip_special=self._skip_special))
        )

    def finish(self) -> str:
        """Return what was held back; no ids may follow."""
        rest = self._stages.finish()
        if not self._tail:
            return rest
        self._seen += rest
        if not self._new:
            return ""
        if self._seen.startswith(self._tail):
            return self._seen[len(self._tail) :]
        return self._begin_anew() + self._stages.finish()

    def _push(self, token: str) -> str:
        piece = self._stages.push(token)
        if not self._tail:
            return piece
        self._new.append(token)
        self._seen += piece
        if self._seen.startswith(self._tail):
            piece, self._tail = self._seen[len(self._tail) :], ""
            return piece
        if self._tail.startswith(self._seen):
            return ""
        return self._begin_anew()

    def _begin_anew(self) -> str:
        """Leave the prompt as it is: its end would have been changed by what follows."""
        self._stages = _Stages(
            self._slow, self._clean_up, goes_on=True, word_ended=self._word_ended
        )
        self._tail = ""
        return "".join(map(self._stages.push, self._new))


class _Stages:
    """From tokens to text that no later token can change."""

    def __init__(
        self, slow: bool, clean_up: bool, *, goes_on: bool = False, word_ended: bool = False
    ) -> None:
        self._space = " " if word_ended else ""
        raw = (_Replace(END, " "), _Strip(goes_on)) if slow else ()
        cleaning = (_Replace(old, new) for old, new in CLEAN_UP) if clean_up else ()
        self._stages: list[_Replace | _Strip] = [*raw, *cleaning]

    def push(self, token: str) -> str:
        text = self._space + token.removesuffix(END)
        self._space = " " if token.endswith(END) else ""
        for stage in self._stages:
            text = stage.push(text)
        return text

    def finish(self) -> str:
        text = ""
        for stage in self._stages:
            text = stage.push(text) + stage.finish()
        return text


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
