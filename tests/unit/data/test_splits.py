from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from gpt1.data.splits import split_texts, split_validation
from gpt1.errors import DataError


@given(st.integers(2, 300), st.floats(0.001, 0.5), st.integers(0, 2**63 - 1))
@settings(deadline=None)
def test_a_split_is_a_partition_of_the_asked_size_and_the_same_each_time(
    n: int, share: float, seed: int
) -> None:
    training, validation = split_validation(n, share, seed)
    assert sorted(training + validation) == list(range(n))
    assert len(validation) == min(max(round(n * share), 1), n - 1)
    assert (training, validation) == split_validation(n, share, seed)
    assert split_validation(n, 0.0, seed) == (list(range(n)), [])


def test_every_number_is_held_out_about_as_often() -> None:
    counts = [0] * 20
    for seed in range(2000):
        for i in split_validation(20, 0.25, seed)[1]:
            counts[i] += 1
    assert all(400 < count < 600 for count in counts)  # mean 500, deviation 19


@given(st.lists(st.sampled_from("abcdefg"), max_size=40), st.integers(0, 100))
@settings(deadline=None)
def test_no_text_is_both_trained_on_and_held_out(texts: list[str], seed: int) -> None:
    if len(set(texts)) < 2:
        with pytest.raises(DataError, match="two that differ"):
            split_texts(texts, 0.3, seed)
        return
    assert split_texts(texts, 0.0, seed).training == texts
    split = split_texts(texts, 0.3, seed)
    assert not set(split.training) & set(split.validation)
    assert sorted(split.training + split.validation) == sorted(set(texts))
    assert split.duplicates == len(texts) - len(set(texts))
