"""Changes to the logits that depend on the ids so far, in one fixed order.

    logit bias -> repetition penalty -> presence and frequency penalties -> repeated n-grams
    -> bad words

Each is a function of one row: its logits (V,) and its ids, the prompt's included. So no row depends
on its neighbours. Names and meanings are those of transformers; the presence and frequency
penalties are OpenAI's, which count new ids only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from gpt1.config import SamplingConfig
from gpt1.errors import InputError
from gpt1.text.bpe import END
from gpt1.text.tokenizer import Tokenizer

Processor = Callable[[Tensor, Sequence[int]], Tensor]


def logits_processors(
    sampling: SamplingConfig, tokenizer: Tokenizer, prompt_length: int
) -> list[Processor]:
    """Return the changes that `sampling` asks for, in their order.

    Raises InputError for a token of logit_bias or a bad word that the vocabulary lacks.
    """
    s, found = sampling, list[Processor]()
    if s.logit_bias:
        bias = {_id_of(token, tokenizer): value for token, value in s.logit_bias.items()}
        found.append(lambda logits, ids: _add(logits, bias))
    if s.repetition_penalty != 1:
        found.append(lambda logits, ids: penalise(logits, ids, s.repetition_penalty))
    if s.presence_penalty or s.frequency_penalty:

        def subtract(logits: Tensor, ids: Sequence[int]) -> Tensor:
            counts = Counter(ids[prompt_length:])
            presence, frequency = s.presence_penalty, s.frequency_penalty
            return _add(logits, {i: -presence - n * frequency for i, n in counts.items()})

        found.append(subtract)
    if n := s.no_repeat_ngram_size:
        found.append(lambda logits, ids: ban(logits, _repeating(ids, n)))
    if s.bad_words:
        words = BadWords(s.bad_words, tokenizer)
        found.append(lambda logits, ids: ban(logits, words.completing(ids)))
    return found


def penalise(logits: Tensor, ids: Iterable[int], penalty: float) -> Tensor:
    """Make `ids` less likely (CTRL, section 4.1); logits (V,).

    Positive ones are divided by `penalty`, negative ones multiplied.

    >>> penalise(torch.tensor([2.0, -2.0, 2.0]), [0, 1, 1], 4.0)
    tensor([ 0.5000, -8.0000,  2.0000])
    """
    index = torch.tensor(sorted(set(ids)), device=logits.device)
    seen = logits[index]
    return logits.index_copy(0, index, torch.where(seen > 0, seen / penalty, seen * penalty))


def ban(logits: Tensor, ids: Iterable[int]) -> Tensor:
    """Make `ids` impossible; logits (V,)."""
    index = torch.tensor(sorted(ids), dtype=torch.int64, device=logits.device)
    return logits.index_fill(0, index, -torch.inf) if len(index) else logits


def _add(logits: Tensor, values: dict[int, float]) -> Tensor:
    device: Any = {"device": logits.device}
    index = torch.tensor(list(values), dtype=torch.int64, **device)
    return logits.index_add(
        0, index, torch.tensor(list(values.values()), dtype=logits.dtype, **device)
    )


def _id_of(token: str | int, tokenizer: Tokenizer) -> int:
    ids = tokenizer.encode(token) if isinstance(token, str) else [token]
    unknown = isinstance(token, str) and ids == [tokenizer.unknown_id]
    if len(ids) != 1 or unknown or not 0 <= ids[0] < len(tokenizer):
        what = f"the text of {len(ids)} tokens" if len(ids) > 1 else "not in the vocabulary"
        raise InputError(
            f"logit_bias holds {token!r}, which is {what}; it takes texts of one token, or ids "
            f"from 0 to {len(tokenizer) - 1}."
        )
    return ids[0]


def _repeating(ids: Sequence[int], n: int) -> set[int]:
    """Return the ids that would complete a sequence of n ids a second time."""
    last = ids[len(ids) - n + 1 :]
    starts = range(len(ids) - n + 1)
    return {ids[i + n - 1] for i in starts if ids[i : i + n - 1] == last}


class BadWords:
    """Finds the ids that would complete a bad word, whichever tokens its letters come in.

    A word counts as a whole: "dog" is banned in "a dog." and not in "dogma", unless that begins
    with the token dog.
    """

    def __init__(self, words: Sequence[str], tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._endings: list[tuple[str, list[int]]] = []
        """What the text ends with, and the ids that then complete a bad word."""
        vocabulary = tokenizer.vocabulary.ids
        for word in words:
            ids = tokenizer.encode(word)
            if not ids or tokenizer.unknown_id in ids:
                raise InputError(
                    f"bad_words holds {word!r}, which the vocabulary lacks, so the model never "
                    f"writes it. Leave it out."
                )
            for text in {_raw(tokenizer, ids).rstrip(), tokenizer.decode(ids)}:
                for i in range(text.rfind(" ") + 1, len(text)):
                    pieces = (text[i:], text[i:] + END)
                    found = [vocabulary[piece] for piece in pieces if piece in vocabulary]
                    self._endings.append((text[:i], found))
        self._longest = max((len(before) for before, _ in self._endings), default=0) + 1

    def completing(self, ids: Sequence[int]) -> set[int]:
        """Return the ids that would complete a bad word behind `ids`."""
        text = _raw(self._tokenizer, ids[-self._longest :])
        banned: set[int] = set()
        for before, found in self._endings:
            if text.endswith(before):
                rest = text.removesuffix(before)
                if not rest[-1:].isalnum():
                    banned.update(found)
        return banned


def _raw(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """Return the text of ids with a blank after every word and mark."""
    return "".join(tokenizer.tokens(ids)).replace(END, " ")
