"""A model with its tokenizer: what `gpt1.load` returns and what most people use."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt1.checkpoint import folder, hub
from gpt1.config import ModelConfig, SamplingConfig, check, default_recipe, load_run, load_size
from gpt1.data.rows import column_of, list_rows, texts_of
from gpt1.errors import CheckpointError, InputError, TokenizerError, counted
from gpt1.generation import choose_backend, embedding, engine, explain as explaining, inside_page
from gpt1.generation.backend import Backend
from gpt1.generation.embedding import Pool
from gpt1.generation.explain import NextTokens, Score
from gpt1.generation.inside_page import IllustratedExplanation
from gpt1.generation.onnx_backend import OnnxBackend
from gpt1.generation.options import SamplingOptions, named_options
from gpt1.generation.request import Generation, Prompt
from gpt1.generation.torch_backend import TorchBackend
from gpt1.model.build import Model
from gpt1.model.device import choose_device
from gpt1.model.padding import pad_right
from gpt1.model.transformer import Transformer
from gpt1.text.tokenizer import Tokenizer
from gpt1.text.unknown import check_unknown

SeveralTexts = Any
"""Several texts: a list, a numpy array, a column or one-column table of pandas or pyarrow."""


class GPT1:
    """A GPT-1 that reads and writes text.

    Its parts are `config`, `tokenizer` and `model`. `dtype` is the format of the weights for
    generation: "auto" (16 bits where that is fast), "float32", "float16", "bfloat16", "int8" or
    "int4". `backend` is what generates: "torch", "onnx" (extra `onnx`), or "auto", which for int8
    is the faster of them and for int4 onnx. All else is computed by torch in float32, but `score`,
    which also takes bfloat16.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer,
        *,
        dtype: str = "auto",
        backend: str = "auto",
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        if len(tokenizer) != model.config.vocab_size:
            raise TokenizerError(
                f"the tokenizer has {len(tokenizer):,} tokens and the model's vocabulary "
                f"{model.config.vocab_size:,}; they do not belong together."
            )
        self.model = model.eval()
        self.tokenizer = tokenizer
        choose_backend.check(dtype, backend)
        self._dtype, self._backend_name = dtype, backend
        self._metadata = metadata or {}  # the task of its head, if it has one
        self._backend: TorchBackend | OnnxBackend | None = None

    @property
    def config(self) -> ModelConfig:
        """The model's shape."""
        return self.model.config

    @property
    def device(self) -> torch.device:
        """The device that holds the model."""
        return self.model.tokens.weight.device

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The task of its head as JSON values, in `task`, if it has one."""
        return self._metadata

    def num_parameters(self) -> int:
        """Return the number of weights, counting the tied head once."""
        return self.model.num_parameters()

    def __repr__(self) -> str:
        c, n = self.config, self.num_parameters()
        layers = counted(c.n_layer, "layer")
        shape = f"{layers} of {c.n_embd}, {c.n_ctx} positions, {c.vocab_size:,} tokens"
        kind = self._metadata["task"]["kind"] if "task" in self._metadata else ""
        return f"GPT1({shape}, {n:,} parameters, {kind and f'{kind}, '}on {self.device})"

    def batch(self, texts: Any) -> tuple[Tensor, Tensor]:
        """Return ids and attention_mask, int64 (B, T), padded on the right with id 0.

        `texts` are a list or a column. Raises InputError naming those without tokens.
        """
        texts = texts_of(_several(texts, "texts"))
        if not texts:
            raise InputError("there are no texts; give at least one.")
        rows = self.tokenizer.encode_batch(texts)
        if empty := [f"texts[{i}]" for i, row in enumerate(rows) if not row]:
            raise InputError(f"{list_rows(empty)[:-1]} has no tokens; give some words.")
        ids, lengths = pad_right(rows, device=self.device)
        mask = torch.arange(ids.shape[1], device=self.device) < lengths[:, None]
        return ids, mask.long()

    @overload
    def generate(
        self, prompt: str, *, assistant: GPT1 | None = None, **sampling: Unpack[SamplingOptions]
    ) -> Generation: ...
    @overload
    def generate(
        self,
        prompt: SeveralTexts,
        *,
        assistant: GPT1 | None = None,
        **sampling: Unpack[SamplingOptions],
    ) -> list[Generation]: ...
    @named_options
    def generate(
        self,
        prompt: str | SeveralTexts,
        *,
        assistant: GPT1 | None = None,
        **sampling: Unpack[SamplingOptions],
    ) -> Generation | list[Generation]:
        """Continue a prompt, or several (a list, a column) with the same results as one by one.

        temperature: 0 is greedy. max_length counts the prompt too, as in the article, and replaces
        max_new_tokens. stop: the text ends before such a string. overflow: at the model's last
        position "stop", or "slide": drop the older half and go on. `SamplingConfig` describes every
        setting. assistant: a smaller model of the same vocabulary whose guesses speed this one up.
        Raises ConfigError for a setting out of its bounds, ContextError for a prompt
        longer than n_ctx, InputError for no prompt.
        """
        settings = _sampling(sampling)
        single = isinstance(prompt, str)
        prompts: list[Prompt] = (
            [prompt] if single else column_of(_several(prompt, "prompt"), "prompt")
        )
        generations = engine.generate(
            self.backend(), self.tokenizer, prompts, settings, assistant=self.assist(assistant)
        )
        return generations[0] if single else generations

    @named_options
    def stream(
        self, prompt: str, *, assistant: GPT1 | None = None, **sampling: Unpack[SamplingOptions]
    ) -> Iterator[str]:
        """Continue a prompt piece by piece; joined, the pieces are `generate`'s completion.

        Beams, and several texts of a prompt, come in one piece.
        """
        settings, other = _sampling(sampling), self.assist(assistant)
        return engine.stream(self.backend(), self.tokenizer, prompt, settings, assistant=other)

    def assist(self, assistant: GPT1 | None) -> Backend | None:
        """Return a smaller model's backend. Raises InputError for another vocabulary."""
        if assistant is None:
            return None
        if assistant.tokenizer.fingerprint != self.tokenizer.fingerprint:
            raise InputError(
                "the assistant has another vocabulary than the model; its guesses would mean other "
                "words. Take a smaller model with the same vocabulary."
            )
        return assistant.backend()

    def next_tokens(self, text: str, k: int = 10) -> NextTokens:
        """Return the k most likely next tokens: id, text, probability, logit."""
        return explaining.next_tokens(self.transformer(), self.tokenizer, text, k)

    @overload
    def score(self, text: str) -> Score: ...
    @overload
    def score(self, text: SeveralTexts) -> list[Score]: ...
    def score(self, text: str | SeveralTexts) -> Score | list[Score]:
        """Return the text's mean loss, perplexity and the log-probability of each token.

        Several texts (a list, a column) have a list of scores. Raises InputError, ContextError.
        """
        single = isinstance(text, str)
        texts = [text] if single else texts_of(text, "text")
        names = ["the text"] if single else [f"text[{i}]" for i in range(len(texts))]
        check_unknown(texts, self.tokenizer, names, allow=True)
        scores = explaining.score_texts(self.scorer(), self.tokenizer, texts, names)
        return scores[0] if single else scores

    def embed(
        self, texts: SeveralTexts, *, pool: Pool = "mean", layer: int = -1
    ) -> NDArray[np.float32]:
        """Return a vector for each text (a list, a column), float32 (N, C), in float32.

        pool: "mean" over the text's tokens, "last" or "extract", the token that a model fine-tuned
        on a task reads behind a text. layer: 0 is the embeddings, -1 the last block. A text's
        vector does not depend on the others. Raises InputError, ConfigError.
        """
        rows = self.tokenizer.encode_batch(texts_of(_several(texts, "texts")))
        if empty := [f"texts[{i}]" for i, row in enumerate(rows) if not row]:
            raise InputError(f"{list_rows(empty)[:-1]} has no tokens; give some words.")
        return embedding.embed(self.transformer(), self.tokenizer, rows, pool=pool, layer=layer)

    def explain(self, text: str) -> IllustratedExplanation:
        """Return every step of the article's walk from text to prediction, as data.

        A notebook shows it as the studio does; its `page` is that view as an HTML file.
        """
        return inside_page.illustrate(self.transformer(), self.tokenizer, text)

    def save(self, path: Path | str) -> None:
        """Write a model folder (Hugging Face layout and gpt1.json) that transformers can load."""
        folder.save(path, self.model, self.tokenizer, self._metadata)

    def finetune(  # noqa: PLR0913
        self,
        texts: SeveralTexts | str | Path,
        *,
        column: str | None = None,
        recipe: str | None = None,
        prefix: str | None = None,
        out: Path | str,
        resume: bool = False,
        config: Path | str | None = None,
        overrides: Sequence[str] = (),
        allow_unknown: bool = False,
    ) -> GPT1:
        """Train a copy of this model to write such texts and return it; `out` keeps the run.

        texts: a list, an array or a column of texts; a table or the path of a file, of which
        `column` names one column, needed where none is called text. `recipe` None means
        "small-texts" for models of width below 512, such as mini, else "texts". `prefix` stands
        before every text. `overrides` are "section.field=value", as after --set. allow_unknown: go
        on although the vocabulary lacks most of what the texts hold. Raises InputError naming the
        row that is no text, TrainingError, DataError.
        """
        from gpt1.training.finetune import finetune
        from gpt1.training.resume import command_record
        from gpt1.training.run import RunOptions

        rows = texts_of(texts, column=column)
        check_unknown(rows, self.tokenizer, allow=allow_unknown)
        recipe = recipe or default_recipe("lm", self.config)
        settings = load_run(
            recipe=recipe, file=config, overrides=overrides, data={"prefix": prefix}
        )
        model = copy.deepcopy(self.transformer())
        given = {"recipe": recipe, "prefix": prefix, "config": config, "set_": list(overrides)}
        options = RunOptions(out, resume, command=command_record("GPT1.finetune", given))
        model, tokenizer = finetune(model, self.tokenizer, rows, settings, options)
        return GPT1(model, tokenizer, dtype=self._dtype, backend=self._backend_name)

    def backend(self) -> TorchBackend | OnnxBackend:
        """Return the backend that generates with the model's present weights, as `dtype` says."""
        if self._backend is None or not self._backend.is_current():
            self._backend = choose_backend.make_backend(
                self.transformer(), self._dtype, self._backend_name
            )
        return self._backend

    def scorer(self) -> Transformer:
        """Return the model that scores: float32, or bfloat16 if that is the `dtype`."""
        backend = self.backend() if self._dtype == "bfloat16" else None
        return backend.model if isinstance(backend, TorchBackend) else self.transformer()

    def transformer(self) -> Transformer:
        """Return the model. Raises InputError if it is the LSTM baseline."""
        if not isinstance(self.model, Transformer):
            raise InputError(
                "this model is the paper's LSTM baseline, which can neither generate nor explain. "
                "Load a Transformer, e.g. mini."
            )
        return self.model


def _several(texts: Any, name: str) -> Any:
    """Return `texts`, or raise InputError for a single str, which is no list of them."""
    if isinstance(texts, str):
        raise InputError(f"{name} is the single text {texts[:40]!r}; put it into a list.")
    return texts


def _sampling(options: SamplingOptions) -> SamplingConfig:
    """Return checked settings; `stop` may be one string or none. Raises ConfigError."""
    settings: dict[str, Any] = {**options}
    if "stop" in settings and isinstance(settings["stop"], str | None):
        settings["stop"] = (settings["stop"],) if settings["stop"] is not None else ()
    return check(SamplingConfig, settings)


def load(
    name: str | Path = "mini",
    *,
    device: str = "auto",
    dtype: str = "auto",
    backend: str = "auto",
    words: str | None = None,
) -> GPT1:
    """Load a packaged model, a folder, a Hugging Face repository, or OpenAI's params_*.npy.

    `words` is how text is split into words: "original", "slow" or "fast"; None means as the model
    was trained, or as released where that is not recorded. `dtype` and `backend` are those of
    `GPT1`. Raises CheckpointError, HubError, ConfigError.
    """
    choose_backend.check(dtype, backend)
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
    return GPT1(model, tokenizer, dtype=dtype, backend=backend, metadata=metadata)


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

    `recipe` None means "small-pretrain" for Transformers of width below 512, such as mini, else
    "pretrain", the paper's. `out` keeps the run; `resume` continues it. `overrides` are
    "section.field=value", as after --set. Raises TrainingError, DataError, ConfigError.
    """
    from gpt1.training.pretrain import pretrain as train
    from gpt1.training.resume import command_record
    from gpt1.training.run import RunOptions

    given = {"data": data, "valid": valid, "size": size, "recipe": recipe, "config": config}
    command = command_record("pretrain", {**given, "set_": list(overrides)})
    recipe = recipe or default_recipe("pretrain", load_size(size))
    settings = load_run(size=size, recipe=recipe, file=config, overrides=overrides)
    model, tokenizer = train(data, valid, settings, RunOptions(out, resume, command=command))
    return GPT1(model, tokenizer)
