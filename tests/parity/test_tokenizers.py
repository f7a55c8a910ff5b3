"""words="fast" against transformers' own tokenizer, and the folder we write read by it."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest

from gpt1.text.tokenizer import Tokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "text"))
from release_text import hard_strings


@pytest.fixture(scope="module")
def fast(release_vocabulary: Path) -> Tokenizer:
    tokenizer = Tokenizer.load(release_vocabulary, words="fast")
    tokenizer.add_tokens(["<|endoftext|>", "_start_"])
    return tokenizer


@pytest.fixture(scope="module")
def auto(fast: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Our folder, loaded by transformers."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("saved") / "it"
    fast.save(folder)
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def theirs(fast: Tokenizer) -> Any:
    """The class of transformers, made from the vocabulary itself."""
    from transformers import OpenAIGPTTokenizer

    vocabulary = fast.vocabulary
    return OpenAIGPTTokenizer(vocab=dict(vocabulary.ids), merges=list(vocabulary.merges))


def test_ids_and_offsets_are_those_of_transformers(fast: Tokenizer, theirs: Any) -> None:
    for text in hard_strings(seed=51, count=2000):
        expected = theirs(text, return_offsets_mapping=True)
        assert fast.encode(text) == expected["input_ids"]
        assert fast.encode_with_offsets(text).offsets == expected["offset_mapping"]


def test_our_folder_gives_the_same_ids_in_transformers(
    auto: Any, fast: Tokenizer, tokenizer_vectors: list[dict[str, Any]]
) -> None:
    assert (len(auto), auto.eos_token_id, auto.unk_token_id) == (40480, 40478, 0)
    assert auto.encode("dog<|endoftext|>_start_") == [2585, 40478, 40479]
    texts = {text: fast.encode(text) for text in hard_strings(seed=52, count=1000)}
    texts |= {vector["text"]: vector["hf_fast"]["ids"] for vector in tokenizer_vectors}
    for text, ids in texts.items():
        if not any(token in text for token in fast.added):  # which transformers takes for the token
            assert auto.encode(text) == ids


@pytest.mark.parametrize("skip_special", [False, True])
def test_raw_text_is_that_of_transformers(fast: Tokenizer, auto: Any, skip_special: bool) -> None:
    rng = random.Random(0)
    for _ in range(500):
        ids = [
            rng.choice((0, 40478, 40477, rng.randrange(40480))) for _ in range(rng.randint(0, 9))
        ]
        expected = auto.decode(
            ids, skip_special_tokens=skip_special, clean_up_tokenization_spaces=False
        )
        assert fast.decode(ids, clean_up=False, skip_special=skip_special) == expected
