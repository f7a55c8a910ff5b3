"""Files as people's tools save them: what they hold is read, and what was guessed is said."""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pandas
import pytest

from gpt1.data.dialect import ReadOptions
from gpt1.data.sniffing import is_header
from gpt1.data.tables import RowReader, Texts, read_texts
from gpt1.errors import ConfigError, DataError

ROWS = [
    {"text": "A warm, funny film", "label": "good"},
    {"text": 'She said "no"; twice', "label": "bad"},
    {"text": "two\nlines", "label": "bad"},
    {"text": "dull | cold", "label": "good"},
]


def _frame(rows: list[dict[str, str]] = ROWS) -> pandas.DataFrame:
    return pandas.DataFrame(rows)


def _r(path: Path, separator: str) -> None:
    """As R's write.table does: every string quoted, inner quotes escaped, a column of row names."""
    lines = [separator.join(f'"{name}"' for name in ROWS[0])]
    for number, row in enumerate(ROWS, 1):
        values = [value.replace('"', '\\"') for value in (str(number), *row.values())]
        lines.append(separator.join(f'"{value}"' for value in values))
    path.write_text("\n".join(lines) + "\n")


def _xlsx(path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "Notes"
    sheet = book.create_sheet("Data")
    for row in ([], list(ROWS[0]), *[list(row.values()) for row in ROWS]):
        sheet.append(row)
    book.save(path)


def _gzipped(path: Path) -> None:
    path.write_bytes(gzip.compress(_frame().to_csv(index=False).encode()))


def _old_mac(path: Path) -> None:
    path.write_text(_frame(ROWS[:2]).to_csv(index=False, lineterminator="\r"), newline="")


def _twice(path: Path) -> None:
    _frame(ROWS[:2]).to_csv(path, index=False)
    _frame(ROWS[2:]).to_csv(path, index=False, mode="a")


WRITERS: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "pandas csv": ("a.csv", lambda p: _frame().to_csv(p, index=False), ""),
    "pandas csv with an index": ("a.csv", lambda p: _frame().to_csv(p), ""),
    "pandas tsv": ("a.tsv", lambda p: _frame().to_csv(p, sep="\t", index=False), ""),
    "pandas, all quoted": (
        "a.tsv",
        lambda p: _frame().to_csv(p, sep="\t", index=False, quoting=csv.QUOTE_ALL),
        "",
    ),
    "semicolons": ("a.csv", lambda p: _frame().to_csv(p, sep=";", index=False), "semicolon"),
    "LibreOffice, all quoted": (
        "a.csv",
        lambda p: _frame().to_csv(p, sep=";", index=False, quoting=csv.QUOTE_ALL),
        "semicolon",
    ),
    "bars": ("a.csv", lambda p: _frame().to_csv(p, sep="|", index=False), "bar"),
    "tabs in a csv": ("a.csv", lambda p: _frame().to_csv(p, sep="\t", index=False), "tab"),
    "commas in a tsv": ("a.tsv", lambda p: _frame().to_csv(p, index=False), "comma"),
    "Excel, Unicode text": (
        "a.txt",
        lambda p: _frame().to_csv(p, sep="\t", index=False, encoding="utf-16"),
        "table with tabs",
    ),
    "Excel, UTF-8": ("a.csv", lambda p: _frame().to_csv(p, index=False, encoding="utf-8-sig"), ""),
    "UTF-32": ("a.csv", lambda p: _frame().to_csv(p, index=False, encoding="utf-32"), "UTF-32"),
    "UTF-16, big end first": (
        "a.csv",
        lambda p: p.write_bytes(b"\xfe\xff" + _frame().to_csv(index=False).encode("utf-16-be")),
        "UTF-16",
    ),
    "backslashes before quotes": (
        "a.csv",
        lambda p: _frame().to_csv(p, index=False, doublequote=False, escapechar="\\"),
        "",
    ),
    "R, tabs": ("a.tsv", lambda p: _r(p, "\t"), "row names"),
    "R, commas": ("a.csv", lambda p: _r(p, ","), "row names"),
    "Excel": ("a.xlsx", _xlsx, ""),
    "gzip without .gz": ("a.csv", _gzipped, ""),
    "carriage returns": ("a.csv", _old_mac, "carriage"),
    "two files, one after the other": ("a.csv", _twice, ""),
    "JSON lines": ("a.jsonl", lambda p: _frame().to_json(p, orient="records", lines=True), ""),
    "JSON lines called .json": (
        "a.json",
        lambda p: _frame().to_json(p, orient="records", lines=True),
        "",
    ),
    "a JSON list": ("a.json", lambda p: _frame().to_json(p, orient="records"), ""),
    "a JSON list, indented, called .jsonl": (
        "a.jsonl",
        lambda p: _frame().to_json(p, orient="records", indent=2),
        "",
    ),
    "pandas' JSON of columns": ("a.json", lambda p: _frame().to_json(p), ""),
    "pandas' JSON with a schema": ("a.json", lambda p: _frame().to_json(p, orient="table"), ""),
    "a JSON object with a list": (
        "a.json",
        lambda p: p.write_text(json.dumps({"data": ROWS, "meta": {"n": 4}}, indent=1)),
        "",
    ),
    "Excel's line with the separator": (
        "a.csv",
        lambda p: p.write_text("sep=;\n" + _frame().to_csv(sep=";", index=False)),
        "",
    ),
    "a title over the table": (
        "a.csv",
        lambda p: p.write_text("My export,\n" + _frame().to_csv(index=False)),
        "from its second row on",
    ),
    "JSON called .csv": ("a.csv", lambda p: _frame().to_json(p, orient="records"), ""),
    "parquet": ("a.parquet", lambda p: _frame().to_parquet(p), ""),
}  # fmt: skip


@pytest.mark.parametrize("writer", WRITERS)
def test_what_a_tool_wrote_is_read_and_a_guess_is_said(writer: str, tmp_path: Path) -> None:
    name, write, guess = WRITERS[writer]
    write(tmp_path / name)
    reader = RowReader(tmp_path / name, lambda *_: ["text", "label"])
    rows = [row for row in reader if row]
    assert rows == (ROWS[:2] if writer == "carriage returns" else ROWS)
    (note,) = reader.counts.notes or [""]
    assert guess in note
    assert bool(note) == bool(guess)


HEADERS: list[tuple[list[list[str]], bool]] = [
    ([["text", "label"], ["a", "b"]], True),
    ([["Joke"], ["why did the dog cross"]], True),
    ([["How was it, overall?", "rating"], ["fine", "good"]], True),
    ([["why did the dog cross the road"], ["why did the cat cross the road"]], False),
    ([["3", "Oil falls, again"], ["1", "Peace talks resume"]], False),
    ([["A fine film", "good"], ["A dull film", "bad"], ["A warm film", "good"]], False),
    ([["", "text"], ["0", "a"]], True),
    ([["2019", "text"], ["a", "b"]], True),
]


@pytest.mark.parametrize(("rows", "header"), HEADERS)
def test_a_first_row_that_is_data_is_told_from_a_header(
    rows: list[list[str]], header: bool
) -> None:
    assert is_header(rows) == header
    assert is_header([["text", "x"], ["text", "y"]], {"text"})


def test_a_first_row_that_is_data_is_kept_and_the_option_overrules(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    jokes = [f"why did the {animal} cross the road" for animal in ("dog", "cat", "hen")]
    path.write_text("\n".join(jokes) + "\n")
    with pytest.warns(UserWarning, match=r"a\.csv is read without a header, since .*why did"):
        assert read_texts(path) == jokes
    assert read_texts(path, header=False) == jokes
    assert read_texts(path, header=True) == jokes[1:]


def test_options_decide(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text§label\nCafé au lait§x\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"not UTF-8.*--encoding cp1252"):
        read_texts(path, "text")
    assert read_texts(path, "text", encoding="cp1252", delimiter="§") == ["Café au lait"]
    with pytest.raises(ConfigError, match="one character, or one of comma, semicolon"):
        ReadOptions(delimiter=", ")
    with pytest.raises(ConfigError, match=r"does not know.*Did you mean 'cp1252'"):
        ReadOptions(encoding="cp125")
    with pytest.raises(ConfigError, match="does not know"):
        ReadOptions(encoding="base64")


def test_columns_without_a_name_or_with_one_twice_matter_only_if_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(",text,x,x\n0,a,1,2\n")
    assert read_texts(path) == ["a"]
    with pytest.raises(DataError, match="two columns named 'x'"):
        read_texts(path, "x")


def test_a_json_list_of_texts_and_rows_with_lists_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('["a joke", "another"]')
    assert read_texts(tmp_path / "a.json") == ["a joke", "another"]
    row = {"text": "Ann ran", "spans": [{"start": 0, "end": 3, "label": "P"}]}
    for text in (json.dumps(row), json.dumps(row, indent=1)):
        (tmp_path / "b.json").write_text(text)
        assert list(RowReader(tmp_path / "b.json", lambda *_: None)) == [row]


def test_a_txt_is_a_text_a_line_or_one_document(tmp_path: Path) -> None:
    jokes, novel = tmp_path / "jokes.txt", tmp_path / "novel.txt"
    jokes.write_text("Why? Because.\n\nKnock knock.\nWho's there?\n" + "It's me.\n" * 20)
    novel.write_text("\n\n".join(f"Chapter {i}. " + "The sea was calm. " * 9 for i in range(9)))
    for path, count, said in ((jokes, 23, "a text a line"), (novel, 1, "as one document")):
        texts = Texts(path)
        assert len(list(texts)) == count
        assert said in texts.counts.notes[0]
    assert len(read_texts(jokes, unit="document")) == 1
    assert len(read_texts(novel, unit="line")) == 9


def test_a_workbook_or_list_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _xlsx(tmp_path / "a.xlsx")
    monkeypatch.setattr("gpt1.data.excel._MAX_SIZE", 100)
    monkeypatch.setattr("gpt1.data.json_rows._MAX_SIZE", 100)
    (tmp_path / "a.json").write_text(json.dumps(ROWS * 9, indent=1))
    for name in ("a.xlsx", "a.json"):
        with pytest.raises(DataError, match="more than 0 GiB"):
            read_texts(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.xls", b"\xd0\xcf\x11\xe0" + bytes(9), "old Excel file. Save it as"),
        ("a.xlsx", b"PK\x03\x04" + bytes(99), "no Excel file"),
        ("a.xlsx", b"text,label\n", "no xlsx file"),
        ("a.json", b'{"text": {"0": "a"}, "label": {"0": "b"}}x', "not JSON"),
        ("a.json", b"[1, 2]", "item 1: 1 is not a JSON object"),
        ("a.csv", "text,label\na,b\n".encode("utf-16-le"), "--encoding utf-16-le"),
        ("a.json", b'[{"text": "a"}', "not JSON"),
    ],
)
def test_what_cannot_be_read_is_a_clear_error(
    name: str, data: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_texts(tmp_path / name)


PIPED: list[tuple[bytes, list[str]]] = [
    (b"text,label\na,x\nb,y\n", ["a", "b"]),
    (b"id;text\n1;a\n2;b\n", ["a", "b"]),
    (b'{"text": "a"}\n{"text": "b"}\n', ["a", "b"]),
    (b"A fine film, really.\nA dull one.\n", ["A fine film, really.", "A dull one."]),
    (gzip.compress(b"text\na\n", mtime=0), ["a"]),
]


@pytest.mark.parametrize(("data", "texts"), PIPED)
def test_a_pipe_and_stdin_are_read_as_what_they_hold(
    data: bytes, texts: list[str], tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    thread = threading.Thread(target=pipe.write_bytes, args=(data,))
    thread.start()
    reader = Texts(pipe)
    thread.join()
    assert list(reader) == list(reader) == texts
    code = "import gpt1; print(gpt1.read_texts('-'))"
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
    assert done.stdout.decode().strip() == str(texts)
