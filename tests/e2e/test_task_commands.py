"""gpt1 finetune --task, predict and evaluate: every kind of task, what is told, what is refused."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import random
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import tiny
from commands import run_gpt1
from documents import blocks_of, commands_of, files_of
from gpt1.checkpoint import folder
from gpt1.tasks.predictor import Predictor
from gpt1.tasks.tables import read_examples
from gpt1.text.tokenizer import Tokenizer
from worlds import PAPER_KINDS

ROOT = Path(__file__).parents[2]
HALF = "--set data.valid_share=0.5"
FAST = "--model tiny --steps 2 --set train.batch_size=8"
HEADS: dict[str, list[str]] = {
    "classification": ["text", "label"],
    "entailment": ["text_a", "text_b", "label"],
    "similarity": ["text_a", "text_b", "label"],
    "regression": ["text_a", "text_b", "label"],
    "choice": ["context", "question", "answer_0", "answer_1", "answer_2", "label"],
}
LABELS: dict[str, list[str]] = {
    "classification": ['a, "b"', "naïve", "z"],
    "entailment": ["yes", "no"],
    "similarity": ["same", "other"],
    "regression": [],
    "choice": ["0", "1", "2"],
}


def works(command: str) -> tuple[str, str]:
    """Run a command that must work; return stdout and stderr."""
    done = run_gpt1(command).check()
    return done.stdout, done.stderr


def write(path: str | Path, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *rows])


def invented(kind: str, count: int, seed: int) -> list[list[object]]:
    draw = random.Random(seed)

    def text(most: int) -> str:
        return " ".join(draw.choice(["the", "dog", "cat", "is", "a", "and"]) for _ in range(
            draw.randint(2, most)))  # fmt: skip

    rows = []
    for number in range(count):
        row: list[object] = [f"{text(9)} {seed} {number}"]
        row += [text(5) for _ in HEADS[kind][1:-1]]
        row.append(round(draw.uniform(0, 5), 1) if kind == "regression" else LABELS[kind][
            number % len(LABELS[kind])])  # fmt: skip
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, quick_runs: None) -> Path:
    """A folder with a tiny model, files of every kind of task, and a run of each."""
    place = tmp_path_factory.mktemp("tasks")
    tiny.write_vocabulary(place / "vocabulary")
    folder.save(place / "tiny", tiny.model(), Tokenizer.load(place / "vocabulary"))
    with contextlib.chdir(place):
        for kind in PAPER_KINDS:
            write(f"{kind}.csv", HEADS[kind], invented(kind, 40, 1))
            write(f"{kind}-test.csv", HEADS[kind], invented(kind, 24, 2))
            out, err = works(f"finetune {kind}.csv --task {kind} --out {kind} {FAST} {HALF}")
            assert out == f"{kind}/model\n"
            assert "40 rows from 1 file: 40 used, 0 rejected" in err
            assert "20 examples to train on, 20 to validate, chosen by " in err
            assert f"gpt1 predict {kind} NEW.csv" in err
            assert f"gpt1 evaluate {kind} TEST.csv" in err
    return place


@pytest.fixture(autouse=True)
def _here(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)
    monkeypatch.setenv("COLUMNS", "120")


# Predicting


@pytest.mark.parametrize("kind", PAPER_KINDS)
def test_each_row_in_gives_one_out_in_order(kind: str) -> None:
    rows = invented(kind, 9, 3)
    rows[2][0], rows[5][0] = "", "\x01"  # nothing, and nothing that is a word
    write("new.csv", HEADS[kind][:-1], [row[:-1] for row in rows])
    out, err = works(f"predict {kind} new.csv")
    assert "9 rows from 1 file: 7 used, 2 rejected (empty: 1, no words: 1)" in err
    assert "2 rows could not be used and got no label" in err
    assert works(f"predict {kind} new.csv")[0] == out  # to the byte
    head, *found = csv.reader(io.StringIO(out))
    predictor = Predictor.load(kind)
    names = predictor.task.score_names
    score = kind == "regression"
    assert head == (["score"] if score else ["label", *(f"p_{name}" for name in names)])
    assert len(found) == 9
    assert [i for i, row in enumerate(found) if not any(row)] == [2, 5]
    assert all(len(row) == len(head) for row in found)
    table = read_examples(kind, "new.csv", task=predictor.task, labelled=False)
    kept = [i for i in range(9) if i not in (2, 5)]
    wanted = predictor.probabilities([e for i in kept if (e := table.examples[i]) is not None])
    numbers = np.array([[float(x) for x in found[i][0 if score else 1 :]] for i in kept])
    if score:
        np.testing.assert_allclose(numbers[:, 0], predictor.decide(wanted), atol=1e-5)
    else:
        np.testing.assert_allclose(numbers, wanted, atol=1e-5)
        best = [str(i) if kind == "choice" else names[i] for i in wanted.argmax(1)]
        assert [found[i][0] for i in kept] == best

    records = json.loads(works(f"predict {kind} new.csv --json")[0])
    answers = [record[head[0]] for record in records]
    assert [i for i, answer in enumerate(answers) if answer is None] == [2, 5]
    given = [str(float(found[i][0])) if score else found[i][0] for i in kept]
    assert [str(answer) for answer in answers if answer is not None] == given
    if not score:
        assert records[2]["probabilities"] is None
        assert list(records[0]["probabilities"]) == list(names)


def test_predictions_go_into_a_file_and_never_over_the_one_that_is_read() -> None:
    out, _ = works("predict entailment entailment-test.csv --out deep/labels.csv")
    assert out == "deep/labels.csv\n"
    written = Path("deep/labels.csv").read_bytes()
    assert written.decode() == works("predict entailment entailment-test.csv")[0]
    before = Path("entailment-test.csv").read_bytes()
    done = run_gpt1("predict entailment entailment-test.csv --out ./entailment-test.csv")
    assert (done.code, done.stdout) == (2, "")
    assert "which is the file to read" in done.stderr
    assert Path("entailment-test.csv").read_bytes() == before


def test_columns_of_other_names_are_given_by_columns() -> None:
    write("plain.csv", ["text_a", "text_b"], [["the dog", "a cat"], ["a cat and a dog", "the cat"]])
    lines = [{"One": "the dog", "Two": "a cat"}, {"One": "a cat and a dog", "Two": "the cat"}]
    Path("named.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    out, _ = works("predict similarity named.jsonl --columns text_a=One,text_b=Two")
    assert out == works("predict similarity plain.csv")[0]


def test_a_reader_that_has_had_enough_ends_it_quietly() -> None:
    write("long.csv", ["text"], [["the dog"]] * 3000)
    done = subprocess.run(
        f"{shlex.quote(sys.executable)} -m gpt1 predict classification long.csv | head -n 1",
        shell=True, capture_output=True, timeout=100,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"},
    )  # fmt: skip
    assert done.stdout.decode() == 'label,"p_a, ""b""",p_naïve,p_z\n'
    assert b"Traceback" not in done.stderr
    assert b"Broken pipe" not in done.stderr


# Measuring


@pytest.mark.parametrize("kind", PAPER_KINDS)
def test_evaluation_gives_figures_and_a_page_in_the_run(kind: str) -> None:
    out, err = works(f"evaluate {kind} {kind}-test.csv --json")
    found = json.loads(out)
    assert (found["rows"], found["data"], found["task"]["kind"]) == (24, f"{kind}-test.csv", kind)
    counts = {"rows": 24, "used": 24, "rejected": {}, "left_out": {}, "files": 1, "notes": []}
    assert found["accounting"] == counts
    first = {"regression": "pearson"}.get(kind, "accuracy")
    assert next(iter(found["metrics"])) == first
    interval = found["metrics"][first]
    assert interval["low"] <= interval["value"] <= interval["high"]
    assert f"the most confident errors: {kind}/evaluation.html" in err
    assert re.search("against training: .* of 24 test rows", err)
    text = Path(kind, "evaluation.html").read_text("utf-8")
    assert f"{kind} on {kind}-test.csv" in text
    assert re.search("Against training: .* of 24 test rows", text)
    shown, _ = works(f"evaluate {kind}/model {kind}-test.csv --page {kind}.html")
    assert f"{interval['value']:.4f}" in shown
    assert "24 rows" in shown
    assert Path(f"{kind}.html").read_text("utf-8").count("data:image/svg") == 1
    if kind != "regression":
        predicted = csv.DictReader(io.StringIO(works(f"predict {kind} {kind}-test.csv")[0]))
        with open(f"{kind}-test.csv", encoding="utf-8", newline="") as file:
            gold = [row["label"] for row in csv.DictReader(file)]
        right = [row["label"] == label for row, label in zip(predicted, gold, strict=True)]
        assert interval["value"] == sum(right) / 24
        assert f"{LABELS[kind][0]}" in shown or kind == "choice"


def test_a_model_outside_a_run_gets_a_page_only_when_asked() -> None:
    Predictor.load("entailment").save("alone")
    _, err = works("evaluate alone entailment-test.csv entailment.csv --limit 30")
    assert "--page FILE.html writes a page" in err
    assert "64 rows from 2 files: 30 used, 34 not in the sample, 0 rejected" in err
    assert not list(Path("alone").glob("*.html"))


def test_perplexity_is_still_what_a_language_model_gives() -> None:
    plain, err = works("evaluate tiny classification.csv --column text --json")
    assert err == "40 rows from 1 file: 40 used, 0 rejected\n"
    assert set(json.loads(plain)) >= {"loss", "perplexity", "bits_per_byte"}
    out, _ = works("evaluate classification classification.csv --column text --task lm")
    assert re.fullmatch(r"loss .*\nperplexity .*\nbits per byte .*\n", out)


# Training


def test_scores_to_validate_may_lie_beyond_those_to_train_on() -> None:
    write("wider.csv", HEADS["regression"], [["the dog", "a cat", 7], ["the", "dog and", -1]])
    works(f"finetune regression.csv --task regression --valid wider.csv --out wider {FAST}")
    assert Predictor.load("wider").task.scale == (-1.0, 7.0)


def test_a_finished_run_can_be_resumed_and_a_new_one_not_put_over_it() -> None:
    command = f"finetune choice.csv --task choice --out choice {FAST} {HALF}"
    done = run_gpt1(command)
    assert (done.code, "already in choice" in done.stderr) == (1, True)
    out, err = works(f"{command} --resume")
    assert out == "choice/model\n"
    assert "already finished" in err


def test_a_data_set_of_the_paper_by_its_name() -> None:
    place = Path("glue/sst2")
    place.mkdir(parents=True)
    texts = ["the dog is a dog", "a cat and a cat", "it is the cat", "and the dog"]
    for split, count in (("train", 20), ("dev", 8)):
        lines = [f"{texts[i % 4]} {split} {i}\t{i % 2}" for i in range(count)]
        (place / f"{split}.tsv").write_text("\n".join(["sentence\tlabel", *lines]) + "\n")
    (place / "test.tsv").write_text("index\tsentence\n0\tthe dog\n1\ta cat\n")
    _, err = works(f"finetune glue --task SST-2 --out sst2 --limit 16 {FAST}")
    assert "16 examples to train on, 8 to validate, chosen by accuracy" in err
    assert "dev against train: 0 of 8 test rows occur in training" in err
    assert "--task sst2 --split test" in err
    found = json.loads(works("evaluate sst2 glue --task sst2 --json")[0])
    assert (found["rows"], found["data"]) == (8, "SST-2 dev")
    assert found["baselines"]["TF-IDF"].keys() == found["metrics"].keys()
    for command in ("glue --task sst2", "glue/sst2/test.tsv --task sst2", "glue/sst2/test.tsv"):
        assert len(works(f"predict sst2 {command}")[0].splitlines()) == 3
    for command, train in [
        ("glue/sst2/dev.tsv", 16),
        ("glue/sst2/dev.tsv --task sst2 --train glue/sst2/train.tsv", 20),
        ("glue/sst2/train.tsv --train glue/sst2/dev.tsv", 8),
    ]:
        shown, err = works(f"evaluate sst2 {command}")
        assert f"baselines are learned from {train} of {train} training rows" in shown
        assert re.search("against train.* 0 of .* occur in training", err)
        assert ("read as a file of SST-2" in err) == ("--task" not in command)
    _, err = works(f"finetune glue/sst2/train.tsv --task sst2 --out files {FAST} {HALF}")
    assert "SST-2" not in err or "20 rows from 1 file" in err
    for command, words in [
        ("evaluate sst2 glue --task sst2 --split test", "SST-2 test has no labels"),
        ("evaluate sst2 glue --task sst2 --split middle", "no split 'middle'"),
        ("evaluate classification glue --task sst2", "the classes negative, positive"),
        ("evaluate sst2 glue --task sst2 --columns text=x", "leave --columns"),
        ("evaluate sst2 glue/sst2/dev.tsv --task sst2 --split dev", "is a file, all of which"),
        ("evaluate sst2 glue glue --task sst2", "takes one folder, or files of SST-2"),
        ("predict sst2 glue --split dev", "--task names a data set"),
        ("predict sst2 glue --task sst2 --columns text=x", "knows its columns"),
        ("predict classification glue --task sst2", "the classes negative, positive"),
        (f"finetune glue --task sst2 --valid x.csv --out n {FAST}", "has its own dev split"),
        (f"finetune glue --task sst2 --set data.valid_share=0.3 --out n {FAST}", "the dev split"),
    ]:
        done = run_gpt1(command)
        assert (done.code, done.stdout) == (2, ""), command
        assert words in done.stderr


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("finetune x.csv --out n --task sst22", 2, "Did you mean 'sst2'?"),
        ("finetune x.csv --out n --columns text=a", 2, "--columns is for --task classification"),
        ("finetune x.csv --out n --valid y.csv", 2, "--valid is for --task classification"),
        ("finetune x.csv --out n --allow-leakage", 2, "--allow-leakage is for --task"),
        ("predict nowhere choice.csv", 1, "there is no such folder"),
        ("evaluate tiny choice.csv --page p.html", 2, "was not fine-tuned on a task"),
        ("evaluate tiny choice.csv --task choice", 2, "--task is given; tiny was not fine-tuned"),
        ("evaluate choice choice.csv --task lm --columns text=context", 2, "is measured as lm"),
        ("evaluate nowhere choice.csv", 1, "there is no such folder"),
    ],
)
def test_what_cannot_be_is_refused_in_words(command: str, code: int, words: str) -> None:
    done = run_gpt1(command)
    assert (done.code, done.stdout) == (code, ""), done.stderr
    assert words in done.message
    assert not Path("n").exists()


# docs/tasks.md


def test_the_commands_of_the_page_run_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pages = [ROOT / "docs/tutorials/classifier.md", ROOT / "docs/tasks.md"]
    for page in pages:
        for name, text in files_of(page).items():
            Path(name).write_text(text)
    commands = [
        arguments
        for page in pages
        for block in blocks_of(page)
        if block.kind == "sh"
        for _, *arguments in commands_of(block)
    ]
    assert len(commands) >= 5
    for arguments in commands:
        if arguments[0] == "finetune":  # the page's own length is minutes on a busy machine
            arguments += ["--set", "train.epochs=1"]
        run_gpt1(*arguments).check()


def test_a_header_with_blanks_after_its_commas_is_read() -> None:
    Path("blanks.csv").write_text("text, label\nthe dog, a\na cat, b\n" * 1)
    _, err = works(f"finetune blanks.csv --task classification --out blanks {FAST}")
    assert "labels a: 1, b: 1" in err
