"""Several processes that train as one: the only file that calls torch.distributed.

torchrun starts the processes and tells each its number in RANK, LOCAL_RANK and WORLD_SIZE.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from gpt1.checkpoint import folder
from gpt1.config import DistributedConfig
from gpt1.data.packing import Batch
from gpt1.errors import ConfigError, Interrupted, TrainingError, counted, first_line
from gpt1.model.build import Model
from gpt1.reports.console import Console
from gpt1.training.objectives import Objective
from gpt1.training.watch import Watch

_DRAIN = 0.2
"""Seconds without the GIL before the process group goes: gloo's thread needs it to let go of the
last broadcast, and the group's end waits for that thread while it holds the GIL."""


class ObjectiveModule(nn.Module):
    """The objective as a module, since DDP and FSDP act when a module is called."""

    def __init__(self, model: Model, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the objective's sums over a batch."""
        return self.objective.sums(self.model, batch)


class Ranks:
    """The processes of a run, of which this is number `rank` of `count`."""

    def __init__(self, rank: int = 0, count: int = 1, device: torch.device | None = None) -> None:
        self.rank, self.count = rank, count
        self.device = device or torch.device("cpu")

    @property
    def first(self) -> bool:
        """Whether this rank writes the run's folder and prints."""
        return self.rank == 0

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Return the sums over all ranks, the same on each."""
        if self.count == 1:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return [float(x) for x in total]

    def broadcast_object(self, value: Any) -> Any:
        """Return rank 0's JSON value on every rank."""
        if self.count == 1:
            return value
        data = json.dumps(value).encode() if self.first else b""
        size = torch.tensor(len(data), device=self.device)
        dist.broadcast(size, 0)
        buffer = torch.frombuffer(bytearray(data or bytes(int(size))), dtype=torch.uint8)
        buffer = buffer.to(self.device)
        dist.broadcast(buffer, 0)
        return json.loads(bytes(buffer.cpu().tolist()))

    def wrap(self, model: Model, objective: Objective, config: DistributedConfig) -> nn.Module:
        """Return the objective over `model` as a module whose gradients are shared by all ranks.

        FSDP replaces the model's parameters, so the optimizer is built afterwards.
        """
        module = ObjectiveModule(model, objective)
        if self.count == 1:
            return module
        if config.strategy == "ddp":
            return DistributedDataParallel(module, gradient_as_bucket_view=True)
        mesh = init_device_mesh(self.device.type, (self.count,))
        for part in (*model.blocks, module):
            fully_shard(part, mesh=mesh)
        return module

    def wait_for_first(self) -> None:
        """Wait until rank 0 calls this too."""
        self.broadcast_object(None)

    def unshard(self, model: Model) -> Model | None:
        """Return `model` with all its weights on rank 0 (under FSDP a copy), None on the others.

        All ranks must call it.
        """
        state = model.state_dict()
        if any(isinstance(value, DTensor) for value in state.values()):
            state = self.gather(state)
            if self.first:
                model = folder.blank(model.config, model.head)
                model.load_state_dict(state, assign=True)
        return model if self.first else None

    def gather(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the full tensors, on the CPU, on rank 0; all ranks must call it."""
        gathered = {}
        for name, value in sorted(tensors.items()):  # in the same order on all ranks
            if isinstance(value, DTensor):
                value = value.full_tensor()  # a collective
            if self.first:
                gathered[name] = value.detach().cpu()
        return gathered


def load_weights(model: Model, state: dict[str, Tensor]) -> None:
    """Load full weights into `model`, of which each rank may hold a shard."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(shard_like(state[name], parameter))


def shard_like(value: Tensor, other: Tensor) -> Tensor:
    """Return this rank's shard of `value`, if `other` is sharded; on the device of `other`."""
    value = value.to(other.device)
    if not isinstance(other, DTensor) or value.shape != other.shape:
        return value
    return distribute_tensor(value, other.device_mesh, other.placements, src_data_rank=None)


def reshard(module: nn.Module) -> None:
    """Free what FSDP gathered for an evaluation, since no backward pass follows that would."""
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


def unsynchronised(module: nn.Module, last: bool) -> contextlib.AbstractContextManager[None]:
    """Return the context of a micro-batch: gradients are sent after the `last` one only."""
    if isinstance(module, DistributedDataParallel) and not last:
        return module.no_sync()
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(last)
    return contextlib.nullcontext()


def _environment() -> tuple[int, int]:
    """Return this process's rank and the number of ranks, as torchrun says. Raises ConfigError."""
    rank, count = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if count == "1":
        return 0, 1
    if rank.isdecimal() and count.isdecimal() and int(rank) < int(count):
        return int(rank), int(count)
    raise ConfigError(
        f"the variables RANK and WORLD_SIZE are {rank!r} and {count!r}. Start several processes "
        f"with torchrun, which sets them, or unset both for one."
    )


def launched() -> bool:
    """Tell whether torchrun has started this process, even if it is the only one."""
    return "WORLD_SIZE" in os.environ


def is_first() -> bool:
    """Tell whether this process is the one that prints; also before it has joined the others."""
    return _environment()[0] == 0


def console(quiet: bool = False) -> Console:
    """Return stderr for notes; silent if `quiet`, and on all ranks but the first."""
    return Console(stderr=True, highlight=False, quiet=quiet or not is_first())


def own_device(device: torch.device) -> torch.device:
    """Return this process's own device among several of a kind. Raises ConfigError."""
    if _environment()[1] == 1:
        return device
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(
            f"several processes cannot share {device}. Give --set train.device=cpu, or start one."
        )
    if device.type == "cpu" or device.index is not None:
        return device
    local, gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if local >= gpus:
        raise ConfigError(
            f"this machine has {counted(gpus, 'GPU')}; process {local + 1} needs one of its own. "
            f"Start torchrun with --nproc-per-node {gpus}."
        )
    return torch.device("cuda", local)


def check(config: DistributedConfig, batch_size: int) -> None:
    """Raise ConfigError if the ranks cannot share an update of `batch_size` sequences."""
    count = _environment()[1]
    if batch_size < count:
        raise ConfigError(
            f"train.batch_size is {batch_size}; {count} processes need at least one sequence each. "
            f"Set train.batch_size={count} or start fewer."
        )
    if config.strategy == "fsdp" and batch_size % count:
        raise ConfigError(
            f"train.batch_size is {batch_size} and there are {count} processes; under "
            f"distributed.strategy=fsdp each takes the same number of sequences. Set "
            f"train.batch_size={max(1, batch_size // count) * count}."
        )


@contextlib.contextmanager
def join(device: torch.device) -> Iterator[Ranks]:
    """Join the processes that torchrun has started, and leave them at the end.

    If another rank dies, freezes or stops with an error, this process names it and ends.
    """
    if _environment()[1] == 1:
        yield Ranks(device=device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except (ValueError, RuntimeError) as error:
        raise TrainingError(
            f"the processes did not find one another: {first_line(error)}. Start all of them with "
            f"torchrun, and see that each machine reaches the first one."
        ) from error
    ranks = Ranks(dist.get_rank(), dist.get_world_size(), device)
    watch = Watch(ranks.rank, ranks.count)
    try:
        yield ranks
        watch.leave()
    except Interrupted:
        watch.leave()  # all ranks stop together
        raise
    except BaseException as error:
        if isinstance(error, RuntimeError):  # a broken connection is the fault of another rank
            watch.wait_for_failure()
        watch.leave(f"stopped: {first_line(error)}")
        raise
    finally:
        watch.stop()
        time.sleep(_DRAIN)
        with contextlib.suppress(RuntimeError):  # the others may be gone
            dist.destroy_process_group()
