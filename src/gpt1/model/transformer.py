"""GPT-1's Transformer decoder, the whole of it (paper, sections 3.1 and 4.1).

    h_0 = tokens[ids] + positions[0..T-1]
    n   = LN_1(h + Attention(h));  h' = LN_2(n + MLP(n))      12 times: the norm comes after the sum
    logits = h_12 @ tokens^T                                  tied to the input, no norm before it

Shapes: B batch, T positions, S keys (T, or more with a cache), C width n_embd, H heads, D = C / H,
V vocabulary. Differences from the release are listed in docs/fidelity.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt1.config import ModelConfig
from gpt1.errors import InputError
from gpt1.model import attention
from gpt1.model.attention import Mask
from gpt1.model.cache import KeyValueCache
from gpt1.model.dropout import Dropout
from gpt1.model.heads import Head
from gpt1.model.ids import check_ids, check_length
from gpt1.model.losses import next_token_loss


@dataclass(frozen=True)
class Output:
    """The output of a model's `forward`; what was not requested is None.

    logits (B, T, V); loss, a scalar; hidden_states, n_layer + 1 of (B, T, C): the embeddings, then
    every block; attentions, n_layer of (B, H, T, S).
    """

    logits: Tensor
    loss: Tensor | None = None
    hidden_states: list[Tensor] | None = None
    attentions: list[Tensor] | None = None


class Attention(nn.Module):
    """Causal multi-head self-attention (spec 1.4)."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer  # its number in a cache
        self.n_head = config.n_head
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.attn_pdrop = config.attn_pdrop
        self.resid_drop = Dropout(config.resid_pdrop)

    def forward(
        self,
        x: Tensor,
        mask: Mask = None,
        cache: KeyValueCache | None = None,
        attentions: list[Tensor] | None = None,
    ) -> Tensor:
        """Return (B, T, C) of x (B, T, C), each position attending to those that `mask` allows.

        The weights (B, H, T, S) are appended to `attentions` if it is given.
        """
        B, T, C = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.n_head, -1).permute(2, 0, 3, 1, 4)  # (B, H, T, D)
        if cache is not None:
            k, v = cache.update(self.layer, k, v)  # (B, H, S, D)
        dropout = self.attn_pdrop if self.training else 0.0
        if isinstance(mask, attention.DocumentMask):
            y = mask.attend(q, k, v)
        elif attentions is not None:
            y, weights = attention.naive_attention(q, k, v, mask, dropout)
            attentions.append(weights)
        elif cache is not None:
            y = attention.cached_attention(q, k, v, mask, cache.ends)
        elif x.device.type == "cpu" and torch.is_grad_enabled():
            y = attention.block_attention(q, k, v, mask, dropout)
        else:
            y = F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=mask is None)
        y = y.transpose(1, 2).reshape(B, T, C)  # heads side by side again
        out: Tensor = self.resid_drop(self.proj(y))
        return out


def gelu(x: Tensor) -> Tensor:
    """Return GELU in the release's form, by a tanh, not the error function."""
    return F.gelu(x, approximate="tanh")


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": gelu,
    "relu": F.relu,
    "swish": F.silu,
}  # swish is x * sigmoid(x)


class MLP(nn.Module):
    """Two affine maps, four times as wide in between, without dropout there (spec 1.5)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.fc = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.proj = nn.Linear(4 * config.n_embd, config.n_embd)
        self.activation = _ACTIVATIONS[config.afn]
        self.resid_drop = Dropout(config.resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, C) of x (B, T, C), for each position alone."""
        u = self.activation(self.fc(x))  # (B, T, 4C)
        out: Tensor = self.resid_drop(self.proj(u))
        return out


class Block(nn.Module):
    """Attention and MLP, each added to its input and then normalised (spec 1.3)."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attention = Attention(config, layer)
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

    def forward(
        self,
        x: Tensor,
        mask: Mask = None,
        cache: KeyValueCache | None = None,
        attentions: list[Tensor] | None = None,
    ) -> Tensor:
        """Return the states (B, T, C) after this block of those before it, (B, T, C)."""
        n = self.ln_1(x + self.attention(x, mask, cache, attentions))
        h: Tensor = self.ln_2(n + self.mlp(n))  # the second sum takes n, not x + attention
        return h


class Transformer(nn.Module):
    """GPT-1: a post-norm decoder with learned positions and a tied head.

    Examples:
        >>> import gpt1, torch
        >>> shape = gpt1.ModelConfig(vocab_size=50, n_ctx=8, n_embd=12, n_layer=2, n_head=3)
        >>> model = gpt1.Transformer(shape).eval()
        >>> model(torch.tensor([[3, 14, 15]])).logits.shape
        torch.Size([1, 3, 50])
    """

    def __init__(self, config: ModelConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.tokens = embedding(torch.empty(config.vocab_size, config.n_embd))
        self.positions = embedding(torch.empty(config.n_ctx, config.n_embd))
        self.embd_drop = Dropout(config.embd_pdrop)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.head: Head | None = None  # of a task, after supervised fine-tuning
        self.lm_head: nn.Module | None = None  # the tied head in another form, for generation
        draw_weights(self, config.initializer_range, generator)

    def forward(  # noqa: PLR0913
        self,
        ids: Tensor,
        *,
        labels: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        cache: KeyValueCache | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> Output:
        """Return the logits of every position, and the loss if `labels` are given.

        ids, labels, position_ids, token_type_ids: int64 (B, T). labels are the ids themselves: they
        are shifted here, -100 is no target, and the loss is the mean over the targets.
        attention_mask: (B, T) of 0 and 1, or boolean (B, 1, T, T), True where a query may attend.
        token_type_ids add a row of the token matrix, as in transformers. Positions default to
        0..T-1, or to those after the cache. With a cache, rows of different lengths are padded on
        the right, and the caller advances the cache by each row's own length.

        Raises InputError (an id out of range, nothing to read), ContextError (over n_ctx).
        """
        V = self.config.vocab_size
        check_ids(ids, "ids", V)
        check_ids(position_ids, "position_ids", self.config.n_ctx, like=ids)
        check_ids(token_type_ids, "token_type_ids", V, like=ids)
        check_ids(labels, "labels", V, like=ids, ignored=-100)
        if cache is not None and attention_mask is not None:
            raise InputError(
                "attention_mask and cache were both given; with a cache, rows are padded on the "
                "right. Leave out the mask and advance the cache by each row's length."
            )
        mask = attention.visible(attention_mask, ids)
        states: list[Tensor] | None = [] if output_hidden_states else None
        attentions: list[Tensor] | None = [] if output_attentions else None
        h = self._embed(ids, position_ids, cache, token_type_ids=token_type_ids)
        h = self._encode(h, mask, cache, states, attentions)
        logits = self.logits(h)  # (B, T, V)
        loss = None if labels is None else next_token_loss(h, self.tokens.weight, labels)
        return Output(logits, loss, states, attentions)

    def hidden(
        self,
        ids: Tensor,
        *,
        position_ids: Tensor | None = None,
        segments: Tensor | None = None,
        cache: KeyValueCache | None = None,
        embeddings: tuple[Tensor, Tensor] | None = None,
        depth: int | None = None,
    ) -> Tensor:
        """Return the last block's states (B, T, C), before the head, which the objectives read.

        depth: return those after so many blocks instead.

        segments (B, T): positions attend to their own segment only (documents packed into a row), 0
        is padding. embeddings: token and position matrices to use instead of the model's own, with
        dropout already applied (as in the release, spec 1.7.1). ids are not checked: `forward` and
        the engine do that.
        """
        mask: Mask = None
        if segments is not None:
            dropout = self.config.attn_pdrop if self.training else 0.0
            mask = attention.same_segment(
                segments, self.config.n_embd // self.config.n_head, dropout
            )
        h = self._embed(ids, position_ids, cache, embeddings)
        return self._encode(h, mask, cache, depth=depth)

    def logits(self, states: Tensor) -> Tensor:
        """Return the logits (..., V) of states (..., C)."""
        if self.lm_head is not None:
            logits: Tensor = self.lm_head(states)
            return logits
        return F.linear(states, self.tokens.weight)

    def num_parameters(self) -> int:
        """Return the number of weights, the tied head counted once (spec 1.9.1)."""
        return sum(parameter.numel() for parameter in self.parameters())

    def _embed(
        self,
        ids: Tensor,
        position_ids: Tensor | None,
        cache: KeyValueCache | None,
        embeddings: tuple[Tensor, Tensor] | None = None,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """Return the states (B, T, C) that enter the first block: token and position rows added."""
        T = ids.shape[1]
        start = 0
        if cache is not None:
            cache.prepare(T)
            start = cache.start
            position_ids = cache.positions if position_ids is None else position_ids
        check_length(start + T, self.config.n_ctx)
        tokens, positions = embeddings or (self.tokens.weight, self.positions.weight)
        if position_ids is None:
            h = F.embedding(ids, tokens) + positions[start : start + T]  # (B, T, C)
        else:
            h = F.embedding(ids, tokens) + F.embedding(position_ids, positions)
        if token_type_ids is not None:
            h = h + F.embedding(token_type_ids, tokens)
        return h if embeddings is not None else self.embd_drop(h)

    def _encode(
        self,
        h: Tensor,
        mask: Mask,
        cache: KeyValueCache | None,
        states: list[Tensor] | None = None,
        attentions: list[Tensor] | None = None,
        depth: int | None = None,
    ) -> Tensor:
        """Return the states (B, T, C) after the last block; append to the lists that are given."""
        if cache is not None:
            mask = cache.mask
        for block in islice(self.blocks, depth):
            if states is not None:
                states.append(h)
            h = block(h, mask, cache, attentions)
        if states is not None:
            states.append(h)
        return h


def embedding(weight: Tensor) -> nn.Embedding:
    """Return an embedding with these rows; torch's own initialization takes seconds on "meta"."""
    return nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight)


def draw_weights(model: nn.Module, std: float, generator: torch.Generator | None) -> None:
    """Draw matrices from normal(0, std), set biases to 0; norms keep gain 1, bias 0 (spec 1.8)."""
    for name, parameter in model.named_parameters():
        if parameter.is_meta or ".ln_" in name:
            continue
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=std, generator=generator)
        else:
            nn.init.zeros_(parameter)
