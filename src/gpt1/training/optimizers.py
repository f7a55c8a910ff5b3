"""Adam as released, and torch's AdamW, by name; decay on matrices only, clipping by global norm."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from gpt1.config import OptimizerConfig
from gpt1.training.distributed import like


class ReleaseAdam(torch.optim.AdamW):
    """The release's Adam (spec 3.10) on torch's fused kernel.

        p -= lr * sqrt(1 - b2^n) / (1 - b1^n) * (m / (sqrt(v) + eps) + weight_decay * p)

    torch's AdamW adds eps after bias correction and decays by lr alone. An eps and a decay scaled
    anew at every step make one formula the other.
    """

    def __init__(self, params: Iterable[dict[str, Any]], config: OptimizerConfig) -> None:
        super().__init__(
            params, lr=config.lr, betas=(config.b1, config.b2), eps=config.eps, fused=True
        )
        self._config = config
        self._decays = [group["weight_decay"] for group in self.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        first = next(iter(self.state.values()), None)  # all count alike
        n = 1 + (int(first["step"]) if first else 0)
        root = (1 - self._config.b2**n) ** 0.5
        for group, decay in zip(self.param_groups, self._decays, strict=True):
            group["eps"] = self._config.eps / root
            group["weight_decay"] = decay * root / (1 - self._config.b1**n)
        loss: float | None = super().step(closure)
        return loss


def build(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Return the optimizer `config.name` over the model's parameters; vectors do not decay."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if config.name == "adam":
        return ReleaseAdam(groups, config)
    return torch.optim.AdamW(
        groups, lr=config.lr, betas=(config.b1, config.b2), eps=config.eps, fused=True
    )


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
    """Put a state from `state` back."""
    for name, parameter in model.named_parameters():
        found = {
            key.partition(".")[0]: value
            for key, value in tensors.items()
            if key.partition(".")[2] == name
        }
        if found:
            optimizer.state[parameter] = {
                key: like(value, parameter) for key, value in found.items()
            }
