"""GPT-1 in Hugging Face's layout: names, orientation and config.json (spec 1.1.4, 1.9).

Its matrices are [inputs, outputs] ("Conv1D"), ours are torch.nn.Linear's [outputs, inputs]. The
public checkpoint was saved from the base model: no `transformer.` prefix, no head, and a causal
mask in every block; `foreign` tells what else tools make of the names.

The LSTM baseline is stored in our own layout, under a model_type that transformers does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gpt1.checkpoint import foreign
from gpt1.config import ModelConfig, check
from gpt1.errors import CheckpointError, ConfigError

MODEL_TYPE = "openai-gpt"
RECURRENT = "gpt1-lstm"
_PREFIX = "transformer."
_HEAD, _HEAD_BIAS = "lm_head.weight", "lm_head.bias"
# our name: (Hugging Face's, inputs, outputs) in widths; a norm has no inputs. Spec 1.9.1's order
_BLOCK = {
    "attention.qkv": ("attn.c_attn", 1, 3),
    "attention.proj": ("attn.c_proj", 1, 1),
    "ln_1": ("ln_1", 0, 1),
    "mlp.fc": ("mlp.c_fc", 1, 4),
    "mlp.proj": ("mlp.c_proj", 4, 1),
    "ln_2": ("ln_2", 0, 1),
}


def names(n_layer: int) -> dict[str, str]:
    """Return our name -> Hugging Face's (without prefix) for all tensors, in spec 1.9.1's order.

    >>> list(names(1).items())[:3]  # doctest: +NORMALIZE_WHITESPACE
    [('tokens.weight', 'tokens_embed.weight'), ('positions.weight', 'positions_embed.weight'),
     ('blocks.0.attention.qkv.weight', 'h.0.attn.c_attn.weight')]
    """
    pairs = {"tokens.weight": "tokens_embed.weight", "positions.weight": "positions_embed.weight"}
    for i in range(n_layer):
        for layer, (hf_layer, _, _) in _BLOCK.items():
            for kind in ("weight", "bias"):
                pairs[f"blocks.{i}.{layer}.{kind}"] = f"h.{i}.{hf_layer}.{kind}"
    return pairs


def shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return Hugging Face's name (without prefix) -> stored shape, in the order of `names`."""
    C = config.n_embd
    expected: dict[str, tuple[int, ...]] = {
        "tokens_embed.weight": (config.vocab_size, C),
        "positions_embed.weight": (config.n_ctx, C),
    }
    for i in range(config.n_layer):
        for layer, inputs, outputs in _BLOCK.values():
            expected[f"h.{i}.{layer}.weight"] = (inputs * C, outputs * C) if inputs else (C,)
            expected[f"h.{i}.{layer}.bias"] = (outputs * C,)
    return expected


def recurrent_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the LSTM baseline's tensors, stored under our names: name -> shape."""
    C, U = config.n_embd, config.n_hidden or 0
    return {
        "tokens.weight": (config.vocab_size, C),
        "blocks.0.lstm.weight_ih_l0": (4 * U, C),
        "blocks.0.lstm.weight_hh_l0": (4 * U, U),
        "blocks.0.lstm.bias_ih_l0": (4 * U,),
        "blocks.0.lstm.bias_hh_l0": (4 * U,),
        "blocks.0.proj.weight": (C, U),
        "blocks.0.proj.bias": (C,),
    }


def to_state(
    config: ModelConfig, stored: Mapping[str, Tensor], where: str
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the weights in our names and orientation, float32, and the heads under their names.

    Each weight is in memory of its own. Raises CheckpointError naming every missing, unexpected,
    misshapen or non-finite tensor.
    """
    if config.n_hidden is not None:
        _fit(recurrent_shapes(config), stored, [], where)
        state = {name: tensor.to(torch.float32) for name, tensor in stored.items()}
        check_finite(state, where)
        return state, {}
    parts = foreign.sort(stored, where)
    _fit(shapes(config), parts.weights, parts.duplicates, where)
    state = {}
    for name, stored_name in names(config.n_layer).items():
        tensor = parts.weights[stored_name].to(torch.float32)
        transposed = tensor.dim() == 2 and stored_name.startswith("h.")
        state[name] = tensor.t().contiguous() if transposed else tensor
    bias = parts.heads.get(_HEAD_BIAS, torch.zeros(1))
    if bias.any() or (
        parts.tied is not None and not torch.equal(parts.tied.float(), state["tokens.weight"])
    ):
        raise CheckpointError(
            f"{where} has a head of its own: {_HEAD} differs from tokens_embed.weight, and GPT-1's "
            f"head is its token matrix. It is another model, or was not saved with tied weights."
        )
    check_finite(state, where)
    heads = {name: tensor for name, tensor in parts.heads.items() if name != _HEAD_BIAS}
    return state, heads


def from_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights in Hugging Face's names and orientation, float32, without any head.

    Float32 weights are not copied: the others' order of axes is a view's.
    """
    state = {name: tensor.detach().float() for name, tensor in state.items()}
    if "positions.weight" not in state:  # the LSTM baseline
        return {name: tensor for name, tensor in state.items() if not name.startswith("head.")}
    n_layer = sum(name.endswith(".ln_1.weight") for name in state)
    stored = {}
    for name, stored_name in names(n_layer).items():
        tensor = state[name]
        transposed = tensor.dim() == 2 and stored_name.startswith("h.")
        stored[_PREFIX + stored_name] = tensor.t() if transposed else tensor
    return stored


def read_config(values: Any, where: str) -> ModelConfig:
    """Return the model's shape from the value of config.json; other keys are ignored.

    Raises CheckpointError if it is another kind of model, or a value is out of bounds.
    """
    if not isinstance(values, dict):
        raise CheckpointError(f"{where} is not a JSON object. It should be a model's config.json.")
    kind = values.get("model_type", MODEL_TYPE)
    if kind not in (MODEL_TYPE, RECURRENT):
        raise CheckpointError(
            f"{where} describes a model of type {kind!r}; gpt1 loads {MODEL_TYPE!r} only."
        )
    shaping = {name: values[name] for name in ModelConfig.model_fields if name in values}
    if kind == MODEL_TYPE:
        shaping.pop("n_hidden", None)
    if "n_positions" in values:
        shaping["n_ctx"] = values["n_positions"]  # n_ctx has no effect there
    if shaping.get("afn") == "silu":
        shaping["afn"] = "swish"  # the same function
    try:
        config = check(ModelConfig, shaping)
    except ConfigError as error:
        raise CheckpointError(f"{where} does not describe a GPT-1: {error}") from None
    if kind == RECURRENT and (config.n_hidden is None or config.n_layer != 1):
        raise CheckpointError(
            f"{where} does not describe an LSTM baseline: n_hidden is {config.n_hidden} and "
            f"n_layer {config.n_layer}. Restore it from a copy."
        )
    return config


def write_config(config: ModelConfig, eos_token_id: int | None) -> dict[str, Any]:
    """Return the value of config.json, with the keys of the public checkpoint (spec 1.1.4)."""
    own = config.model_dump()
    if config.n_hidden is not None:
        return {"model_type": RECURRENT, **own}
    del own["n_hidden"]
    values = {
        "architectures": ["OpenAIGPTLMHeadModel"],
        "model_type": MODEL_TYPE,
        **own,
        "n_positions": config.n_ctx,
        "n_special": 0,
        "predict_special_tokens": True,
        "summary_activation": None,
        "summary_first_dropout": 0.1,
        "summary_proj_to_labels": True,
        "summary_type": "cls_index",
        "summary_use_proj": True,
        "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
        "tie_word_embeddings": True,
    }
    if eos_token_id is not None:
        values["eos_token_id"] = eos_token_id
    return values


def check_finite(state: Mapping[str, Tensor], where: str) -> None:
    """Raise CheckpointError naming the tensors that hold NaN or infinity."""
    wrong = [
        name
        for name, tensor in state.items()
        # finite numbers have a finite sum, unless it overflows: one fast pass instead of two
        if not torch.isfinite(tensor.sum()) and not torch.isfinite(tensor).all()
    ]
    if wrong:
        raise CheckpointError(
            f"{where} holds weights that are not finite: {', '.join(wrong)}. The training "
            f"that made it went wrong, or the file is damaged; use an earlier checkpoint."
        )


def _fit(
    expected: Mapping[str, tuple[int, ...]],
    stored: Mapping[str, Tensor],
    duplicates: list[str],
    where: str,
) -> None:
    lines = [f"missing: {name} {list(shape)}" for name, shape in expected.items()
             if name not in stored]  # fmt: skip
    lines += [f"unexpected: {name} {list(stored[name].shape)}" for name in stored
              if name not in expected]  # fmt: skip
    lines += [f"stored with and without the prefix: {name}" for name in duplicates]
    for name in expected.keys() & stored.keys():
        if tuple(stored[name].shape) != expected[name]:
            lines.append(f"{name} is {list(stored[name].shape)}; the configuration says "
                         f"{list(expected[name])}")  # fmt: skip
        elif not stored[name].dtype.is_floating_point:
            lines.append(f"{name} is {stored[name].dtype}; weights are floating-point numbers")
    if any("lora_" in name for name in stored):
        raise CheckpointError(
            f"{where} holds LoRA adapters beside the weights. Merge them into the model first, "
            f"model.merge_and_unload().save_pretrained(FOLDER) in peft, and load that folder."
        )
    if lines:
        listing = "\n  ".join(sorted(lines))
        raise CheckpointError(
            f"{where} does not hold the model that its configuration describes:\n  {listing}"
        )
