"""Every setting, its default and its bounds: frozen pydantic models, presets, overrides.

The resolved configuration is: defaults < size preset < recipe preset < `--config FILE` < `--set
section.field=value`. It is saved with every run. Commands, Python and error messages all take their
bounds from this file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, model_validator

from gpt1.errors import ConfigError
from gpt1.presets import given, merge, parse_override, read_preset, read_toml
from gpt1.sampling import SamplingConfig as SamplingConfig
from gpt1.settings import Settings as Settings, check as check

Probability = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


class ModelConfig(Settings):
    """The shape of a GPT-1 (paper, section 4.1); the defaults are the released model's."""

    vocab_size: int = Field(40478, ge=2, le=2**20)
    """Tokens in the vocabulary; set by the tokenizer."""
    n_ctx: int = Field(512, ge=1, le=2**16)
    """Positions: the longest text that the model reads, in tokens."""
    n_embd: int = Field(768, ge=1, le=2**14)
    """Width: the numbers in each state."""
    n_layer: int = Field(12, ge=1, le=256)
    """Blocks, each with one attention and one MLP."""
    n_head: int = Field(12, ge=1, le=256)
    """Attention heads in each block; must divide n_embd."""
    n_hidden: int | None = Field(None, ge=1, le=2**15)
    """Units of the LSTM baseline (paper, section 5); None means the Transformer."""
    afn: Literal["gelu", "relu", "swish"] = "gelu"
    embd_pdrop: Probability = 0.1
    """Dropout on the embeddings."""
    attn_pdrop: Probability = 0.1
    """Dropout on the attention weights."""
    resid_pdrop: Probability = 0.1
    """Dropout on what each attention and MLP adds."""
    layer_norm_epsilon: float = Field(1e-5, gt=0, le=1)
    initializer_range: float = Field(0.02, gt=0, le=10)

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.n_embd % self.n_head:
            raise ValueError(
                f"n_embd is {self.n_embd} and n_head is {self.n_head}; n_embd must be divisible by "
                f"n_head. Try n_embd={self.n_embd // self.n_head * self.n_head or self.n_head}"
            )
        return self


class OptimizerConfig(Settings):
    """Adam, as released or as in torch, or Muon."""

    name: Literal["adam", "adamw", "muon"] = "adam"
    """adam: the release's (opt.py), which adds epsilon before the bias correction and scales the
    decay by the corrected rate; adamw: torch.optim.AdamW; muon: torch.optim.Muon for the blocks'
    matrices, AdamW for embeddings, gains and biases."""
    lr: float = Field(2.5e-4, gt=0, le=10)
    """The learning rate at its highest."""
    b1: Probability = 0.9
    """Adam's decay rates: of the mean of the gradients, and in b2 of their squares."""
    b2: Probability = 0.999
    eps: float = Field(1e-8, gt=0, le=1)
    weight_decay: float = Field(0.01, ge=0, le=10)
    """Applies only to tensors of more than one dimension."""
    max_grad_norm: float | None = Field(1.0, gt=0)
    """Gradients are clipped to this norm; none turns clipping off."""
    momentum: Probability = 0.95
    """Used by Muon only."""


class ScheduleConfig(Settings):
    """The factor by which the learning rate is multiplied over a run."""

    name: Literal[
        "warmup_cosine", "warmup_linear", "warmup_constant", "linear", "warmup_stable_decay"
    ] = "warmup_cosine"
    """The first three are the release's (spec 3.6, 3.12). linear rises over the warm-up, then falls
    to 0; warmup_stable_decay rises, stays level, and falls to 0 over the last `decay_share`."""
    warmup_steps: int | None = Field(None, ge=0)
    """How many updates the warm-up has; none: `warmup_share` decides."""
    warmup_share: float = Field(0.1, ge=0, le=1)
    """The warm-up as a share of the run; an upper limit if warmup_steps is set."""
    total_steps: int | None = Field(None, ge=-1)
    """None means the run's own length; -1 is what the article passes (spec 9.8.3)."""
    decay_share: float = Field(0.2, ge=0, le=1)
    """For warmup_stable_decay. --resume may change it and train.steps as long as the rates of the
    updates already made stay the same, so a run can be ended at any length."""
    count_from: Literal[0, 1] = 0
    """With 0 the first update has factor 0, as released (spec 3.11)."""


class DataConfig(Settings):
    """How text becomes training sequences."""

    pack: Literal["windows", "documents", "article"] = "windows"
    """windows: n_ctx + 1 ids of contiguous text; documents: whole documents that do not attend to
    each other; article: the article's packing rule, unchanged (spec 9.8.4)."""
    words: Literal["original", "slow", "fast"] | None = None
    """How text is split into words; None means as the tokenizer records."""
    prefix: str = ""
    """Stands before every text."""
    end: Literal["token", "text", "nothing"] = "nothing"
    """What follows every document: an added token, the article's literal text, or nothing."""
    shuffle: bool = True
    """Whether each epoch has an order of its own."""
    valid_share: float = Field(0.0, ge=0, le=0.5)
    """The share of the texts, or rows, that is held out for validation."""
    max_pack: int | None = Field(None, ge=2)
    """The length of the article's packs, 500 there; None means n_ctx."""


class TrainConfig(Settings):
    """How long a run is, how large its batches are, and what it writes when."""

    steps: int | None = Field(None, ge=1)
    """The number of updates; None means `epochs` decides."""
    epochs: float = Field(1, gt=0, le=1e6)
    """How often every text is read."""
    batch_size: int = Field(64, ge=1, le=2**20)
    """Sequences per update, over all micro-batches and ranks."""
    micro_batch_size: int | None = Field(None, ge=1, le=2**20)
    """Sequences per forward pass; None means chosen to fit."""
    loss: Literal["token_mean", "pack_sum"] = "token_mean"
    """pack_sum is the article's: the sum of the packs' means (spec 9.10, defect 8)."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Decides the initial weights, the order of the samples and the dropout."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """What matrices are multiplied in; auto means bfloat16 where the processor can."""
    save_every: Count = 500
    """Updates between two checkpoints."""
    keep_checkpoints: int = Field(2, ge=1, le=1000)
    eval_every: int | None = Field(None, ge=1)
    """In updates; None means about ten evaluations per run."""
    eval_windows: int = Field(64, ge=1)
    """Validation windows per evaluation; the last evaluation uses all of them."""
    log_every: Count = 10
    """Updates between two lines of the log."""
    patience: float | None = Field(None, gt=0, le=1e6)
    """Stop after this many epochs without a better model on the rows held out. They count from the
    end of the warm-up, and no run is stopped before it has seen every row once."""
    keep_best: bool = True
    """End with the checkpoint that has the best validation loss, not with the last."""
    snapshots: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    """Shares of the run after which the weights are kept, e.g. [0.01, 0.1, 1.0]."""
    sample_prompt: str = "It was a"
    """The prompt of the sample written at every evaluation; "" writes none. Fine-tuning takes the
    prefix, or how a text held out begins."""
    max_skipped: int = Field(3, ge=0)
    """Stop after skipping this many updates in a row because their loss is not finite."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Whether to torch.compile each block; auto means on CUDA."""
    tensorboard: bool = False
    """Also write RUN/tensorboard (extra gpt1[track])."""


class TaskConfig(Settings):
    """Supervised fine-tuning (paper, sections 3.2 and 4.1); "lm" is plain language modelling."""

    kind: Literal[
        "lm", "classification", "entailment", "similarity", "regression", "choice", "multi-label",
        "sequence-labelling",
    ] = "lm"  # fmt: skip
    """Set by the run; `tasks.kinds` has a class for each except lm."""
    metric: str | None = None
    """What chooses the best model: a metric of the task; None means its usual one."""
    lm_coef: float = Field(0.5, ge=0, le=1e3)
    """The weight of the auxiliary LM loss; 0 turns it off."""
    clf_pdrop: Probability = 0.1
    """Dropout on the input of the head."""
    n_transfer: int | None = Field(None, ge=-1, le=256)
    """How many pre-trained blocks to keep; the others are initialized at random. None keeps all;
    -1 keeps not even the embeddings."""
    class_weight: Literal["balanced"] | dict[str, Annotated[float, Field(gt=0)]] | None = None
    """The weight of an example of each class; balanced gives all classes the same total."""
    embeddings: Literal["two", "one"] = "two"
    """one is the release's: tokens and positions are rows of one matrix, with dropout on it before
    the look-up and LM logits over the position rows too (spec 1.7.1, 4.4)."""
    choice_mask: Literal["own", "shared"] = "own"
    """shared is the release's: one dropout mask at the head for all answers of an example."""


class DistributedConfig(Settings):
    """How processes started by torchrun share the work."""

    strategy: Literal["ddp", "fsdp"] = "ddp"
    """ddp: a whole model each; fsdp: weights, gradients and optimizer state sharded (FSDP2)."""


class RunConfig(Settings):
    """The resolved settings of a run, as in `run.json`."""

    model: ModelConfig = ModelConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    task: TaskConfig = TaskConfig()
    distributed: DistributedConfig = DistributedConfig()

    @model_validator(mode="after")
    def _muon_needs_whole_matrices(self) -> Self:
        if self.optimizer.name == "muon" and self.distributed.strategy == "fsdp":
            raise ValueError(
                "optimizer.name is 'muon' and distributed.strategy is 'fsdp'; Muon needs whole "
                "matrices, which FSDP shards. Use distributed.strategy=ddp."
            )
        return self


class ServeConfig(Settings):
    """The server: where it listens, and what it bounds."""

    host: str = "127.0.0.1"
    """The address to listen on; one that others can reach needs a key."""
    port: int = Field(8000, ge=0, le=65535)
    """The port; 0 takes a free one."""
    key_file: str | None = None
    """A file with a key a line; without it, the variable GPT1_API_KEYS, with commas between."""
    queue: int = Field(256, ge=1, le=2**16)
    """How many requests may wait; one more is refused with 429."""
    slots: int = Field(32, ge=1, le=1024)
    """How many texts of a model are written together."""
    dtype: str = "auto"
    """The weights, as in gpt1 generate."""
    connections: int = Field(2048, ge=1, le=2**20)
    """How many connections may be open; one more is refused with 503."""
    max_body: int = Field(2**20, ge=1, le=2**30)
    """The bytes that a request may have."""
    max_inputs: int = Field(64, ge=1, le=2**16)
    """The prompts or texts of a request."""
    max_texts: int = Field(128, ge=1, le=2**16)
    """The texts that a request may ask for: prompts times the larger of n and best_of."""
    max_tokens: int = Field(4096, ge=1, le=2**20)
    """The new tokens that a request may ask for in each text."""
    max_values: int = Field(2**20, ge=1, le=2**26)
    """The numbers that /v1/explain may return."""
    head_seconds: float = Field(10, gt=0, le=3600)
    """From the first byte of a request, how long its head may take."""
    body_seconds: float = Field(30, gt=0, le=3600)
    """From the first byte of a request, how long all of it may take."""
    idle_seconds: int = Field(15, ge=1, le=3600)
    """How long a connection is kept between two requests."""
    write_seconds: float = Field(60, gt=0, le=3600)
    """How long a client may leave an answer unread."""


_WIDE = 512  # n_embd from which on the paper's learning rates suit


def load_size(name: str) -> ModelConfig:
    """Return the model preset `name` (gpt1, mini, tiny, ...), or that of a .toml file."""
    return check(RunConfig, read_preset(name, "size")).model


def default_recipe(kind: str, model: ModelConfig) -> str:
    """Return the recipe of a run where none is named: the one table of defaults.

    `kind` is "pretrain", "lm" or another kind of task.

    >>> default_recipe("lm", load_size("mini")), default_recipe("choice", load_size("gpt1"))
    ('small-texts', 'supervised')
    """
    recipes = {"pretrain": ("pretrain", "small-pretrain"), "lm": ("texts", "small-texts")}
    wide, small = recipes.get(kind, ("supervised", "small"))
    if kind == "pretrain" and model.n_hidden is not None:
        return wide  # small-pretrain was searched for Transformers
    return wide if model.n_embd >= _WIDE else small


def load_run(
    *,
    size: str | Mapping[str, Any] | None = None,
    recipe: str | Mapping[str, Any] | None = None,
    file: Path | str | Mapping[str, Any] | None = None,
    overrides: Iterable[str] = (),
    **settings: Mapping[str, Any],
) -> RunConfig:
    """Resolve a run: defaults < size < recipe < file < settings < overrides.

    `overrides` are `section.field=value`, with a TOML value or a bare word. `settings` are sections
    such as `train={"steps": 10}`, in which None means not given. Sections are also taken where a
    preset or a file can be named.

    >>> load_run(size="tiny", overrides=["train.steps=5"]).train.steps
    5
    """
    sources = [
        {} if size is None else read_preset(size, "size"),
        {} if recipe is None else read_preset(recipe, "recipe"),
        file if isinstance(file, Mapping) else {} if file is None else read_toml(Path(file)),
        {section: given(fields) for section, fields in settings.items()},
        *map(parse_override, overrides),
    ]
    return check(RunConfig, merge(sources))


def load_sampling(overrides: Iterable[str] = (), **fields: Any) -> SamplingConfig:
    """Resolve sampling settings: defaults < fields (None means not given) < overrides.

    `overrides` are `sampling.field=value`.

    >>> load_sampling(["sampling.min_p=0.1"], temperature=0.8).min_p
    0.1
    """
    return _load_section(SamplingConfig, "sampling", "min_p=0.1", {}, fields, overrides)


def load_serving(
    file: Path | None = None, overrides: Iterable[str] = (), **fields: Any
) -> ServeConfig:
    """Resolve the server's settings: defaults < file < fields (None: not given) < overrides.

    >>> load_serving(overrides=["serve.slots=8"], port=80).slots
    8
    """
    given_there = {} if file is None else read_toml(file)
    return _load_section(ServeConfig, "serve", "slots=8", given_there, fields, overrides)


S = TypeVar("S", bound=Settings)


def _load_section(
    kind: type[S],
    section: str,
    example: str,
    file: Mapping[str, Any],
    fields: Mapping[str, Any],
    overrides: Iterable[str],
) -> S:
    values = merge([file, {section: given(fields)}, *map(parse_override, overrides)])
    unknown = sorted(set(values) - {section})
    if unknown:
        raise ConfigError(
            f"--set names the section {unknown[0]!r}; this command only has {section}, e.g. "
            f"--set {section}.{example}"
        )
    return check(kind, values[section], where=section)
