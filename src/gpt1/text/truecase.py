"""What lower case and tokens lose and can safely be put back: "i", sentence starts, spacing.

Rules without a model: where English leaves a choice (an ellipsis, an abbreviation, `"no!" he said`)
the text stays as it is. Names stay lower case. Text that is right already does not change.
"""

from __future__ import annotations

import re

_WORDS = re.compile(r"\s+|\S+")
_TAIL = re.compile(r"(n['’]t|['’](s|m|d|ll|re|ve))(?![\w'’])")
_MARK = re.compile(r"[;:)\]}]+[.,;:!?]*$")
_I = re.compile(r"(?<![\w./@])(?<![\w]['’])i(?![\w/@]|\.\w)")
_OPENING, _CLOSING = "([{\"'“‘-–—*_", ")]}\"'”’*_"
_CUT = {("gon", "na"), ("got", "ta")}
"""Words that the release's rules cut in two."""
_NAMES = ("iphone", "ipad", "ipod", "imac", "itunes", "ios", "ebay")
_ABBREVIATED = """
mr mrs ms dr st prof rev hon capt col gen lt sgt maj jr sr mme mlle messrs vs etc inc ltd co corp
dept est approx mt ave blvd cf al viz jan feb aug sept oct nov dec esq gov pres sen rep mss ca fr
hwy bros univ assn misc adj vol fig figs ch pp ed eds trans"""
_SPOKEN = """
said says say asked asks cried cries replied replies answered exclaimed shouted whispered added
continued called muttered murmured remarked returned observed thought told began repeated declared
explained sighed demanded inquired responded yelled screamed snapped growled wrote ejaculated
interrupted rejoined laughed"""
_ABBREVIATIONS = frozenset(_ABBREVIATED.split())
_SPEECH = frozenset(_SPOKEN.split())


def truecase(text: str) -> str:
    r"""Return text, as `decode` writes it, with the capitals and spaces that can be put back.

    >>> truecase('" hello, " she said. i do n\'t know.')
    '"Hello," she said. I don\'t know.'
    """
    caser = Truecaser()
    return caser.push(text) + caser.finish()


class Truecaser:
    """`truecase`, piece by piece: a word is returned when its end and the next one's are known."""

    def __init__(self) -> None:
        self._held = ""  # the beginning of a word, or of the blanks before it
        self._gap = ""  # the blanks before the next word
        self._last = ""  # the word before; "" at the start of a line
        self._ended = True  # whether that word, or its quotation, may end a paragraph
        self._start = True  # whether the next word starts a sentence
        self._doubtful = False  # whether a ! or ? stands before, which ends most sentences
        self._answered = False  # whether it stands in a quotation, where a sentence may go on
        self._spoken = ""  # the last words of this sentence
        self._open = False  # whether a quotation is open
        self._quoted = False  # whether this sentence had a quotation, which may go on
        self._glued = False  # whether the next word follows without a blank
        self._broken = False  # whether what follows at once belongs to a word that was returned

    def push(self, text: str) -> str:
        """Return the text that nothing later can change, perhaps empty."""
        self._held += text
        parts = _WORDS.findall(self._held)
        self._held = parts.pop() if parts else ""
        return "".join(map(self._take, parts))

    def finish(self) -> str:
        """Return what was held back; text that follows at once goes on with the last word."""
        held, self._held = self._held, ""
        rest = self._take(held) if held else ""
        self._broken = bool(held) and not held.isspace()
        if self._gap:
            rest, self._gap = rest + ("" if self._glued else self._gap), ""
        return rest

    def _take(self, part: str) -> str:
        """Return what a word, or the blanks between two, makes certain."""
        if part.isspace():
            self._gap, self._broken = self._gap + part, False
            if "\n" in part:
                self._end_line()
            return ""
        if self._broken:  # the rest of a word
            self._broken = False
            self._end_word(self._last + part, '"' in part)
            return part
        before, gap, self._gap = self._last, self._gap, ""
        core = part.lstrip(_OPENING)
        head = part[: len(part) - len(core)]
        inches = part == '"' and not self._open and before[-1:].isdigit()
        opens = '"' in head and (core[:1].isalnum() or not (core or self._open or inches))
        closes = '"' in (core if opens else part) and not inches
        joined = gap == " " and self._joins(before, part)
        glued = self._glued and gap in ("", " ")
        if joined or glued or (gap == " " and before and closes and part[0] == '"' and not opens):
            gap = ""
        if opens:
            self._open_quotation(before)
        self._glued = part in ("(", "[", "{") or (part == '"' and opens)
        written = part if joined else self._cased(part, core)
        self._end_word(part, closes)
        return gap + written

    def _end_line(self) -> None:
        """Begin a paragraph, in which no quotation goes on."""
        self._start = self._start or self._ended
        self._doubtful = self._answered = self._open = self._quoted = self._glued = False
        self._last = self._spoken = ""

    def _joins(self, before: str, part: str) -> bool:
        """Tell whether a word follows the one before without a blank."""
        if (before.lower(), part.rstrip(".,;!?").lower()) in _CUT:
            return True
        if _TAIL.match(part):
            return before[-1:].isalpha() or (before[-1:].isdigit() and part.startswith("'s"))
        return bool(before) and not before[-1].isdigit() and bool(_MARK.match(part))

    def _open_quotation(self, before: str) -> None:
        """Begin a quotation: after `she said,` with a capital, unless it goes on with another."""
        told = before.endswith(",") and _SPEECH.intersection(self._spoken.split()[-4:])
        if (told and not self._quoted) or self._answered:
            self._start, self._answered = True, False
        self._open = True

    def _close_quotation(self) -> None:
        """End a quotation: `!` and `?` in it may not end the sentence around it."""
        self._open, self._quoted = False, not self._start
        if self._doubtful:
            self._doubtful, self._answered = False, True

    def _cased(self, part: str, core: str) -> str:
        """Return a word with its capitals; `core` is the word from its first letter on."""
        written = part if part == "(i)" else _I.sub("I", part)
        if not any(map(str.isalnum, core)):
            return written
        bare = core.rstrip(_CLOSING + ".,;:!?…")
        start = self._start or (self._doubtful and bare not in _SPEECH)
        self._start = self._doubtful = self._answered = False
        plain = re.sub("['’-]", "", bare).isalpha()
        if start and plain and bare.islower() and not bare.startswith(_NAMES):
            at = len(part) - len(core)
            written = written[:at] + written[at].upper() + written[at + 1 :]
        return written

    def _end_word(self, part: str, closes: bool) -> None:
        """Note what a word says about the next one."""
        self._last = part
        inside, _, outside = part.rpartition('"') if closes else ("", "", part)
        self._mark_end(inside)
        if closes:
            self._close_quotation()
        self._mark_end(outside)

    def _mark_end(self, part: str) -> None:
        """Note whether a sentence may end with a word, without the quotation mark behind it."""
        bare = part.rstrip(_CLOSING)
        if not bare:
            return
        self._ended = bare.endswith((".", "!", "?", ":", "…"))
        if bare.endswith(("..", "…")):
            self._start = self._doubtful = False
            return
        if bare.endswith("."):
            word = bare[:-1].lstrip(_OPENING).lower()
            initial = re.fullmatch(r"[a-hj-z]|[a-z](\.[a-z])+", word)
            self._start = not initial and word not in _ABBREVIATIONS
        elif bare.endswith(("!", "?")):
            self._doubtful = True
        if self._start or self._doubtful:
            self._spoken, self._quoted = "", False
        elif any(map(str.isalnum, bare)):
            self._spoken = f"{self._spoken} {bare.strip(_OPENING + ',;:').lower()}"[-60:]
