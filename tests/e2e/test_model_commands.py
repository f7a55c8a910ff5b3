"""gpt1 pull, convert, verify and doctor, from the command line to their exit codes."""

from __future__ import annotations

import functools
import json
import operator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close
from transformers import AutoTokenizer, OpenAIGPTLMHeadModel

import tiny
import worlds
from commands import run_gpt1, run_gpt1_process
from gpt1 import cli
from gpt1.checkpoint import folder
from gpt1.model.heads import Head
from gpt1.storage import json_bytes
from hub import LoopbackHub
from tolerances import EXACT


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model with the words that transformers knows."""
    place = tmp_path_factory.mktemp("model")
    words = worlds.tokenizer(place / "vocabulary", words="fast")
    folder.save(place / "tiny", tiny.model(), words)
    return place / "tiny"


@pytest.fixture(scope="module")
def published(model: Path) -> dict[str, Any]:
    """What transformers makes of the model, in the form of published.json."""
    theirs = OpenAIGPTLMHeadModel.from_pretrained(model).eval()
    words = AutoTokenizer.from_pretrained(model)

    def likeliest(text: str) -> tuple[int, float]:
        with torch.no_grad():
            p = theirs(torch.tensor([words(text)["input_ids"]])).logits[0, -1].softmax(0)
        return int(p.argmax()), float(p.max())

    def written(text: str) -> list[int]:
        ids = torch.tensor([words(text)["input_ids"]])
        found = theirs.generate(
            ids, attention_mask=torch.ones_like(ids), max_length=20, do_sample=False, pad_token_id=0
        )
        return found[0].tolist()

    prompt = "the dog and the cat, and 42 dogs"
    ids = words(prompt)["input_ids"]
    with torch.no_grad():
        out = theirs(torch.tensor([ids]), labels=torch.tensor([ids]))
    columns = [0, 1, 2, 96, 97, 98]
    rows = [0, 1, 2, len(ids) - 3, len(ids) - 2, len(ids) - 1]
    following, probability = likeliest(prompt)
    loop = prompt
    for _ in range(5):
        loop += words.convert_ids_to_tokens(likeliest(loop)[0]).removesuffix("</w>")
    return {
        "parameters": theirs.num_parameters(),
        "prompt": prompt,
        "ids": ids,
        "logits": {
            "columns": columns,
            "rows": {str(row): out.logits[0, row, columns].tolist() for row in rows},
            "tolerance": 2e-4,
        },
        "next": {
            "id": following,
            "text": words.convert_ids_to_tokens(following).removesuffix("</w>"),
            "probability": probability,
            "tolerance": 1e-4,
        },
        "loss": {"value": float(out.loss), "tolerance": 1e-4},
        "continuations": [
            {"source": "one", "prompt": prompt, "max_length": 20, "ids": written(prompt)},
            {"source": "another", "prompt": "a cat", "max_length": 20, "ids": written("a cat")},
        ],
        "text_loop": {"steps": 5, "text": loop},
    }


def test_verify_passes_a_model_that_transformers_agrees_with(
    model: Path, published: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "expected.json").write_bytes(json_bytes(published))
    done = run_gpt1("verify", model, "--expected", tmp_path / "expected.json")
    assert done.code == 0, done.stdout
    assert "15 of 15 pass" in done.stdout
    assert "FAIL" not in done.stdout


@pytest.mark.parametrize(
    ("place", "value", "name"),
    [
        (("parameters",), 1, "parameters"),
        (("ids",), [1, 2], "ids of the prompt"),
        (("logits", "rows", "0"), [0.0] * 6, "logits after id 0"),
        (("next", "id"), -1, "most likely next id"),
        (("next", "text"), "nothing", "... as text"),
        (("next", "probability"), 0.0, "... its probability"),
        (("loss", "value"), 0.0, "loss"),
        (("continuations", 1, "ids"), [1], "greedy ids, another"),
        (("text_loop", "text"), "x", "greedy loop on text"),
    ],
)
def test_verify_fails_on_any_value_that_differs(
    model: Path, published: dict[str, Any], tmp_path: Path, place: Any, value: Any, name: str
) -> None:
    changed = json.loads(json.dumps(published))
    functools.reduce(operator.getitem, place[:-1], changed)[place[-1]] = value
    (tmp_path / "expected.json").write_bytes(json_bytes(changed))
    done = run_gpt1("verify", model, "--expected", tmp_path / "expected.json", "--json")
    report = json.loads(done.stdout)
    assert done.code == 1
    assert report["failed"] == 1
    assert [check["name"] for check in report["checks"] if not check["passed"]] == [name]


def test_verify_tells_another_model_from_the_released_one(model: Path) -> None:
    done = run_gpt1("verify", model)
    assert done.code == 1
    assert "116534784" in done.stdout
    assert "FAIL" in done.stdout


def test_the_published_values_fit_each_other(model_vectors: dict[str, Any]) -> None:
    values = json.loads(
        (Path(cli.__file__).parents[1] / "assets/published.json").read_text("utf-8")
    )
    assert values["ids"] == model_vectors["full_size"]["ids"][0]
    assert values["parameters"] == model_vectors["full_size"]["n_parameters"]
    first = values["continuations"][0]
    assert first["ids"][:7] == values["ids"]
    assert first["ids"][7] == values["next"]["id"]
    assert all(len(c["ids"]) == c["max_length"] == 20 for c in values["continuations"])
    assert [len(row) for row in values["logits"]["rows"].values()] == [6] * 6
    assert values["text_loop"]["text"].count("\n") == 17


def test_convert_says_when_a_vocabulary_is_missing(tmp_path: Path) -> None:
    folder.save(tmp_path / "in", tiny.model(), None)
    done = run_gpt1("convert", tmp_path / "in", "--out", tmp_path / "out")
    assert done.code == 0
    assert "there is no vocabulary beside" in done.stderr


def test_pull_fetches_a_repository_into_a_folder(model: Path, tmp_path: Path) -> None:
    loaded = folder.load(model)
    with_head = folder.build(loaded)
    with_head.head = Head(with_head.config.n_embd, 2)
    model = tmp_path / "with-head"
    folder.save(model, with_head, loaded.tokenizer)
    with LoopbackHub(models={"me/tiny": model}) as hub:
        env = hub.env(tmp_path / "home")
        done = run_gpt1_process("pull", "me/tiny", "--out", tmp_path / "got", env=env).check()
    assert done.stdout == f"{tmp_path / 'got'}\n"
    loaded = folder.load(tmp_path / "got")
    assert loaded.tokenizer is not None
    for name, tensor in with_head.state_dict().items():
        assert_close(loaded.state[name], tensor, **EXACT)
    assert not any(file.is_symlink() for file in (tmp_path / "got").iterdir())


def test_doctor_counts_the_released_size() -> None:
    done = run_gpt1("doctor", "--size", "gpt1")
    assert done.code == 0
    for number in ("116,534,784", "31,087,104", "393,216", "7,087,872"):
        assert number in done.stdout
    for fact in ("torch", "threads", "device auto", "training in", "generating in"):
        assert fact in done.stdout


def test_doctor_counts_a_model_by_its_parts(model: Path) -> None:
    done = run_gpt1("doctor", "--model", model, "--json")
    report = json.loads(done.stdout)
    parts = report["parameters"]
    assert done.code == 0
    assert report["machine"]["torch"] == torch.__version__
    assert parts.pop("total") == sum(p.numel() for p in tiny.model().parameters())
    one = parts.pop("one block")
    embeddings = parts["token embedding (and head)"] + parts["position embedding"]
    assert sum(parts.values()) == embeddings + 2 * one
