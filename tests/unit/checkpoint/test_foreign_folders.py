"""Folders and files of other tools: they load, or one line says what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor
from torch.testing import assert_close

import tiny
from gpt1.checkpoint import folder, huggingface
from gpt1.checkpoint.convert import convert
from gpt1.errors import CheckpointError, Note, TokenizerError
from tolerances import EXACT

Weights = dict[str, Tensor]
TOKENS = "transformer.tokens_embed.weight"


def write(path: Path, change: Callable[[Weights], Weights], **config: object) -> Path:
    """Write a folder as another tool would, its weights changed."""
    model = tiny.model()
    path.mkdir(exist_ok=True)
    values = huggingface.write_config(model.config, None) | config
    (path / "config.json").write_text(json.dumps(values))
    weights = change(tiny.stored(model))
    safetensors.torch.save_file(
        {name: tensor.clone().contiguous() for name, tensor in weights.items()},
        path / "model.safetensors",
    )
    return path


def same_weights(loaded: folder.Loaded) -> None:
    expected = tiny.model().state_dict()
    assert loaded.state.keys() == expected.keys()
    for name, tensor in expected.items():
        assert_close(loaded.state[name], tensor, **EXACT)


def put_before(prefix: str) -> Callable[[Weights], Weights]:
    return lambda weights: {prefix + name: tensor for name, tensor in weights.items()}


def plus(**tensors: Tensor) -> Callable[[Weights], Weights]:
    named = {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    return lambda weights: weights | named


def base(weights: Weights) -> Weights:
    return {name.removeprefix("transformer."): tensor for name, tensor in weights.items()}


def other_name(weights: Weights) -> Weights:
    weights["lm_head.weight"] = weights.pop(TOKENS)
    return weights


def inside(part: str) -> Callable[[Weights], Weights]:
    """Put a part into the names of blocks, as wrapping each block does."""
    return lambda weights: {
        name.replace(".attn.", f".{part}.attn."): tensor for name, tensor in weights.items()
    }


@pytest.mark.parametrize(
    "change",
    [
        base,
        other_name,
        put_before("module."),
        put_before("_orig_mod."),
        put_before("module._orig_mod."),
        put_before("_orig_mod.module."),
        put_before("model."),
        put_before("state_dict.model."),
        put_before("net.gpt."),
        put_before("_fsdp_wrapped_module."),
        inside("_orig_mod"),
        inside("_checkpoint_wrapped_module"),
        lambda weights: put_before("model._orig_mod.")(other_name(weights)),
        lambda weights: put_before("model.")(base(weights)),
        lambda weights: put_before("module.")(plus(h__0__attn__bias=torch.ones(1))(base(weights))),
        plus(lm_head__bias=torch.zeros(99)),
    ],
)
@pytest.mark.filterwarnings("error")
def test_names_of_other_tools_are_understood(
    tmp_path: Path, change: Callable[[Weights], Weights]
) -> None:
    same_weights(folder.load(write(tmp_path / "m", change)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (plus(score__weight=torch.ones(2, 24)), r"score\.weight reads .* --task classification"),
        (
            plus(multiple_choice_head__summary__weight=torch.ones(1, 24)),
            r"multiple_choice_head\.summary\.weight .* --task choice",
        ),
        (plus(v_head__summary__weight=torch.ones(1, 24)), r"v_head\.summary\.weight left out"),
        (
            lambda weights: put_before("model.")(plus(score__weight=torch.ones(2, 24))(weights)),
            r"score\.weight reads",
        ),
    ],
)
def test_a_head_that_is_left_out_is_named(
    tmp_path: Path, change: Callable[[Weights], Weights], message: str
) -> None:
    with pytest.warns(Note, match=message) as caught:
        same_weights(folder.load(write(tmp_path / "m", change)))
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (plus(lm_head__bias=torch.ones(99)), "a head of its own"),
        (
            lambda weights: put_before("teacher.")(weights) | put_before("student.")(weights),
            r"2 models, 'student\.transformer\.' and 'teacher\.transformer\.'.*save_pretrained",
        ),
        (
            plus(transformer__h__0__attn__c_attn__lora_A__default__weight=torch.ones(2, 24)),
            r"LoRA .*merge_and_unload",
        ),
        (plus(transformer__ln_f__weight=torch.ones(24)), r"unexpected: ln_f\.weight"),
    ],
)
def test_another_model_is_refused(
    tmp_path: Path, change: Callable[[Weights], Weights], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        folder.load(write(tmp_path / "m", change))


def padded(rows: int) -> Callable[[Weights], Weights]:
    def change(weights: Weights) -> Weights:
        more = torch.ones(rows - len(weights[TOKENS]), 24)
        return weights | {TOKENS: torch.cat([weights[TOKENS], more])}

    return change


@pytest.mark.parametrize("rows", [100, 104, 112, 128, 256, 1024])
def test_spare_rows_are_left_out(tmp_path: Path, rows: int) -> None:
    path = write(tmp_path / "m", padded(rows), vocab_size=rows)
    assert folder.load(path).config.vocab_size == rows  # without a vocabulary they are kept
    tiny.write_vocabulary(path)
    with pytest.warns(Note, match=f"ends with {rows - 99} row{'s' * (rows > 100)} of no"):
        loaded = folder.load(path)
    assert loaded.config.vocab_size == 99
    same_weights(loaded)


@pytest.mark.parametrize("rows", [90, 140, 1500])
def test_another_model_s_vocabulary_is_no_padding(tmp_path: Path, rows: int) -> None:
    change = padded(rows) if rows > 99 else lambda w: w | {TOKENS: w[TOKENS][:rows]}
    path = write(tmp_path / "m", change, vocab_size=rows)
    tiny.write_vocabulary(path)
    with pytest.raises(TokenizerError, match="do not belong together"):
        folder.load(path)


def test_added_tokens_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "m", padded(100), vocab_size=100)
    tiny.write_vocabulary(path)
    (path / "added_tokens.json").write_text('{"<joke>": 99}')
    with pytest.warns(Note, match="reads the added tokens <joke> out of a text"):
        loaded = folder.load(path)
    assert loaded.tokenizer is not None
    assert loaded.tokenizer.added == {"<joke>": 99}
    (path / "added_tokens.json").write_text('{"[PAD]": 99, "<joke>": 100}')
    with pytest.warns(Note, match="no row for the added tokens <joke>; left out"):
        folder.load(path)


def in_parts(path: Path, ending: str, count: int = 3) -> list[Path]:
    """Split a folder's weights into numbered parts with an index."""
    write(path, lambda weights: weights)
    weights = safetensors.torch.load_file(path / "model.safetensors")
    (path / "model.safetensors").unlink()
    stem = "model" if ending == "safetensors" else "pytorch_model"
    names = [f"{stem}-{i + 1:05}-of-{count:05}.{ending}" for i in range(count)]
    places = {name: names[i % count] for i, name in enumerate(weights)}
    for part in names:
        tensors = {name: weights[name] for name, place in places.items() if place == part}
        if ending == "safetensors":
            safetensors.torch.save_file(tensors, path / part)
        else:
            torch.save(tensors, path / part)
    (path / f"{stem}.{ending}.index.json").write_text(json.dumps({"weight_map": places}))
    return [path / name for name in names]


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("given", ["folder", "part"])
def test_parts_are_put_together(tmp_path: Path, ending: str, indexed: bool, given: str) -> None:
    path = tmp_path / "m"
    files = in_parts(path, ending)
    if not indexed:
        next(path.glob("*.index.json")).unlink()
    if ending == "safetensors":
        same_weights(folder.load(path))
    else:
        with pytest.raises(CheckpointError, match=rf"gpt1 convert \S*{path.name} --out \S*-gpt1$"):
            folder.load(path)
    convert(files[1] if given == "part" else path, tmp_path / "out")
    same_weights(folder.load(tmp_path / "out"))
    files[2].unlink()
    with pytest.raises(CheckpointError, match=rf"lacks {files[2].name}, which .* download"):
        convert(path, tmp_path / "again")


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/x", "..\\x", "C:x", "", "x\0"])
def test_parts_cannot_lie_elsewhere(tmp_path: Path, ending: str, name: str) -> None:
    files = in_parts(tmp_path / "m", ending)
    (tmp_path / f"x.{ending}").write_bytes(files[0].read_bytes())
    index = next((tmp_path / "m").glob("*.index.json"))
    places = json.loads(index.read_text())["weight_map"]
    first = next(iter(places))
    index.write_text(json.dumps({"weight_map": places | {first: f"{name}.{ending}"}}))
    with pytest.raises(CheckpointError):
        convert(tmp_path / "m", tmp_path / "out")


@pytest.mark.parametrize("name", ["state_dict", "model_state_dict", "model", "module"])
def test_a_training_checkpoint_s_weights_are_found(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "m", lambda weights: weights)
    weights = put_before("model.")(safetensors.torch.load_file(path / "model.safetensors"))
    (path / "model.safetensors").unlink()
    torch.save({name: weights, "epoch": 3, "optimizer": {"lr": 0.1}}, path / "last.ckpt")
    torch.save({"x": torch.ones(1)}, path / "optimizer.pt")
    convert(path, tmp_path / "out")
    same_weights(folder.load(tmp_path / "out"))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["config.json", "weights.safetensors"], r"gpt1 convert \S*weights\.safetensors --out"),
        (["adapter_config.json", "adapter_model.safetensors"], "LoRA adapter without its model"),
        (["checkpoint-5/config.json"], r"in its folders checkpoint-5; give one of them"),
        (["optimizer.pt"], "is not a model folder: it holds optimizer"),
    ],
)
def test_a_folder_without_weights_says_where_they_may_be(
    tmp_path: Path, files: list[str], message: str
) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("{}")
    with pytest.raises(CheckpointError, match=message):
        folder.load(tmp_path)
