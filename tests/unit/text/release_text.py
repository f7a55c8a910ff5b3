"""The release's text pipeline and transformers' slow one, as plainly as they can be written.

No cache, no shortcuts: ftfy and spaCy on the whole text, then the pair of lowest rank, again and
again. And strings to compare with: everything that ftfy, the standardisation and spaCy act on.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import ftfy
import spacy

# As in the release: not a raw string, so the regex for the backslash is one for the plus sign
_PAD = r"(-+|~+|!+|\"+|;+|\?+|\++|,+|\)+|\(+|\+|\/+|\*+|\[+|\]+|}+|{+|\|+|_+)"
_PAD_SLOW = r"(-+|~+|!+|\"+|;+|\?+|\++|,+|\)+|\(+|\\+|\/+|\*+|\[+|\]+|}+|{+|\|+|_+)"


def standardize(text: str, pattern: str = _PAD) -> str:
    for old, new in (("—", "-"), ("–", "-"), ("―", "-"), ("…", "..."), ("´", "'")):
        text = text.replace(old, new)
    text = re.sub(pattern, r" \1 ", text)
    text = re.sub(r"\s*\n\s*", " \n ", text)
    return re.sub(r"[^\S\n]+", " ", text).strip()


def merge(word: str, ranks: dict[tuple[str, str], int]) -> list[str]:
    symbols = [*word[:-1], word[-1] + "</w>"]
    while True:
        pairs = [pair for pair in pairwise(symbols) if pair in ranks]
        if not pairs:
            return symbols
        best = min(pairs, key=ranks.__getitem__)
        merged: list[str] = []
        for symbol in symbols:
            if merged and (merged[-1], symbol) == best:
                merged[-1] += symbol + "\0"  # so that it does not merge again in this pass
            else:
                merged.append(symbol)
        symbols = [symbol.replace("\0", "") for symbol in merged]


class Release:
    """The TextEncoder of the release, and with slow=True transformers 4's OpenAIGPTTokenizer."""

    def __init__(self, vocab: Path, merges: Path) -> None:
        self.ids: dict[str, int] = json.loads(vocab.read_text("utf-8"))
        lines = merges.read_text("utf-8").split("\n")[1:-1]
        self.ranks = {(left, right): n for n, (left, right) in enumerate(map(str.split, lines))}
        self.nlp = spacy.blank("en")

    def words(self, text: str, pattern: str = _PAD) -> list[str]:
        return [t.text for t in self.nlp(standardize(ftfy.fix_text(text), pattern))]

    def encode(self, text: str, pattern: str = _PAD) -> list[int]:
        ids: list[int] = []
        for word in self.words(text, pattern):
            symbols = merge(word.lower(), self.ranks)
            if " ".join(symbols) == "\n  </w>":
                symbols = ["\n</w>"]
            ids.extend(self.ids.get(symbol, 0) for symbol in symbols)
        return ids

    def encode_slow(self, text: str) -> list[int]:
        text = re.sub("(<unk>)|(.+?)", lambda match: match[1] or match[2].lower(), text)
        ids: list[int] = []
        for section in re.split("(<unk>)", text):
            ids.extend([0] if section == "<unk>" else self.encode(section, _PAD_SLOW))
        return ids


_PIECES = [
    "the", "The", "THE", "hello", "World", "andi", "joke", "I'm", "i'm", "can't", "CAN'T",
    "don’t", "gonna", "cannot", "U.S.", "Dr.", "Mr.", "a.m.", "i.e.", "p.m", "o'clock",
    "ma'am", "'em", "y'", "'cause", "Ph.D.", "e.g.", "vs.", "No.", "end.The", "end.the",
    "3.14", "1,000", "5kg", "5pm", "10a.m.", "12:30", "£5", "$20", "US$3", "50%", "#1", "°C.",
    "°f.", ":)", ":-)", ";)", ":D", "<3", "8)", "8-)", ":'(", "^_^", "(-:", "=)", "o.O", "xD",
    ">.<", "</3", ":-/", "\\n", "\\t", "C:\\dir", "\\\\", "www.example.com",
    "http://a.bc/d?e=f#g", "me@mail.org", "a@b.c.", "foo.bar.baz", "1.2.3.4",
    "state-of-the-art", "and/or", "w/o", "it's", "its'", "dogs'", "'s", "'S", "n't", "'re",
    "'", "''", "`", "``", '"', "“", "”", "‘", "’", "„", "«", "»", "…", "...", "..", ".", ",",
    ";", ":", "!", "?", "?!", "!!!", "--", "---", "—", "–", "―", "(", ")", "[", "]", "{", "}",
    "|", "_", "__", "*", "**", "+", "++", "-", "~", "/", "//", "\\", "@", "&", "#", "%", "^",
    "=", "<", ">", "<unk>", "<UNK>", "<|endoftext|>", "&amp;", "&lt;b&gt;", "&eacute;",
    "&#233;", "&#x2019;", "&nbsp;", "Ã©", "Ã‰", "â€™", "â€œ", "doesnÃ¢â‚¬â„¢t", "Â£", "ï»¿",
    "é", "É", "ñ", "Ñ", "ß", "ŉ", "ﬁ", "ﬀ", "ǆ", "Ｆｕｌｌ", "ｶﾅ", "日本", "語", "한글", "ㅎ",
    "ไทย", "مرحبا", "שלום", "привет", "Σ", "ΑΣ", "ΣΑΣ", "ς", "İ", "ı", "Ǆ", "ẞ", "😀",
    "👩\u200d👩\u200d👧", "❤️", "🇩🇪", "½", "²", "™", "©", "®", "°", "§", "¿", "¡", "µ", "Ω", "K",
    "Å", "·", "•", "。", "，",
]  # fmt: skip
_SPACES = [" ", " ", " ", " ", "  ", "\n", "\n\n", " \n ", "\t", "\r\n", "\r", "\f", "\v", "\x85"]
_SPACES += ["\u00a0", "\u2003", "\u2028", "\u2029", "\u3000", "\x1c", "\x1f", "\u200b", "\ufeff"]
_ODD = ["\x00", "\x07", "\x1b[31m", "\x7f", "\x80", "\x93", "\xad", "\u0301", "\u0327", "\u20dd"]
_ODD += ["\ufffd", "\ufffe", "\ue000", "\U0010ffff", "\u202e", "\u0378", "e\u0301", "\u1160"]


def hard_strings(seed: int, count: int) -> Iterator[str]:
    """Yield strings made of pieces that some step treats in a way of its own."""
    rng = random.Random(seed)
    for _ in range(count):
        parts: list[str] = []
        for _ in range(rng.choice((1, 2, 3, 5, 8, 13))):
            kind = rng.random()
            if kind < 0.75:
                parts.append(rng.choice(_PIECES))
            elif kind < 0.85:
                parts.append(rng.choice(_ODD))
            elif kind < 0.9:
                parts.append(rng.choice(_PIECES)[:1] * rng.randint(2, 90))
            elif kind < 0.97:
                parts.append("".join(chr(rng.randint(33, 126)) for _ in range(rng.randint(1, 6))))
            else:
                parts.append("".join(chr(rng.choice(_BLOCKS) + rng.randint(0, 127)) for _ in "ab"))
            if rng.random() < 0.6:
                parts.append(rng.choice(_SPACES))
        yield "".join(parts)


_BLOCKS = [0x80, 0x100, 0x180, 0x300, 0x380, 0x400, 0x590, 0x600, 0x900, 0x1100, 0x1E00, 0x1F00]
_BLOCKS += [0x2000, 0x2080, 0x2100, 0x2190, 0x2460, 0x2E80, 0x3000, 0x3040, 0xAC00, 0xF900, 0xFB00]
_BLOCKS += [0xFE00, 0xFF00, 0x1D400, 0x1F300, 0x1F600, 0x20000, 0x2B820, 0xE0000]
