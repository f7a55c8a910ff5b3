"""Answers that can be used: what predict keeps, reads and refuses; text of another alphabet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import gpt1
import tiny
import worlds
from commands import run_gpt1, run_gpt1_process
from gpt1.tasks.kinds import Choice, Classification, Entailment, SequenceLabelling, Task
from gpt1.tasks.predictor import Predictor

CLASSES = ("no", "yes")
FILE = 'id,text,label\n7,the dog,x\n\n8,,y\n9,"a cat, a dog",\n'


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tasks: dict[str, Task] = {
        "one": Classification(CLASSES), "pair": Entailment(CLASSES), "choice": Choice(2),
        "words": SequenceLabelling(("O", "B-X")),
    }  # fmt: skip
    for name, task in tasks.items():
        words = worlds.tokenizer(tmp_path / f"{name}-words")
        model = worlds.model(task, words).float()
        Predictor(model, words, task).save(tmp_path / name)
    Path("new.csv").write_text(FILE)
    return tmp_path


def table(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_rows_keep_their_columns_and_their_places(place: Path) -> None:
    done = run_gpt1("predict one new.csv --keep-columns").check()
    head, *rows = table(done.stdout)
    assert head == ["id", "text", "label", "predicted_label", "p_no", "p_yes"]
    assert "predicted_label" in done.stderr
    assert [row[0] for row in rows] == ["7", "", "8", "9"]
    assert [row[1] for row in rows] == ["the dog", "", "", "a cat, a dog"]
    plain = table(run_gpt1("predict one new.csv").check().stdout)[1:]
    assert [row[3:] for row in rows] == plain
    assert [any(row) for row in plain] == [True, False, False, True]
    records = json.loads(run_gpt1("predict one new.csv --keep-columns --json").check().stdout)
    assert [r["predicted_label"] for r in records] == [row[0] or None for row in plain]
    Path("index.csv").write_text(",text,n,n\n0,the dog,1,2\n1,a cat,3,4\n")  # as pandas writes it
    kept = table(run_gpt1("predict one index.csv --keep-columns").check().stdout)
    assert [row[:4] for row in kept] == [
        ["", "text", "n", "n.1"], ["0", "the dog", "1", "2"], ["1", "a cat", "3", "4"],
    ]  # fmt: skip
    piped = run_gpt1_process("predict", "one", "-", "--keep-columns", stdin=FILE.encode()).check()
    assert piped.stdout == done.stdout


def test_rows_that_are_not_measured_are_in_the_json(place: Path) -> None:
    Path("test.csv").write_text("text,label\nthe dog,no\n\na cat,yes\n,no\n")
    found = json.loads(run_gpt1("evaluate one test.csv --json").check().stdout)
    assert found["accounting"]["rejected"] == {"blank line": 1, "empty": 1}


@pytest.mark.parametrize(
    ("command", "rows"),
    [
        (["one", "--text", "the dog"], 1),
        (["one", "--text", "the dog", "--text", "- a cat"], 2),
        (["pair", "--text", "the dog", "--text", "a cat"], 1),
        (["choice", "--text", "the dog", "--text", "is", "--text", "a cat"], 1),
    ],
)
def test_a_text_can_be_an_argument(place: Path, command: list[str], rows: int) -> None:
    assert len(table(run_gpt1("predict", *command).check().stdout)) == 1 + rows


@pytest.mark.parametrize(
    ("options", "shown"),
    [("", "'"), ("--keep-columns", "'"), ("--raw", ""), ("--raw --keep-columns", "")],
)
def test_labels_that_are_formulas_are_quoted_unless_raw(
    place: Path, options: str, shown: str
) -> None:
    labels = ('=HYPERLINK("x")', "@SUM(1)")
    task, words = Classification(labels), worlds.tokenizer(place / "w")
    Predictor(worlds.model(task, words).float(), words, task).save(place / "formulas")
    Path("texts.csv").write_text("text\n" + "the dog\na cat\nis\n" * 9)
    rows = table(run_gpt1(f"predict formulas texts.csv {options}").check().stdout)
    found = {row[rows[0].index("label")] for row in rows[1:]}
    assert found
    assert found <= {shown + label for label in labels}
    assert not [cell for row in rows for cell in row if cell.startswith("=")] or not shown
    records = json.loads(run_gpt1(f"predict formulas texts.csv {options} --json").check().stdout)
    assert {record["label"] for record in records} <= set(labels)


def test_a_sentence_can_be_an_argument(place: Path) -> None:
    written = run_gpt1("predict", "words", "--text", "the dog").check().stdout
    assert [line.split("\t")[0] for line in written.splitlines()] == ["the", "dog", ""]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("predict one", "give files to label"),
        ("predict one new.csv --text x", "not both"),
        ("predict pair --text 'the dog'", "Give --text 2 times"),
        ("predict one --text ' '", "cannot be used: empty"),
        ("predict one new.csv --out there.csv", "which exists"),
        ("predict one new.csv --out new.csv --force", "which is the file to read"),
        ("predict words new.csv --keep-columns", ".conll has no columns"),
        ("predict one --text ЖЖЖ", "100% of what the texts hold"),
        ("predict one ru.csv", "ru.csv:2: 'Старый король'"),
        ("finetune ru.csv --task lm --text-column text --model one --out o", "--allow-unknown"),
        ("prepare ru.csv --tokenizer one-words --out shards", "--allow-unknown"),
        ("evaluate one ru.csv --task lm --column text", "--allow-unknown"),
    ],
)
def test_what_is_refused(place: Path, command: str, said: str) -> None:
    Path("there.csv").write_text("label,p_a\n")
    Path("ru.csv").write_text("text,label\nСтарый король,a\nКоролева,b\n", encoding="utf-8")
    done = run_gpt1(command)
    assert (done.code, done.stdout) == (2, "")
    assert said in done.message
    assert Path("there.csv").read_text() == "label,p_a\n"


def test_force_replaces_and_allow_unknown_goes_on(place: Path) -> None:
    Path("there.csv").write_text("mine\n")
    run_gpt1("predict one new.csv --out there.csv --force").check()
    assert Path("there.csv").read_text().startswith("label,p_no")
    done = run_gpt1("predict one --text ЖЖЖ --allow-unknown").check()
    assert "lacks 100%" in done.stderr
    done = run_gpt1("predict", "one", "--text", "the dog and a cat is Ж Ж").check()
    assert "of what the texts hold" in done.stderr


RUSSIAN = ["Старый король", "Королева"] * 2


def test_python_is_told_of_text_that_the_vocabulary_lacks(place: Path) -> None:
    gpt = gpt1.load(place / "one")
    fit = gpt1.TextClassifier(gpt, early_stopping=False, verbose=False, settings=["train.steps=1"])
    short = {"out": place / "run", "overrides": ["train.steps=1"]}
    calls: list[Callable[..., object]] = [
        lambda **allow: gpt.finetune(RUSSIAN, **short, **allow),
        lambda **allow: fit.set_params(**allow).fit(RUSSIAN, ["a", "b"] * 2),
    ]
    for call in calls:
        with pytest.raises(gpt1.InputError, match=r"\[?0?\]?: 'Старый.*allow_unknown=True"):
            call()
        with pytest.warns(UserWarning, match="lacks 100%"):
            call(allow_unknown=True)
    for answer in (fit.predict, gpt.score):
        with pytest.warns(UserWarning, match="lacks 100%"):
            answer(RUSSIAN)
    loaded = gpt1.TextClassifier.load(place / "one")
    with pytest.warns(UserWarning, match="lacks 100%"):
        assert len(loaded.predict(RUSSIAN)) == len(RUSSIAN)


def test_a_folder_does_not_hide_a_packaged_model(place: Path) -> None:
    tiny.write_vocabulary(place / "mini")
    done = run_gpt1("generate the --max-new-tokens 0").check()
    assert "mini is the packaged model; for the folder of that name say ./mini" in done.stderr
    assert "not a model folder" in run_gpt1("generate the --model ./mini").stderr
