"""Sequence labelling: its files, the states it reads, entity F1 against seqeval, its estimator."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from seqeval.metrics import accuracy_score, f1_score
from seqeval.metrics.sequence_labeling import get_entities
from sklearn.base import clone

import gpt1
import worlds
from commands import run_gpt1
from gpt1.config import TaskConfig
from gpt1.errors import DataError, InputError
from gpt1.tasks.collate import collate, encode
from gpt1.tasks.entities import entities
from gpt1.tasks.kinds import SequenceLabelling
from gpt1.tasks.predictor import Predictor
from gpt1.tasks.spec import Example
from gpt1.tasks.tables import TaskTable, read_examples
from gpt1.training import objectives
from tolerances import ACCUMULATION_FP64

KIND = "sequence-labelling"
TASK = SequenceLabelling(("O", "B-PER", "I-PER"))
CONLL_2003 = (
    "\ufeff-DOCSTART- -X- -X- O\r\n\r\n"
    "EU NNP B-NP B-ORG\r\nrejects VBZ B-VP O\r\n# # I-NP O\r\nÉire NNP I-NP B-LOC\r\n\r\n\r\n"
    "# sent_id = 2\r\n# a comment\r\nonly DT B-NP O\r\nthis DT I-NP O"
)


def read(tmp_path: Path, text: str, name: str = "t.conll", **more: object) -> TaskTable:
    (tmp_path / name).write_bytes(text.encode())
    return read_examples(KIND, str(tmp_path / name), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["t.conll", "t.txt", "t.iob2", "train"])
def test_conll_files_are_read_as_they_are_found(tmp_path: Path, name: str) -> None:
    table = read(tmp_path, CONLL_2003, name)
    assert [example.texts for example in table.usable] == [
        ("EU", "rejects", "#", "Éire"), ("only", "this"),
    ]  # fmt: skip
    assert [e.label for e in table.usable] == [("B-ORG", "O", "O", "B-LOC"), ("O", "O")]
    assert table.task == SequenceLabelling(("O", "B-LOC", "B-ORG"))
    assert table.locations == [f"{tmp_path / name}:3", f"{tmp_path / name}:11"]


def test_other_forms(tmp_path: Path) -> None:
    table = read(tmp_path, "New York\tB-LOC\nis\tO\n \n\nbig\tO\n", "t.tsv")
    assert [e.texts for e in table.usable] == [("New York", "is"), ("big",)]
    lines = [
        {"tokens": ["A", "b"], "tags": ["B-X", "O"]},
        {"tokens": ["c"], "tags": None},
        {"tokens": [], "tags": []},
    ]
    table = read(tmp_path, "\n".join(map(json.dumps, lines)), "t.jsonl")
    assert [e.label for e in table.usable] == [("B-X", "O")]
    assert table.counts.rejected == {"no label": 1, "empty": 1}
    spans = [{"start": 4, "end": 12, "label": "LOC"}, {"start": 13, "end": 16, "label": "LOC"}]
    table = read(tmp_path, json.dumps({"text": "See New York Bay.", "spans": spans}), "t.jsonl")
    (example,) = table.usable
    assert example.texts == ("See", "New", "York", "Bay", ".")
    assert example.label == ("O", "B-LOC", "I-LOC", "B-LOC", "O")
    table = read(tmp_path, "one\ntwo\n\n\nthree\n", task=TASK, labelled=False)
    assert [e.texts for e in table.usable] == [("one", "two"), ("three",)]
    pos = read(tmp_path, "a DT\ndog NN\nb DT\n")
    assert (pos.task.metric, pos.task.score_names) == ("token_accuracy", ("O", "DT", "NN"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.conll", "a O\nb O\n", "every word has the tag O"),
        ("t.conll", "a B-X\nb\n", "'b' stands alone; a line must be a word and its tag"),
        ("t.conll", "".join(f"a w{i}\n" for i in range(30)), "must be the last column"),
        ("t.conll", "", "is empty"),
        ("t.csv", "words,label\na,b\n", "takes tokens, or text, spans, tags"),
        ("t.jsonl", '{"tokens": ["a"], "tags": ["O", "O"]}', "has 1 word and 2 tags"),
        ("t.jsonl", '{"tokens": 3, "tags": ["O"]}', "tokens is '3'; it must be a list"),
        ("t.jsonl", '{"text": "ab", "spans": [{"start": 0, "end": 3, "label": "X"}]}',
         "within the 2 characters"),
        ("t.jsonl", '{"text": "ab", "spans": [{"start": 0, "end": 1, "label": "X"}, '
         '{"start": 1, "end": 2, "label": "X"}]}', "a word has one tag"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_right_are_refused(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    with pytest.raises(DataError) as error:
        read(tmp_path, text, name)
    assert message in str(error.value)


@pytest.mark.filterwarnings("ignore:.* seems not to be NE tag")
def test_entities_and_figures_are_those_of_seqeval() -> None:
    draw = random.Random(0)
    letters = [
        "O",
        "O",
        "B-A",
        "I-A",
        "B-B-c",
        "I-B-c",
        "E-A",
        "S-A",
        "S-B-c",
        "B",
        "I",
        "L-A",
        "U-A",
    ]
    pairs = []
    for _ in range(3000):
        gold = [draw.choice(letters) for _ in range(draw.randint(1, 8))]
        predicted = [tag if draw.random() < 0.7 else draw.choice(letters) for tag in gold]
        pairs.append((gold, predicted))
        expected = [(kind, start, end + 1) for kind, start, end in get_entities(gold)]
        assert entities(gold) == expected, gold
    task = SequenceLabelling(("O", *sorted(set(letters) - {"O"})))
    examples = [Example(("w",) * len(gold), tuple(gold)) for gold, _ in pairs[:300]]
    eye = np.eye(len(task.classes))
    codes = [task.classes.index(tag) for _, predicted in pairs[:300] for tag in predicted]
    found = task.evaluate(examples, eye[codes], [""] * 300)
    gold, predicted = map(list, zip(*pairs[:300], strict=True))
    assert found.metrics["entity_f1"].value == pytest.approx(f1_score(gold, predicted), abs=1e-12)
    accuracy = accuracy_score(gold, predicted)
    assert found.metrics["token_accuracy"].value == pytest.approx(accuracy, abs=1e-12)
    targets = np.concatenate([task.targets(example) for example in examples])
    lengths = np.array([len(tags) for tags in gold])
    assert task.compute_metric(targets, eye[codes], lengths) == found.metrics["entity_f1"].value


def test_the_loss_is_over_the_last_piece_of_each_word_that_is_left(tmp_path: Path) -> None:
    words = worlds.tokenizer(tmp_path)
    model = worlds.model(TASK, words)
    sentences = [
        Example(("the", "\x01", "dog", "is"), ("O", "B-PER", "B-PER", "odd")),
        Example(("a", "cat") * 30, ("O", "B-PER") * 30),  # longer than the window
        Example(("the" * 60, "cat"), ("I-PER", "O")),  # so is its first word
    ]
    encoded = encode(sentences, TASK, words, model.config.n_ctx)
    assert encoded.truncated == 2
    batch = collate(encoded, range(3))
    assert batch.units.tolist() == [4, 60, 2]
    losses = []
    start = words.added["_start_"]
    for example in sentences:
        ids, read = [start], []
        for word, tag in zip(example.texts, example.label, strict=True):
            pieces = words.encode(word)
            if len(ids) + len(pieces) >= model.config.n_ctx and read:
                break
            ids = (ids + pieces)[: model.config.n_ctx - 1]
            if pieces and tag in TASK.classes:
                read.append((len(ids) - 1, TASK.classes.index(tag)))
        hidden = model.hidden(torch.tensor([ids]))[0]
        for position, tag in read:
            logits = F.linear(hidden[position], model.head.weight, model.head.bias)
            losses.append(F.cross_entropy(logits, torch.tensor(tag)))
    objective = objectives.supervised(TASK, TaskConfig(lm_coef=0), longest=32)
    for parts in ([range(3)], [[0], [2], [1]]):  # micro-batches are one batch
        batches = [collate(encoded, part) for part in parts]
        count = sum(objective.counts(each)["task"] for each in batches)
        total = sum(objective.sums(model, each)["task"] for each in batches)
        assert count == len(losses)
        torch.testing.assert_close(total / count, torch.stack(losses).mean(), **ACCUMULATION_FP64)
    predictor = Predictor(model, words, TASK)
    probabilities = predictor.probabilities(sentences)
    assert probabilities[1].tolist() == [1, 0, 0]  # nothing is left of it: O
    assert probabilities[40:64].tolist() == [[1, 0, 0]] * 24
    np.testing.assert_allclose(predictor.probabilities(sentences[2:]), probabilities[64:])


def test_weights_of_tags() -> None:
    targets = np.eye(3)[[0, 0, 0, 1]]
    assert TASK.class_weights("balanced", targets).tolist() == [4 / 6, 4 / 6, 4 / 6, 2]
    assert TASK.class_weights({"B-PER": 3.0}, targets).tolist() == [1, 1, 1, 3]
    assert TASK.class_weights(None, np.zeros((1, 3))).tolist() == [0]  # a tag it does not have


def test_the_estimator_learns_scores_and_survives_a_folder(tmp_path: Path) -> None:
    X = [["the", "dog", "is"], ["a", "cat"], ["dog", "and", "cat"], ["it", "a"]] * 6
    y = [["B-X" if word in ("dog", "cat") else "O" for word in words] for words in X]
    model = gpt1.SequenceLabeler(
        worlds.write_model(tmp_path), epochs=12, batch_size=4, learning_rate=1e-2, lm_coef=0,
        early_stopping=False, random_state=0, verbose=False, settings=("task.clf_pdrop=0",),
    )  # fmt: skip
    fitted = clone(model).fit(X, y)
    assert fitted.classes_.tolist() == ["O", "B-X"]
    assert fitted.predict(X[:4]) == y[:4]
    assert fitted.score(X, y) == 1.0
    assert [each.shape for each in fitted.predict_proba(X[:2])] == [(3, 2), (2, 2)]
    fitted.save(tmp_path / "saved")
    again = gpt1.SequenceLabeler.load(tmp_path / "saved")
    assert again.predict(X) == fitted.predict(X)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (["the dog"], [["O"]], "must be a list of words"),
        ([["a", 3]], [["O", "O"]], "must be a word"),
        ([["a", "b"]], [["O"]], "a list with a tag (str) for each word"),
        ([["a"]], [["O"]], "every word has the tag O"),
        ([["a"]], None, "target y is None"),
        ([["a"]], [["O"], ["O"]], "X has 1 row and y 2"),
    ],
)
def test_words_and_tags_that_cannot_be_used_are_refused(X: list, y: list, message: str) -> None:
    with pytest.raises(InputError) as error:
        gpt1.SequenceLabeler("mini", verbose=False).fit(X, y)
    assert message in str(error.value)


def test_the_commands_learn_predict_and_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sentences = [f"Anna NN B-PER\nis V O\n{i} N O\n\n" for i in range(60)]
    Path("t.conll").write_text("".join(sentences))
    Path("v.conll").write_text("".join(sentences[:3]))  # corpora repeat sentences
    run = run_gpt1(f"finetune t.conll --valid v.conll --task {KIND} --out run --steps 2").check()
    assert "3 of 3 test rows occur in training" in run.stderr
    assert "chosen by entity_f1" in run.stderr
    tagged = run_gpt1("predict run t.conll").check().stdout
    assert len(tagged.split("\n\n")) == 61
    assert [line.split("\t")[0] for line in tagged.split("\n\n")[7].split("\n")] == [
        "Anna", "is", "7",
    ]  # fmt: skip
    run_gpt1("predict run t.conll --out tagged.conll").check()
    assert Path("tagged.conll").read_text() == tagged
    assert run_gpt1("predict run t.conll --out tagged.csv").code == 2
    figures = json.loads(run_gpt1("evaluate run t.conll --json").check().stdout)
    assert list(figures["metrics"]) == ["entity_f1", "token_accuracy"]
    assert figures["words"] == 180
    assert "Per type of entity" in Path("run/evaluation.html").read_text("utf-8")
    Path("t.jsonl").write_text('{"text": "Anna is here."}\n{"text": ""}\n')
    first, second = map(json.loads, run_gpt1("predict run t.jsonl").check().stdout.splitlines())
    assert first["tokens"] == ["Anna", "is", "here", "."]
    assert len(first["tags"]) == 4
    assert second["tags"] is None
    for span in first["spans"]:
        assert first["text"][span["start"] : span["end"]].strip() != ""
