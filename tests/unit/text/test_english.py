"""Our run of spaCy's rules against spaCy, over whole lines."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import pytest
import spacy

from gpt1.text import english
from gpt1.text.english import EnglishRules


@pytest.fixture(scope="module")
def spacys() -> Any:
    return spacy.blank("en").tokenizer


@pytest.fixture(scope="module", params=["spacy", "file"])
def rules(request: pytest.FixtureRequest) -> EnglishRules:
    found = english.spacys_rules()
    return EnglishRules(found if request.param == "spacy" else json.loads(json.dumps(found)))


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], str]:
    """Where a process that has not imported spaCy reads its rules; the cache folder is tmp_path."""
    rules, asked = json.loads(json.dumps(english.spacys_rules())), []
    monkeypatch.setattr(english, "_ask_spacy", lambda: asked.append(1) or rules)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "spacy")

    def read() -> str:
        asked.clear()
        assert english.spacys_rules.__wrapped__() == rules
        return "spacy" if asked else "file"

    return read


def hard_lines(tokenizer: Any, count: int, seed: int = 0) -> list[list[str]]:
    """Lines of chunks made of exceptions, affixes, units, and what stands around them."""
    rng = random.Random(seed)
    pieces = [rule for rule in tokenizer.rules if not any(map(str.isspace, rule))]
    pieces += [
        "'", "''", "'s", "'S", "’s", "n't", ".", "..", "...", ":", ";", "(", ")", "-", "=",
        "<", ">", "/", "5", "10", "0", "km", "kg", "A", "b", "I", "Mr", "8", "°", "°C.", "$",
        "US$", "€", "%", "@", "www.x.com", "http", "://", "a.b", "é", "Σ", "İ", "日", "。", "“",
        "”", "«", "#", "&", "*", "^", "+", "_", "|", "~", "`", "😀", "\u0301",
    ]  # fmt: skip
    return [
        ["".join(rng.choices(pieces, k=rng.randint(1, 4))) for _ in range(rng.randint(1, 6))]
        for _ in range(count)
    ]


def test_lines_have_spacys_words(spacys: Any, rules: EnglishRules) -> None:
    for chunks in hard_lines(spacys, 3000):
        assert list(rules.line(chunks)) == [word.text for word in spacys(" ".join(chunks))]


def test_a_chunk_that_has_words_has_them_in_every_line(spacys: Any, rules: EnglishRules) -> None:
    for chunks in hard_lines(spacys, 2000, seed=1):
        words = [rules.chunk(chunk) for chunk in chunks]
        if None not in words:
            joined = [word for part in words for word in part or ()]
            assert joined == [word.text for word in spacys(" ".join(chunks))]


def test_every_exception_is_cut_as_spacy_does_inside_and_outside(
    spacys: Any, rules: EnglishRules
) -> None:
    for rule in spacys.rules:
        if not any(map(str.isspace, rule)):
            for chunk in (rule, f"x{rule}", f"{rule}.", f"'{rule}'", f"{rule}{rule}", f"a.{rule}b"):
                assert list(rules.line([chunk])) == [word.text for word in spacys(chunk)]


def test_words_before_a_chunk_can_change_it(spacys: Any, rules: EnglishRules) -> None:
    assert rules.line(["'s:D"]) == ("'s", ":D")
    assert rules.line(["'", "'s:D"]) == ("'", "'", "s", ":D")
    assert [word.text for word in spacys("' 's:D")] == ["'", "'", "s", ":D"]
    assert rules.chunk("'s:D") is None


@pytest.mark.parametrize("piece", ["a", ".", "'", "°C.", "a.b:", "1", "(", "'s", "日", "a@b."])
def test_long_chunks_have_spacys_words(spacys: Any, rules: EnglishRules, piece: str) -> None:
    for size in (15, 16, 17, 33, 63, 64, 65, 127, 300):
        chunk = f"«{piece * size}"[:size]
        assert list(rules.line([chunk])) == [word.text for word in spacys(chunk)]


@pytest.mark.parametrize("piece", ["a", ".", "'", "a.b:"])
def test_time_is_linear_in_the_length_of_a_chunk(rules: EnglishRules, piece: str) -> None:
    def seconds(size: int) -> float:
        chunk = (piece * size)[:size]
        times = []
        for _ in range(3):
            start = process_time()
            rules.line([chunk])
            times.append(process_time() - start)
        return min(times)

    size = 2000 if piece == "'" else 32_000
    assert seconds(4 * size) < 9 * seconds(size) + 0.005  # 4 if linear, 16 if quadratic


def test_a_suffix_that_comes_again_is_not_searched_for_again(rules: EnglishRules) -> None:
    searched = rules._tail_suffix.cache_info().misses
    rules.line(["'s" * 1000])
    assert rules._tail_suffix.cache_info().misses - searched < 40


def test_rules_come_from_the_file_unless_it_is_wrong(
    source: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [source(), source()] == ["spacy", "file"]
    (kept,) = (tmp_path / "gpt1").iterdir()
    assert spacy.__version__ in kept.name
    whole = kept.read_bytes()
    checksum, _, data = whole.partition(b"\n")
    for damaged in (whole.replace(b"can't", b"cant'"), data, checksum + b"\n", b""):
        kept.write_bytes(damaged)
        assert source() == "spacy"
        assert kept.read_bytes() == whole, "written anew"
    monkeypatch.setitem(sys.modules, "spacy", spacy)  # and its rules may have been changed
    assert source() == "spacy"


def test_rules_need_no_cache_folder(
    source: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gpt1").write_text("in the way")
    assert [source(), source()] == ["spacy", "spacy"]
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: exec('raise RuntimeError("no home folder")'))
    assert [source(), source()] == ["spacy", "spacy"]
    monkeypatch.setattr(english, "version", lambda name: exec("raise ImportError(name)"))
    assert [source(), source()] == ["spacy", "spacy"]
