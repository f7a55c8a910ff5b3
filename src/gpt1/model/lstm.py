"""The paper's recurrent baseline: one LSTM layer in the Transformer's place (section 5; spec 8.3).

    x = dropout(tokens[ids]);  h = LSTM(x);  logits = dropout(h @ P + b) @ tokens^T

The paper states 2,048 units and one layer; all else is the specification's proposal. There are no
positions, and the state starts at zero in every window. Shapes as in `transformer`; U is the number
of units, n_hidden.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from gpt1.config import ModelConfig
from gpt1.errors import ConfigError, InputError
from gpt1.model.dropout import Dropout
from gpt1.model.heads import Head
from gpt1.model.ids import check_ids, check_length
from gpt1.model.losses import next_token_loss
from gpt1.model.transformer import Output, draw_weights, embedding


class Recurrent(nn.Module):
    """An LSTM layer of n_hidden units, and the affine map back to n_embd."""

    def __init__(self, config: ModelConfig, units: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(config.n_embd, units, batch_first=True)
        self.proj = nn.Linear(units, config.n_embd)

    def forward(self, x: Tensor, segments: Tensor | None) -> Tensor:
        """Return states (B, T, C) of x (B, T, C); segments (B, T) as in `LSTM.hidden`."""
        if segments is None:
            h: Tensor = self.proj(self.lstm(x)[0])
            return h.to(x.dtype)
        flat = x.flatten(0, 1)
        out = torch.zeros_like(flat)  # padding stays 0
        for index in _sequences(segments):  # (n, L), -1 is padding
            real = index >= 0
            h = self.proj(self.lstm(flat[index.clamp_min(0)])[0])
            out = out.index_copy(0, index[real], h[real].to(x.dtype))
        return out.view(x.shape)


class LSTM(nn.Module):
    """The recurrent baseline, with the Transformer's interface: one layer, a tied output matrix.

    It uses vocab_size, n_ctx (the longest input), n_embd, n_hidden, embd_pdrop (at the input),
    resid_pdrop (at the output) and initializer_range. `head` reads the states of width n_embd, as
    it does the Transformer's (spec 8.4). Raises ConfigError for more than one layer.

    >>> import torch
    >>> from gpt1.config import ModelConfig
    >>> shape = ModelConfig(vocab_size=50, n_ctx=8, n_embd=12, n_hidden=20, n_layer=1)
    >>> LSTM(shape).eval()(torch.tensor([[3, 14, 15]])).logits.shape
    torch.Size([1, 3, 50])
    """

    def __init__(self, config: ModelConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if config.n_hidden is None or config.n_layer != 1:
            raise ConfigError(
                f"model.n_hidden is {config.n_hidden} and model.n_layer {config.n_layer}; the LSTM "
                f"baseline has n_hidden units in one layer. Set model.n_layer=1, or leave n_hidden "
                f"out for a Transformer."
            )
        self.config = config
        self.tokens = embedding(torch.empty(config.vocab_size, config.n_embd))
        self.embd_drop = Dropout(config.embd_pdrop)
        self.blocks = nn.ModuleList([Recurrent(config, config.n_hidden)])
        self.resid_drop = Dropout(config.resid_pdrop)
        self.head: Head | None = None
        draw_weights(self, config.initializer_range, generator)  # forget gates' biases are 0 too

    def forward(
        self,
        ids: Tensor,
        *,
        labels: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Output:
        """Return the logits of every position, and the loss if `labels` are given.

        As `Transformer.forward`, without its other arguments. Ids that attention_mask (B, T) hides
        are skipped: they do not change the state.

        Raises InputError (an id out of range, nothing to read), ContextError (over n_ctx).
        """
        V = self.config.vocab_size
        check_ids(ids, "ids", V)
        check_ids(position_ids, "position_ids", self.config.n_ctx, like=ids)
        check_ids(labels, "labels", V, like=ids, ignored=-100)
        segments = None
        if attention_mask is not None:
            if attention_mask.shape != ids.shape:
                raise InputError(
                    f"attention_mask has shape {tuple(attention_mask.shape)}; for this model and "
                    f"these ids it is {tuple(ids.shape)}."
                )
            segments = None if attention_mask.all() else attention_mask.bool().long()
        h = self.hidden(ids, segments=segments)
        logits = self.logits(h)  # (B, T, V)
        loss = None if labels is None else next_token_loss(h, self.tokens.weight, labels)
        return Output(logits, loss)

    def logits(self, states: Tensor) -> Tensor:
        """Return the logits (..., V) of states (..., C)."""
        return F.linear(states, self.tokens.weight)

    def hidden(
        self, ids: Tensor, *, position_ids: Tensor | None = None, segments: Tensor | None = None
    ) -> Tensor:
        """Return the states (B, T, C) before the output matrix, which the objectives read.

        segments (B, T): each segment of a row is read as if alone; 0 is padding, whose states are
        0. position_ids change nothing, and ids are not checked. Raises ContextError.
        """
        check_length(ids.shape[1], self.config.n_ctx)
        h = self.embd_drop(self.tokens(ids))  # (B, T, C)
        for block in self.blocks:
            h = block(h, segments)
        out: Tensor = self.resid_drop(h)
        return out

    def num_parameters(self) -> int:
        """Return the number of weights, the tied output matrix counted once."""
        return sum(parameter.numel() for parameter in self.parameters())


def _sequences(segments: Tensor) -> list[Tensor]:
    """Return the indices of each sequence's ids, in groups of sequences of similar length.

    segments (B, T), 0 is padding. Each group is int64 (n, L): indices into the flat (B * T), in
    order, padded with -1. The longest of a group is less than twice its shortest: padding all to
    one length would cost up to T times the work, and torch's PackedSequence is slower still on a
    CPU.
    """
    rows = torch.arange(len(segments), device=segments.device)[:, None]
    owners = (rows * (segments.max() + 1) + segments).flatten()  # one number per sequence
    real = (segments.flatten() != 0).nonzero().squeeze(1)
    order = real[owners[real].argsort(stable=True)]
    counts: Tensor = torch.unique_consecutive(owners[order], return_counts=True)[1]
    groups: dict[int, list[Tensor]] = {}
    for index in torch.split(order, counts.tolist()):
        groups.setdefault(len(index).bit_length(), []).append(index)
    return [pad_sequence(g, batch_first=True, padding_value=-1) for g in groups.values()]
