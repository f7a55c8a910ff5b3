"""A vocabulary and a model small enough for any test, made in process."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from gpt1.checkpoint import huggingface
from gpt1.config import ModelConfig
from gpt1.model.transformer import Transformer

MERGES = ["t h", "th e</w>", "d o", "do g</w>", "c a", "ca t</w>", "i s</w>", "a n", "an d</w>"]


def vocabulary() -> dict[str, int]:
    """Return token -> id in the structure of the release: unk, characters, merges, newline."""
    letters = ".,'\"!?abcdefghijklmnopqrstuvwxyz0123456789:-"
    tokens = ["<unk>", *letters, *(f"{c}</w>" for c in letters)]
    tokens += [merge.replace(" ", "") for merge in MERGES]
    return {token: id for id, token in enumerate([*tokens, "\n</w>"])}


def write_vocabulary(folder: Path) -> int:
    """Write vocab.json and merges.txt; return how many tokens there are."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary()), "utf-8")
    lines = ["#version: 0.2", *MERGES, ""]
    (folder / "merges.txt").write_text("\n".join(lines), "utf-8")
    return len(vocabulary())


def config(**changes: object) -> ModelConfig:
    """Return the shape of a tiny model of that vocabulary."""
    shape = {"vocab_size": len(vocabulary()), "n_ctx": 32, "n_embd": 24, "n_layer": 2, "n_head": 3}
    return ModelConfig(**{**shape, "initializer_range": 0.3, **changes})


def model(seed: int = 0, **changes: object) -> Transformer:
    """Return a tiny model with random weights, biases and gains, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    transformer = Transformer(config(**changes), generator=generator).eval()
    with torch.no_grad():
        for name, parameter in transformer.named_parameters():
            if parameter.dim() == 1:
                parameter.normal_(
                    float(".ln_" in name and "weight" in name), 0.1, generator=generator
                )
    return transformer


def stored(model: Transformer) -> dict[str, Tensor]:
    """Return a model's weights as Hugging Face's tools have them."""
    weights = huggingface.from_state(model.state_dict())
    return {name: tensor.contiguous() for name, tensor in weights.items()}
