"""Model folders: what is saved comes back, and what does not fit is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor
from torch.testing import assert_close

import tiny
from gpt1 import __version__
from gpt1.checkpoint import folder, hub, huggingface
from gpt1.config import ModelConfig
from gpt1.errors import CheckpointError, StorageError, TokenizerError
from gpt1.text.tokenizer import Tokenizer
from tolerances import EXACT


@pytest.fixture
def saved(tmp_path: Path, tiny_tokenizer: Tokenizer) -> Path:
    folder.save(tmp_path / "model", tiny.model(), tiny_tokenizer)
    return tmp_path / "model"


def foreign(path: Path, change: Callable[[dict[str, Tensor]], None] = lambda _: None) -> Path:
    """Write a folder as another tool would, without vocabulary or manifest."""
    model = tiny.model()
    weights = tiny.stored(model)
    change(weights)
    path.mkdir()
    (path / "config.json").write_text(json.dumps(huggingface.write_config(model.config, None)))
    safetensors.torch.save_file(weights, path / "model.safetensors")
    return path


def same_weights(loaded: folder.Loaded, expected: dict[str, Tensor]) -> None:
    assert loaded.state.keys() == expected.keys()
    for name, tensor in expected.items():
        assert_close(loaded.state[name], tensor, **EXACT)


def test_what_is_saved_comes_back(saved: Path, tiny_tokenizer: Tokenizer) -> None:
    loaded = folder.load(saved)
    assert loaded.config == tiny.config()
    same_weights(loaded, tiny.model().state_dict())
    assert loaded.tokenizer is not None
    text = "the dog and the cat: 42!"
    assert loaded.tokenizer.encode(text) == tiny_tokenizer.encode(text)
    model = folder.build(loaded)
    ids = torch.tensor([[5, 4, 3]])
    assert_close(model(ids).logits, tiny.model()(ids).logits, **EXACT)
    assert not model.training
    assert all(p.requires_grad and not p.is_meta for p in model.parameters())


def test_a_folder_saves_to_the_same_bytes_again(saved: Path, tmp_path: Path) -> None:
    loaded = folder.load(saved)
    folder.save(tmp_path / "again", folder.build(loaded), loaded.tokenizer, loaded.extra)
    for file in saved.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name


def test_the_files_are_those_that_other_tools_look_for(saved: Path) -> None:
    names = {file.name for file in saved.iterdir()}
    assert names >= {"config.json", "generation_config.json", "model.safetensors", "vocab.json",
                     "merges.txt", "tokenizer.json", "gpt1.json", "README.md",
                     "manifest.json"}  # fmt: skip
    with safetensors.safe_open(saved / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
        stored = set(file.keys())
    expected = {f"transformer.{name}" for name in huggingface.shapes(tiny.config())}
    assert stored == expected  # the tied head is not there a second time


def test_the_configuration_has_the_keys_of_the_public_checkpoint() -> None:
    values = huggingface.write_config(ModelConfig(), None)
    published = {
        "afn": "gelu", "attn_pdrop": 0.1, "embd_pdrop": 0.1, "resid_pdrop": 0.1,
        "initializer_range": 0.02, "layer_norm_epsilon": 1e-5, "model_type": "openai-gpt",
        "n_ctx": 512, "n_positions": 512, "n_embd": 768, "n_head": 12, "n_layer": 12,
        "n_special": 0, "predict_special_tokens": True, "summary_activation": None,
        "summary_first_dropout": 0.1, "summary_proj_to_labels": True,
        "summary_type": "cls_index", "summary_use_proj": True, "vocab_size": 40478,
        "architectures": ["OpenAIGPTLMHeadModel"],
        "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
    }  # fmt: skip
    assert published.items() <= values.items()
    assert "eos_token_id" not in values  # the released model has none
    assert huggingface.read_config(values, "x") == ModelConfig()


def test_extra_is_kept_in_gpt1_json(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    folder.save(tmp_path / "m", tiny.model(), tiny_tokenizer, {"step": 7, "recipe": "jokes"})
    extra = folder.load(tmp_path / "m").extra
    assert (extra["step"], extra["recipe"]) == (7, "jokes")
    own = json.loads((tmp_path / "m" / "gpt1.json").read_text())
    assert (own["format"], own["gpt1"]) == (1, __version__)


def test_a_model_is_found_where_a_crash_left_it_while_it_was_replaced(
    tmp_path: Path, saved: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    saved.rename(tmp_path / "run" / ".model.old-gpt1-abcdefgh")
    assert folder.load(tmp_path / "run" / "model").config == tiny.config()
    assert hub.resolve(tmp_path / "run") == tmp_path / "run" / ".model.old-gpt1-abcdefgh"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_format_of_weights_becomes_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    def cast(weights: dict[str, Tensor]) -> None:
        for name in weights:
            weights[name] = weights[name].to(dtype)

    loaded = folder.load(foreign(tmp_path / "m", cast))
    expected = {n: t.to(dtype).float() for n, t in tiny.model().state_dict().items()}
    same_weights(loaded, expected)
    assert {tensor.dtype for tensor in loaded.state.values()} == {torch.float32}


def test_the_public_checkpoint_s_names_are_read(tmp_path: Path) -> None:
    """No prefix, no head, and a mask in every block (spec 1.9.3)."""

    def rename(weights: dict[str, Tensor]) -> None:
        for name in list(weights):
            weights[name.removeprefix("transformer.")] = weights.pop(name)
        for i in range(2):
            weights[f"h.{i}.attn.bias"] = torch.ones(32, 32).tril()[None, None]

    loaded = folder.load(foreign(tmp_path / "m", rename))
    same_weights(loaded, tiny.model().state_dict())
    assert loaded.tokenizer is None


def test_a_copy_of_the_tied_head_is_read_and_another_head_refused(tmp_path: Path) -> None:
    def copy(weights: dict[str, Tensor]) -> None:
        weights["lm_head.weight"] = weights["transformer.tokens_embed.weight"].clone()

    def change(weights: dict[str, Tensor]) -> None:
        copy(weights)
        weights["lm_head.weight"][3, 3] += 1

    same_weights(folder.load(foreign(tmp_path / "a", copy)), tiny.model().state_dict())
    with pytest.raises(CheckpointError, match="a head of its own"):
        folder.load(foreign(tmp_path / "b", change))


def test_all_that_does_not_fit_is_named_at_once(tmp_path: Path) -> None:
    def spoil(weights: dict[str, Tensor]) -> None:
        del weights["transformer.h.0.ln_1.bias"]
        del weights["transformer.positions_embed.weight"]
        weights["transformer.h.2.ln_1.bias"] = torch.ones(24)
        weights["transformer.h.1.attn.summary.bias"] = torch.ones(1)
        weights["transformer.h.1.mlp.c_fc.weight"] = torch.ones(96, 24)
        weights["transformer.h.1.ln_2.bias"] = torch.ones(24, dtype=torch.int64)
        weights["h.1.ln_2.weight"] = torch.ones(24)

    with pytest.raises(CheckpointError) as caught:
        folder.load(foreign(tmp_path / "m", spoil))
    lines = {line.strip() for line in str(caught.value).splitlines()[1:]}
    assert lines == {
        "missing: h.0.ln_1.bias [24]",
        "missing: positions_embed.weight [32, 24]",
        "unexpected: h.2.ln_1.bias [24]",
        "unexpected: h.1.attn.summary.bias [1]",
        "h.1.mlp.c_fc.weight is [96, 24]; the configuration says [24, 96]",
        "h.1.ln_2.bias is torch.int64; weights are floating-point numbers",
        "stored with and without the prefix: h.1.ln_2.weight",
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_are_named(tmp_path: Path, value: float) -> None:
    def spoil(weights: dict[str, Tensor]) -> None:
        weights["transformer.h.1.mlp.c_fc.bias"][7] = value

    with pytest.raises(CheckpointError, match=r"not finite: blocks\.1\.mlp\.fc\.bias\."):
        folder.load(foreign(tmp_path / "m", spoil))
    model = tiny.model()
    with torch.no_grad():
        model.blocks[1].mlp.fc.bias[7] = value
    with pytest.raises(CheckpointError, match="the model holds weights that are not finite"):
        folder.save(tmp_path / "n", model, None)
    assert not (tmp_path / "n").exists()


def test_huge_weights_are_no_infinity(tmp_path: Path) -> None:
    model = tiny.model()
    with torch.no_grad():
        model.tokens.weight.fill_(3e38)
    folder.save(tmp_path / "m", model, None)
    same_weights(folder.load(tmp_path / "m"), model.state_dict())


def test_a_vocabulary_of_another_model_is_refused(
    tmp_path: Path, tiny_tokenizer: Tokenizer
) -> None:
    with pytest.raises(TokenizerError, match=r"tokenizer has 99 tokens and the model has 100"):
        folder.save(tmp_path / "m", tiny.model(vocab_size=100), tiny_tokenizer)
    tiny.write_vocabulary(foreign(tmp_path / "n"))
    folder.load(tmp_path / "n")
    values = json.loads((tmp_path / "n" / "vocab.json").read_text())
    (tmp_path / "n" / "vocab.json").write_text(json.dumps(values | {"new</w>": len(values)}))
    with pytest.raises(TokenizerError, match=r"tokenizer has 100 tokens and .* has 99"):
        folder.load(tmp_path / "n")


def shards(path: Path) -> Path:
    foreign(path)
    weights = safetensors.torch.load_file(path / "model.safetensors")
    (path / "model.safetensors").unlink()
    places = {}
    for i, name in enumerate(weights):
        places[name] = f"model-0000{i % 3}-of-00003.safetensors"
    for shard in set(places.values()):
        part = {name: weights[name] for name, place in places.items() if place == shard}
        safetensors.torch.save_file(part, path / shard)
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return path


def test_shards_are_put_together(tmp_path: Path) -> None:
    same_weights(folder.load(shards(tmp_path / "m")), tiny.model().state_dict())


@pytest.mark.parametrize(
    "name",
    ["../secret.safetensors", "/etc/x.safetensors", "a/b.safetensors", "..\\x.safetensors",
     "C:x.safetensors", "x\0.safetensors", "config.json", "gone.safetensors", ""],
)  # fmt: skip
def test_an_index_cannot_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    path = shards(tmp_path / "m")
    shutil.copy(path / "model-00000-of-00003.safetensors", tmp_path / "secret.safetensors")
    index = path / "model.safetensors.index.json"
    places = json.loads(index.read_text())["weight_map"]
    first = next(iter(places))
    index.write_text(json.dumps({"weight_map": {**places, first: name}}))
    with pytest.raises(CheckpointError):
        folder.load(path)


@pytest.mark.parametrize("index", ["[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}'])
def test_a_malformed_index_is_refused(tmp_path: Path, index: str) -> None:
    path = shards(tmp_path / "m")
    (path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(CheckpointError, match="has no weight_map"):
        folder.load(path)


def test_shards_of_different_models_are_told_apart(tmp_path: Path) -> None:
    path = shards(tmp_path / "m")
    index = path / "model.safetensors.index.json"
    places = json.loads(index.read_text())["weight_map"]
    name, shard = next(iter(places.items()))
    index.write_text(json.dumps({"weight_map": {n: s for n, s in places.items() if n != name}}))
    with pytest.raises(CheckpointError, match=f"{shard} holds {name}, which"):
        folder.load(path)
    index.write_text(json.dumps({"weight_map": places | {"x": shard}}))
    with pytest.raises(CheckpointError, match="lacks x, which"):
        folder.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, "a model of type 'gpt2'; gpt1 loads 'openai-gpt' only"),
        ({"n_head": 5}, "n_embd must be divisible by n_head"),
        ({"n_layer": 10**9}, "n_layer is 1000000000"),
        ({"vocab_size": -1}, "vocab_size is -1"),
        ({"n_embd": "wide"}, "n_embd is 'wide'"),
        ({"afn": "tanh"}, "afn is 'tanh'"),
        ({"layer_norm_epsilon": 0}, "layer_norm_epsilon is 0"),
        ({"n_layer": 3}, "missing: h.2.attn.c_attn.weight"),
        ({"n_positions": 16}, "positions_embed.weight is"),
        ({"n_embd": 16384, "n_head": 1, "n_layer": 256}, "missing: h.255"),
    ],
)  # fmt: skip
def test_a_configuration_that_does_not_fit_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = foreign(tmp_path / "m")
    values = json.loads((path / "config.json").read_text()) | change
    (path / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError) as caught:
        folder.load(path)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "null", "[" * 100_000])
def test_a_configuration_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = foreign(tmp_path / "m")
    (path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json is no"):
        folder.load(path)


def test_a_folder_of_a_newer_gpt1_is_refused(tmp_path: Path) -> None:
    path = foreign(tmp_path / "m")
    (path / "gpt1.json").write_text('{"format": 2}')
    with pytest.raises(CheckpointError, match=r"format 2; gpt1 .* reads format 1\. Update"):
        folder.load(path)


def test_a_pickle_is_refused_with_the_safe_way(tmp_path: Path) -> None:
    path = foreign(tmp_path / "m")
    (path / "model.safetensors").unlink()
    torch.save({}, path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"gpt1 convert .*pytorch_model\.bin --out .*m-gpt1"):
        folder.load(path)
    with pytest.raises(CheckpointError, match=r"gpt1 convert .*pytorch_model\.bin --out"):
        folder.load(path / "pytorch_model.bin")


def test_a_path_that_is_no_model_says_what_one_is(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no folder"):
        folder.load(tmp_path / "nothing")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(CheckpointError, match=r"holds notes\.txt\. gpt1 reads config\.json with"):
        folder.load(tmp_path)
    with pytest.raises(CheckpointError, match="is a file; give the folder"):
        folder.load(tmp_path / "notes.txt")


def test_a_model_replaces_an_earlier_one_but_nothing_else(
    tmp_path: Path, saved: Path, tiny_tokenizer: Tokenizer
) -> None:
    folder.save(saved, tiny.model(seed=1), tiny_tokenizer)
    same_weights(folder.load(saved), tiny.model(seed=1).state_dict())
    with pytest.raises(StorageError, match="already there"):
        folder.save(saved, tiny.model(), tiny_tokenizer, replace=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(StorageError, match="already there"):
        folder.save(tmp_path / "mine", tiny.model(), tiny_tokenizer)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "x"
