"""Every setting, its default and its bounds: frozen pydantic models, presets, overrides.

The resolved configuration is: defaults < size preset < recipe preset < `--config FILE` < `--set
section.field=value`. It is saved with every run. This file is the one table of bounds: commands,
Python and error messages all read it here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gpt1.errors import ConfigError, did_you_mean
from gpt1.presets import given, merge, parse_override, read_preset, read_toml

Probability = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown fields, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelConfig(Settings):
    """The shape of a GPT-1 (paper, section 4.1); the defaults are the released model's."""

    vocab_size: int = Field(40478, ge=2, le=2**20)
    n_ctx: int = Field(512, ge=1, le=2**16)
    n_embd: int = Field(768, ge=1, le=2**14)
    n_layer: int = Field(12, ge=1, le=256)
    n_head: int = Field(12, ge=1, le=256)
    n_hidden: int | None = Field(None, ge=1, le=2**15)
    """Units of the LSTM baseline (paper, section 5); None is the Transformer."""
    afn: Literal["gelu", "relu", "swish"] = "gelu"
    embd_pdrop: Probability = 0.1
    attn_pdrop: Probability = 0.1
    resid_pdrop: Probability = 0.1
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


class SamplingConfig(Settings):
    """How the next token is picked; the defaults are greedy."""

    max_new_tokens: int = Field(64, ge=0, le=2**20)
    max_length: int | None = Field(None, ge=1, le=2**20)
    """Prompt and new tokens together, the article's way; instead of max_new_tokens."""
    temperature: float = Field(0.0, ge=0, le=1e4)
    """0 is greedy."""
    top_k: int | None = Field(None, ge=1)
    top_p: float | None = Field(None, gt=0, le=1)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0, le=1e4)
    seed: int | None = Field(None, ge=0, lt=2**63)
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    overflow: Literal["stop", "slide"] = "stop"
    """At n_ctx positions: stop, or read the last half window again and go on."""


class OptimizerConfig(Settings):
    """Adam, in the release's form or torch's, or Muon."""

    name: Literal["adam", "adamw", "muon"] = "adam"
    """adam: as released, epsilon before bias correction, decay times the corrected rate (opt.py's
    `adam`); adamw: torch.optim.AdamW; muon: torch.optim.Muon for the matrices of the blocks, AdamW
    for embeddings, gains and biases."""
    lr: float = Field(2.5e-4, gt=0, le=10)
    b1: Probability = 0.9
    b2: Probability = 0.999
    eps: float = Field(1e-8, gt=0, le=1)
    weight_decay: float = Field(0.01, ge=0, le=10)
    """On tensors of more than one dimension only."""
    max_grad_norm: float | None = Field(1.0, gt=0)
    momentum: Probability = 0.95
    """Muon's."""


class ScheduleConfig(Settings):
    """The factor on the learning rate over a run."""

    name: Literal[
        "warmup_cosine", "warmup_linear", "warmup_constant", "linear", "warmup_stable_decay"
    ] = "warmup_cosine"
    """The first three as released (spec 3.6, 3.12); linear: up over the warm-up, then down to 0;
    warmup_stable_decay: up, level, then down to 0 over the last `decay_share` of the run."""
    warmup_steps: int | None = Field(None, ge=0)
    warmup_share: float = Field(0.1, ge=0, le=1)
    """Warm-up as a share of the run; with warmup_steps, its upper limit."""
    total_steps: int | None = Field(None, ge=-1)
    """None: the run's own length. -1 is what the article passes (spec 9.8.3)."""
    decay_share: float = Field(0.2, ge=0, le=1)
    """Of warmup_stable_decay. With --resume it and train.steps may be changed, as long as the rates
    of the updates already made stay the same: so a run of any length can be ended."""
    count_from: Literal[0, 1] = 0
    """0: the first update has factor 0, as released (spec 3.11)."""


class DataConfig(Settings):
    """How text becomes windows."""

    pack: Literal["windows", "documents", "article"] = "windows"
    """windows: n_ctx + 1 ids over contiguous text; documents: whole documents, not seeing each
    other; article: the article's packing rule, as it is (spec 9.8.4)."""
    words: Literal["original", "slow", "fast"] | None = None
    """How text is cut to words; None: as the tokenizer does."""
    prefix: str = ""
    end: Literal["token", "text", "nothing"] = "nothing"
    """After every document: a real added token, the article's literal text, or nothing."""
    shuffle: bool = True
    valid_share: float = Field(0.0, ge=0, le=0.5)
    max_pack: int | None = Field(None, ge=2)
    """The article's 500, for its packs alone; None is n_ctx."""


class TrainConfig(Settings):
    """The run: how long, how big a batch, what is written when."""

    steps: int | None = Field(None, ge=1)
    """Updates; None: `epochs` decides."""
    epochs: float = Field(1, gt=0, le=1e6)
    batch_size: int = Field(64, ge=1, le=2**20)
    """Sequences an update, over all micro-batches and ranks."""
    micro_batch_size: int | None = Field(None, ge=1, le=2**20)
    """Sequences in one forward pass; None: chosen to fit."""
    loss: Literal["token_mean", "pack_sum"] = "token_mean"
    """pack_sum: the article's sum of each pack's mean (spec 9.10, defect 8)."""
    seed: int = Field(0, ge=0, lt=2**63)
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    save_every: Count = 500
    keep_checkpoints: int = Field(2, ge=1, le=1000)
    eval_every: int | None = Field(None, ge=1)
    """None: about ten times a run."""
    eval_windows: int = Field(64, ge=1)
    """Validation windows looked at along the way; the last evaluation reads all of it."""
    log_every: Count = 10
    patience: int | None = Field(None, ge=1)
    """Evaluations without a better validation loss before the run stops."""
    keep_best: bool = True
    """End with the checkpoint of the best validation loss, not the last."""
    snapshots: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    """Shares of the run after which its weights are kept for good, e.g. [0.01, 0.1, 1.0]."""
    sample_prompt: str = "It was a"
    """What the model continues at every evaluation, to be looked at; "" is nothing."""
    max_skipped: int = Field(3, ge=0)
    """Updates in a row that are left out because their loss is not finite, before the run stops."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile of each block; auto: on CUDA."""
    tensorboard: bool = False
    """Write RUN/tensorboard too (extra gpt1[track])."""


class TaskConfig(Settings):
    """Supervised fine-tuning (paper, section 3.2 and 4.1); "lm" is plain language modelling."""

    kind: Literal[
        "lm", "classification", "entailment", "similarity", "regression", "choice", "multi-label",
        "sequence-labelling",
    ] = "lm"  # fmt: skip
    """Set by the run itself; `tasks.kinds` has a class for each but lm."""
    lm_coef: float = Field(0.5, ge=0, le=1e3)
    """Weight of the auxiliary LM loss; 0 leaves it out."""
    clf_pdrop: Probability = 0.1
    """Dropout on the states that the head reads."""
    n_transfer: int | None = Field(None, ge=-1, le=256)
    """Pre-trained blocks that are kept, the rest is drawn anew; None: all; -1: embeddings too are
    random."""
    class_weight: Literal["balanced"] | dict[str, Annotated[float, Field(gt=0)]] | None = None
    """What an example of each class counts; balanced: all classes the same in sum."""
    embeddings: Literal["two", "one"] = "two"
    """one: as released, tokens and positions are one matrix: dropout on it before the look-up,
    and LM logits over the position rows too (spec 1.7.1, 4.4)."""
    choice_mask: Literal["own", "shared"] = "own"
    """shared: as released, all answers of an example have one dropout mask at the head."""


class DistributedConfig(Settings):
    """Several processes, started by torchrun."""

    strategy: Literal["ddp", "fsdp"] = "ddp"
    """ddp: a whole model each; fsdp: weights, gradients and optimizer shared out (FSDP2)."""


class RunConfig(Settings):
    """A whole run, resolved: what `run.json` holds."""

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
                "matrices, and FSDP shares them out. Use distributed.strategy=ddp."
            )
        return self


S = TypeVar("S", bound=Settings)


def check(kind: type[S], values: Mapping[str, Any], *, where: str = "") -> S:
    """Build settings of `kind` from `values`, or raise ConfigError in the user's words.

    >>> check(SamplingConfig, {"top_p": 0.9}).top_p
    0.9
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(kind, error, where)) from None


def load_size(name: str) -> ModelConfig:
    """Return the model preset `name` (gpt1, mini, tiny), or of a TOML file of one's own."""
    return check(RunConfig, read_preset(name, "size")).model


def load_run(
    *,
    size: str | None = None,
    recipe: str | None = None,
    file: Path | str | None = None,
    overrides: Iterable[str] = (),
    **settings: Mapping[str, Any],
) -> RunConfig:
    """Resolve a run: defaults < size < recipe < file < settings < overrides.

    `overrides` are `section.field=value` with a TOML value or a bare word; `settings` are whole
    sections, e.g. `train={"steps": 10}`; None in them means not given.

    >>> load_run(size="tiny", overrides=["train.steps=5"]).train.steps
    5
    """
    sources = [
        {} if size is None else read_preset(size, "size"),
        {} if recipe is None else read_preset(recipe, "recipe"),
        {} if file is None else read_toml(Path(file)),
        {section: given(fields) for section, fields in settings.items()},
        *map(parse_override, overrides),
    ]
    return check(RunConfig, merge(sources))


def load_sampling(overrides: Iterable[str] = (), **fields: Any) -> SamplingConfig:
    """Resolve how text is sampled: defaults < fields (None: not given) < overrides.

    `overrides` are `sampling.field=value`.

    >>> load_sampling(["sampling.min_p=0.1"], temperature=0.8).min_p
    0.1
    """
    values = merge([{"sampling": given(fields)}, *map(parse_override, overrides)])
    unknown = sorted(set(values) - {"sampling"})
    if unknown:
        raise ConfigError(
            f"--set names the section {unknown[0]!r}; this command has only sampling, e.g. "
            f"--set sampling.min_p=0.1"
        )
    return check(SamplingConfig, values["sampling"], where="sampling")


def _explain(kind: type[Settings], error: ValidationError, where: str) -> str:
    lines = []
    for item in error.errors():
        path = [str(part) for part in item["loc"]]
        name = ".".join([*([where] if where else []), *path])
        if item["type"] == "extra_forbidden":
            owner: Any = kind
            for part in path[:-1]:
                owner = owner.model_fields[part].annotation
            names = list(owner.model_fields)
            unknown = f"unknown setting {name!r}.{did_you_mean(path[-1], names)}"
            lines.append(f"{unknown} The settings there: {', '.join(names)}")
        elif item["type"] == "value_error":
            lines.append(str(item["ctx"]["error"]))
        else:
            limit = item["msg"].removeprefix("Input ")
            lines.append(f"{name} is {item['input']!r}; it {limit}.")
    return "\n".join(lines)
