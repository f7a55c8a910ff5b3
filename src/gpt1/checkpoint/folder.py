"""Model folders: detecting the format of a folder, loading it, and saving our own.

Two formats are read: Hugging Face's (config.json and model.safetensors, whole or in shards), to
which ours adds gpt1.json and a manifest, and OpenAI's (params_*.npy). No pickle is ever opened
here. Loaded weights are float32, whatever the file holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from gpt1._version import __version__
from gpt1.checkpoint import huggingface, openai, tensors
from gpt1.config import ModelConfig
from gpt1.errors import CheckpointError, TokenizerError
from gpt1.model.build import Model, build_model
from gpt1.model.heads import Head
from gpt1.storage import MANIFEST, Folder, json_bytes, write_folder
from gpt1.text.tokenizer import Tokenizer

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
HEAD = "head.safetensors"
INDEX = "model.safetensors.index.json"
OWN = "gpt1.json"
FORMAT = 1
_KEPT = ("format", "gpt1", "tokenizer")
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_VOCABULARY = (
    *("vocab.json", "merges.txt", "tokenizer.json"),
    *("encoder_bpe_40000.json", "vocab_40000.bpe"),
)


@dataclass(frozen=True)
class Loaded:
    """A model folder in memory: `state` in our names, float32; `extra` from gpt1.json."""

    config: ModelConfig
    state: dict[str, Tensor]
    tokenizer: Tokenizer | None
    extra: dict[str, Any] = field(default_factory=dict)


def load(path: Path | str) -> Loaded:
    """Load the model of a folder in any of the formats; `hub.resolve` finds folders by name.

    Raises CheckpointError naming everything that is missing, unexpected or misshapen; CorruptError
    if the bytes are not those that were written; TokenizerError if the vocabulary does not fit.
    """
    folder = _open(path)
    config = _config(folder)
    if openai.SHAPES in folder:
        state = openai.read_state(folder, config)
    else:
        state = huggingface.to_state(config, _stored(folder), str(folder.path))
    if HEAD in folder:
        state |= _head(folder, config)
    return Loaded(config, state, load_tokenizer(folder, config), _extra(folder))


def read_config(path: Path | str) -> ModelConfig:
    """Return the shape of the model in a folder without reading its weights. Raises as `load`."""
    return _config(_open(path))


def build(loaded: Loaded) -> Model:
    """Return the model in evaluation mode, using the loaded weights without a copy."""
    weight = loaded.state.get("head.weight")
    with torch.device("meta"):
        head = None if weight is None else Head(weight.shape[1], weight.shape[0])
        if head is not None:
            head.task = loaded.extra.get("task")
    model = blank(loaded.config, head)
    model.load_state_dict(loaded.state, assign=True)
    return model.eval()


def blank(config: ModelConfig, head: Head | None) -> Model:
    """Return a model without weights, with a head like `head`, for load_state_dict to assign to."""
    with torch.device("meta"):
        model = build_model(config)
        if head is not None:
            model.head = Head(head.weight.shape[1], head.weight.shape[0], pdrop=head.pdrop)
            model.head.task = head.task
    return model


def files(
    model: Model, tokenizer: Tokenizer | None, extra: Mapping[str, Any] | None = None
) -> dict[str, bytes]:
    """Return the files of a model folder, name -> bytes, which transformers loads as well.

    `extra` is added to gpt1.json. Raises TokenizerError if the vocabulary does not fit the model,
    CheckpointError if a weight is not a finite number.
    """
    state = model.state_dict()
    huggingface.check_finite(state, "the model")
    _compare(tokenizer, model.config, "the model")
    end = None if tokenizer is None else tokenizer.eos_id
    weights = huggingface.from_state(state)
    contents = {
        CONFIG: json_bytes(huggingface.write_config(model.config, end)),
        "generation_config.json": json_bytes({} if end is None else {"eos_token_id": end}),
        WEIGHTS: safetensors.torch.save(weights, metadata={"format": "pt"}),
    }
    if model.head is not None:
        head = {name: value.detach().cpu() for name, value in model.head.state_dict().items()}
        contents[HEAD] = safetensors.torch.save(head)
    own: dict[str, Any] = {"format": FORMAT, "gpt1": __version__}
    if tokenizer is not None:
        own["tokenizer"] = tokenizer.description()
        contents |= tokenizer.files()
    contents[OWN] = json_bytes({**own, **(extra or {})})
    contents["README.md"] = _card(model, tokenizer).encode()
    return contents


def save(
    path: Path | str,
    model: Model,
    tokenizer: Tokenizer | None,
    extra: Mapping[str, Any] | None = None,
    *,
    replace: bool = True,
) -> None:
    """Write a model folder atomically; `replace` lets it take an earlier one's place.

    Raises StorageError, and what `files` raises.
    """
    write_folder(path, files(model, tokenizer, extra), replace=replace)


def _open(path: Path | str) -> Folder:
    """Open a model folder; the error for a pickle says how to convert it."""
    path = Path(path)
    if path.suffix in PICKLES and not path.is_dir():
        raise CheckpointError(f"{path} is {_pickle(path, path.with_suffix(''))}")
    if path.is_file():
        raise CheckpointError(f"{path} is a file; give the folder that holds the model.")
    return Folder(path)


def _config(folder: Folder) -> ModelConfig:
    if openai.SHAPES in folder:
        return openai.read_config(folder)
    if CONFIG in folder and (WEIGHTS in folder or INDEX in folder):
        return huggingface.read_config(folder.json(CONFIG), str(folder.path / CONFIG))
    raise CheckpointError(_what_is_missing(folder))


def _stored(folder: Folder) -> dict[str, Tensor]:
    """Return the tensors of model.safetensors, or of its shards."""
    if WEIGHTS in folder:
        return tensors.read(folder.read(WEIGHTS), str(folder.path / WEIGHTS))
    index = folder.json(INDEX)
    shards = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict) or not all(isinstance(n, str) for n in shards.values()):
        raise CheckpointError(f"{folder.path / INDEX} has no weight_map. Download it again.")
    stored: dict[str, Tensor] = {}
    for shard in sorted(set(shards.values())):
        if not shard.endswith(".safetensors"):
            raise CheckpointError(
                f"{folder.path / INDEX} names {shard!r}, which is not a safetensors file."
            )
        part = tensors.read(folder.read(shard), str(folder.path / shard))
        if wrong := sorted(name for name in part if shards.get(name) != shard):
            raise CheckpointError(
                f"{folder.path / shard} holds {', '.join(wrong)}, which {INDEX} does not place "
                f"there. The files are of different models; download them again."
            )
        stored |= part
    if missing := sorted(shards.keys() - stored.keys()):
        raise CheckpointError(
            f"{folder.path} lacks {', '.join(missing)}, which {INDEX} lists. Download it again."
        )
    return stored


def load_tokenizer(folder: Folder, config: ModelConfig) -> Tokenizer | None:
    """Return the tokenizer of a folder, or None if it holds no vocabulary.

    Raises TokenizerError if it does not fit the model of `config`.
    """
    if not any(name in folder for name in _VOCABULARY):
        return None
    tokenizer = Tokenizer.load(folder)
    _compare(tokenizer, config, str(folder.path))
    return tokenizer


def _head(folder: Folder, config: ModelConfig) -> dict[str, Tensor]:
    """Return the weights of the task head. Raises CheckpointError if they do not fit the model."""
    where = str(folder.path / HEAD)
    stored = tensors.read(folder.read(HEAD), where)
    shapes = {name: tuple(tensor.shape) for name, tensor in stored.items()}
    outputs = next(iter(shapes.get("bias", ())), 0)
    if not outputs or shapes != {"weight": (outputs, config.n_embd), "bias": (outputs,)}:
        raise CheckpointError(
            f"{where} holds {shapes}; a head has weight (outputs, {config.n_embd}) and bias "
            f"(outputs,). Restore the folder from a copy."
        )
    state = {f"head.{name}": tensor.to(torch.float32) for name, tensor in stored.items()}
    huggingface.check_finite(state, where)
    return state


def _compare(tokenizer: Tokenizer | None, config: ModelConfig, where: str) -> None:
    if tokenizer is not None and len(tokenizer) != config.vocab_size:
        raise TokenizerError(
            f"the tokenizer has {len(tokenizer):,} tokens and {where} has {config.vocab_size:,}. "
            f"They do not belong together; use the vocabulary that the model was trained with."
        )


def _extra(folder: Folder) -> dict[str, Any]:
    if OWN not in folder:
        return {}
    own = folder.json(OWN)
    if not isinstance(own, dict) or own.get("format", FORMAT) != FORMAT:
        actual = own.get("format") if isinstance(own, dict) else own
        raise CheckpointError(
            f"{folder.path / OWN} has format {actual!r}; gpt1 {__version__} reads format {FORMAT}. "
            f"Update gpt1 if the model is newer."
        )
    return {name: value for name, value in own.items() if name not in _KEPT}


def _pickle(path: Path, model: Path) -> str:
    return (
        f"a pickle, and opening one can run any program, so gpt1 never loads it. Convert it once, "
        f"safely: gpt1 convert {path} --out {model}-gpt1"
    )


def _what_is_missing(folder: Folder) -> str:
    names = [name for name in folder.names() if name != MANIFEST]
    if pickles := [name for name in names if name.endswith(PICKLES)]:
        weights = folder.path / pickles[0]
        return f"{folder.path} holds its weights as {_pickle(weights, folder.path)}"
    return (
        f"{folder.path} is not a model folder: it holds {', '.join(names[:8]) or 'nothing'}. gpt1 "
        f"reads {CONFIG} with {WEIGHTS}, or OpenAI's params_0.npy ... with {openai.SHAPES}."
    )


def _card(model: Model, tokenizer: Tokenizer | None) -> str:
    config = model.config
    sizes = (
        f"width {config.n_embd}, {config.n_ctx} positions, {config.vocab_size:,} tokens, "
        f"{model.num_parameters():,} parameters. Made with gpt1 {__version__}."
    )
    if config.n_hidden is not None:
        return f"""---
library_name: gpt1
---
# The LSTM baseline of the GPT-1 paper

One layer of {config.n_hidden:,} units, {sizes}

    gpt1 evaluate THIS_FOLDER TEXT.txt

transformers does not know this model.
"""
    note = ""
    if tokenizer is not None and tokenizer.words != "fast":
        note = " Its tokenizer splits words in a simpler way than this model was made for."
    return f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [gpt1, openai-gpt]
---
# A GPT-1

{config.n_layer} layers, {config.n_head} heads, {sizes}

    gpt1 generate "Once upon a time" --model THIS_FOLDER

transformers loads it too, as `OpenAIGPTLMHeadModel`.{note}
"""
