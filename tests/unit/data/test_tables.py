from __future__ import annotations

import contextlib
import csv
import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

import gpt1
from gpt1.data import formats
from gpt1.data.tables import RowCounts, RowReader, Texts, read_texts, text_fault
from gpt1.errors import DataError

ODD = ["é", "日本", "🙂", "\u2028", "\x85", "\ufeff", "\0", '"', '""', "'", ",", "\\", "\\n"]
ODD += ["NaN", " "]
BREAKS = ["\t", "\n", "\r\n", "\r"]


def _write(path: Path, rows: list[dict[str, str]], quoting: int = csv.QUOTE_MINIMAL) -> Path:
    """Write rows as the kind of file that the path's ending names."""
    if path.suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), quoting=quoting)  # type: ignore[arg-type]
            writer.writeheader()
            writer.writerows(rows)
    else:
        lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
        lines = list(map(json.dumps, rows)) if path.suffix == ".jsonl" else lines
        path.write_bytes("".join(line + "\n" for line in lines).encode())
    return path


def _odd_rows(count: int, pieces: list[str]) -> list[dict[str, str]]:
    rng = random.Random(0)
    words = ["a", "joke", "and", "another", *pieces]
    return [
        {name: "".join(rng.choices(words, k=rng.randrange(6))) for name in ("id", "text", 'x,"y')}
        | {"last": "."}
        for _ in range(count)
    ]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_odd_rows_come_back_the_same_from_every_kind_of_file(kind: str, tmp_path: Path) -> None:
    rows = _odd_rows(5_000, ODD if kind == "tsv" else [*ODD, *BREAKS])
    for quoting in [csv.QUOTE_MINIMAL, csv.QUOTE_ALL][: 1 + (kind == "csv")]:
        reader = RowReader(_write(tmp_path / f"rows.{kind}", rows, quoting), lambda *_: None)
        assert list(reader) == rows
        assert reader.counts == RowCounts(rows=5_000, used=5_000, files=1)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "txt"])
def test_whatever_happens_to_a_file_every_row_is_used_or_rejected_or_an_error_names_it(
    kind: str, tmp_path: Path
) -> None:
    lines = {
        "csv": ["id,text", '1,"a ""good"" joke"', "2,plain", '3,"two\nlines"', "4,end"],
        "tsv": ["id\ttext", '1\ta "good" joke', "2\tplain", "3\tx", "4\tend"],
        "jsonl": [json.dumps({"id": i, "text": f"joke é {i}"}) for i in range(5)],
        "txt": ["One paragraph.", "", "Another."],
    }[kind]
    whole = "\n".join(lines).encode() + b"\n"
    damage = [b"\xff", b"\xed\xa0\x80", b"\0", b"\xef\xbb\xbf", b"\r\n", b"\r", b"\n", b'"', b"\t"]
    damage += [b",", b"{", b"}", b"\\ud800", "\u2028".encode(), b"", b" ", b"\xc3"]
    rng = random.Random(1)
    path = tmp_path / f"rows.{kind}"
    read = failed = rejected = 0
    for _ in range(1_250):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            start = rng.randrange(len(data) + 1)
            data[start : start + rng.randint(0, 3)] = rng.choice(damage)
        path.write_bytes(data)
        texts = Texts(path, "text")
        found: list[str] | None = None
        with contextlib.suppress(DataError):
            found = list(texts)
        account = texts.counts
        assert account.rows == account.used + account.rejected.total()
        rejected += account.rejected.total()
        if found is None:
            failed += 1
            continue
        read += 1
        assert len(found) == account.used
        assert all(text_fault(text) is None for text in found)
        if kind in ("tsv", "jsonl"):
            ends = data.count(b"\n") + (not data.endswith(b"\n"))
            header = next((i for i, line in enumerate(data.split(b"\n")) if line.strip(b"\r")), 0)
            assert account.rows == ends - (header + 1 if kind == "tsv" else 0)
    assert read > 50
    assert failed > 100
    assert rejected > 20


def test_rows_that_hold_no_usable_text_are_counted_by_reason(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    values = ['"fine"', '""', '" \\t"', "null", "7", '"a\\u0000b"', '"\\ud800"', '"\\ud83d\\ude42"']
    lines = [f'{{"text": {value}}}' for value in values]
    path.write_text("\n".join([*lines[:3], "", *lines[3:]]))
    texts = Texts(path)
    assert list(texts) == ["fine", "🙂"]
    assert texts.counts.rejected == {
        "blank line": 1, "empty": 3, "not text": 1, "NUL character": 1, "lone surrogate": 1,
    }  # fmt: skip
    assert str(texts.counts) == (
        "9 rows from 1 file: 2 used, 7 rejected (NUL character: 1, blank line: 1, empty: 3, "
        "lone surrogate: 1, not text: 1)"
    )
    assert list(texts) == ["fine", "🙂"]
    assert texts.counts.rows == 9, "a second reading counts anew"


def test_the_articles_csv_is_read_by_its_column(tmp_path: Path) -> None:
    path = tmp_path / "shortjokes.csv"
    path.write_text('"ID","Joke"\n"1","[me] ""I can\'t, sorry"""\n"2","Two\nlines"\n')
    assert gpt1.read_texts(path, column="Joke") == ['[me] "I can\'t, sorry"', "Two\nlines"]
    with pytest.raises(DataError, match=r"no column 'joke'; it has ID, Joke. Did you mean 'Joke'"):
        read_texts(path, column="joke")
    with pytest.warns(UserWarning, match=r"the texts are the column Joke \(--column\)"):
        assert read_texts(path) == read_texts(path, column="Joke")


@pytest.mark.parametrize(
    ("name", "column", "rows"),
    [
        ("jokes/shortjokes.csv", "Joke", 31_758),
        ("novels/valid.jsonl.gz", None, 3),
        ("sst2/train.tsv", "sentence", 67_349),
        ("qnli/train.tsv", "question", 9_999),
    ],
)
def test_real_files_give_as_many_rows_as_their_makers_count(
    name: str, column: str | None, rows: int, data_folder: Path
) -> None:
    texts = Texts(data_folder / name, column)
    assert sum(bool(text) for text in texts) == rows
    assert texts.counts == RowCounts(rows=rows, used=rows, files=1)


GOOD = {
    "a.txt": (b"\xef\xbb\xbfOne.\r\n\r\nTwo\xe2\x80\xa8\nEnd", ["One.\n\nTwo\u2028\nEnd"]),
    "only_column.csv": (b'sentence\n"one, two"\n', ["one, two"]),
    "no_newline.csv": (b"text\nx", ["x"]),
    "no_newline.tsv": (b"text\nx", ["x"]),
    "no_newline.jsonl": (b'{"text": "x"}', ["x"]),
}


@pytest.mark.parametrize("name", GOOD)
def test_texts_are_what_the_file_holds(name: str, tmp_path: Path) -> None:
    data, texts = GOOD[name]
    (tmp_path / name).write_bytes(data)
    assert read_texts([tmp_path / name] * 2) == texts * 2


def test_a_long_txt_file_is_cut_at_line_ends_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "MAX_ROW", 100)
    path = tmp_path / "corpus.txt"
    whole = "".join(f"line {i} {'x' * (i % 90)}\n" for i in range(200))
    path.write_text(whole)
    texts = read_texts(path, unit="document")
    assert "".join(texts) == whole
    assert all(text.endswith("\n") and len(text) <= 100 for text in texts)


@pytest.mark.parametrize("kind", ["txt", "csv", "tsv", "jsonl"])
def test_gz_reads_as_the_plain_file_and_a_cut_or_damaged_one_is_an_error(
    kind: str, tmp_path: Path
) -> None:
    rng = random.Random(0)
    rows = [{"text": "".join(rng.choices("abcdefgh ", k=50)) + "."} for _ in range(50)]
    plain = _write(tmp_path / f"rows.{kind}", rows)
    zipped = tmp_path / f"rows.{kind}.gz"
    data = gzip.compress(plain.read_bytes())
    zipped.write_bytes(data)
    assert read_texts(zipped, unit="line") == read_texts(plain, unit="line")
    for broken in (data[: len(data) // 2], data[:30] + b"\xff" * 9 + data[39:]):
        zipped.write_bytes(broken)
        with pytest.raises(DataError, match=r"gz: the gzip file is cut off or damaged"):
            read_texts(zipped)


def test_limit_counts_rows_over_all_files_and_stops_reading(tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first.write_text('{"text": "1"}\n{"text": ""}\n{"text": "3"}\n')
    second.write_text('{"text": "4"}\nthis is not JSON\n')
    texts = Texts([first, second], limit=4)
    assert list(texts) == ["1", "3", "4"]
    assert texts.counts == RowCounts(rows=4, used=3, rejected={"empty": 1}, files=2)
    assert read_texts([first, tmp_path / "a.jsonl"], limit=3) == ["1", "3"]


def test_rows_tell_their_location_and_wanted_columns_come_in_the_order_asked(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text\n"two\nlines"\nlast\n')
    rows = RowReader(path, lambda *_: None)
    assert [rows.location.rpartition(":")[2] for _ in rows] == ["2", "4"]
    for kind in ("csv", "jsonl", "parquet"):
        path = _write(tmp_path / f"x.{kind}", [{"a": "1", "b": "2", "c": "3"}])
        (row,) = RowReader(path, lambda *_: ["c", "a"])
        assert list(row.items()) == [("c", "3"), ("a", "1")], kind


BAD: dict[str, tuple[str, bytes, str]] = {
    "no bytes": ("a.txt", b"", "is empty"),
    "only a byte order mark": ("a.jsonl", b"\xef\xbb\xbf", "nothing to use; 0 rows"),
    "blank txt": ("a.txt", b"\n \n\n", r"nothing to use; 1 row .*empty: 1"),
    "blank jsonl": ("a.jsonl", b"\n\n", r"nothing to use; 2 rows .*blank line: 2"),
    "blank csv": ("a.csv", b"\n\n", "no column 'text'; it has none"),
    "blank tsv": ("a.tsv", b"\n", "no column 'text'; it has none"),
    "only a header": ("a.csv", b"text\n", "nothing to use; 0 rows"),
    "empty gz": ("a.txt.gz", gzip.compress(b""), "is empty"),
    "bad UTF-8": ("a.txt", b"fine\nbr\xffken\n", r"a\.txt:2: byte 7 is not UTF-8"),
    "bad UTF-8 after a mark": ("a.txt", b"\xef\xbb\xbfab\n\xff", r"a\.txt:2: byte 6 is not"),
    "UTF-16 without a mark": ("a.csv", "é\nx\n".encode("utf-16-le"), "utf-16-le"),
    "half of UTF-16": ("a.csv", "text\nx\n".encode("utf-16")[:-1], "the text is not utf-16"),
    "half a JSON object": ("a.jsonl", b'{"text": "a"}\n{"text": "b\n', r"jsonl:2: not JSON"),
    "deep JSON": ("a.jsonl", b"[" * 200_000, r"a\.jsonl: not JSON"),
    "a number of 5,000 digits": ("a.jsonl", b'{"text": ' + b"1" * 5000 + b"}", "not JSON"),
    "no text column": ("a.jsonl", b'{"txt": "a", "title": "b"}\n', "one of them must be named"),
    "a later row without it": (
        "a.jsonl",
        b'{"text": "a"}\n{"txt": "b"}\n',
        r"a\.jsonl:2 has no column 'text'; it has txt. Did you mean 'txt'",
    ),
    "too many fields": ("a.csv", b"a,text\n1,2\n1,2,3\n", r"a\.csv:3: the row has 3 fields; .* 2"),
    "too few fields": ("a.tsv", b"a\ttext\nx\n", r"a\.tsv:2: the row has 1 field; .*\(a, text\)"),
    "an open quote": ("a.csv", b'text\nfine\n"never\nclosed\n', r"a\.csv:3: not a csv row"),
    "text after a quote": ("a.csv", b'text\n"a"b\n', r"a\.csv:2: not a csv row"),
    "a bare carriage return": ("a.csv", b"text\nx\ry\n", r"a\.csv:2: not a csv row"),
    "one column twice": ("a.csv", b"text,text\n1,2\n", "two columns named 'text'"),
    "not parquet": ("a.parquet", b"PAR1 but not really", "no parquet file"),
    "an unknown kind": ("a.docx", b"x", r"no known kind; gpt1 reads \.txt, \.csv, \.tsv"),
    "zipped parquet": ("a.parquet.gz", b"x", "no parquet file"),
    "no ending": ("a", b"x", "no known kind"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_cannot_be_used_is_a_clear_error(case: str, tmp_path: Path) -> None:
    name, data, message = BAD[case]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        read_texts(path)
    assert str(path) in str(caught.value)


def test_missing_files_and_folders_are_errors_before_anything_is_read(tmp_path: Path) -> None:
    fine = tmp_path / "a.txt"
    fine.write_text("x")
    with pytest.raises(DataError, match=r"there is no file .*b\.txt"):
        Texts([fine, tmp_path / "b.txt"])
    with pytest.raises(DataError, match="is a folder"):
        Texts([fine, tmp_path])
    with pytest.raises(DataError, match="no file was given"):
        Texts([])


def test_a_damaged_parquet_file_never_gives_other_rows_than_it_held(tmp_path: Path) -> None:
    rows = [{"text": f"joke {i}"} for i in range(200)]
    path = _write(tmp_path / "a.parquet", rows)
    data = path.read_bytes()
    for cut in range(0, len(data), 97):
        path.write_bytes(data[:cut])
        with pytest.raises(DataError, match=r"a\.parquet"):
            read_texts(path)


def test_parquet_without_pyarrow_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write(tmp_path / "a.parquet", [{"text": "x"}])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r'pip install "gpt1\[data\]"'):
        read_texts(path)


MEASURE = """
import re, sys
from pathlib import Path
from gpt1.data.tables import read_texts
from gpt1.errors import DataError
def peak(): return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
before = peak()
try:
    read_texts(sys.argv[1])
except DataError as error:
    print(peak() - before, error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(
    ("name", "head"),
    [("a.txt", b""), ("a.jsonl", b'{"text": "'), ("a.tsv", b"text\n"), ("a.csv", b'text\n"')],
)
def test_a_row_of_a_gigabyte_is_refused_in_bounded_memory(
    name: str, head: bytes, tmp_path: Path
) -> None:
    path = tmp_path / name
    with path.open("wb") as file:
        file.write(head)
        if name == "a.csv":  # a quote that is never closed
            file.write(b"some text in a row\n" * (1 << 19))
        file.truncate(1 << 30)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True
    )
    kibibytes, _, message = done.stdout.partition(" ")
    line = 1 + head.count(b"\n")
    assert f"{name}:{line}: the row is longer than 8 MiB" in message
    assert int(kibibytes) < 64 << 10


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            ",".join(f"c{n}" for n in range(20_000)) + "\n",
            "has 20,000 columns; a table has",
        ),
        (",".join(f"c{n}" for n in range(300)) + "\n1\n", r"c39, \.\.\. \(300 in all\)"),
        ("text\na\n" + "\n" * 1_000_100, "more than 1,000,000 blank lines in a row"),
    ],
)
def test_what_would_take_hours_or_fill_the_screen_is_refused(
    tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "it.csv").write_text(content)
    with pytest.raises(DataError, match=said):
        read_texts(tmp_path / "it.csv")
