"""What a person holds becomes texts, or an error that names the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow
import pytest

from gpt1.data.rows import texts_of
from gpt1.errors import UsageError

NAN = float("nan")
TEXTS = ["the dog", "a cat", "and"]
FRAME = pandas.DataFrame({"id": [1, 2, 3], "joke": TEXTS})
SERIES = FRAME.joke.set_axis([7, 8, 9])
TABLE = FRAME.rename(columns={"joke": "text"})
TWICE = pandas.DataFrame(zip(TEXTS, TEXTS, strict=True), columns=["a", "a"])


TAKEN: list[tuple[Any, str | None]] = [
    (TEXTS, None),
    (tuple(TEXTS), None),
    ((text for text in TEXTS), None),
    ([[text] for text in TEXTS], None),
    ([{"text": text, "id": 1} for text in TEXTS], None),
    ([{"joke": text, "id": 1} for text in TEXTS], "joke"),
    (np.array(TEXTS), None),
    (np.array(TEXTS, object), None),
    (np.array(TEXTS, np.dtypes.StringDType()), None),
    (np.array(TEXTS)[:, None], None),
    ([np.str_(text) for text in TEXTS], None),
    (SERIES, None),
    (SERIES.astype("category"), None),
    (SERIES.astype("string"), None),
    (SERIES.array, None),
    (pandas.Index(TEXTS), None),
    (FRAME[["joke"]], None),
    (FRAME, "joke"),
    (TABLE, None),
    (pyarrow.array(TEXTS), None),
    (pyarrow.chunked_array([TEXTS[:1], TEXTS[1:]]), None),
    (pyarrow.array(TEXTS).dictionary_encode(), None),
    (pyarrow.Table.from_pandas(FRAME), "joke"),
    (pyarrow.Table.from_pandas(FRAME[["joke"]], preserve_index=False), None),
    (pyarrow.RecordBatch.from_pandas(FRAME), "joke"),
]


@pytest.mark.parametrize(("data", "column"), TAKEN)
def test_what_is_taken(data: Any, column: str | None) -> None:
    texts = texts_of(data, column=column)
    assert texts == TEXTS
    assert {type(text) for text in texts} == {str}


REFUSED: list[tuple[Any, str | None, str]] = [
    ("the dog", None, "texts is 'the dog'; .* Put a single row into a list; no file has this name"),
    (b"the dog", None, "texts is b'the dog'; it must be a list"),
    (None, None, "texts is None; it must be a list"),
    (7, None, "texts is 7; it must be a list"),
    (np.array("the dog"), None, "texts is 'the dog'; it must be a list"),
    ({"text": TEXTS}, None, "texts is {.*it must be a list"),
    (set(TEXTS), None, "texts is {.*make a list"),
    ([*TEXTS, None], None, r"texts\[3\] is None; it must be a text"),
    ([NAN, "a", None, 7], None, r"texts\[0\] is nan; .* Likewise texts\[2\], texts\[3\]\."),
    ([None] * 20, None, r"texts\[0\] is None.* texts\[8\] and 11 more\."),
    (FRAME.id, None, r"texts\[0\] is 1; it must be a text"),
    (SERIES.where(SERIES != "a cat"), None, r"texts\[1\] is nan; it must be a text"),
    (np.ma.array(TEXTS, mask=[0, 1, 0]), None, r"texts\[1\] is None; it must be a text"),
    (pyarrow.array(["a", None]), None, r"texts\[1\] is None; it must be a text"),
    (["a\0b"], None, r"texts\[0\] is 'a.x00b', with a NUL character"),
    (["\ud800"], None, r"texts\[0\] is '.ud800', with a lone surrogate"),
    ([["a", "b"]], None, r"texts\[0\] is \['a', 'b'\]; it must be a text"),
    (np.array([["a", "b"]]), None, r"texts\[0\] has 2 columns, .* e\.g\. texts\[:, 0\]"),
    (FRAME, None, r"has the columns id, joke; .* texts\['joke'\] \(in finetune: column='joke'\)"),
    (FRAME, "Joke", "texts has no column 'Joke'; there are id, joke. Did you mean 'joke'"),
    (TWICE, "a", "texts has two columns 'a'"),
    (TWICE, None, "texts has the columns a, a"),
    (TABLE.assign(label=1), None, r"texts\['text'\].* learn 'label' with gpt1.TextClassifier"),
    (pyarrow.Table.from_pandas(FRAME), None, "texts has the columns id, joke"),
    (pandas.DataFrame(), None, "texts is a table without columns"),
    (TEXTS, "joke", "column is 'joke'; texts is .* which has no columns"),
    (Path("nowhere.csv"), None, "there is no file nowhere.csv"),
    (".", None, "is a folder"),
]


@pytest.mark.parametrize(("data", "column", "said"), REFUSED)
def test_what_is_refused(data: Any, column: str | None, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        texts_of(data, column=column)
    assert len(str(caught.value)) < 300


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    FRAME.to_csv("jokes.csv", index=False)
    TABLE.assign(label=1).to_csv("labels.csv", index=False)
    TABLE.to_csv("semi.csv", index=False, sep=";")
    assert texts_of(Path("jokes.csv"), column="joke") == TEXTS  # a path needs no word about it
    with pytest.warns(UserWarning, match="texts is read from the file jokes.csv; 3 rows"):
        assert texts_of("jokes.csv", column="joke") == TEXTS
    with pytest.warns(UserWarning, match="read from the file jokes.csv, jokes.csv; 6 rows"):
        assert texts_of(["jokes.csv"] * 2, column="joke") == TEXTS * 2
    assert texts_of([Path("jokes.csv")] * 2, column="joke") == TEXTS * 2
    with pytest.warns(UserWarning, match="semi.csv is read .*semicolon"):
        assert texts_of(Path("semi.csv")) == TEXTS
    with open("jokes.csv") as file, pytest.raises(UsageError, match="Give the path of the file"):
        texts_of(file)
    with pytest.raises(UsageError, match=r"labels.csv has the columns .*give column='text'"):
        texts_of(Path("labels.csv"))
    with pytest.warns(UserWarning, match=r"the texts are the column joke \(--column\)"):
        assert texts_of(Path("jokes.csv")) == TEXTS
    Path("and").touch()
    assert texts_of(["and"]) == ["and"]
    assert texts_of(["jokes.csv", "or"]) == ["jokes.csv", "or"]  # not all are files
