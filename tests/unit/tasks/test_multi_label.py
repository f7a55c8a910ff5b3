"""Multi-label classification: its tables, its loss, its figures, its estimator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.base import clone
from sklearn.metrics import f1_score
from sklearn.preprocessing import MultiLabelBinarizer

import gpt1
import worlds
from commands import run_gpt1
from gpt1.errors import CheckpointError, ConfigError, DataError, InputError
from gpt1.tasks.collate import TaskBatches, encode
from gpt1.tasks.kinds import MultiLabel, task_from_json
from gpt1.tasks.spec import Example
from gpt1.tasks.tables import read_examples
from gpt1.training import objectives
from tolerances import ACCUMULATION_FP64

TASK = MultiLabel(("a", "b", "c"))


def labels(tmp_path: Path, text: str, name: str = "t.csv") -> list[tuple[str, ...]]:
    """Return the labels of a table by name."""
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    table = read_examples("multi-label", str(tmp_path / name))
    assert isinstance(table.task, MultiLabel)
    return [tuple(table.task.classes[i] for i in e.label) for e in table.usable]


def test_labels_are_lists_json_or_separated(tmp_path: Path) -> None:
    rows = (
        "text,labels\r\none,b|a\r\ntwo,\r\n"
        'three,"[""c, d"", ""a""]"\r\nfour,"[\'b\']"\r\nfive,[]\r\n'
    )
    expected = [("a", "b"), (), ("a", "c, d"), ("b",), ()]
    assert labels(tmp_path, "\ufeff" + rows) == expected
    lines = [
        json.dumps({"text": "x", "labels": each}) for each in (["b", "a", "b"], [], "a | b", 3)
    ]
    assert labels(tmp_path, "\n".join(lines), "t.jsonl") == [("a", "b"), (), ("a", "b"), ("3",)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text,labels\na,\nb,\n", "no row has a label"),
        ("text,labels\na,[x\nb,[y]\n", "'[y]', which is no JSON list"),
        ("text,label\na,b\n", "--label-column label"),
        ("text,labels\n" + "".join(f"t,l{i}\n" for i in range(30)), "like free text"),
    ],
)
def test_tables_that_cannot_be_right_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        labels(tmp_path, text)
    assert message in str(error.value)


def test_a_label_that_the_task_lacks_is_named_and_a_null_is_a_row_without_labels(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "x", "labels": ["z"]}\n')
    with pytest.raises(DataError, match="label is 'z'; the task's classes are a, b, c"):
        read_examples("multi-label", str(path), task=TASK)
    path.write_text('{"text": "x", "labels": null}\n{"text": "y", "labels": ["b"]}\n')
    table = read_examples("multi-label", str(path), task=TASK)
    assert (table.counts.rejected["no label"], table.labels["b"]) == (1, 1)


def test_the_loss_is_pytorchs_with_class_weights_and_splits_into_micro_batches(
    tmp_path: Path,
) -> None:
    logits, targets = torch.randn(5, 3).double() * 40, (torch.rand(5, 3) < 0.5).double()
    weights = TASK.class_weights({"b": 3.0}, targets.numpy())
    expected = F.binary_cross_entropy_with_logits(
        logits, targets, pos_weight=torch.tensor([1.0, 3.0, 1.0]), reduction="none"
    )
    found = TASK.losses(logits, targets) * torch.from_numpy(weights)
    torch.testing.assert_close(found, expected.double())
    columns = np.array([[1, 0, 1], [1, 0, 0], [1, 0, 0], [0, 0, 0]], float)
    balanced = TASK.class_weights("balanced", columns)
    assert balanced[0].tolist() == [1 / 3, 1.0, 3.0]
    with pytest.raises(ConfigError, match="'z'"):
        TASK.class_weights({"z": 1.0}, columns)

    task, words = worlds.TASKS["multi-label"], worlds.tokenizer(tmp_path)
    model = worlds.model(task, words)
    encoded = encode(worlds.examples("multi-label", 12), task, words, 32)
    objective = objectives.supervised(task, gpt1.config.TaskConfig(lm_coef=0), longest=32)
    results = []
    for size in (12, 4, 1):
        batches = TaskBatches(
            encoded,
            12,
            micro_batch_size=size,
            weights=task.class_weights("balanced", encoded.targets),
        ).update(0)
        count = sum(objective.counts(batch)["task"] for batch in batches)
        results.append(sum(objective.sums(model, batch)["task"] for batch in batches) / count)
    torch.testing.assert_close(results[1], results[0], **ACCUMULATION_FP64)
    torch.testing.assert_close(results[2], results[0], **ACCUMULATION_FP64)


def test_the_figures_are_scikit_learns() -> None:
    random = np.random.default_rng(0)
    gold = (random.random((60, 3)) < [0.6, 0.3, 0.0]).astype(float)
    probabilities = np.clip(gold + random.normal(0, 0.5, gold.shape), 0, 1)
    predicted = (probabilities >= 0.5).astype(int)
    examples = [Example((f"text {i}",), tuple(np.flatnonzero(row))) for i, row in enumerate(gold)]
    found = TASK.evaluate(examples, probabilities, [""] * 60, ["macro_f1"])
    assert list(found.metrics) == ["macro_f1", "micro_f1", "subset_accuracy"]
    for average in ("micro", "macro"):
        expected = f1_score(gold, predicted, average=average, zero_division=0)
        interval = found.metrics[f"{average}_f1"]
        assert interval.value == pytest.approx(expected, abs=1e-12)
        assert interval.low < interval.value < interval.high
        task = MultiLabel(TASK.classes, metric=f"{average}_f1")
        assert task.compute_metric(gold, probabilities, np.ones(60)) == interval.value
    exact = (gold == predicted).all(1)
    assert found.metrics["subset_accuracy"].value == exact.mean()
    assert found.errors[0].gold != found.errors[0].predicted
    assert {e.row for e in found.errors} == set(np.flatnonzero(~exact)[:50])
    assert [one.rows for one in found.classes] == gold.sum(0).tolist()


def test_the_task_survives_its_json() -> None:
    assert task_from_json(json.loads(json.dumps(TASK.to_json()))) == TASK
    for broken in ({"classes": []}, {"classes": 3}, {"metric": "pearson"}, {"kind": "multi"}):
        with pytest.raises(CheckpointError):
            task_from_json({**TASK.to_json(), **broken})


def test_the_estimator_learns_scores_and_survives_a_folder(tmp_path: Path) -> None:
    texts = ["the dog", "a cat", "the dog and a cat", "is"] * 5
    sets = [["dog"], ["cat"], ["cat", "dog"], []] * 5
    binarizer = MultiLabelBinarizer()
    matrix = binarizer.fit_transform(sets)
    model = gpt1.MultiLabelClassifier(
        worlds.write_model(tmp_path), epochs=12, batch_size=4, learning_rate=1e-2, lm_coef=0,
        early_stopping=False, random_state=0, verbose=False, settings=("task.clf_pdrop=0",),
    )  # fmt: skip
    fitted = clone(model).fit(texts, sets)
    assert fitted.classes_.tolist() == ["cat", "dog"]
    assert fitted.predict(texts[:4]).tolist() == matrix[:4].tolist()
    assert fitted.predict_proba(texts[:4]).shape == (4, 2)
    assert fitted.score(texts, matrix) == 1.0
    assert binarizer.inverse_transform(fitted.predict(texts[:3])) == [tuple(s) for s in sets[:3]]
    fitted.save(tmp_path / "saved")
    again = gpt1.MultiLabelClassifier.load(tmp_path / "saved")
    np.testing.assert_array_equal(again.predict_proba(texts), fitted.predict_proba(texts))
    assert again.classes_.tolist() == fitted.classes_.tolist()
    short = clone(model).set_params(settings=("train.steps=1",)).fit(texts, matrix)
    assert short.classes_.tolist() == [0, 1]
    assert short.predict(texts[:3]).shape == (3, 2)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a", "b"], "must be a list of labels"),
        ([[], []], "no label in any row"),
        (np.array([[2, 0], [0, 1]]), "other values than 0 and 1"),
        ([["a"]], "X has 2 rows and y 1"),
        ([["a"], [1.5]], "a continuous value"),
        (None, "target y is None"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(y: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        gpt1.MultiLabelClassifier("mini", verbose=False).fit(["one", "two"], y)
    assert message in str(error.value)


def test_the_commands_learn_predict_and_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("new.csv").write_text("text\nthe dog\n\na cat\n,\n".replace("\n,\n", '\n""\n'))
    rows = "".join(f"the dog {i},animal|calm\na cat {i},animal\nis {i},\n" for i in range(20))
    Path("t.csv").write_text(f"text,labels\n{rows}")
    run = run_gpt1(
        "finetune t.csv --task multi-label --out run --steps 2 --set data.valid_share=0.4"
    ).check()
    assert "animal: 40, calm: 20, (none): 20" in run.stderr
    assert "chosen by micro_f1" in run.stderr
    lines = run_gpt1("predict run new.csv").check().stdout.splitlines()
    assert lines[0] == "labels,p_animal,p_calm"
    assert [i for i, line in enumerate(lines) if line == ",,"] == [2, 4]  # blank, and empty
    records = json.loads(run_gpt1("predict run new.csv --json").check().stdout)
    assert records[1] == records[3] == {"labels": None, "probabilities": None}
    likely = [name for name, p in records[0]["probabilities"].items() if p >= 0.5]
    assert records[0]["labels"] == likely
    shown = run_gpt1("evaluate run t.csv --json").check()
    figures = json.loads(shown.stdout)
    assert list(figures["metrics"]) == ["micro_f1", "macro_f1", "subset_accuracy"]
    assert "Per class" in Path("run/evaluation.html").read_text("utf-8")
    assert "micro F1" in run_gpt1("evaluate run t.csv").check().stdout
