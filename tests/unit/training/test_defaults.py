"""The defaults of a run are the same from the shell, from Python and from an estimator."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import gpt1
import worlds
from commands import run_gpt1
from fits import CLASSES, rows
from gpt1.config import ModelConfig, default_recipe, load_run
from gpt1.errors import Interrupted
from gpt1.training import finetune, supervised
from gpt1.training.loop import TrainSetup
from gpt1.training.run import RunOptions

OWN = ("save_every", "keep_checkpoints")
"""What an estimator chooses for itself: nobody resumes a run that is not kept."""
HEADERS = {
    "classification": ["text", "label"],
    "entailment": ["text_a", "text_b", "label"],
    "similarity": ["text_a", "text_b", "label"],
    "regression": ["text_a", "text_b", "label"],
    "choice": ["context", "answer_0", "answer_1", "answer_2", "label"],
}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Collect what each run would be: its settings, its data, its rows held out. None is made."""
    collected: list[dict[str, Any]] = []

    def stop(setup: TrainSetup, options: RunOptions) -> None:
        settings = setup.config.model_dump(mode="json")
        settings["train"] = {k: v for k, v in settings["train"].items() if k not in OWN}
        validation = setup.validation and setup.validation.fingerprint
        settings |= {"data": setup.batches.fingerprint, "validation": validation}
        collected.append(settings | {"task": dict(setup.metadata), "tuned": settings["task"]})
        raise Interrupted("enough", exit_code=1)

    for module in (finetune, supervised):
        monkeypatch.setattr(module, "run_training", stop)
    return collected


def write_csv(path: Path, header: Sequence[str], table: Sequence[Sequence[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *table])
    return path


def flat(kind: str, row: Any) -> list[str]:
    """Return the fields of a row of an estimator's X."""
    if kind == "classification":
        return [row]
    return [row[0], *row[1]] if kind == "choice" else list(row)


@pytest.mark.parametrize("kind", HEADERS)
def test_a_task_has_one_set_of_defaults(
    kind: str, tmp_path: Path, runs: list[dict[str, Any]]
) -> None:
    model = worlds.write_model(tmp_path / "model")
    X, y = rows(kind, 300)
    if kind == "classification":  # a tenth of the different texts is enough to hold out
        X = [f"{text} {i}" for i, text in enumerate(X)]
    table = [[*flat(kind, row), label] for row, label in zip(X, y, strict=True)]
    path = write_csv(tmp_path / "rows.csv", HEADERS[kind], table)
    run_gpt1("finetune", path, "--task", kind, "--model", model, "--out", tmp_path / "run")
    with pytest.raises(Interrupted):
        CLASSES[kind](model, random_state=0, verbose=False).fit(X, y)
    shell, estimator = runs
    for name in shell:
        assert shell[name] == estimator[name], name
    assert shell["validation"] is not None
    assert shell["train"]["patience"] == 3


def test_texts_have_one_set_of_defaults(tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    jokes = Path(gpt1.__file__).parent / "assets/demo/jokes.csv"
    texts = gpt1.read_texts(jokes, column="Joke")
    out = tmp_path / "run"
    run_gpt1("finetune", jokes, "--text-column", "Joke", "--prefix", "JOKE: ", "--out", out)
    with pytest.raises(Interrupted):
        gpt1.load("mini").finetune(texts, prefix="JOKE: ", out=out)
    run_gpt1("demo", "--out", out)
    shell, python, demo = runs
    assert shell == python == demo
    assert shell["train"]["sample_prompt"] == load_run().train.sample_prompt  # the prefix is it


@pytest.mark.parametrize(
    ("kind", "wide", "small"),
    [("lm", "texts", "small-texts"), ("pretrain", "pretrain", "small-pretrain"),
     ("classification", "supervised", "small"), ("sequence-labelling", "supervised", "small")],
)  # fmt: skip
def test_the_table_of_defaults(kind: str, wide: str, small: str) -> None:
    for width, recipe in ((768, wide), (512, wide), (384, small), (64, small)):
        assert default_recipe(kind, ModelConfig(n_embd=width, n_head=1)) == recipe
    lstm = ModelConfig(n_embd=384, n_head=1, n_hidden=1024)
    assert default_recipe(kind, lstm) == (wide if kind == "pretrain" else small)


def test_plain_texts_and_jokes_differ_in_the_prefix_alone() -> None:
    texts, small, jokes = (load_run(recipe=r) for r in ("texts", "small-texts", "jokes"))
    assert (texts.data.prefix, jokes.data.prefix) == ("", "JOKE: ")
    assert small.data == texts.data
    assert texts.model_copy(update={"data": jokes.data}) == jokes
