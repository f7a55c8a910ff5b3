"""Fine-tuning on texts: the corrected recipe, the article's, and what was copied."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from runs import history, same

import gpt1
from gpt1.config import ModelConfig
from gpt1.data.splits import split_texts
from gpt1.errors import ConfigError, DataError
from gpt1.model.build import grow_vocabulary
from gpt1.model.transformer import Transformer
from gpt1.text.tokenizer import Tokenizer
from gpt1.training.finetune import shared_words


@pytest.fixture
def base(shape: ModelConfig, tokenizer: Tokenizer) -> gpt1.GPT1:
    return gpt1.GPT1(Transformer(shape, generator=torch.Generator().manual_seed(0)), tokenizer)


ARTICLE = ("data.max_pack=60", "train.batch_size=3")
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
    settings = [*ARTICLE, "train.epochs=2", "train.dtype=float32"]
    tuned = base.finetune(stories, recipe="article", out=tmp_path / "run", overrides=settings)
    assert tuned.tokenizer.words == "fast"
    assert tuned.tokenizer.eos_id is None
    assert len(tuned.tokenizer) == len(base.tokenizer)
    rates = [line["lr"] for line in history(tmp_path / "run") if "lr" in line]
    assert rates[:2] == [0.0, pytest.approx(3e-5 / 5000)]  # defect 4


def test_the_first_update_of_the_article_changes_nothing(
    base: gpt1.GPT1, stories: list[str], tmp_path: Path
) -> None:
    settings = [*ARTICLE, "train.steps=1"]
    tuned = base.finetune(stories, recipe="article", out=tmp_path / "run", overrides=settings)
    assert same(base, tuned)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (["train.batch_size=1000", "train.epochs=1"], DataError, "do not fill one update"),
        (["model.n_layer=7"], ConfigError, "fine-tuning keeps the model's shape"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(
    base: gpt1.GPT1,
    stories: list[str],
    tmp_path: Path,
    settings: list[str],
    error: type[Exception],
    message: str,
) -> None:
    settings = [*ARTICLE, *settings]
    with pytest.raises(error, match=message):
        base.finetune(stories, recipe="article", out=tmp_path / "run", overrides=settings)


def test_blank_and_long_texts_end_no_run(base: gpt1.GPT1, tmp_path: Path) -> None:
    texts = ["a " * 300, "the cat", " the dog ran", "an old man", "rain"]
    base.finetune(
        texts, prefix="", out=tmp_path / "run", overrides=["train.steps=1", "train.batch_size=1"]
    )


BOOK = "the cat sat on a mat and the dog ran to the sea . " * 80
END = " ".join(BOOK.split()[-56:])  # a twentieth of its 1,120 words


@pytest.mark.parametrize(
    ("texts", "held_out"),
    [
        ([BOOK], [END]),
        ([BOOK, "the dog ran"], [END]),
        ([BOOK, BOOK + BOOK, "the dog ran"], [END, END + " " + END]),
        (["the cat sat"] * 3, None),  # nothing different to hold out
    ],
)
def test_the_end_of_a_book_is_held_out(texts: list[str], held_out: list[str] | None) -> None:
    if held_out is None:
        with pytest.raises(DataError, match="needs two that differ"):
            split_texts(texts, 0.05, seed=0, long=64)
        return
    split = split_texts(texts, 0.05, seed=0, long=64)
    assert [" ".join(text.split()) for text in split.validation] == held_out
    assert split.cut == len(held_out)
    words = sum(len(text.split()) for text in [*split.training, *split.validation])
    assert words == len(" ".join(texts).split())


def test_of_many_books_whole_ones_are_held_out() -> None:
    books = [f"{BOOK}{i}" for i in range(40)]
    split = split_texts(books, 0.05, seed=0, long=64)
    assert (len(split.validation), split.cut) == (2, 0)
    assert set(split.validation) <= set(books)


def test_a_book_is_learned_and_samples_begin_as_it_does(
    base: gpt1.GPT1, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    base.finetune([BOOK], out=tmp_path / "run", overrides=["train.steps=2"])
    record = json.loads((tmp_path / "run/run.json").read_text("utf-8"))["config"]
    assert record["train"]["sample_prompt"] == " ".join(BOOK.split()[-56:-54])
    assert "1 text to train on, 1 to validate (the end of 1 long one)" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("prefix", "overrides", "prompt"),
    [
        (None, [], "the cat"),
        ("JOKE: ", [], "It was a"),  # the prefix is the prompt
        (None, ['train.sample_prompt="an old"'], "an old"),
        (None, ['train.sample_prompt=""'], ""),
    ],
)
def test_samples_begin_as_the_texts_do(
    base: gpt1.GPT1, tmp_path: Path, prefix: str | None, overrides: list[str], prompt: str
) -> None:
    texts = [f"the cat {i}" for i in range(30)]
    base.finetune(
        texts, prefix=prefix, out=tmp_path / "run", overrides=["train.steps=1", *overrides]
    )
    record = json.loads((tmp_path / "run/run.json").read_text("utf-8"))["config"]
    assert record["train"]["sample_prompt"] == prompt


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
