"""Texts that a vocabulary lacks: where most of them is <unk>, a model reads nothing."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from gpt1.errors import InputError, Note
from gpt1.text.tokenizer import Tokenizer

SAMPLED = 1000
"""Texts that are looked at."""
_BEGINNING = 2000  # characters of each


def check_unknown(
    texts: Sequence[str], tokenizer: Tokenizer, places: Sequence[str] = (), *, allow: bool
) -> None:
    """Warn if the vocabulary lacks over a tenth of what texts hold; raise InputError over half.

    Of many texts a sample is looked at, of long ones the beginning. `places` says where each is;
    with `allow` there is only a warning.
    """
    counts = []
    every = -(-len(texts) // SAMPLED) or 1
    for number in range(0, len(texts), every):
        text, place = texts[number], places[number] if places else f"text {number + 1}"
        ids = tokenizer.encode(text[:_BEGINNING])
        counts.append((ids.count(tokenizer.unknown_id), len(ids), f"{place}: {text[:40]!r}"))
    unknown, tokens = sum(count[0] for count in counts), sum(count[1] for count in counts)
    if unknown <= tokens / 10:
        return
    counts.sort(key=lambda count: -count[0] / max(1, count[1]))
    said = (
        f"the vocabulary lacks {unknown / tokens:.0%} of what the texts hold (<unk>), e.g. "
        + "; ".join(row for _, _, row in counts[:3])
    )
    if unknown > tokens / 2 and not allow:
        raise InputError(
            f"{said}. The model cannot read them: take one with another vocabulary (gpt1 "
            f"learn-bpe), or add --allow-unknown (Python: allow_unknown=True)."
        )
    warnings.warn(said, Note, stacklevel=3)
