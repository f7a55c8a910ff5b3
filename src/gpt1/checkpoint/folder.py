"""Model folders: detecting the format of a folder, loading it, and saving our own.

Two formats are read: Hugging Face's (config.json and model.safetensors, whole or in shards), to
which ours adds gpt1.json and a manifest, and OpenAI's (params_*.npy). No pickle is ever opened
here. Loaded weights are float32, whatever the file holds.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpt1._version import __version__
from gpt1.checkpoint import card, classifier, huggingface, openai, parts, tensors
from gpt1.checkpoint.foreign import SCORE
from gpt1.config import ModelConfig
from gpt1.errors import CheckpointError, Note, TokenizerError, counted, memory_guard
from gpt1.model.build import Model, build_model
from gpt1.model.heads import Head
from gpt1.storage import MANIFEST, Folder, json_bytes, write_folder
from gpt1.text.tokenizer import Tokenizer

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
HEAD = "head.safetensors"
OWN = "gpt1.json"
FORMAT = 1
_PADDING = 1024  # transformers pads the token matrix to a multiple of this at most
_KEPT = ("format", "gpt1", "tokenizer")
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
    with memory_guard(f"while {path} was loaded. Free some, or take a smaller model."):
        folder = _open(path)
        loaded = _load(folder)
        folder.verify()  # what only transformers reads
        return loaded


def _load(folder: Folder) -> Loaded:
    if openai.SHAPES in folder:
        config = openai.read_config(folder)
        state = openai.read_state(folder, config)
        return Loaded(config, state, _tokenizer(folder, config), _extra(folder))
    if CONFIG not in folder or not parts.are_in(folder, WEIGHTS):
        raise CheckpointError(_what_is_missing(folder))
    stored = parts.read(folder, WEIGHTS, lambda name: read_tensors(folder, name))
    return assemble(folder, stored, str(folder.path))


def read_tensors(folder: Folder, name: str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file in a folder. Raises CheckpointError."""
    return tensors.read(folder.read(name), str(folder.path / name))


def assemble(folder: Folder, stored: dict[str, Tensor], where: str) -> Loaded:
    """Return the model whose weights, as stored, are `stored`, with all else in its folder.

    What is left out is a Note. Raises as `load`.
    """
    values = folder.json(CONFIG)
    config = huggingface.read_config(values, str(folder.path / CONFIG))
    state, heads = huggingface.to_state(config, stored, where)
    extra = _extra(folder)
    if HEAD in folder:
        state |= _head(folder, config)
    elif heads and OWN not in folder:
        extra |= classifier.take_head(values, state, heads, where)
    tokenizer = _tokenizer(folder, config)
    spare = 0 if tokenizer is None else config.vocab_size - len(tokenizer)
    if spare:  # of another tool: ours have a row for each token
        config = config.model_copy(update={"vocab_size": config.vocab_size - spare})
        state["tokens.weight"] = state["tokens.weight"][:-spare].clone()
        warnings.warn(
            f"{where}: the token matrix ends with {counted(spare, 'row')} of no token; left out",
            Note,
            stacklevel=2,
        )
    return Loaded(config, state, tokenizer, extra)


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
) -> dict[str, bytes | tensors.File]:
    """Return the files of a model folder, name -> content, which transformers loads as well.

    `extra` is added to gpt1.json. Raises TokenizerError if the vocabulary does not fit the model,
    CheckpointError if a weight is not a finite number.
    """
    extra = extra or {}
    state = model.state_dict()
    huggingface.check_finite(state, "the model")
    _compare(tokenizer, model.config, "the model")
    end = None if tokenizer is None else tokenizer.eos_id
    weights = huggingface.from_state(state)
    config = huggingface.write_config(model.config, end)
    head: dict[str, Tensor] = {}
    row: tuple[str, ...] = ()
    if model.head is not None:
        head = model.head.state_dict()
        if "task" in extra and model.config.n_hidden is None:
            weights[SCORE], more, row = classifier.describe(state, extra["task"], tokenizer)
            config |= more
    contents: dict[str, bytes | tensors.File] = {
        CONFIG: json_bytes(config),
        "generation_config.json": json_bytes({} if end is None else {"eos_token_id": end}),
        WEIGHTS: tensors.File(weights, {"format": "pt"}),
    }
    if head:
        contents[HEAD] = tensors.File(head)
    own: dict[str, Any] = {"format": FORMAT, "gpt1": __version__}
    if tokenizer is not None:
        own["tokenizer"] = tokenizer.description()
        contents |= tokenizer.files(row, model.config.n_ctx)
    contents[OWN] = json_bytes({**own, **extra})
    contents["README.md"] = card.write(model, tokenizer, extra, as_classifier=bool(row)).encode()
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
    if path.suffix in parts.PICKLES and not path.is_dir():
        raise CheckpointError(f"{path} is {_pickle(path, path.with_suffix(''))}")
    if path.is_file():
        raise CheckpointError(f"{path} is a file; give the folder that holds the model.")
    return Folder(path)


def _config(folder: Folder) -> ModelConfig:
    if openai.SHAPES in folder:
        return openai.read_config(folder)
    if CONFIG in folder and parts.are_in(folder, WEIGHTS):
        return huggingface.read_config(folder.json(CONFIG), str(folder.path / CONFIG))
    raise CheckpointError(_what_is_missing(folder))


def _tokenizer(folder: Folder, config: ModelConfig) -> Tokenizer | None:
    """Return the tokenizer of a folder, or None if it holds no vocabulary.

    It may have fewer tokens than the model has rows, if another tool padded the matrix.
    """
    if not any(name in folder for name in _VOCABULARY):
        return None
    tokenizer = Tokenizer.load(folder, rows=config.vocab_size)
    spare = config.vocab_size - len(tokenizer)
    padding = min(config.vocab_size & -config.vocab_size, _PADDING)  # the largest power of two
    if OWN in folder or not 0 < spare <= max(15, padding):
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
    try:
        json_bytes(own)  # or it could not be saved again
    except (RecursionError, ValueError):
        raise CheckpointError(f"{folder.path / OWN} is not what gpt1 writes.") from None
    return {name: value for name, value in own.items() if name not in _KEPT}


def _pickle(source: Path, model: Path) -> str:
    return (
        f"a pickle, and opening one can run any program, so gpt1 never loads it. Convert it once, "
        f"safely: gpt1 convert {source} --out {model}-gpt1"
    )


def _what_is_missing(folder: Folder) -> str:
    names = [name for name in folder.names() if name != MANIFEST]
    if name := parts.find_pickle(folder.names()):
        source = folder.path / name if parts.whole_name(name) == name else folder.path
        return f"{folder.path} holds its weights as {_pickle(source, folder.path)}"
    if "adapter_config.json" in names:
        return (
            f"{folder.path} holds a LoRA adapter without its model. Merge them, "
            f"model.merge_and_unload().save_pretrained(FOLDER) in peft, and load that folder."
        )
    others = [n for n in names if n.endswith(".safetensors") and n != HEAD]
    if CONFIG in names and len(others) == 1:
        return (
            f"{folder.path} has no {WEIGHTS}. If the weights are in {others[0]}, run "
            f"gpt1 convert {folder.path / others[0]} --out {folder.path}-gpt1"
        )
    inside = sorted(p.parent.name for p in folder.path.glob(f"*/{CONFIG}"))
    hint = (
        f" Models are in its folders {', '.join(inside[:8])}; give one of them." if inside else ""
    )
    return (
        f"{folder.path} is not a model folder: it holds {', '.join(names[:8]) or 'nothing'}. gpt1 "
        f"reads {CONFIG} with {WEIGHTS}, or OpenAI's params_0.npy ... with {openai.SHAPES}.{hint}"
    )
