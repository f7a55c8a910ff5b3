"""A person's own table: what is found in it, what is rejected, what stops."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from gpt1.errors import ConfigError, DataError
from gpt1.tasks.kinds import Choice, Classification, Entailment, Regression, Task
from gpt1.tasks.spec import Example
from gpt1.tasks.tables import read_examples


def _write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def _jsonl(path: Path, *rows: dict[str, object]) -> Path:
    return _write(path, *map(json.dumps, rows))


MOODS = ("text,label", "a fine day,good", '"rain, again",bad', "sun,good")


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_a_classification_is_read_alike_from_every_kind_of_file(
    ending: str, tmp_path: Path
) -> None:
    rows = [{"text": "a fine day", "label": "good"}, {"text": "rain, again", "label": "bad"}]
    path = tmp_path / f"moods.{ending}"
    if ending == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif ending == "jsonl":
        _jsonl(path, *rows)
    else:
        by_comma = ["text,label", "a fine day,good", '"rain, again",bad']
        by_tab = ["text\tlabel", "a fine day\tgood", "rain, again\tbad"]
        _write(path, *(by_comma if ending == "csv" else by_tab))
    table = read_examples("classification", path)
    assert table.task == Classification(("bad", "good"))
    assert table.examples == [Example(("a fine day",), 1), Example(("rain, again",), 0)]
    assert table.labels == {"bad": 1, "good": 1}
    first = 1 if ending in ("jsonl", "parquet") else 2
    assert table.locations == [f"{path}:{first}", f"{path}:{first + 1}"]


def test_columns_give_the_files_names(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", "Review,Stars", "nice,5", "awful,1")
    table = read_examples("classification", path, columns={"text": "Review", "label": "Stars"})
    assert table.task.classes == ("1", "5")
    with pytest.raises(DataError) as caught:
        read_examples("classification", path)
    assert str(caught.value) == (
        f"{path} has the columns Review, Stars; classification takes text, label. Say which is "
        f"which, e.g. --text-column Review --label-column Stars (Python: "
        f"columns={{'text': 'Review', 'label': 'Stars'}}). If they are a row of data, add "
        f"--no-header (header=False)."
    )
    for columns, error, message in (
        ({"text": "review", "label": "Stars"}, DataError, "no column 'review'.*mean 'Review'"),
        ({"texts": "Review"}, ConfigError, r"columns names 'texts'.*Did you mean 'text'"),
        ({"text": "Review", "label": "Review"}, ConfigError, "column 'Review' two meanings"),
    ):
        with pytest.raises(error, match=message):
            read_examples("classification", path, columns=columns)
    _write(path, "id,Labels,Texts", "1,good,x")
    with pytest.raises(DataError, match="--text-column Texts --label-column Labels "):
        read_examples("classification", path)
    _write(path, "Nr.,Comment,Verdict", "1,x,good")  # what counts the rows is no text
    with pytest.raises(DataError, match="--text-column Comment --label-column Verdict "):
        read_examples("classification", path)
    _write(path, "id,context,right", "1,x,0")
    with pytest.raises(DataError, match=r"choice takes context, question, answer_0, answer_1, "):
        read_examples("choice", path)


@pytest.mark.parametrize(
    "header", ["0,Text,LABEL", "text,LABEL,0", "Text,text,label", "TEXT,0,label"]
)
def test_names_that_differ_in_case_only_are_known(tmp_path: Path, header: str) -> None:
    columns = header.split(",")
    exact = [name for name in columns if name == "text"] or ["Text", "TEXT"]
    index = next(i for i, name in enumerate(columns) if name in exact)
    path = _write(tmp_path / "a.csv", header, "ab,cd,ef", "gh,ij,kl")
    assert read_examples("classification", path).examples[0].texts == (["ab", "cd", "ef"][index],)


def test_classes_are_sorted_by_number_where_all_are_numbers(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", "text,label", "a,10", "b,9", "c,-1", "d,2.5")
    assert read_examples("classification", path).task.classes == ("-1", "2.5", "9", "10")
    _write(path, "text,label", "a,10", "b,9", "c,nan")
    assert read_examples("classification", path).task.classes == ("10", "9", "nan")


def test_jsonl_labels_may_be_numbers_booleans_or_strings(tmp_path: Path) -> None:
    def classes(*labels: object) -> tuple[str, ...]:
        rows = [{"text": str(i), "label": label} for i, label in enumerate(labels)]
        return read_examples("classification", _jsonl(tmp_path / "a.jsonl", *rows)).task.classes

    assert classes(True, False) == ("false", "true")
    assert classes(3, 1.0, "2") == ("1", "2", "3")
    assert classes("b", "a") == ("a", "b")
    with pytest.raises(DataError, match=r"a.jsonl:2: the label is a list"):
        classes("a", ["b"])


def test_rows_without_a_text_or_a_label_are_rejected_and_counted(tmp_path: Path) -> None:
    path = _jsonl(
        tmp_path / "a.jsonl",
        {"text": "x", "label": "a"}, {"text": "y", "label": "b"}, {"text": "z"},
        {"text": "z", "label": " "}, {"text": "z", "label": None}, {"text": "", "label": "a"},
        {"text": 7, "label": "a"},
    )  # fmt: skip
    table = read_examples("classification", path)
    assert table.counts.rejected == {"no label": 3, "empty": 1, "not text": 1}
    assert table.counts.used == len(table.examples) == 2
    assert str(table).splitlines() == [
        "7 rows from 1 file: 2 used, 5 rejected (empty: 1, no label: 3, not text: 1)",
        "labels a: 1, b: 1",
        "no text occurs twice",
    ]
    with pytest.raises(DataError, match=r"nothing to use; 1 row from 1 file"):
        read_examples("classification", _jsonl(path, {"text": "", "label": "a"}))
    with pytest.raises(DataError, match=r"a.jsonl:2 has no column 'text'"):
        read_examples("classification", _jsonl(path, {"text": "x", "label": "a"}, {"label": "a"}))


PAIRS = "text_a,text_b,label"
ANSWERS = "context,question,answer_0,answer_1,answer_2,label"
WEATHER = Classification(("bad", "good"))
STOPS: list[tuple[str, Task | None, list[str], str]] = [
    ("classification", None, ["text,label", "x,good", "y,good"],
     r"all 2 rows have the label 'good'.*at least two classes"),
    ("classification", WEATHER, [*MOODS, "y,great"],
     r"a.csv:5: the label is 'great'; .* classes are bad, good"),
    ("regression", Regression(scale=(0, 1)), [PAIRS, "a,b,1.5", "c,d,-2"],
     r"a.csv:2: the score is 1.5; .* goes from 0 to 1"),
    *(("regression", None, [PAIRS, "a,b,1", f"c,d,{odd}"],
       rf"a.csv:3: the label is '{odd}'; .* a number") for odd in ("high", "nan", "inf")),
    ("regression", None, [PAIRS, "a,b,2", "c,d,2.0"],
     "all 2 scores are 2; a regression needs scores that"),
    *(("choice", None, [ANSWERS, f"x,q,a,b,c,{label}"],
       r"a.csv:2: the label is '.*'; .* answer, 0 to 2") for label in ("3", "-1", "A", "0.5")),
    ("choice", None, [ANSWERS, "x,q,a,b,c,0", "x,q,a,b,,0"],
     r"a.csv:3: the row has 2 answers; it must have 3"),
    ("choice", Choice(answers=4), [ANSWERS, "x,q,a,b,c,0"],
     r"a.csv:2: the row has 3 answers; it must have 4"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "task", "lines", "message"), STOPS)
def test_labels_and_answers_that_cannot_be_right_stop(
    kind: str, task: Task | None, lines: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        read_examples(kind, _write(tmp_path / "a.csv", *lines), task=task)


def test_a_given_task_keeps_its_classes_and_must_fit_the_kind(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", "text,label", "x,good", "y,good")
    assert read_examples("classification", path, task=WEATHER).labels == {"bad": 0, "good": 2}
    for kind, task, message in (
        ("entailment", WEATHER, "to be read for entailment, the task is classification"),
        ("sentiment", None, "the task type is 'sentiment'; it must be one of"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_examples(kind, path, task=task)


def test_a_regression_finds_its_scale(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", PAIRS, "a,b,1.5", "c,d,-2", "e,f,0")
    table = read_examples("regression", path)
    assert table.task == Regression(scale=(-2.0, 1.5))
    assert [example.label for example in table.usable] == [1.5, -2.0, 0.0]
    assert table.labels == {}


def test_a_choice_has_as_many_answers_as_the_file_has(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", ANSWERS, "It rained.,What fell?,rain,snow,hail,0")
    table = read_examples("choice", path)
    assert table.task == Choice(answers=3)
    assert table.labels == {"0": 1, "1": 0, "2": 0}
    example = Example(("It rained.", "rain", "snow", "hail"), 0, "What fell?")
    assert table.examples == [example]
    listed = {"context": "It rained.", "question": "What fell?", "label": 0}
    rows = _jsonl(tmp_path / "a.jsonl", listed | {"answers": ["rain", "snow", "hail"]})
    assert read_examples("choice", rows).examples == [example]
    columns = {"answer_0": "ending1", "answer_1": "ending2"}
    other = _write(tmp_path / "b.csv", "context,ending1,ending2,label", "It rained.,wet,dry,1")
    assert read_examples("choice", other, columns=columns).task.answers == 2

    two, pair = {"answers": ["a", "b"]}, {"answer_0": "a", "answer_1": "b"}
    for first, more, message in (
        (two, {"answers": ["a"]}, r"a.jsonl:2: the row has 1 answer; it must have 2"),
        (two, {"answers": ["a", "b", "c"]}, r"a.jsonl:2: the row has 3 answers; it must have 2"),
        (two, {"answers": ["a", ""]}, r"a.jsonl:2: the row has 1 answer; it must have 2"),
        (pair, {**pair, "answer_2": "c"}, r"a.jsonl:2: the row has 3 answers"),
        ({"answers": ["a"]}, two, "takes at least two"),
        ({"answers": "a"}, two, r'"answers" must be a list'),
    ):
        _jsonl(rows, *({"context": "x", "label": 0} | answers for answers in (first, more)))
        with pytest.raises(DataError, match=message):
            read_examples("choice", rows)


def test_conflicts_and_duplicates_are_told_and_kept(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", *MOODS, "sun,good", "sun,bad", "a fine day,bad")
    table = read_examples("classification", path)
    assert len(table.examples) == 6
    assert (table.conflicts.duplicates, table.conflicts.conflicts) == (1, 2)
    assert table.conflicts.listed[0] == f"{path}:6 says 'bad', {path}:4 'good': 'sun'"
    assert "3 rows" not in str(table.conflicts)
    assert str(table.conflicts).startswith("1 row repeats an earlier one; 2 with another label")
    _write(path, "text,label", *[f"same,{label}" for label in "ab" * 20])
    conflicts = read_examples("classification", path).conflicts
    assert (conflicts.conflicts, len(conflicts.listed)) == (20, 10), "only ten are listed"


@pytest.mark.parametrize(
    ("kind", "conflicts"), [("similarity", 1), ("regression", 1), ("entailment", 0)]
)
def test_pairs_conflict_in_either_order_where_order_means_nothing(
    kind: str, conflicts: int, tmp_path: Path
) -> None:
    path = _write(tmp_path / "a.csv", PAIRS, "a,b,0", "b,a,1")
    assert read_examples(kind, path).conflicts.conflicts == conflicts


def test_every_row_to_predict_has_its_location(tmp_path: Path) -> None:
    task = Classification(("bad", "good"))
    path = _jsonl(tmp_path / "a.jsonl", {"text": "x"}, {"text": ""}, {"text": "y", "label": "?"})
    table = read_examples("classification", path, task=task, labelled=False)
    assert table.examples == [Example(("x",)), None, Example(("y",))]
    assert [location.rpartition(":")[2] for location in table.locations] == ["1", "2", "3"]
    assert table.counts.rejected == {"empty": 1}
    assert (table.counts.rows, table.counts.used, len(table.usable)) == (3, 2, 2)
    assert table.task is task
    _jsonl(path, {"text": " "})
    assert read_examples("classification", path, task=task, labelled=False).examples == [None]
    with pytest.raises(ConfigError, match="need a task"):
        read_examples("classification", path, labelled=False)

    choice = Choice(answers=2)
    path = _write(tmp_path / "a.csv", "context,answer_0,answer_1", "x,a,b", "x,a,", ",a,b")
    table = read_examples("choice", path, task=choice, labelled=False)
    assert table.examples == [Example(("x", "a", "b")), None, None]
    assert table.counts.rejected == {"wrong number of answers": 1, "empty": 1}


def test_a_limit_is_a_nested_sample_with_the_classes_of_all_rows(tmp_path: Path) -> None:
    lines = [f"text {i},{i % 3}" for i in range(100)]
    path = _write(tmp_path / "a.csv", "text,label", *lines)
    small, large = (read_examples("classification", path).sample(n) for n in (2, 20))
    assert small.task.classes == ("0", "1", "2")
    assert set(small.locations) < set(large.locations)
    assert small.counts.left_out == {"not in the sample": 98}
    assert sum(large.labels.values()) == large.counts.used == 20
    for example, location in zip(large.usable, large.locations, strict=True):
        assert example.texts == (f"text {int(location.rpartition(':')[2]) - 2}",)


def test_rows_in_are_rows_used_and_rejected_whatever_the_file_holds(tmp_path: Path) -> None:
    rng = random.Random(0)
    task = Entailment(("no", "yes"))
    path = tmp_path / "a.csv"
    loaded = 0
    for _ in range(300):
        pieces = ["a,b,yes", "c,d,no", "", ",b,yes", "a, ,no", "a,b,", "a,b,maybe"]
        lines = rng.choices(pieces, [9, 9, 2, 2, 2, 2, 0.1], k=rng.randint(1, 20))
        _write(path, "text_a,text_b,label", *lines)
        labelled = rng.random() < 0.5
        try:
            table = read_examples("entailment", path, task=task, labelled=labelled)
        except DataError as error:
            if re.search(r"a.csv(:\d+)?: (nothing to use|the label is 'maybe')", str(error)):
                continue
            raise
        loaded += 1
        account = table.counts
        assert account.rows == len(lines) == account.used + account.rejected.total()
        assert len(table.usable) == account.used
        assert len(table.locations) == len(table.examples)
        if not labelled:
            assert len(table.examples) == account.rows
    assert loaded > 200
