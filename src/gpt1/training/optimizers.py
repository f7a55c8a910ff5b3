"""Optimizers by name (Adam as released, torch's AdamW and Muon) and clipping by global norm."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from gpt1.config import OptimizerConfig
from gpt1.training.distributed import shard_like


class ReleaseAdam(torch.optim.AdamW):
    """The release's Adam (spec 3.10) on torch's fused kernel.

        p -= lr * sqrt(1 - b2^n) / (1 - b1^n) * (m / (sqrt(v) + eps) + weight_decay * p)

    torch's AdamW adds eps after bias correction and decays by lr alone; scaling eps and decay at
    every step turns its formula into this one.
    """

    def __init__(self, params: Iterable[dict[str, Any]], config: OptimizerConfig) -> None:
        super().__init__(
            params, lr=config.lr, betas=(config.b1, config.b2), eps=config.eps, fused=True
        )
        self._config = config
        self._decays = [group["weight_decay"] for group in self.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make one update."""
        first = next(iter(self.state.values()), None)  # all have the same step
        n = 1 + (int(first["step"]) if first else 0)
        root = (1 - self._config.b2**n) ** 0.5
        for group, decay in zip(self.param_groups, self._decays, strict=True):
            group["eps"] = self._config.eps / root
            group["weight_decay"] = decay * root / (1 - self._config.b1**n)
        loss: float | None = super().step(closure)
        return loss


class Muon(torch.optim.Optimizer):
    """torch.optim.Muon for the matrices of the blocks and AdamW for the rest, as one optimizer.

        b = momentum * b + (1 - momentum) * g
        p -= lr * weight_decay * p + lr * 0.2 * sqrt(max(p.shape)) * orthogonal(mix of g and b)

    The mix is Nesterov's, (1 - momentum) * g + momentum * b. The factor makes updates as large as
    Adam's, so both parts share rate and decay (Jordan et al. 2024; Liu et al. 2025).
    """

    def __init__(
        self, matrices: list[nn.Parameter], others: list[dict[str, Any]], config: OptimizerConfig
    ) -> None:
        muon = torch.optim.Muon(
            matrices,
            lr=config.lr,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            adjust_lr_fn="match_rms_adamw",
        )
        self._parts = (muon, _adamw(others, config))
        super().__init__([group for part in self._parts for group in part.param_groups], {})
        for part in self._parts:
            part.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make one update with each of the optimizers."""
        loss = closure() if closure is not None else None
        for part in self._parts:
            part.step()  # type: ignore[no-untyped-call]
        return loss


def _adamw(groups: list[dict[str, Any]], config: OptimizerConfig) -> torch.optim.AdamW:
    betas = (config.b1, config.b2)
    return torch.optim.AdamW(groups, lr=config.lr, betas=betas, eps=config.eps, fused=True)


def build(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Return the optimizer `config.name` over the model's parameters; vectors do not decay."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            of_muon = config.name == "muon" and name.startswith("blocks.") and parameter.dim() == 2
            (matrices if of_muon else others).append(parameter)
    groups = [
        {"params": [p for p in others if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in others if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if config.name == "muon":
        return Muon(matrices, groups, config)
    return ReleaseAdam(groups, config) if config.name == "adam" else _adamw(groups, config)


def clip(parameters: Iterable[Tensor], limit: float | None) -> float:
    """Scale the gradients so that their global norm is at most `limit`; return the norm before."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    total = torch.nn.utils.get_total_norm(gradients)
    norm = float(total.full_tensor() if isinstance(total, DTensor) else total)
    if limit is not None and norm > limit:
        for gradient in gradients:
            gradient.mul_(limit / norm)
    return norm


def state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state by parameter name, as tensors to be saved."""
    return {
        f"{key}.{name}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Load what `state` returned."""
    parameters = dict(model.named_parameters())
    for name, value in tensors.items():
        key, _, parameter_name = name.partition(".")
        parameter = parameters[parameter_name]
        optimizer.state[parameter][key] = shard_like(value, parameter)
