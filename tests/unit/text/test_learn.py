"""Learning a vocabulary: against a plain reference, and its structure."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest
from release_text import Release

from gpt1.errors import InputError
from gpt1.text import learn as learning
from gpt1.text.learn import count_words, learn
from gpt1.text.tokenizer import Tokenizer


def naive_merges(counts: dict[str, int], wanted: int, min_count: int) -> list[tuple[str, str]]:
    """Count all pairs anew for every merge."""
    words = {word: (*word[:-1], word[-1] + "</w>") for word in counts}
    merges: list[tuple[str, str]] = []
    while len(merges) < wanted:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, symbols in words.items():
            for pair in pairwise(symbols):
                pairs[pair] += counts[word]
        made = {left + right for left, right in merges}
        left = [
            (n, pair) for pair, n in pairs.items() if n >= min_count and "".join(pair) not in made
        ]
        if not left:
            break
        best = max(left)[1]
        merges.append(best)
        for word, symbols in words.items():
            text = "\0".join(["", *symbols, ""])
            old, new = "\0" + "\0".join(best) + "\0", "\0" + "".join(best) + "\0"
            while old in text:  # left to right: each replacement may border on the next
                text = text.replace(old, new, 1)
            words[word] = tuple(text.strip("\0").split("\0"))
    return merges


@pytest.mark.parametrize(
    ("seed", "size", "wanted"), [*((seed, 60, 50) for seed in range(12)), (12, 400, 300)]
)
def test_merges_are_those_of_the_plain_reference(seed: int, size: int, wanted: int) -> None:
    counts = random_words(seed, size, "ab" if seed % 3 == 0 and size < 100 else "abcdeé日")
    base = 2 * len(set("".join(counts))) + 2
    vocabulary = learn(counts, base + wanted, min_count=2 + seed % 2)
    assert list(vocabulary.merges) == naive_merges(counts, wanted, 2 + seed % 2)


def test_all_merges_together_visit_three_places_a_character(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What keeps the cost at n log n: each merge makes two new places and removes one symbol."""
    visited = 0
    merge = learning._Corpus.merge

    def counting(corpus: learning._Corpus, pair: learning.Pair) -> set[learning.Pair]:
        nonlocal visited
        visited += len(corpus.where[pair])
        return merge(corpus, pair)

    monkeypatch.setattr(learning._Corpus, "merge", counting)
    counts = random_words(0, 3000, "abcdefgh")
    learn(counts, 1000)
    assert 0 < visited <= 3 * sum(map(len, counts))


def random_words(seed: int, size: int, letters: str) -> dict[str, int]:
    rng = random.Random(seed)
    words = ["".join(rng.choices(letters, k=rng.randint(1, 8))) for _ in range(size)]
    return {word: rng.randint(1, 5) for word in words}


def test_ids_have_the_structure_of_the_release() -> None:
    texts = ["the cat, the dog.\nThe Café", "the end of the dog"] * 5
    tokenizer = Tokenizer.train(texts, 38)
    tokens, merges = list(tokenizer.vocabulary.tokens), tokenizer.vocabulary.merges
    counts = count_words(texts, "original")
    words = sorted(counts, key=lambda word: (-counts[word], word))
    characters = list(dict.fromkeys("".join(words)))
    n = len(characters)
    assert characters[:3] == list("the")
    assert tokens[0] == "<unk>"
    assert tokens[1 : 1 + n] == characters
    assert tokens[1 + n : 1 + 2 * n] == [f"{character}</w>" for character in characters]
    assert tokens[1 + 2 * n : -1] == [left + right for left, right in merges]
    assert tokens[-1] == "\n</w>"
    assert len(tokens) == 38


def test_a_learnt_tokenizer_reads_its_text_whole() -> None:
    texts = ["the cat saw the dog.\nthe dog can't see"] * 3
    with pytest.warns(UserWarning, match="no further pair occurs 2 times"):
        tokenizer = Tokenizer.train(texts, 500)
    ids = tokenizer.encode(texts[0])
    assert tokenizer.unknown_id not in ids
    assert tokenizer.tokens(ids)[-3:] == ["ca</w>", "n't</w>", "see</w>"]
    assert tokenizer.decode(ids) == "the cat saw the dog. \n the dog can't see"


def test_words_are_counted_as_they_are_cut_for_encoding(plain: Release) -> None:
    texts = ["Don't!\n<unk> DON'T", "'s:D and ' 's:D", "U.S. “Café”…"]
    expected = Counter(word.lower() for text in texts for word in plain.words(text) if word.strip())
    assert count_words(texts, "original") == expected
    for words, found in (("slow", (2, 0, 0)), ("fast", (0, 2, 0))):
        counts = count_words(texts, words)  # type: ignore[arg-type]
        assert "\n" not in "".join(counts)
        assert (counts["n't"], counts["t"], counts["unk"]) == found


def test_progress_is_told_of_every_merge() -> None:
    seen: list[tuple[int, int]] = []
    learn({"low": 5, "lower": 2}, 14, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_too_small_a_size_and_no_words_are_errors() -> None:
    with pytest.raises(
        InputError, match=r"vocab_size is 5; it must be at least 6 for the 2 characters"
    ):
        Tokenizer.train(["ab"], 5)
    with pytest.raises(InputError, match="no words"):
        Tokenizer.train([" ", ""], 50)
