"""Ids back to text.

The raw text depends on how words are split:
original, fast   each token's `</w>` becomes a space, except the last one's (spec 2.5.5; the release
                 has no decoder, and this way a newline survives)
slow             every `</w>` becomes a space, and both ends are stripped (spec 2.4.4)

Clean-up then makes the ten replacements that transformers made by default in 2024 (spec 2.6.1).
"""

from __future__ import annotations

from collections.abc import Sequence

from gpt1.text.bpe import END

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
