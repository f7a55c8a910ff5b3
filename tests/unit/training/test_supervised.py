"""A task through the one training loop: resuming, the best model, transfer, weights, folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny
import worlds
from gpt1.checkpoint import folder
from gpt1.config import load_run
from gpt1.errors import CheckpointError, ConfigError, DataError, GPT1Error, TrainingError
from gpt1.model.build import Model
from gpt1.model.transformer import Transformer
from gpt1.pipeline import GPT1
from gpt1.reports.history import History
from gpt1.tasks.kinds import KINDS
from gpt1.tasks.predictor import Predictor
from gpt1.tasks.spec import SPECIAL, Example
from gpt1.text.tokenizer import Tokenizer
from gpt1.training import loop, supervised
from gpt1.training.run import Run, RunOptions

SETTINGS = [
    "train.batch_size=4",
    "train.eval_every=2",
    "train.save_every=2",
    "train.log_every=1000",
]


def fit(
    kind: str,
    tmp_path: Path,
    *overrides: str,
    model: Model | None = None,
    count: int = 14,
    validation: list[Example] | None = None,
    recipe: str = "small",
    name: str = "run",
    resume: bool = False,
) -> tuple[Model, Tokenizer]:
    words = worlds.tokenizer(tmp_path / "words")
    return supervised.finetune(
        model or tiny.model(),
        words,
        worlds.TASKS[kind],
        worlds.examples(kind, count),
        worlds.examples(kind, 6, seed=1) if validation is None else validation,
        load_run(recipe=recipe, overrides=[*SETTINGS, *overrides]),
        RunOptions(tmp_path / name, resume, quiet=True),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_moves_every_part_and_the_folder_gives_the_same_scores(
    kind: str, tmp_path: Path
) -> None:
    model, words = fit(kind, tmp_path, "train.steps=1")
    before = folder.build(folder.load(tmp_path / "run" / "model"))  # what was written
    fresh = tiny.model()
    assert model.head is not None
    assert model.head.weight.abs().max() > 0
    for name, parameter in fresh.named_parameters():
        now = dict(model.named_parameters())[name]
        assert not torch.equal(now[: len(parameter)], parameter), name
    predictor = Predictor.load(tmp_path / "run")
    assert predictor.task == worlds.TASKS[kind]
    assert [predictor.tokenizer.added[name] for name in SPECIAL] == [
        len(words) - 3, len(words) - 2, len(words) - 1,
    ]  # fmt: skip
    data = worlds.examples(kind, 17, seed=2)
    scores = {n: predictor.probabilities(data, batch_size=n) for n in (1, 3, 16, None)}
    if kind != "multi-label":
        np.testing.assert_allclose(scores[None].sum(1), 1, atol=1e-6)
    for found in scores.values():
        np.testing.assert_allclose(found, scores[1], atol=1e-5)
        decided = predictor.decide(found), predictor.decide(scores[1])
        np.testing.assert_allclose(*decided, atol=0 if kind != "regression" else 1e-5)
    other = Predictor(before, predictor.tokenizer, predictor.task).probabilities(data)
    assert np.array_equal(other, scores[None])


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_moves_in_one_step(kind: str, tmp_path: Path) -> None:
    starts: list[torch.Tensor] = []
    train = loop.train

    def keep(setup: loop.TrainSetup, *given: Any) -> Any:
        assert setup.model.head is not None
        starts.extend(value.detach().clone() for value in setup.model.head.parameters())
        return train(setup, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train", keep)
        model, _ = fit(kind, tmp_path, "train.steps=1", "train.keep_best=false")
    assert model.head is not None
    assert not torch.equal(starts[0], model.head.weight)
    if kind != "choice":  # there the bias is the same for every answer and cancels (spec 4.3.3)
        assert not torch.equal(starts[1], model.head.bias)


@pytest.mark.parametrize("kind", ["similarity", "regression"])
def test_the_order_of_a_pair_does_not_matter(kind: str, tmp_path: Path) -> None:
    fit(kind, tmp_path, "train.steps=2")
    predictor = Predictor.load(tmp_path / "run")
    data = worlds.examples(kind, 9, seed=3)
    turned = [Example((e.texts[1], e.texts[0])) for e in data]
    for one, other in zip(data, turned, strict=True):
        assert np.array_equal(predictor.probabilities([one]), predictor.probabilities([other]))
    assert np.array_equal(predictor.probabilities(data), predictor.probabilities(turned))


def test_special_rows_leave_old_rows_and_logits_alone(tmp_path: Path) -> None:
    from gpt1.tasks import network

    model, words = tiny.model(), worlds.tokenizer(tmp_path)
    ids = torch.tensor([words.encode("the dog and the cat")])
    with torch.no_grad():
        before = model(ids).logits
        rows = model.tokens.weight.clone()
        network.add_special_rows(model, words, generator=torch.Generator().manual_seed(0))
        after = model(ids).logits
    assert after.shape[2] == before.shape[2] + 3 == len(words)
    assert torch.equal(model.tokens.weight[: len(rows)], rows)
    torch.testing.assert_close(after[..., : before.shape[2]], before, rtol=0, atol=1e-6)
    network.add_special_rows(model, words)  # a second task finds them
    assert len(model.tokens.weight) == len(rows) + 3


def test_a_run_cut_off_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole, _ = fit("choice", tmp_path, name="whole")
    saves = []

    def save_and_stop(self: Run, *given: Any) -> None:
        original(self, *given)
        saves.append(given)
        if len(saves) == 2:
            raise KeyboardInterrupt

    original = Run.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            fit("choice", tmp_path, name="cut")
    resumed, _ = fit("choice", tmp_path, name="cut", resume=True)
    for (name, a), b in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b), name
    logs = [History.read(tmp_path / name).evaluations for name in ("whole", "cut")]
    assert logs[0] == logs[1]


def test_a_run_with_other_examples_does_not_go_on(tmp_path: Path) -> None:
    fit("similarity", tmp_path)
    with pytest.raises(TrainingError, match="the data is another one"):
        fit("similarity", tmp_path, count=13, resume=True)


def test_the_best_by_the_metric_is_kept(tmp_path: Path) -> None:
    fit("classification", tmp_path, "train.epochs=4")
    history = History.read(tmp_path / "run")
    best = max(line["valid_accuracy"] for line in history.evaluations if line["step"])
    assert history.results["metric"] == "accuracy"
    assert history.results["valid_metric"] == best
    assert history.ended.validation["accuracy"] == best
    text = (tmp_path / "run" / "report.html").read_text()
    assert "validation accuracy" in text
    assert "erplexity" not in text.replace("perplexities", "")


def test_training_stops_early(tmp_path: Path) -> None:
    fit("entailment", tmp_path, "train.epochs=40", "train.patience=1", "optimizer.lr=1e-9")
    history = History.read(tmp_path / "run")
    assert "no better" in str(history.results["finished"])
    assert history.results["updates"] < 140


@pytest.mark.parametrize(("n", "kept"), [(None, 2), (1, 1), (0, 0), (-1, -1)])
def test_transfer_keeps_so_many_blocks(n: int | None, kept: int, tmp_path: Path) -> None:
    overrides = ["train.steps=1", "optimizer.lr=1e-30", "train.seed=5"]
    if n is not None:
        overrides.append(f"task.n_transfer={n}")
    model, _ = fit("classification", tmp_path, *overrides)
    old = tiny.model().state_dict()
    new = model.state_dict()
    assert torch.equal(new["tokens.weight"][: len(old["tokens.weight"])], old["tokens.weight"]) == (
        kept >= 0
    )
    for i in range(2):
        name = f"blocks.{i}.mlp.fc.weight"
        assert torch.equal(new[name], old[name]) == (i < kept), name


def test_the_lstm_baseline_learns_the_same_tasks(tmp_path: Path) -> None:
    from gpt1.model.build import build_model

    for kind in KINDS:
        lstm = build_model(tiny.config(n_layer=1, n_hidden=16))
        fit(kind, tmp_path / kind, "train.steps=2", model=lstm)
        assert Predictor.load(tmp_path / kind / "run").model.config.n_hidden == 16


def test_a_fine_tuned_folder_is_still_a_language_model(tmp_path: Path) -> None:
    _, words = fit("classification", tmp_path, "train.steps=1")
    loaded = folder.load(tmp_path / "run" / "model")
    gpt = GPT1(folder.build(loaded), words)
    assert gpt.generate("the dog", max_new_tokens=3).ids
    assert loaded.extra["task"]["classes"] == ["bad", "fine", "good"]
    transformers = pytest.importorskip("transformers")
    theirs = transformers.OpenAIGPTLMHeadModel.from_pretrained(tmp_path / "run" / "model").eval()
    ids = torch.tensor([[5, 9, 20]])
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, gpt.model(ids).logits, rtol=0, atol=1e-5)


def test_language_fine_tuning_drops_the_head(tmp_path: Path) -> None:
    model, words = fit("classification", tmp_path, "train.steps=1")
    texts = ["the dog is a cat", "a cat and the dog", "the cat is the dog"] * 3
    gpt = GPT1(model, words).finetune(
        texts, out=tmp_path / "lm", overrides=["train.steps=1", "data.valid_share=0"]
    )
    assert gpt.model.head is None
    with pytest.raises(CheckpointError, match="has no task"):
        Predictor.load(tmp_path / "lm")


def test_balanced_classes_weigh_the_same(tmp_path: Path) -> None:
    from gpt1.tasks.collate import encode

    words = worlds.tokenizer(tmp_path)
    worlds.model(worlds.TASKS["entailment"], words)
    data = [Example(("the", "dog"), label) for label in (0, 0, 0, 1)]
    encoded = encode(data, worlds.TASKS["entailment"], words, 32)
    for wanted, expected in (
        ("balanced", [4 / 6, 4 / 6, 4 / 6, 2.0]), ({"no": 5.0}, [1.0, 1.0, 1.0, 5.0])
    ):  # fmt: skip
        weights = worlds.TASKS["entailment"].class_weights(wanted, encoded.targets)
        assert weights.tolist() == expected
    assert worlds.TASKS["entailment"].class_weights(None, encoded.targets).tolist() == [1] * 4


REFUSED: list[tuple[str, dict[str, Any], type[GPT1Error], str]] = [
    ("entailment", {"overrides": ["data.prefix=x"]}, ConfigError, "data.prefix"),
    ("classification", {"count": 0}, DataError, "no example to train on"),
    ("classification", {"recipe": "nothing"}, ConfigError, "recipe is 'nothing'"),
]


@pytest.mark.parametrize(("kind", "given", "error", "message"), REFUSED)
def test_what_cannot_be_is_refused(
    kind: str, given: dict[str, Any], error: type[GPT1Error], message: str, tmp_path: Path
) -> None:
    overrides = given.pop("overrides", [])
    with pytest.raises(error, match=message):
        fit(kind, tmp_path, *overrides, **given)
    assert not (tmp_path / "run" / "model").exists()


def test_the_release_recipe_trains_and_refuses_the_lstm(tmp_path: Path) -> None:
    from gpt1.model.build import build_model

    model, _ = fit("choice", tmp_path, "train.steps=2", recipe="release")
    assert isinstance(model, Transformer)
    with pytest.raises(ConfigError, match="no positions"):
        fit(
            "choice", tmp_path, recipe="release", name="lstm",
            model=build_model(tiny.config(n_layer=1, n_hidden=16)),
        )  # fmt: skip
