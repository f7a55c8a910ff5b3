"""Learning to write texts like those given: short ones, such as the article's jokes, or a book."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from gpt1.config import DataConfig, RunConfig, SamplingConfig
from gpt1.data.batches import ArticleBatches, Batches, PackBatches, Sampling, WindowBatches
from gpt1.data.parallel import encode_texts
from gpt1.data.splits import split_texts
from gpt1.errors import ConfigError, DataError, counted
from gpt1.generation import engine
from gpt1.generation.torch_backend import make_backend
from gpt1.model.build import fingerprint, grow_vocabulary
from gpt1.model.transformer import Transformer
from gpt1.text.tokenizer import IdArray, Tokenizer
from gpt1.text.vocabulary import END_OF_TEXT
from gpt1.training import distributed, objectives
from gpt1.training.loop import TrainSetup
from gpt1.training.progress import TrainingProgress
from gpt1.training.run import RunOptions
from gpt1.training.trainer import EVALUATION_ROWS, adopt_shape, resolve_config, run_training

_SAMPLES = 20
_PROMPT_WORDS = 2


def finetune(
    model: Transformer,
    tokenizer: Tokenizer,
    texts: Iterable[str],
    config: RunConfig,
    options: RunOptions,
) -> tuple[Transformer, Tokenizer]:
    """Train `model` in place on texts; see GPT1.finetune."""
    config, base = adopt_shape(config, model), fingerprint(model)
    if unused := config.task.model_fields_set:
        raise ConfigError(
            f"task.{min(unused)} is set; it is for tasks such as classification and would change "
            f"nothing here. Leave it out."
        )
    n_ctx, seed = model.config.n_ctx, config.train.seed
    longest = config.data.max_pack or n_ctx
    if config.data.pack == "article" and longest > n_ctx:
        raise ConfigError(
            f"data.max_pack is {longest}; the model has {n_ctx} positions. Add "
            f"--set data.max_pack={n_ctx}."
        )
    tokenizer = tokenizer.with_words(config.data.words or tokenizer.words)
    if config.data.end == "token" and tokenizer.eos_id is None:
        tokenizer.add_tokens([END_OF_TEXT])
    generator = torch.Generator().manual_seed(seed)
    head, model.head = model.head, None  # it would not be trained
    grow_vocabulary(model, len(tokenizer), generator=generator)
    config = resolve_config(config, tokenizer)
    split = split_texts(list(texts), config.data.valid_share, seed, long=n_ctx)
    config = _with_prompt(config, tokenizer, split.validation or split.training)
    training = _encode(tokenizer, split.training, config.data)
    held_out = _encode(tokenizer, split.validation, config.data)
    progress = TrainingProgress(config.train.log_every, distributed.console(options.quiet))
    prefix = f"{config.data.prefix!r} + " if config.data.prefix else ""
    end = f" + the {config.data.end} {END_OF_TEXT}" if config.data.end != "nothing" else ""
    if head is not None:
        progress.note("the model's head for a task is left out: on texts it would not be trained")
    s = "s" * (split.cut > 1)
    progress.note(
        f"{counted(len(training), 'text')} to train on, {len(held_out):,} to validate"
        + (f" (the end{s} of {split.cut:,} long one{s})" if split.cut else "")
        + (f", {counted(split.duplicates, 'duplicate')} left out" if split.duplicates else "")
        + (f"; each is {prefix}text{end}" if prefix or end else "")
    )
    batches = _batches(training, config)
    short = len(split.training) + len(split.validation) - len(training) - len(held_out)
    skipped = batches.skipped if isinstance(batches, ArticleBatches) else 0
    if short or skipped:
        progress.note(
            f"left out: {counted(short, 'text')} of less than two tokens, "
            f"{skipped:,} too long for a pack"
        )
    validation = PackBatches(held_out, n_ctx, EVALUATION_ROWS) if held_out else None
    objective = objectives.BY_NAME[config.train.loss]
    setup = TrainSetup(model, tokenizer, config, batches, validation, objective, base=base)
    trained = run_training(setup, options)
    assert isinstance(trained, Transformer)
    if distributed.is_first():
        length = min(1 + len(tokenizer.encode(config.data.prefix)), n_ctx - 1)  # and a word of it
        starts = itertools.cycle(doc[:length].tolist() for doc in (held_out or training))
        sampling = SamplingConfig(temperature=0.8, top_k=40, seed=seed)
        prompts = list(itertools.islice(starts, _SAMPLES))
        samples = engine.generate(make_backend(trained), tokenizer, prompts, sampling)
        shared = shared_words([sample.completion for sample in samples], split.training)
        progress.note(
            f"copied from the training texts: {shared.whole} of {_SAMPLES} samples whole "
            f"({shared.whole / _SAMPLES:.0%}); the longest shared run is "
            f"{counted(shared.longest, 'word')} "
            f"({shared.phrase!r})"
        )
    return trained, tokenizer


def _with_prompt(config: RunConfig, tokenizer: Tokenizer, texts: Sequence[str]) -> RunConfig:
    """Return `config` with a prompt for samples: as the texts begin, unless the user chose one."""
    if config.data.prefix or "sample_prompt" in config.train.model_fields_set:
        return config
    starts = (" ".join(text.split()[:_PROMPT_WORDS]) for text in texts)
    prompt = next((start for start in starts if tokenizer.encode(start)), "")
    return config.model_copy(
        update={"train": config.train.model_copy(update={"sample_prompt": prompt})}
    )


def _encode(tokenizer: Tokenizer, texts: Sequence[str], data: DataConfig) -> list[IdArray]:
    """Return each text as ids, with the prefix and the end that the settings ask for."""
    end = END_OF_TEXT if data.end == "text" else ""
    encoded = encode_texts(tokenizer, [data.prefix + text + end for text in texts])
    docs = [ids.astype(np.int64) for ids in encoded]
    if data.end == "token" and tokenizer.eos_id is not None:
        docs = [np.append(ids, tokenizer.eos_id) for ids in docs]
    return [ids for ids in docs if len(ids) > 1]


def _batches(docs: list[IdArray], config: RunConfig) -> Batches:
    if not docs:
        raise DataError("there is no text to train on. Give texts of at least two words.")
    train, data = config.train, config.data
    order = Sampling(seed=train.seed, shuffle=data.shuffle, micro_batch_size=train.micro_batch_size)
    n_ctx, size = config.model.n_ctx, train.batch_size
    if data.pack == "article":
        return ArticleBatches(docs, data.max_pack or n_ctx, size, **order)
    if data.pack == "windows":
        return WindowBatches(np.concatenate(docs), n_ctx, size, **order)
    return PackBatches(docs, n_ctx, size, **order)


class SharedWords(NamedTuple):
    """What samples share with the training texts, regardless of case and punctuation.

    `phrase` is the longest run of words that is also in a training text, `longest` its number of
    words; `whole` is how many samples are in a training text as a whole.
    """

    longest: int
    phrase: str
    whole: int


def shared_words(samples: Sequence[str], texts: Sequence[str]) -> SharedWords:
    """Compare samples with the training texts, word by word.

    >>> shared_words(["A cat sat down."], ["Then a cat sat!", "It sat down."])
    SharedWords(longest=3, phrase='a cat sat', whole=0)
    """
    corpus = "\n".join(_words(text) for text in texts)
    longest, phrase, whole = 0, "", 0
    for sample in samples:
        words = _words(sample).split()
        whole += bool(words) and _words(sample) in corpus
        for start in range(len(words)):
            while start + longest < len(words):
                run = " ".join(words[start : start + longest + 1])
                if f" {run} " not in corpus:
                    break
                longest, phrase = longest + 1, run
    return SharedWords(longest, phrase, whole)


def _words(text: str) -> str:
    words = re.findall(r"\w+", text.lower())
    return f" {' '.join(words)} "
