"""The folder of a training run: its lock, its log, its checkpoints, and how it is resumed.

RUN/run.json            settings, fingerprints of data and tokenizer, machine, date and command
RUN/metrics.jsonl       a line for every update and every evaluation
RUN/checkpoints/step-00000500/   a model folder, with optimizer.safetensors and state.json
RUN/best/               the best model by validation so far
RUN/snapshots/step-00000100/     a model folder, never removed (train.snapshots)
RUN/model/              the result
RUN/report.html         drawn from run.json and the log
RUN/written.json        the hashes of the pages that gpt1 wrote: others are not replaced
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from gpt1 import storage
from gpt1._version import __version__
from gpt1.callbacks import ProgressCallback
from gpt1.checkpoint import folder, tensors
from gpt1.config import RunConfig
from gpt1.errors import CheckpointError, CorruptError, StorageError, TrainingError
from gpt1.model.build import Model
from gpt1.text.tokenizer import Tokenizer
from gpt1.training.resume import find_changes, find_differences, new_lengths

_LOCK = "lock"
_OPTIMIZER = "optimizer.safetensors"
_STATE = "state.json"


@dataclass(frozen=True)
class RunOptions:
    """Where a run is saved, and what is shown of it."""

    out: Path | str
    resume: bool = False
    """Continue the run that is there."""
    quiet: bool = False
    """Print nothing."""
    report: bool = True
    """Write report.html."""
    progress: ProgressCallback | None = None
    """Called after each update."""
    command: Mapping[str, Any] | None = None
    """The command that starts the run, for `gpt1 resume`; see `training.resume.command_record`."""


@dataclass
class TrainState:
    """How far a run is, in updates and figures; a checkpoint's state.json."""

    step: int = 0
    """Updates done."""
    log_lines: int = 0
    best: list[float] | None = None
    """The best evaluation: minus the metric of a task, if there is one, then the loss."""
    waiting_since: int = 0
    """The update from which train.patience counts: that of the best evaluation."""
    skipped: int = 0
    """Updates in a row that were skipped."""
    tokens: int = 0
    seconds: float = 0.0
    log_sha256: str = ""
    """Of the first `log_lines` lines of the log."""


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to continue: weights, optimizer state, and how far it was."""

    path: Path
    weights: dict[str, Tensor]
    optimizer_state: dict[str, Tensor]
    state: TrainState

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read a checkpoint, every byte verified. Raises CheckpointError, CorruptError."""
        files = storage.Folder(path)
        if not files.verified:
            raise CorruptError(f"{path} has no manifest.")
        optimizer_state = tensors.read(files.read(_OPTIMIZER), str(path / _OPTIMIZER))
        try:
            state = TrainState(**files.json(_STATE))
        except TypeError:
            raise CheckpointError(f"{path} is of another version of gpt1.") from None
        return cls(path, folder.load(path).state, optimizer_state, state)


class Run:
    """A run's folder, locked for this process within its `with` block.

    `fingerprints` are those of the data, which a resumed run must share; `metadata` goes into the
    gpt1.json of every model, `command` into run.json. Raises TrainingError if another process
    trains in the folder, if a new run finds one there, or if the run to be resumed differs, naming
    every difference.
    """

    def __init__(
        self,
        path: Path | str,
        config: RunConfig,
        tokenizer: Tokenizer,
        fingerprints: Mapping[str, Any],
        *,
        resume: bool = False,
        metadata: Mapping[str, Any] | None = None,
        command: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        self.record = self.path / "run.json"
        self.config = config
        self.tokenizer = tokenizer
        self.fingerprints = {"tokenizer": tokenizer.fingerprint, **fingerprints}
        self._resume = resume
        self._metadata = metadata or {}
        self.command = command
        self.changed: dict[str, Any] | None = None
        """The record with the new length of a finished run that goes on."""
        self.reopened_at: int | None = None
        """The update after which a finished run was made longer."""
        self.notes: list[str] = []
        """What to tell people before the run goes on."""
        self.log = storage.Log(self.path / "metrics.jsonl")

    def __enter__(self) -> Self:
        self._check_start()
        storage.make_folder(self.path)
        self._lock = _lock(self.path / _LOCK)
        try:
            self._check_start()  # another run may have come and gone in between
            for written in (self.path, self.path / "checkpoints", self.path / "snapshots"):
                storage.clean_up(written)
            if self._resume:
                self._check_same()
            else:
                storage.write_record(self.record, self._record())
        except BaseException:
            self._lock.release()
            raise
        return self

    def _check_start(self) -> None:
        """Raise if there is nothing to resume, or something in the way of a new run."""
        with storage.wrap_os_errors("read", self.path):
            exists, occupied = self.record.is_file(), _is_occupied(self.path)
        if self._resume and not exists:
            raise TrainingError(
                f"there is no run to resume in {self.path}. Leave out --resume to start one."
            )
        if not self._resume and occupied:
            what = "a run" if exists else "something"
            raise TrainingError(
                f"{what} is already in {self.path}. Use --resume to continue a run, or choose "
                f"another --out."
            )

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    @property
    def finished(self) -> bool:
        """Whether the run has its result."""
        return (self.path / "model").is_dir()

    @property
    def done(self) -> int:
        """How many updates the newest checkpoint has."""
        steps = [int(path.name.removeprefix("step-")) for path in self.checkpoints()]
        return max(steps, default=0)

    def _check_same(self) -> None:
        """Raise if the run to be resumed is another one; record a new length."""
        now, before = self._record(), storage.read_record(self.record)
        try:
            differences = find_differences(before, now, self.done, finished=self.finished)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CorruptError(
                f"{self.record} is damaged. Restore it from a copy, or start a new run in another "
                f"folder."
            ) from None
        if differences:
            raise TrainingError(
                f"the run in {self.path} cannot go on with these settings: "
                f"{'; '.join(differences)}. Give the settings it was started with, or start a new "
                f"run in another folder."
            )
        earlier: dict[str, Any] = {
            name: before[name] for name in ("started", "command", "changes") if name in before
        }
        changes = earlier.get("changes", [])
        if lengths := new_lengths(before, now):
            change = {"step": self.done, "finished": self.finished, "settings": lengths}
            changes = [*changes, change]
            self.changed = {**now, **earlier, "changes": changes}
            if not self.finished:
                storage.write_record(self.record, self.changed)
        self.notes = find_changes(before["machine"], now["machine"])
        self.reopened_at = max((c["step"] for c in changes if c["finished"]), default=None)

    def _record(self) -> dict[str, Any]:
        return {
            "gpt1": __version__,
            "config": self.config.model_dump(mode="json"),
            "fingerprints": self.fingerprints,
            "machine": {
                "torch": torch.__version__,
                "python": platform.python_version(),
                "system": platform.platform(),
                "threads": torch.get_num_threads(),
            },
            "started": time.strftime("%Y-%m-%d %H:%M"),
            **({} if self.command is None else {"command": self.command}),
        }

    def check_room(self, model: Model) -> None:
        """Raise StorageError if the disk has no room for the checkpoints that will be kept."""
        # weights and two tensors of Adam's each; a new one is written before the oldest goes
        copies = 3 * (self.config.train.keep_checkpoints + 1)
        copies += 2 + len(self.config.train.snapshots)  # best and result
        present = sum(f.stat().st_size for f in self.path.rglob("*.safetensors"))
        need = 4 * model.num_parameters() * copies - present
        free = shutil.disk_usage(self.path).free
        if free < need:
            raise StorageError(
                f"{self.path} has {free / 1e9:.2f} GB free; the run needs about {need / 1e9:.2f} "
                f"GB for its checkpoints. Free some, choose another --out, or "
                f"--set train.keep_checkpoints=1."
            )

    # Checkpoints

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints' folders, newest first."""
        return sorted((self.path / "checkpoints").glob("step-*"), reverse=True)

    def save(self, model: Model, optimizer_state: Mapping[str, Tensor], state: TrainState) -> None:
        """Write a checkpoint from which `restore` continues exactly, and remove older ones.

        Raises TrainingError if a tensor of the optimizer is not finite.
        """
        broken = sorted(name for name, t in optimizer_state.items() if not t.isfinite().all())
        if broken:
            raise TrainingError(
                f"the optimizer's {broken[0]} is no longer finite after update {state.step}, so "
                f"nothing is saved. The checkpoints before it are untouched; lower optimizer.lr."
            )
        self.log.flush()
        files = folder.files(model, self.tokenizer, self._metadata)
        files[_OPTIMIZER] = tensors.File(optimizer_state)
        files[_STATE] = storage.json_bytes({**asdict(state), "log_sha256": self.log.sha256})
        storage.write_folder(self.path / "checkpoints" / f"step-{state.step:08d}", files)
        for old in self.checkpoints()[self.config.train.keep_checkpoints :]:
            storage.remove(old)

    def restore(self) -> tuple[Checkpoint | None, list[str]]:
        """Return the newest sound checkpoint, if there is one, and warnings of damaged newer ones.

        These are removed once a sound one is loaded, so that they can be written again, and the log
        is cut to its length at that checkpoint. Raises CorruptError if no checkpoint is sound, or
        the log is not. What cannot be read, or is of another version, is an error, no damage.
        """
        faults: dict[Path, str] = {}
        for path in self.checkpoints():
            try:
                checkpoint = Checkpoint.read(path)
            except CorruptError as error:
                faults[path] = str(error)
                continue
            self.log.keep(checkpoint.state.log_lines, checkpoint.state.log_sha256)
            for damaged in faults:
                storage.remove(damaged)
            return checkpoint, [f"{f} The checkpoint before it is used." for f in faults.values()]
        if faults:
            ending = f"No checkpoint in {self.path} is whole. Start a new run."
            raise CorruptError("\n".join([*faults.values(), ending]))
        self.log.keep(0)
        return None, ["no checkpoint was saved yet: the run begins anew"] if self._resume else []

    # Models

    def save_model(self, name: str, model: Model, training: Mapping[str, Any]) -> Path:
        """Write the model folder RUN/`name`, with `training` in its gpt1.json; return its path."""
        extra = {**self._metadata, "training": training}
        replace = name != "model"  # where there is a result, the run is finished
        folder.save(self.path / name, model, self.tokenizer, extra, replace=replace)
        return self.path / name

    def best(self) -> dict[str, Tensor] | None:
        """Return the best weights so far, None if none were saved."""
        path = self.path / "best"
        return folder.load(path).state if path.is_dir() else None

    def tidy(self) -> None:
        """Remove what a finished run no longer needs."""
        if (self.path / "best").exists():
            storage.remove(self.path / "best")


def _is_occupied(path: Path) -> bool:
    """Tell whether `path` holds more than a run leaves that was killed before it began."""
    if not path.is_dir():
        return path.exists()
    return any(
        item.name not in (_LOCK, "run.json") and not item.name.startswith(".run.json.")
        for item in path.iterdir()
    )


def _lock(path: Path) -> FileLock:
    """Take the run's lock; the system frees it when this process ends, however it ends."""
    lock = FileLock(path)
    with storage.wrap_os_errors("lock", path):
        if path.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            owner = path.read_text(errors="replace").strip() or "unknown"
            raise TrainingError(
                f"another process ({owner}) is training in {path.parent}. Wait for it, or choose "
                f"another --out."
            ) from None
    with contextlib.suppress(OSError):  # only for people: the lock itself is held
        storage.disk.truncate(path, 0)
        fd = storage.disk.open_append(path)
        os.write(fd, f"process {os.getpid()} on {platform.node()}\n".encode())
        os.close(fd)
    return lock
