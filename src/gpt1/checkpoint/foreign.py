"""The names in other tools' files of a GPT-1 -> Hugging Face's, without what is put before them.

A base model has no prefix, the models with heads have `transformer.`; DDP, FSDP, torch.compile and
activation checkpointing put a part of their own into names, and Lightning the attribute that holds
the model. Whatever stands before the blocks' names is the prefix, if there is only one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from gpt1.errors import CheckpointError

SCORE = "score.weight"
"""The head of OpenAIGPTForSequenceClassification, (labels, n_embd), without a bias."""
_BODY = "transformer."
_HEADS = ("lm_head.", "score.", "multiple_choice_head.")
_TIED, _TOKENS = "lm_head.weight", "tokens_embed.weight"
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_BLOCK = re.compile(
    r"(.*?)(?:tokens_embed\.|positions_embed\.|h\.\d+\.(?:attn|mlp|ln_1|ln_2)\.).+", re.DOTALL
)
_NO_WEIGHT = re.compile(r"h\.\d+\.attn\.(masked_)?bias|position_ids")


class Parts(NamedTuple):
    """A file's tensors by what they are.

    weights: by Hugging Face's names without a prefix. tied: the language model's head, if it is
    stored. heads: other heads, by name. duplicates: names that stand there twice.
    """

    weights: dict[str, Tensor]
    tied: Tensor | None
    heads: dict[str, Tensor]
    duplicates: list[str]


def sort(stored: Mapping[str, Tensor], where: str) -> Parts:
    """Tell a model's weights from its heads. Raises CheckpointError if there are several models."""
    plain = {name: ".".join(p for p in name.split(".") if p not in _WRAPPERS) for name in stored}
    counts = Counter(match[1] for name in plain.values() if (match := _BLOCK.fullmatch(name)))
    prefixes = [
        prefix for prefix, count in counts.most_common() if count * 2 > max(counts.values())
    ]
    if len(prefixes) > 1:
        raise CheckpointError(
            f"{where} holds {len(prefixes)} models, {' and '.join(map(repr, sorted(prefixes)))}. "
            f"Save the one that is wanted: model.save_pretrained(FOLDER)"
        )
    inner = prefixes[0] if prefixes else ""
    outer = inner.removesuffix(_BODY)
    parts = Parts({}, None, {}, [])
    tied = None
    for name, tensor in stored.items():
        inside = plain[name].startswith(inner)
        bare = plain[name].removeprefix(inner if inside else outer)
        is_head = not inside and not _BLOCK.fullmatch(bare)
        if bare == _TIED:
            tied = tensor
        elif is_head or bare.startswith(_HEADS):
            parts.heads[bare] = tensor
        elif not _NO_WEIGHT.fullmatch(bare):
            if bare in parts.weights:
                parts.duplicates.append(bare)
            parts.weights[bare] = tensor
    if tied is not None and _TOKENS not in parts.weights:
        parts.weights[_TOKENS] = tied  # transformers keeps either name of the pair
    return parts._replace(tied=tied)
