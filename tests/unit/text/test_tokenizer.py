"""The tokenizer as a thing: files, added tokens, errors, batches, what it imports."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import tiny
from gpt1.errors import CheckpointError, CorruptError, InputError, TokenizerError
from gpt1.text.tokenizer import Tokenizer
from gpt1.text.vocabulary import Vocabulary

TEXT = "I can't see it,\nthe 5pm “Café” <unk> C:\\x"
VOCAB = {"<unk>": 0, "a": 1, "b": 2, "a</w>": 3, "b</w>": 4, "ab</w>": 5, "\n</w>": 6}


@pytest.fixture
def small() -> Tokenizer:
    return Tokenizer(Vocabulary.of(VOCAB, [("a", "b</w>")]))


def test_the_released_files_have_their_structure(
    release_vocabulary: Path, released: Tokenizer
) -> None:
    sums = {
        "encoder_bpe_40000.json": "fdf49b19e7de236852091da09b84a7a3",
        "vocab_40000.bpe": "0ea9b51ae695073cd871e0358f701631",
    }
    for name, start in sums.items():
        sha256 = hashlib.sha256((release_vocabulary / name).read_bytes()).hexdigest()
        assert sha256.startswith(start)
    tokens, merges = released.vocabulary.tokens, released.vocabulary.merges
    assert (len(tokens), len(merges), tokens[0], tokens[-1]) == (40478, 40000, "<unk>", "\n</w>")
    assert [f"{token}</w>" for token in tokens[1:239]] == list(tokens[239:477])
    assert [left + right for left, right in merges] == list(tokens[477:-1])
    marks = {".": 239, "the": 481, "n't": 538, "'m": 719, "joke": 4778, "negative": 9503}
    assert {word: released.vocabulary.ids[f"{word}</w>"] for word in marks} == marks


@pytest.mark.parametrize("words", ["original", "slow", "fast"])
def test_the_articles_example_and_odd_texts(released: Tokenizer, words: str) -> None:
    tokenizer = released.with_words(words)
    tokenizer.add_tokens(["<|endoftext|>", "_start_"])
    assert tokenizer.encode("Hello, my dog is cute and") == [3570, 240, 547, 2585, 544, 4957, 488]
    assert tokenizer.encode("<|endoftext|>") == [295, 323, 496, 569, 12, 4830, 323, 290], "as text"
    blank = ["", " ", "\n", "\n \t\r\n", "\u00a0\u2003"]
    assert tokenizer.encode_batch(blank) == [[]] * len(blank)
    assert tokenizer.decode([]) == ""


def test_added_tokens_follow_the_vocabulary_in_order(released: Tokenizer) -> None:
    tokenizer = released.with_words("original")
    assert tokenizer.eos_id is None
    assert tokenizer.add_tokens(["_start_", "_delimiter_", "_classify_"]) == [40478, 40479, 40480]
    assert tokenizer.add_tokens(["<|endoftext|>", "_start_"]) == [40481, 40478]
    assert (len(tokenizer), tokenizer.eos_id) == (40482, 40481)
    assert tokenizer.id_to_token(40480) == "_classify_"
    assert tokenizer.with_words("fast").added == tokenizer.added
    assert len(released) == 40478  # a sibling keeps its own


@pytest.mark.parametrize("tokens", [["a"], ["<unk>"], [""], ["x</w>"], [3], "abc"])
def test_tokens_that_cannot_be_added_are_errors(small: Tokenizer, tokens: Any) -> None:
    with pytest.raises(InputError, match="token"):
        small.add_tokens(["fine", *tokens] if isinstance(tokens, list) else tokens)
    assert small.added == {}


@pytest.mark.parametrize("words", ["original", "slow", "fast"])
def test_a_saved_tokenizer_is_the_same_when_loaded(
    small: Tokenizer, tmp_path: Path, words: str
) -> None:
    tokenizer = small.with_words(words)
    tokenizer.add_tokens(["<|endoftext|>", "é"])
    tokenizer.save(tmp_path / "saved")
    loaded = Tokenizer.load(tmp_path / "saved")
    assert (loaded.words, loaded.added) == (words, tokenizer.added)
    assert loaded.fingerprint == tokenizer.fingerprint
    assert loaded.encode("ab b\nba <unk>") == tokenizer.encode("ab b\nba <unk>")
    assert Tokenizer.load(tmp_path / "saved", words="slow").words == "slow"


def test_the_fingerprint_is_that_of_copies_and_tells_others_apart(small: Tokenizer) -> None:
    other = small.with_words("original")
    other.add_tokens(["end"])
    for twin in (copy.deepcopy(other), pickle.loads(pickle.dumps(other))):
        assert twin.fingerprint == other.fingerprint
    merged = Tokenizer(Vocabulary.of(VOCAB, []))
    tokenizers = [small, small.with_words("fast"), other, merged]
    assert len({tokenizer.fingerprint for tokenizer in tokenizers}) == 4


def test_folders_that_others_saved_are_read(small: Tokenizer, tmp_path: Path) -> None:
    small.add_tokens(["<|endoftext|>", "[pad]"])
    files = small.files()
    (tmp_path / "tokenizer.json").write_bytes(files["tokenizer.json"])
    loaded = Tokenizer.load(tmp_path)
    assert loaded.fingerprint == small.fingerprint
    (tmp_path / "tokenizer.json").unlink()
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes(files[name])
    (tmp_path / "added_tokens.json").write_text(json.dumps({"[pad]": 8, "<|endoftext|>": 7}))
    assert Tokenizer.load(tmp_path).fingerprint == small.fingerprint
    (tmp_path / "vocab.json").rename(tmp_path / "encoder_bpe_40000.json")
    (tmp_path / "merges.txt").rename(tmp_path / "vocab_40000.bpe")
    assert Tokenizer.load(tmp_path).fingerprint == small.fingerprint, "the release's names"


@pytest.mark.parametrize(
    ("vocab", "merges", "message"),
    [
        (VOCAB, "#version: 0.2\na a\n", "needs the token 'aa'"),
        (VOCAB, "a b</w>\nc b</w>\n", "needs the token 'c'"),
        (VOCAB, "a b</w>\na b</w>\n", "listed twice"),
        (VOCAB, "a  b</w>\n", "two tokens with one space"),
        ({"<unk>": 0, "a": 1, "b": 1}, "", "3 tokens but no id 2"),
        ({"<unk>": 0, "a": 2}, "", "no id 1"),
        ({"a": 0}, "", "no <unk>"),
        ({"<unk>": "0"}, "", "whole-number ids"),
        (["<unk>"], "", "not a JSON object"),
    ],
)
def test_files_that_do_not_fit_are_errors_that_say_why(
    tmp_path: Path, vocab: Any, merges: str, message: str
) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    (tmp_path / "merges.txt").write_text(merges)
    with pytest.raises(TokenizerError, match=message):
        Tokenizer.load(tmp_path)


def test_folders_without_a_vocabulary_are_errors(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="holds nothing"):
        Tokenizer.load(tmp_path)
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(TokenizerError, match=r"it holds vocab\.json"):
        Tokenizer.load(tmp_path)
    (tmp_path / "merges.txt").write_bytes(b"\xff")
    with pytest.raises(TokenizerError, match="not UTF-8"):
        Tokenizer.load(tmp_path)
    with pytest.raises(CheckpointError, match="no folder"):
        Tokenizer.load(tmp_path / "nowhere")
    (tmp_path / "vocab.json").write_text("{")
    with pytest.raises(CheckpointError, match="not JSON"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("content", ["{}", '{"model": {"type": "WordPiece"}}', "[1]", "null"])
def test_a_foreign_tokenizer_json_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(TokenizerError, match="not a GPT-1's"):
        Tokenizer.load(tmp_path)


def test_changed_files_are_noticed(small: Tokenizer, tmp_path: Path) -> None:
    small.save(tmp_path / "saved")
    (tmp_path / "saved" / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(CorruptError):
        Tokenizer.load(tmp_path / "saved")
    (tmp_path / "saved" / "manifest.json").unlink()  # as after a copy by hand
    with pytest.raises(TokenizerError, match="not the one it was saved with"):
        Tokenizer.load(tmp_path / "saved")
    (tmp_path / "saved" / "gpt1.json").write_text('{"tokenizer": {"words": "fats", "added": []}}')
    with pytest.raises(TokenizerError, match="Restore the folder"):
        Tokenizer.load(tmp_path / "saved")


@pytest.mark.parametrize("text", [None, 3, b"bytes", ["list"]])
def test_what_is_no_str_is_an_error(small: Tokenizer, text: Any) -> None:
    for call in (small.encode, lambda text: small.encode_batch(["a", text])):
        with pytest.raises(InputError, match="must be a str"):
            call(text)


def test_one_str_for_many_and_unknown_words_are_errors(small: Tokenizer) -> None:
    for call in (small.encode_batch, Tokenizer.train):
        with pytest.raises(InputError, match="put it into a list"):
            call("one text")
        for odd in (None, 7, {"a": 1}, pandas.DataFrame({"joke": ["a"]})):
            with pytest.raises(InputError, match=r"texts is a .*; give a list of texts"):
                call(odd)
    with pytest.raises(InputError, match=r"texts\[1\] is None, of type NoneType"):
        small.encode_batch(["a", None])
    with pytest.raises(InputError, match=r"words is 'orignal'.*Did you mean 'original'\?"):
        small.with_words("orignal")


def test_half_a_surrogate_pair_is_an_error_in_fast_mode_only(released: Tokenizer) -> None:
    for words in ("original", "slow"):
        tokenizer = released.with_words(words)
        assert tokenizer.encode("a \ud83d b") == tokenizer.encode("a \ufffd b")
    fast = released.with_words("fast")
    for call in (fast.encode, fast.encode_with_offsets):
        with pytest.raises(InputError, match="half of a surrogate pair"):
            call("well a\ud83db")
    assert fast.encode("a b") == [246, 259]  # and it goes on


def test_an_emptied_cache_changes_nothing(released: Tokenizer) -> None:
    tokenizer = released.with_words("original")
    expected = tokenizer.encode(TEXT)
    tokenizer._ids_of.clear()
    tokenizer._ids_of.limit = 3
    for _ in range(5):
        assert tokenizer.encode(TEXT.replace("see", "\n")) != expected
        assert tokenizer.encode(TEXT) == expected
        assert len(tokenizer._ids_of) <= 3


def test_arrays_are_the_ids_in_the_smallest_type(released: Tokenizer) -> None:
    array = released.encode_array(TEXT)
    assert array.dtype == np.uint16
    assert array.tolist() == released.encode(TEXT)
    for size, dtype in ((65536, np.uint16), (65537, np.uint32)):
        added = map(str, range(size - 1))
        assert Tokenizer(Vocabulary.of({"<unk>": 0}, []), added=added).dtype is dtype


def test_no_heavy_library_is_imported_before_it_is_needed(tmp_path: Path, small: Tokenizer) -> None:
    small.save(tmp_path / "it")
    program = f"""
import sys
from gpt1.text.english import without_torch
from gpt1.text.tokenizer import Tokenizer
tokenizer = Tokenizer.load({str(tmp_path / "it")!r})
tokenizer.decode([1, 2])
print([name for name in ("spacy", "ftfy", "torch", "transformers") if name in sys.modules])
with without_torch():  # spaCy would look for it
    tokenizer.encode("ab")
print([name for name in ("spacy", "ftfy") if name in sys.modules])
"""
    shell = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}  # which has no rules of spaCy's yet
    for needed in ("['spacy']", "[]"):
        ran = subprocess.run(
            [sys.executable, "-c", program], env=shell, capture_output=True, text=True, check=True
        )
        assert ran.stdout.splitlines() == ["[]", needed]


@pytest.mark.parametrize("words", ["original", "slow", "fast"])
@pytest.mark.parametrize("limit", [1 << 19, 7])
def test_threads_share_the_cache(tmp_path: Path, words: str, limit: int) -> None:
    tiny.write_vocabulary(tmp_path)
    draw, letters = random.Random(3), "thedogcats0123.,'!?-:()\\<>@/ \né漢 "
    texts = ["".join(draw.choices(letters, k=draw.randint(1, 60))) for _ in range(400)]
    idioms = ("can't", "8", "8)", ":-)", "a.m.", "U.S.", "<unk>", "http://a.b/c", "x@y.z", "(o:")
    texts += [" ".join(draw.choices(idioms, k=9)) for _ in range(100)]
    alone, shared = (Tokenizer.load(tmp_path, words=words) for _ in range(2))
    expected, shared._ids_of.limit = alone.encode_batch(texts), limit
    gate, interval = threading.Barrier(8), sys.getswitchinterval()

    def encode(seed: int) -> list[list[int]]:
        order = random.Random(seed).sample(range(len(texts)), len(texts))
        gate.wait()
        ids = {i: shared.encode(texts[i]) for i in order}
        return [ids[i] for i in range(len(texts))]

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(encode, range(8)))
    finally:
        sys.setswitchinterval(interval)
    assert found == [expected] * 8
    assert {chunk: alone._ids_of[chunk] for chunk in shared._ids_of} == dict(shared._ids_of)
