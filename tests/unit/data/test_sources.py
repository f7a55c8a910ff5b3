from __future__ import annotations

from pathlib import Path

import pytest

from gpt1.data.sources import choose_files, find_files
from gpt1.errors import DataError, HubError


def test_paths_are_taken_as_they_are(tmp_path: Path) -> None:
    assert find_files("a.csv") == [Path("a.csv")]
    assert find_files([tmp_path / "b.txt", "c.txt"]) == [tmp_path / "b.txt", Path("c.txt")]


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["README.md", "shortjokes.csv"], ["shortjokes.csv"]),
        (["LICENSE.txt", "jokes.csv", "x.bin"], ["jokes.csv"]),
        (["a.txt", "b.txt"], ["a.txt", "b.txt"]),
        (["data/train.jsonl.gz", "data/test.jsonl.gz"], ["data/train.jsonl.gz"]),
        (["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "validation-0.parquet"],
         ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]),
        (["dev.csv", "val/x.csv", "latest.csv", "TEST.csv"], ["latest.csv"]),
        (["test.csv"], ["test.csv"]),
    ],
)  # fmt: skip
def test_the_training_files_of_a_data_set_are_told_by_their_names(
    names: list[str], chosen: list[str]
) -> None:
    assert choose_files("hub:a/b", names) == chosen


def test_what_is_not_clear_is_asked_for() -> None:
    with pytest.raises(DataError, match=r"several kinds .* Name the one to read: hub:a/b/x\.csv"):
        choose_files("hub:a/b", ["x.csv", "x.parquet"])
    assert choose_files("hub:a/b", ["x.csv", "x.parquet", "test.csv"], "test.csv") == ["test.csv"]
    with pytest.raises(DataError, match="no txt, csv, tsv, jsonl or parquet file"):
        choose_files("hub:a/b", ["README.md"])
    with pytest.raises(DataError, match=r"no file y\.csv"):
        choose_files("hub:a/b", ["x.csv"], "y.csv")


@pytest.mark.parametrize("name", ["hub:", "hub:jokes", "hub:/jokes", "hub:me/"])
def test_a_name_without_owner_is_refused(name: str) -> None:
    with pytest.raises(HubError, match="it takes hub:owner/name"):
        find_files(name)
