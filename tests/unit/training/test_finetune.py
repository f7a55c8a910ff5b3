"""Fine-tuning on texts: the corrected recipe, the article's, and what was copied."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import gpt1
from gpt1.config import ModelConfig
from gpt1.model.build import grow_vocabulary
from gpt1.model.transformer import Transformer
from gpt1.text.tokenizer import Tokenizer
from gpt1.training.finetune import shared_words


@pytest.fixture
def base(shape: ModelConfig, tokenizer: Tokenizer) -> gpt1.GPT1:
    return gpt1.GPT1(Transformer(shape, generator=torch.Generator().manual_seed(0)), tokenizer)


FAST = ("train.batch_size=4", "train.dtype=float32", "optimizer.lr=2e-2", "train.steps=80")


def test_a_model_learns_where_a_text_ends(
    base: gpt1.GPT1, stories: list[str], tmp_path: Path
) -> None:
    short = [" ".join(story.split()[:4]) for story in stories]
    tuned = base.finetune(short, prefix="JOKE: ", out=tmp_path / "run", overrides=FAST)
    assert base.config.vocab_size + 1 == tuned.config.vocab_size == len(tuned.tokenizer)
    assert base.tokenizer.eos_id is None
    assert tuned.tokenizer.eos_id == tuned.config.vocab_size - 1
    found = tuned.generate(["JOKE:"] * 20, max_new_tokens=14, temperature=0.8, seed=1)
    assert sum(one.finish_reason == "eos" for one in found) >= 19
    loaded = gpt1.load(tmp_path / "run")
    greedy = "JOKE: the"
    assert loaded.generate(greedy).ids == tuned.generate(greedy).ids


def test_the_article_recipe_runs_as_it_stands(
    base: gpt1.GPT1, stories: list[str], tmp_path: Path
) -> None:
    tuned = base.finetune(
        stories, recipe="article", out=tmp_path / "run",
        overrides=["data.max_pack=60", "train.batch_size=3", "train.epochs=2",
                   "train.dtype=float32"],
    )  # fmt: skip
    assert tuned.tokenizer.words == "fast"
    assert tuned.tokenizer.eos_id is None
    assert len(tuned.tokenizer) == len(base.tokenizer)
    lines = [line for line in _log(tmp_path / "run") if "lr" in line]
    assert lines[0]["lr"] == 0.0  # defect 4
    assert lines[1]["lr"] == pytest.approx(3e-5 / 5000)


def test_the_first_update_of_the_article_changes_nothing(
    base: gpt1.GPT1, stories: list[str], tmp_path: Path
) -> None:
    tuned = base.finetune(
        stories, recipe="article", out=tmp_path / "run",
        overrides=["data.max_pack=60", "train.batch_size=3", "train.steps=1"],
    )  # fmt: skip
    for name, before in base.model.state_dict().items():
        assert torch.equal(before, tuned.model.state_dict()[name])


def test_texts_that_fill_no_update_are_refused(
    base: gpt1.GPT1, stories: list[str], tmp_path: Path
) -> None:
    with pytest.raises(gpt1.DataError, match="do not fill one update"):
        base.finetune(
            stories, recipe="article", out=tmp_path / "run",
            overrides=["data.max_pack=60", "train.batch_size=1000", "train.epochs=1"],
        )  # fmt: skip


def test_settings_of_the_model_are_refused(
    base: gpt1.GPT1, stories: list[str], tmp_path: Path
) -> None:
    with pytest.raises(gpt1.ConfigError, match="fine-tuning keeps the model's shape"):
        base.finetune(stories, out=tmp_path / "run", overrides=["model.n_layer=7"])


def test_blank_and_long_texts_end_no_run(base: gpt1.GPT1, tmp_path: Path) -> None:
    texts = ["a " * 300, "the cat", " the dog ran", "an old man", "rain"]
    base.finetune(
        texts, prefix="", out=tmp_path / "run", overrides=["train.steps=1", "train.batch_size=1"]
    )


def test_growing_the_vocabulary_leaves_old_logits_alone(shape: ModelConfig) -> None:
    model = Transformer(shape).eval()
    ids = torch.tensor([[3, 1, 4, 1, 5]])
    before = model(ids).logits
    grow_vocabulary(model, shape.vocab_size + 3, generator=torch.Generator().manual_seed(0))
    after = model(ids).logits
    assert after.shape[-1] == shape.vocab_size + 3
    assert torch.equal(before, after[..., : shape.vocab_size])
    rows = model.tokens.weight[shape.vocab_size :]
    assert 0.01 < float(rows.detach().std()) < 0.03


def test_copying_finds_planted_runs_and_nothing_else() -> None:
    texts = ["Why did the hen cross? To reach the yard.", "A horse walks into a bar."]
    found = shared_words(
        ["a horse walks INTO, a bar", "the hen cross to sea", "nothing here"], texts
    )
    assert found == (6, "a horse walks into a bar", 1)
    assert shared_words(["car"], ["a cart carried"]).longest == 0  # whole words only
    assert shared_words(["yard a"], texts).longest == 1  # not across texts


def _log(run: Path) -> list[dict[str, float]]:
    from gpt1.storage import Log

    return Log(run / "metrics.jsonl").read()
