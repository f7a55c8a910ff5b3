"""Settings: what wins over what, every bound on both sides, and messages that name the nearest."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from gpt1.config import (
    ModelConfig,
    RunConfig,
    SamplingConfig,
    Settings,
    TaskConfig,
    check,
    default_recipe,
    load_run,
    load_sampling,
    load_size,
)
from gpt1.errors import ConfigError, UsageError
from gpt1.tasks.kinds import KINDS

SECTIONS: dict[str, type[Settings]] = {
    name: field.annotation for name, field in RunConfig.model_fields.items()
} | {"sampling": SamplingConfig}
TINY = math.ulp(0.0)

Table = list[tuple[str, list[Any], list[Any]]]
"""Fields, values that are just allowed, values that are just not."""
BOUNDS: Table = [
    ("model.vocab_size", [2, 2**20], [1, 0, -1, 2**20 + 1]),
    ("model.n_ctx", [1, 2**16], [0, -1, 2**16 + 1]),
    ("model.n_embd", [12, 12 * 1365], [0, -12, 2**14 + 12]),
    ("model.n_layer model.n_head", [1, 256], [0, -1, 257]),
    ("model.n_hidden", [1, 2**15, None], [0, -1, 2**15 + 1]),
    ("model.embd_pdrop model.attn_pdrop model.resid_pdrop task.clf_pdrop", [0, 0.999],
     [-TINY, 1, 1.5]),
    ("optimizer.b1 optimizer.b2 optimizer.momentum", [0, 0.999], [-TINY, 1]),
    ("model.layer_norm_epsilon optimizer.eps", [TINY, 1], [0, -1e-5, 1.01]),
    ("model.initializer_range optimizer.lr", [TINY, 10], [0, -1e-4, 10.1]),
    ("optimizer.weight_decay", [0, 10], [-TINY, 10.1]),
    ("optimizer.max_grad_norm", [TINY, 1e9, None], [0, -1]),
    ("schedule.decay_share schedule.warmup_share", [0, 1], [-TINY, 1.01]),
    ("schedule.warmup_steps", [0, 10**9, None], [-1]),
    ("schedule.total_steps", [-1, 0, 10**9, None], [-2]),
    ("schedule.count_from", [0, 1], [-1, 2]),
    ("data.valid_share", [0, 0.5], [-TINY, 0.51]),
    ("data.max_pack", [2, 500, None], [1, 0, -1]),
    ("train.epochs", [TINY, 1e6], [0, -1, 1.1e6]),
    ("train.batch_size", [1, 2**20], [0, -1, 2**20 + 1]),
    ("train.micro_batch_size", [1, 2**20, None], [0, -1, 2**20 + 1]),
    ("train.seed", [0, 2**63 - 1], [-1, 2**63]),
    ("train.save_every train.eval_windows train.log_every", [1, 10**9], [0, -1]),
    ("train.steps train.eval_every", [1, 10**9, None], [0, -1]),
    ("train.patience", [TINY, 1e6, None], [0, -1, 1.1e6]),
    ("train.keep_checkpoints", [1, 1000], [0, -1, 1001]),
    ("train.max_skipped", [0, 10**9], [-1]),
    ("task.lm_coef", [0, 1e3], [-TINY, 1.1e3]),
    ("task.n_transfer", [-1, 0, 256, None], [-2, 257]),
    ("sampling.max_new_tokens", [0, 2**20], [-1, 2**20 + 1]),
    ("sampling.max_length", [1, 2**20, None], [0, -1, 2**20 + 1]),
    ("sampling.temperature", [0, 1e4], [-TINY, 1.1e4]),
    ("sampling.top_k", [1, 10**9, None], [0, -1]),
    ("sampling.top_p", [TINY, 1, None], [0, -TINY, 1.01]),
    ("sampling.min_p", [0, 1, None], [-TINY, 1.01]),
    ("sampling.typical_p", [TINY, 1, None], [0, -TINY, 1.01]),
    ("sampling.repetition_penalty", [TINY, 1e4], [0, -1, 1.1e4]),
    ("sampling.presence_penalty sampling.frequency_penalty", [-2, 2], [-2.01, 2.01]),
    ("sampling.num_beam_groups sampling.num_assistant_tokens", [1], [0, -1, 1025]),
    ("sampling.num_beams", [1, 1024], [0, -1, 1025]),
    ("sampling.best_of sampling.num_return_sequences", [1], [0, -1, 1025]),
    ("sampling.prompt_lookup_num_tokens", [1, 1024, None], [0, -1, 1025]),
    ("sampling.diversity_penalty", [0, 1e4], [-TINY, 1.1e4]),
    ("sampling.length_penalty", [-10, 10], [-10.1, 10.1]),
    ("sampling.penalty_alpha", [None], [-TINY, 1.01]),
    ("sampling.no_repeat_ngram_size sampling.alternatives", [0, 2**20], [-1, 2**20 + 1]),
    ("sampling.seed", [0, 2**63 - 1, None], [-1, 2**63]),
]  # fmt: skip
WORDS: Table = [
    ("model.afn", ["gelu", "relu", "swish"], ["silu", "GELU", "", 1]),
    ("optimizer.name", ["adam", "adamw", "muon"], ["sgd", "Adam", 0]),
    ("schedule.name", ["warmup_cosine", "warmup_linear", "warmup_constant", "linear",
                       "warmup_stable_decay"], ["cosine"]),
    ("data.pack", ["windows", "documents", "article"], ["window", None]),
    ("data.words", ["original", "slow", "fast", None], ["quick", ""]),
    ("data.end", ["token", "text", "nothing"], ["none", None]),
    ("data.prefix train.sample_prompt", ["", "JOKE: "], [3, ["JOKE"]]),
    ("data.shuffle train.keep_best train.tensorboard sampling.truecase",
     [True, False], ["perhaps", 2]),
    ("train.loss", ["token_mean", "pack_sum"], ["mean"]),
    ("train.dtype", ["auto", "float32", "bfloat16"], ["float16", "float64", 32]),
    ("train.device", ["auto", "cpu", "cuda:1"], [0, ["cpu"]]),
    ("train.snapshots", [[], [0.01, 1.0]], [[0.0], [1.01], 0.5, ["all"]]),
    ("train.compile", ["auto", "on", "off"], ["perhaps", None]),
    ("task.kind", ["lm", "classification", "entailment", "similarity", "regression", "choice",
                   "multi-label", "sequence-labelling"], ["none", "glue"]),
    ("task.metric", [None, "f1"], [3]),
    ("task.class_weight", ["balanced", {"a": 2.0}, None], ["equal", {"a": 0.0}, {"a": "x"}, 3]),
    ("task.embeddings", ["two", "one"], [1, "three"]),
    ("task.choice_mask", ["own", "shared"], ["none"]),
    ("distributed.strategy", ["ddp", "fsdp"], ["fsdp1", None]),
    ("sampling.overflow", ["stop", "slide"], ["wrap", None]),
    ("sampling.stop sampling.bad_words sampling.choices sampling.force_words",
     [[], ["\n"], ("a", "b")], [[""], "\n", [3], None]),
    ("sampling.early_stopping", [True, False, "never"], [1, 0, "always", None]),
    ("sampling.regex", ["a+", None], [3, ["a"], True]),
    ("sampling.logit_bias", [{}, {"the": 100, 3: -100.0}], [3, None, "the"]),
]  # fmt: skip


def spread(table: Table) -> Table:
    """Return one row for each field."""
    return [(place, good, bad) for places, good, bad in table for place in places.split()]


def numeric() -> list[str]:
    """Return every field that holds a number, straight from the settings themselves."""
    return [
        f"{section}.{name}"
        for section, kind in SECTIONS.items()
        for name, field in kind.model_fields.items()
        if field.annotation in (int, float)
        or any(word in str(field.annotation) for word in ("int |", "float |", "Literal[0"))
    ]


def build(place: str, value: Any) -> Any:
    section, _, field = place.partition(".")
    return getattr(check(SECTIONS[section], {field: value}, where=section), field)


def test_every_setting_is_in_a_table_of_this_test() -> None:
    tables = {place for place, _, _ in spread(BOUNDS + WORDS)}
    every = {f"{s}.{name}" for s, kind in SECTIONS.items() for name in kind.model_fields}
    assert tables == every
    assert {place for place, _, _ in spread(BOUNDS)} == set(numeric())


@pytest.mark.parametrize(("place", "good", "bad"), spread(BOUNDS + WORDS))
def test_what_is_allowed_is_taken_and_what_is_not_is_named(
    place: str, good: list[Any], bad: list[Any]
) -> None:
    for value in good:
        expected = tuple(value) if isinstance(value, list) else value
        assert build(place, value) == expected
    for value in bad:
        with pytest.raises(ConfigError) as found:
            build(place, value)
        said = str(found.value)
        assert said.startswith(place)
        part = value[0] if isinstance(value, list) and value else value
        assert f" is {part!r}; it " in said or f" is {value!r}; it " in said


@pytest.mark.parametrize("place", [place for place, _, _ in spread(BOUNDS)])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "many", [], {}, "", "nan"])
def test_a_number_is_finite_and_a_number(place: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{place} is .*; it "):
        build(place, value)


@pytest.mark.parametrize("place", [p for p in numeric() if p != "schedule.count_from"])
def test_a_whole_number_has_no_fraction(place: str) -> None:
    section, _, field = place.partition(".")
    annotation = str(SECTIONS[section].model_fields[field].annotation)
    if "float" not in annotation:
        with pytest.raises(ConfigError, match=rf"^{place} is 2.5; it "):
            build(place, 2.5)


@pytest.mark.parametrize(("width", "heads", "better"), [(769, 12, 768), (24, 5, 20), (3, 4, 4)])
def test_the_heads_must_divide_the_width(width: int, heads: int, better: int) -> None:
    said = f"n_embd is {width} and n_head is {heads}; .*divisible.* Try n_embd={better}$"
    with pytest.raises(ConfigError, match=said):
        check(ModelConfig, {"n_embd": width, "n_head": heads})
    check(ModelConfig, {"n_embd": better, "n_head": heads})


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SamplingConfig().top_k = 3  # type: ignore[misc]
    assert issubclass(ConfigError, UsageError)
    assert issubclass(ConfigError, ValueError)


# Where settings come from


@pytest.mark.parametrize("size", ["gpt1", "mini", "tiny"])
def test_sizes_resolve(size: str) -> None:
    config = load_size(size)
    assert load_run(size=size).model == config
    assert config.n_embd % config.n_head == 0
    expected = {
        "gpt1": ModelConfig(),
        "tiny": config.model_copy(update={"n_embd": 128, "n_layer": 4}),
    }
    assert config == expected.get(size, config)


def test_recipes_resolve_to_what_their_sources_say() -> None:
    paper = load_run(recipe="pretrain")
    assert (paper.optimizer.lr, paper.train.batch_size, paper.train.epochs) == (2.5e-4, 64, 100)
    assert (paper.schedule.name, paper.schedule.warmup_steps) == ("warmup_cosine", 2000)
    article = load_run(recipe="article")
    assert (article.optimizer.lr, article.optimizer.eps) == (3e-5, 1e-6)
    assert article.optimizer.max_grad_norm is None  # "none" in the file
    assert (article.schedule.warmup_steps, article.schedule.total_steps) == (5000, -1)
    assert (article.data.max_pack, article.train.loss) == (500, "pack_sum")
    jokes = load_run(recipe="jokes")
    assert (jokes.data.end, jokes.data.pack, jokes.data.valid_share) == ("token", "documents", 0.05)


@pytest.mark.parametrize(
    ("size", "recipe"),
    [("gpt1", "pretrain"), ("mini", "small-pretrain"), ("tiny", "small-pretrain"),
     ("lstm", "pretrain"), ("lstm-mini", "pretrain")],
)  # fmt: skip
def test_small_models_are_pretrained_by_their_own_recipe(size: str, recipe: str) -> None:
    assert default_recipe("pretrain", load_size(size)) == recipe
    if size in ("mini", "tiny"):
        run = load_run(size=size, recipe=recipe)
        assert (run.optimizer.name, run.schedule.name) == ("muon", "warmup_stable_decay")
        assert (run.model.attn_pdrop, run.model.n_embd) == (0.0, load_size(size).n_embd)
    with pytest.raises(ConfigError, match="size is 'small-pretrain'"):
        load_run(size="small-pretrain")


@pytest.mark.parametrize("recipe", [None, "pretrain", "small-pretrain", "article", "small-texts"])
@pytest.mark.parametrize("size", [None, "gpt1", "mini", "tiny"])
def test_a_saved_run_reads_back_the_same(size: str | None, recipe: str | None) -> None:
    config = load_run(size=size, recipe=recipe)
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
    assert check(RunConfig, config.model_dump(mode="json")) == config


def test_the_later_source_wins(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text("[optimizer]\nlr = 3e-3\neps = 1e-7\n[model]\nn_layer = 3\n")
    size = {"size": "tiny"}
    recipe = {**size, "recipe": "jokes"}
    file = {**recipe, "file": tmp_path / "my.toml"}
    settings: dict[str, Any] = {**file, "optimizer": {"lr": 4e-3}, "train": {"steps": None}}
    last = {**settings, "overrides": ["optimizer.lr=5e-3", "optimizer.lr = 6e-3"]}
    found = [load_run(**given) for given in ({}, size, recipe, file, settings, last)]
    assert [run.optimizer.lr for run in found] == [2.5e-4, 2.5e-4, 6.25e-5, 3e-3, 4e-3, 6e-3]
    assert [run.model.n_layer for run in found] == [12, 4, 4, 3, 3, 3]
    assert [run.optimizer.eps for run in found] == [1e-8, 1e-8, 1e-8, 1e-7, 1e-7, 1e-7]
    assert [run.train.batch_size for run in found] == [64, 64, 4, 4, 4, 4]
    assert found[4].train.steps is None


def test_a_preset_can_be_a_file_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text("[model]\nn_embd = 8\nn_head = 2\n")
    assert load_size(str(tmp_path / "small.toml")).n_embd == 8
    assert load_run(size=str(tmp_path / "small.toml")).model.n_ctx == 512


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("train.steps=5", 5),
        ("train.steps=none", None),
        ("train.epochs=0.5", 0.5),
        ("train.device=cpu", "cpu"),
        ("train.keep_best=false", False),
        ("data.prefix=A joke: ", "A joke: "),
        ('data.prefix="A joke: "', "A joke: "),
        ("data.prefix=", ""),
        ("data.prefix=a=b", "a=b"),
        (f"data.prefix={'[' * 5000}", "[" * 5000),
        ("model.n_ctx=1_024", 1024),
    ],
)  # fmt: skip
def test_overrides_are_toml_values_or_bare_words(override: str, value: Any) -> None:
    section, _, field = override.partition("=")[0].strip().partition(".")
    assert getattr(getattr(load_run(overrides=[override]), section), field) == value


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("steps=5", "section.field=value"),
        ("train.steps", "section.field=value"),
        ("train.=5", "section.field=value"),
        ("trian.steps=5", r"unknown setting 'trian'. Did you mean 'train'\? .* model, optimizer"),
        ("train.step=5", r"unknown setting 'train.step'. Did you mean 'steps'\? .* steps, epochs"),
        (".lr=5", r"unknown setting ''"),
        ("train.steps.x=5", r"unknown setting 'train.steps.x'. Did you mean 'steps'"),
        ("train.steps={a = 1}", r"train.steps is \{'a': 1\}; it should be a valid integer"),
        ("train.steps=[1]", r"train.steps is \[1\]; it should be a valid integer"),
        ("sampling.top_k=5", r"unknown setting 'sampling'. The settings there: model"),
    ],
)
def test_an_override_that_cannot_be_says_why(override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_run(recipe="jokes", overrides=["train.steps=1", override])


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as found:
        load_run(overrides=["train.step=5", "optimizer.lr=-1", "model.n_ctx=0"])
    lines = str(found.value).splitlines()
    assert len(lines) == 3
    assert all(any(word in line for line in lines) for word in ("train.step", ".lr", "n_ctx"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[train\n", "is not TOML: .*line 1"),
        (b"x = '\xe9'\n", "is not TOML: .*utf-8"),
        (b"x = " + b"[" * 5000, "is not TOML"),
        (b"steps = 5\n", r"sets steps outside a section; .*\[train\]"),
        (b"train = 5\n", "sets train outside a section"),
        (b"[train]\nstep = 5\n", "unknown setting 'train.step'. Did you mean 'steps'"),
        (b"[trains]\nsteps = 5\n", "unknown setting 'trains'. Did you mean 'train'"),
    ],
)
def test_a_settings_file_that_cannot_be_says_why(
    tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "my.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        load_run(file=tmp_path / "my.toml", overrides=["train.seed=3"])
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError, match=r"cannot be read: (No such file|Is a directory)"):
            load_run(file=path)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"size": "mimi"}, r"size is 'mimi'; there are .*mini, tiny. Did you mean 'mini'\?"),
        ({"size": "jokes"}, r"there are gpt1, lstm, lstm-mini, mini, tiny. A path"),
        ({"recipe": "joke"}, r"recipe is 'joke'; there are .*pretrain.* Did you mean 'jokes'\?"),
        ({"size": "../presets/tiny"}, "size is"),
    ],
)
def test_an_unknown_preset_names_the_nearest(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_run(**given)


def test_sampling_resolves_and_knows_its_section_alone() -> None:
    found = load_sampling(["sampling.top_k=5", "sampling.min_p=none"], top_k=40, min_p=0.1)
    assert (found.top_k, found.min_p) == (5, None)
    assert load_sampling(temperature=None) == SamplingConfig()
    with pytest.raises(ConfigError, match="names the section 'train'; this command only has samp"):
        load_sampling(["train.steps=5"])
    with pytest.raises(ConfigError, match=r"unknown setting 'sampling.topk'. Did you mean 'top_k'"):
        load_sampling(["sampling.topk=5"])


def test_the_setting_task_kind_names_every_kind() -> None:
    assert set(get_args(TaskConfig.model_fields["kind"].annotation)) == {"lm", *KINDS}


@pytest.mark.parametrize("value", ['"1[78]\\d"', "'it's'", '"a\\"'])
def test_a_value_in_quotes_must_be_toml(value: str) -> None:
    with pytest.raises(ConfigError, match=r"sampling.regex=.* whose value is no TOML text: "):
        load_sampling([f"sampling.regex={value}"])
    assert load_sampling([r"sampling.regex='1[78]\d'"]).regex == r"1[78]\d"
