"""A run so small that it can be killed ten thousand times, and disks that stop, refuse or remember.

Torch is loaded and warmed up once; each victim is a fork of this process, and what only reads (the
shards, the tokenizer, the settings) is done before. How many updates were made is counted in memory
that outlives the victims: a saver that loses every checkpoint also ends with the right weights.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import gc
import hashlib
import json
import mmap
import os
import random
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from disks import Dying, using
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from gpt1 import storage
from gpt1.config import load_run
from gpt1.data.shards import write_shards
from gpt1.data.tables import Texts
from gpt1.text.tokenizer import Tokenizer
from gpt1.training import pretrain, trainer
from gpt1.training.loop import TrainSetup
from gpt1.training.progress import TrainingProgress
from gpt1.training.run import RunOptions

SEED = int(os.environ.get("GPT1_FAULT_SEED", "0"))
STEPS, EVERY = 6, 2
SIZE = "[model]\nvocab_size = 80\nn_ctx = 8\nn_embd = 8\nn_layer = 1\nn_head = 2\n"
SETTINGS = (
    f"train.steps={STEPS}", f"train.save_every={EVERY}", "train.batch_size=2", "train.eval_every=3",
    "train.dtype=float32", 'train.sample_prompt=""', "train.eval_windows=1",
)  # fmt: skip
TIMING = ("seconds", "tokens_per_second", "loader_share", "log_sha256")
_QUICK = {"write_report": None, "write_curves": None, "_forecast": ""}  # slower than all updates


def long(*values: Any, **named: Any) -> Any:
    """Return a case of pytest.mark.parametrize that only make test-faults runs."""
    return pytest.param(*values, marks=(pytest.mark.faults, pytest.mark.timeout(3600)), **named)


def trials(default: int) -> int:
    """How many faults a test makes; GPT1_FAULT_TRIALS says otherwise."""
    return int(os.environ.get("GPT1_FAULT_TRIALS", default))


def make_corpus(place: Path, texts: int = 40) -> Path:
    """Write shards to train on, shards of one window to evaluate on, and a size."""
    rows = [f"the cat sat on mat {n} and the dog ran to {n + 1}" for n in range(texts)]
    tokenizer = Tokenizer.train(rows, vocab_size=50)
    (place / "size.toml").write_text(SIZE)
    for name, part in (("train", rows), ("valid", rows[:1])):
        file = place / f"{name}.jsonl"
        file.write_text("".join(json.dumps({"text": text}) + "\n" for text in part))
        write_shards(place / name, Texts(file), tokenizer, workers=1)
    return place


# The run


class Trainer:
    """A pre-training run, ready to be started or resumed in any folder, here or in a fork."""

    def __init__(self, corpus: Path, *settings: str) -> None:
        self.setup = self._take(corpus, settings)
        tokenizer = self.setup.tokenizer
        tokenizer.files = functools.cache(tokenizer.files)  # type: ignore[method-assign]
        self.notes: list[str] = []
        self._process = os.getpid()
        self._shared = mmap.mmap(-1, 1 << 16)  # forks write into it as well
        self._made = memoryview(self._shared)[:8].cast("q")
        gc.collect()
        gc.freeze()  # or the forks' collectors would copy every page

    @staticmethod
    def _take(corpus: Path, settings: tuple[str, ...]) -> TrainSetup:
        """Return what pretrain hands to run_training."""
        config = load_run(
            size=str(corpus / "size.toml"), recipe="pretrain", overrides=[*SETTINGS, *settings]
        )
        with mock.patch.object(pretrain, "run_training") as run_training:
            run_training.return_value = None
            options = RunOptions(corpus / "nowhere")
            pretrain.pretrain(corpus / "train", corpus / "valid", config, options)
        return run_training.call_args.args[0]

    @property
    def made(self) -> int:
        """Updates made by now, in this process and in all forks, also in those that were killed."""
        return int(self._made[0])

    @property
    def said(self) -> str:
        """The traceback of the fork that failed last."""
        return self._shared[8:].rstrip(b"\0").decode(errors="replace")

    def train(self, out: Path, *, resume: bool | None = None) -> None:
        """Start the run in `out`, or go on with it if it ever began."""
        if resume is None:
            resume = (out / "run.json").is_file()
        setup = self.setup
        if os.getpid() == self._process:  # a fork has a copy anyhow
            setup = replace(setup, model=copy.deepcopy(setup.model))

        # torch hooks AdamW.step as soon as a plain AdamW is made anywhere in the process; the
        # release's Adam calls it, so each update would count twice
        if getattr(torch.optim.AdamW.step, "hooked", False):
            torch.optim.AdamW.step = torch.optim.AdamW.step.__wrapped__  # type: ignore[method-assign]

        def count(*_: Any) -> None:
            self._made[0] += 1

        def note(_: TrainingProgress, text: str) -> None:
            self.notes.append(text)

        with contextlib.ExitStack() as stack:
            stack.callback(register_optimizer_step_post_hook(count).remove)
            stack.enter_context(mock.patch.object(TrainingProgress, "note", note))
            stack.enter_context(mock.patch.object(torch.cuda, "manual_seed_all"))  # formats a trace
            for name, value in _QUICK.items():
                if hasattr(trainer, name):
                    stub = mock.patch.object(trainer, name, lambda *_, value=value, **__: value)
                    stack.enter_context(stub)
            trainer.run_training(setup, RunOptions(out, resume))

    def fork(self, work: Callable[[], None]) -> int:
        """Begin `work` in a fork; return its process."""
        self._shared[8:] = bytes(len(self._shared) - 8)
        # a signal that comes before the child is in its `try` would end the test runner instead
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        child = os.fork()
        if child:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            return child
        try:
            gc.disable()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            work()
            os._exit(0)
        except KeyboardInterrupt:
            os._exit(102)
        except BaseException:
            said = traceback.format_exc().encode()[-(1 << 15) :]
            self._shared[8 : 8 + len(said)] = said
        finally:
            os._exit(1)

    def wait(self, child: int) -> int:
        """Wait for a fork; return the signal that ended it, 0 if it came to its end."""
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return os.WTERMSIG(status)
        assert os.WEXITSTATUS(status) == 0, self.said
        return 0

    def killed_at(self, out: Path, at: int, torn: bool) -> bool:
        """Run until call number `at` of the disk; return whether it came to that."""

        def work() -> None:
            with using(Dying(at, torn)):
                self.train(out)

        return self.wait(self.fork(work)) == signal.SIGKILL

    def killed_after(self, out: Path, seconds: float) -> bool:
        """Run and be killed after a time; return whether the run was still going on."""
        child = self.fork(lambda: self.train(out))
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        return self.wait(child) == signal.SIGKILL


@dataclass(frozen=True)
class Whole:
    """The run never interrupted: what it comes to, its calls to the disk, how long it takes."""

    out: Path
    digest: str
    calls: int
    seconds: float


def measure(trainer: Trainer, place: Path) -> Whole:
    disk = Dying(0, False)
    with using(disk):
        trainer.train(place / "here")
    times = []
    for n in range(5):
        began = time.monotonic()
        trainer.wait(trainer.fork(lambda n=n: trainer.train(place / f"fork{n}")))
        times.append(time.monotonic() - began)
        assert digest(place / f"fork{n}") == digest(place / "here")
    return Whole(place / "here", digest(place / "here"), disk.made, min(times))


def checkpoints(out: Path) -> list[Path]:
    return sorted((out / "checkpoints").glob("step-*"))


def newest_step(out: Path) -> int:
    return max((int(path.name.removeprefix("step-")) for path in checkpoints(out)), default=0)


def history(out: Path) -> list[dict[str, Any]]:
    """Return the metrics log but for its times."""
    return [
        {name: value for name, value in line.items() if name not in TIMING}
        for line in storage.Log(out / "metrics.jsonl").read()
    ]


def state(checkpoint: Path) -> dict[str, Any]:
    """Return a checkpoint's position but for its times."""
    found = json.loads((checkpoint / "state.json").read_bytes())
    return {name: value for name, value in found.items() if name not in TIMING}


def digest(out: Path) -> str:
    """Hash what a run comes to: weights, optimizer, position, log without its times, result."""
    found = hashlib.sha256()
    assert checkpoints(out), "there is no checkpoint"
    newest = checkpoints(out)[-1]
    for path in (newest / "model.safetensors", newest / "optimizer.safetensors",
                 out / "model" / "model.safetensors", out / "model" / "gpt1.json"):  # fmt: skip
        found.update(path.read_bytes())
    found.update(json.dumps([state(newest), history(out)], sort_keys=True).encode())
    return found.hexdigest()


Known = dict[int, dict[str, Any]]
"""What the checkpoint of each update holds."""


def held(folder: Path) -> dict[str, Any]:
    """Return a folder's verified content but for its times."""
    files = storage.Folder(folder)
    found: dict[str, Any] = {name: files.read(name) for name in files.names()}
    if "state.json" in files:
        found["state.json"] = state(folder)
    return found


def generator(*names: object) -> random.Random:
    """Return random numbers for one test; GPT1_FAULT_SEED gives others."""
    return random.Random(f"{SEED} {names}")


# Interruptions


class Cut(Exception):
    """The run is interrupted here."""


@contextlib.contextmanager
def cut_before(update: int, what: type[BaseException] | BaseException = Cut) -> Iterator[None]:
    """Raise in the optimizer before it makes so many updates more."""
    left = update

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise what

    hook = register_optimizer_step_pre_hook(count)
    try:
        yield
    finally:
        hook.remove()
