"""/v1/classify: for every kind of task what gpt1 predict says, and the sequences of figure 1."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import serving
import worlds
from commands import run_gpt1
from gpt1.config import ServeConfig
from gpt1.serving import models
from gpt1.tasks.predictor import Predictor
from serving import Running


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an untrained model of every kind of task."""
    place = tmp_path_factory.mktemp("tasks")
    for kind, task in worlds.TASKS.items():
        words = worlds.tokenizer(place / "words" / kind, words="fast")
        Predictor(worlds.model(task, words).float(), words, task).save(place / kind)
    shutil.copytree(place / "choice", place / "run/model")
    return place


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[Running]:
    names = [str(place / kind) for kind in worlds.TASKS]
    loaded = models.load(
        [*names, f"other={names[0]}", str(place / "run/model")], ServeConfig(slots=2)
    )
    with serving.running([models.Served.of("lm", serving.gpt(), 2), *loaded]) as server:
        yield server


def columns(kind: str, number: int) -> dict[str, Any]:
    """Return an example as a row of the task's table."""
    example = worlds.examples(kind, number + 1, seed=4)[number]
    if kind == "choice":
        context, *answers = example.texts
        return {"context": context, "question": example.question, "answers": answers}
    if kind == "sequence-labelling":
        return {"tokens": list(example.texts)}
    names = worlds.TASKS[kind].text_columns
    return dict(zip(names, example.texts, strict=True))


@pytest.mark.parametrize("kind", worlds.TASKS)
def test_answers_are_those_of_predict(server: Running, place: Path, kind: str) -> None:
    rows = [columns(kind, number) for number in range(10)]
    file = place / f"{kind}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    expected = json.loads(run_gpt1("predict", place / kind, file, "--json").check().stdout)
    answer = server.post("/v1/classify", {"model": kind, "input": rows})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["task"], found["model"]) == (kind, kind)
    task = worlds.TASKS[kind]
    for item, record in zip(found["data"], expected, strict=True):
        label = "tags" if kind == "sequence-labelling" else task.answer_fields[0]
        if kind == "regression":
            assert item["prediction"] == pytest.approx(record[label], abs=2e-6)
        else:
            assert item["prediction"] == record[label]
        assert item.get("spans") == record.get("spans")
        if "probabilities" in record:
            assert item["probabilities"] == pytest.approx(record["probabilities"], abs=2e-6)
        assert len(item["sequences"]) == task.num_sequences
        for sequence in item["sequences"]:
            kinds = sequence["kinds"]
            assert (kinds[0], kinds[-1]) == ("start", "extract")
            pair = kind not in ("classification", "multi-label", "sequence-labelling")
            assert kinds.count("delimiter") == pair
            assert len(kinds) == len(sequence["tokens"])
        assert not item["truncated"] or max(len(s["kinds"]) for s in item["sequences"]) == 32


def test_texts_alone_are_examples_too(server: Running) -> None:
    one = server.post("/v1/classify", {"input": ["the dog is a cat", ["the dog"]]}).json()
    assert one["model"] == "classification"  # the first that has a task
    assert len(one["data"]) == 2
    pair = {"model": "entailment", "input": [["the dog", "a cat"]]}
    texts = server.post("/v1/classify", pair).json()["data"]
    named = dict(zip(worlds.TASKS["entailment"].text_columns, ["the dog", "a cat"], strict=True))
    assert texts == server.post("/v1/classify", {**pair, "input": [named]}).json()["data"]
    words = {"model": "sequence-labelling", "input": ["the dog is"]}
    assert server.post("/v1/classify", words).json()["data"][0]["tokens"] == ["the", "dog", "is"]
    long = {"input": ["the dog " * 40]}
    assert server.post("/v1/classify", long).json()["data"][0]["truncated"] is True


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"model": "lm", "input": ["x"]}, "was not fine-tuned"),
        ({"input": [["a", "b"]]}, "has 2 texts"),
        ({"model": "entailment", "input": ["a"]}, "has 1 text; a row"),
        ({"input": [{"texts": "a"}]}, "input 0"),
        ({"input": [{"text": None}]}, "input 0"),
        ({"input": [""]}, "input 0"),
        ({"model": "choice", "input": [{"context": "a", "answers": [1, 2, 3]}]}, "input 0"),
        ({"model": "choice", "input": [{"context": "a", "answers": "b"}]}, "list of texts"),
        ({"input": [7]}, "input is 7"),
        ({"input": []}, "input"),
    ],
    ids=range(10),
)
def test_what_is_no_example_is_refused(server: Running, body: dict[str, Any], said: str) -> None:
    answer = server.post("/v1/classify", body)
    assert (answer.status_code, said in answer.json()["error"]["message"]) == (400, True), (
        answer.text
    )


def test_models_have_the_names_of_their_folders(server: Running) -> None:
    cards = server.get("/v1/models").json()["data"]
    assert [card["id"] for card in cards] == ["lm", *worlds.TASKS, "other", "run"]
    assert [card["task"] for card in cards] == [None, *worlds.TASKS, "classification", "choice"]
    written = server.post("/v1/completions", {"model": "entailment", "prompt": "the dog"})
    assert written.status_code == 200
