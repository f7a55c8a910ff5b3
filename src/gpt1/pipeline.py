"""A model with its tokenizer: what `gpt1.load` returns and what most people use."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import torch
from torch import Tensor

from gpt1.checkpoint import folder, hub
from gpt1.config import ModelConfig, SamplingConfig, check, load_run
from gpt1.errors import CheckpointError, InputError, TokenizerError
from gpt1.generation import engine, explain as explaining, torch_backend
from gpt1.generation.explain import Explanation, NextToken, Score
from gpt1.generation.request import Generation
from gpt1.generation.torch_backend import TorchBackend
from gpt1.model.build import Model
from gpt1.model.device import choose_device
from gpt1.model.padding import pad_right
from gpt1.model.transformer import Transformer
from gpt1.text.tokenizer import Tokenizer


class GPT1:
    """A GPT-1 that reads and writes text.

    Its parts are `config`, `tokenizer` and `model`. `dtype` is the format of the weights for
    generation: "auto" (16 bits where that is fast) or "float32". All else is computed in float32.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer,
        *,
        dtype: str = "auto",
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        if len(tokenizer) != model.config.vocab_size:
            raise TokenizerError(
                f"the tokenizer has {len(tokenizer):,} tokens and the model's vocabulary "
                f"{model.config.vocab_size:,}; they do not belong together."
            )
        self.model = model.eval()
        self.tokenizer = tokenizer
        self._dtype = dtype
        self._metadata = metadata or {}  # the task of its head, if it has one
        self._backend: TorchBackend | None = None

    @property
    def config(self) -> ModelConfig:
        """The model's shape."""
        return self.model.config

    @property
    def device(self) -> torch.device:
        """The device that holds the model."""
        return self.model.tokens.weight.device

    def num_parameters(self) -> int:
        """Return the number of weights, counting the tied head once."""
        return self.model.num_parameters()

    def batch(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids and attention_mask, int64 (B, T), padded on the right with id 0."""
        if not texts:
            raise InputError("there are no texts; give at least one.")
        rows = self.tokenizer.encode_batch(texts)
        if [] in rows:
            raise InputError(f"the text {texts[rows.index([])]!r} has no tokens; give some words.")
        ids, lengths = pad_right(rows, device=self.device)
        mask = torch.arange(ids.shape[1], device=self.device) < lengths[:, None]
        return ids, mask.long()

    @overload
    def generate(self, prompt: str, **sampling: Any) -> Generation: ...
    @overload
    def generate(self, prompt: list[str], **sampling: Any) -> list[Generation]: ...
    def generate(self, prompt: str | list[str], **sampling: Any) -> Generation | list[Generation]:
        """Continue a prompt, or several at once with the same results as one by one.

        `sampling`: the fields of SamplingConfig (max_new_tokens 64, temperature 0 = greedy, top_k,
        top_p, min_p, repetition_penalty, seed, stop, overflow, max_length). Raises ConfigError for
        a setting out of its bounds, ContextError for a prompt longer than n_ctx.
        """
        settings = check(SamplingConfig, sampling)
        prompts: list[str] = [prompt] if isinstance(prompt, str) else prompt
        generations = engine.generate(self.backend(), self.tokenizer, prompts, settings)
        return generations[0] if isinstance(prompt, str) else generations

    def stream(self, prompt: str, **sampling: Any) -> Iterator[str]:
        """Continue a prompt piece by piece; joined, the pieces are `generate`'s completion."""
        settings = check(SamplingConfig, sampling)
        return engine.stream(self.backend(), self.tokenizer, prompt, settings)

    def next_tokens(self, text: str, k: int = 10) -> list[NextToken]:
        """Return the k most likely next tokens: id, text, probability, logit."""
        return explaining.next_tokens(self.transformer(), self.tokenizer, text, k)

    def score(self, text: str) -> Score:
        """Return the text's mean loss, perplexity and the log-probability of each token."""
        return explaining.score(self.transformer(), self.tokenizer, text)

    def explain(self, text: str) -> Explanation:
        """Return every step of the article's walk from text to prediction, as data."""
        return explaining.explain(self.transformer(), self.tokenizer, text)

    def save(self, path: Path | str) -> None:
        """Write a model folder (Hugging Face layout and gpt1.json) that transformers can load."""
        folder.save(path, self.model, self.tokenizer, self._metadata)

    def finetune(
        self,
        texts: Iterable[str],
        *,
        recipe: str = "jokes",
        prefix: str | None = None,
        out: Path | str,
        resume: bool = False,
        config: Path | str | None = None,
        overrides: Sequence[str] = (),
    ) -> GPT1:
        """Train a copy of this model on short texts and return it; `out` keeps the run.

        `overrides` are "section.field=value", as after --set. Raises TrainingError, DataError.
        """
        from gpt1.training.finetune import finetune
        from gpt1.training.run import RunOptions

        settings = load_run(
            recipe=recipe, file=config, overrides=overrides, data={"prefix": prefix}
        )
        model = copy.deepcopy(self.transformer())
        options = RunOptions(out, resume)
        model, tokenizer = finetune(model, self.tokenizer, texts, settings, options)
        return GPT1(model, tokenizer, dtype=self._dtype)

    def backend(self) -> TorchBackend:
        """Return the backend that generates with the model's present weights, as `dtype` says."""
        if self._backend is None or not self._backend.is_current():
            self._backend = torch_backend.make_backend(self.transformer(), self._dtype)
        return self._backend

    def transformer(self) -> Transformer:
        """Return the model. Raises InputError if it is the LSTM baseline."""
        if not isinstance(self.model, Transformer):
            raise InputError(
                "this model is the paper's LSTM baseline, which can neither generate nor explain. "
                "Load a Transformer, e.g. mini."
            )
        return self.model


def load(
    name: str | Path = "mini",
    *,
    device: str = "auto",
    dtype: str = "auto",
    words: str | None = None,
) -> GPT1:
    """Load a packaged model, a folder, a Hugging Face repository, or OpenAI's params_*.npy.

    `words` is how text is split into words: "original", "slow" or "fast"; None means as the model
    was trained, or as released where that is not recorded. Raises CheckpointError, HubError.
    """
    torch_backend.check_dtype(dtype)
    path = hub.resolve(name)
    loaded = folder.load(path)
    if loaded.tokenizer is None:
        raise CheckpointError(
            f"{path} has no vocabulary (vocab.json and merges.txt, or encoder_bpe_40000.json and "
            f"vocab_40000.bpe). Copy the model's vocabulary files into it."
        )
    tokenizer = loaded.tokenizer if words is None else loaded.tokenizer.with_words(words)
    model = folder.build(loaded).to(choose_device(device))
    metadata = {"task": loaded.extra["task"]} if "task" in loaded.extra else {}
    return GPT1(model, tokenizer, dtype=dtype, metadata=metadata)


def pretrain(  # noqa: PLR0913
    data: Path | str,
    *,
    valid: Path | str | None = None,
    size: str = "gpt1",
    recipe: str | None = None,
    out: Path | str,
    resume: bool = False,
    config: Path | str | None = None,
    overrides: Sequence[str] = (),
) -> GPT1:
    """Train a model on shards (`gpt1 prepare`) from a random start and return it.

    `recipe` None means "small-pretrain" for the sizes mini and tiny, else "pretrain", the paper's.
    `out` keeps the run; `resume` continues it. `overrides` are "section.field=value", as after
    --set. Raises TrainingError, DataError, ConfigError.
    """
    from gpt1.training.pretrain import default_recipe, pretrain as train
    from gpt1.training.run import RunOptions

    recipe = recipe or default_recipe(size)
    settings = load_run(size=size, recipe=recipe, file=config, overrides=overrides)
    model, tokenizer = train(data, valid, settings, RunOptions(out, resume))
    return GPT1(model, tokenizer)
