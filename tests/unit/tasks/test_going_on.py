"""A trained head goes on: what is the same by name is kept, the rest is new, and it is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import worlds
from commands import run_gpt1
from gpt1.tasks import network
from gpt1.tasks.kinds import (
    Choice,
    Classification,
    Entailment,
    MultiLabel,
    Regression,
    SequenceLabelling,
    Task,
)
from gpt1.tasks.predictor import Predictor
from gpt1.tasks.spec import Example

ANEW: dict[int, int] = {}
HEADS: list[tuple[Task, Task, dict[int, int], str]] = [
    (Classification(("a", "b")), Classification(("b", "a")), {0: 1, 1: 0}, "kept for b, a"),
    (Classification(("a", "b")), Classification(("A ", "c")), {0: 0}, "new rows are drawn for c"),
    (Classification(("a", "b", "c")), Classification(("a", "b")), {0: 0, 1: 1}, "c are left out"),
    (Classification(("a", "b")), Classification(("x", "y")), ANEW, "the head is drawn anew"),
    (Classification(("a", "b")), Entailment(("a", "b")), ANEW, "a new one is drawn for entail"),
    (MultiLabel(("a", "b")), MultiLabel(("b", "c")), {0: 1}, "kept for b; new rows are drawn for"),
    (Choice(3), Choice(4), {0: 0}, "head is kept"),
    (Regression((0, 5)), Regression((0, 10)), {i: i for i in range(6)}, "was 0 to 5 and is 0 to"),
    (SequenceLabelling(("O", "B-X")), SequenceLabelling(("O", "B-Y", "B-X")), {0: 0, 2: 1}, "B-Y"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "now", "rows", "said"), HEADS)
def test_the_rows_that_mean_the_same_are_kept(
    tmp_path: Path, before: Task, now: Task, rows: dict[int, int], said: str
) -> None:
    model = worlds.model(before, worlds.tokenizer(tmp_path))
    assert model.head is not None
    old = model.head.weight.detach().clone()
    note = network.add_head(model, now)
    assert said in note
    for new in range(now.num_outputs):
        same = [i for i in range(len(old)) if torch.equal(model.head.weight[new], old[i])]
        assert same == ([rows[new]] if new in rows else [])


AB = Classification(("a", "b"))
WIDENED: list[tuple[Task, object, Task, object]] = [
    (AB, ["B", "c"], Classification(("a", "b", "c")), 1),
    (AB, ["b"], AB, 1),
    (AB, ["c"], Classification(("a", "b", "c")), 2),  # no task alone, so it is added
    (AB, ["x", "y"], Classification(("x", "y")), 0),
    (Entailment(("0", "1")), ["1"], Entailment(("0", "1")), 1),
    (MultiLabel(("a", "b")), [("b", "c"), ()], MultiLabel(("a", "b", "c")), (1, 2)),
    (MultiLabel(("a", "b")), [(), ()], MultiLabel(("a", "b")), ()),
    (Regression((0, 5)), ["1", "4"], Regression((0, 5)), 1.0),
    (Regression((0, 5)), ["2"], Regression((0, 5)), 2.0),
    (Regression((0, 5)), ["7"], Regression((0, 7)), 7.0),
    (Choice(2), ["1"], Choice(2), 1),
    (SequenceLabelling(("O", "B-X")), [("b-x", "B-Y")], SequenceLabelling(("O", "B-X", "B-Y")),
     ("B-X", "B-Y")),
    (SequenceLabelling(("O", "B-X")), [("O", "O")], SequenceLabelling(("O", "B-X")), ("O", "O")),
    (SequenceLabelling(("O", "X"), metric="token_accuracy"), [("O",)], SequenceLabelling(
        ("O", "X"), metric="token_accuracy"), ("O",)),
    (SequenceLabelling(("O", "B-X")), [("B-Y", "O")], SequenceLabelling(("O", "B-Y")),
     ("B-Y", "O")),
]  # fmt: skip


@pytest.mark.parametrize(("trained", "labels", "task", "first"), WIDENED)
def test_new_rows_may_lack_classes_and_have_others(
    trained: Task, labels: list[object], task: Task, first: object
) -> None:
    examples = [Example(("the dog", "is", "a cat"))] * len(labels)
    learned = type(trained).learn(examples, labels, ["a.csv:2"] * len(labels), trained)
    assert learned == task
    assert learned.parse_label(labels[0], "a.csv:2") == first


def test_a_run_goes_on_with_more_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_runs: None
) -> None:
    monkeypatch.chdir(tmp_path)
    worlds.write_model(tmp_path)
    still = "--task classification --steps 1 --set train.batch_size=2 --set optimizer.lr=1e-9"
    Path("a.csv").write_text("text,label\nthe dog,yes\na cat,no\na cat and a dog,so so\n")
    Path("b.csv").write_text("text,label\nthe dog and a cat,new\na cat,no\n")
    run_gpt1(f"finetune a.csv --model model --out a {still}").check()
    said = run_gpt1(f"finetune b.csv --model a --out b {still}").check().stderr
    assert "the model's trained head is kept for no, so so, yes; new rows are drawn for new" in said
    first, second = (Predictor.load(run).model.head for run in ("a", "b"))
    assert first is not None
    assert second is not None
    torch.testing.assert_close(second.weight[:3], first.weight)
    said = run_gpt1(f"finetune a.csv --task lm --text-column text --model a --out c {still[22:]}")
    assert "head for a task is left out" in said.check().stderr
