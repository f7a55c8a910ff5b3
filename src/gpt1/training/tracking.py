"""A run's figures for TensorBoard, beside metrics.jsonl (train.tensorboard, extra gpt1[track])."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpt1 import storage
from gpt1.errors import ConfigError
from gpt1.model import losses

_NAMES = {
    name: f"training/{name}"
    for name in ("loss", "task_loss", "lr", "grad_norm", "tokens_per_second", "loader_share")
}


class Tensorboard:
    """Writes records of metrics.jsonl as TensorBoard's events into `folder`.

    `purge_step` is the first update of a resumed run: what was written from there on is no longer
    shown. Raises ConfigError if TensorBoard is not installed, StorageError.
    """

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ConfigError(
                "train.tensorboard is true, and TensorBoard is not installed. Leave the setting "
                'out, or install it: pip install "gpt1[track]"'
            ) from None
        self._folder = folder
        with storage.wrap_os_errors("write", folder):
            self._writer = SummaryWriter(str(folder), purge_step=purge_step)

    def record(self, record: Mapping[str, Any]) -> None:
        """Write one line of metrics.jsonl."""
        step = record["step"]
        with storage.wrap_os_errors("write", self._folder):
            for name, value in record.items():
                tag = _NAMES.get(name, name.replace("valid_", "validation/"))
                if name in ("sample", "skipped"):
                    text = value.replace("\n", "\n    ")  # indented: shown as it is
                    self._writer.add_text(name, f"    {text}", step)
                elif "/" in tag:
                    self._writer.add_scalar(tag, value, step)
                if name in ("loss", "valid_loss"):
                    tag = tag.replace("loss", "perplexity")
                    self._writer.add_scalar(tag, losses.perplexity(value), step)

    def close(self) -> None:
        """Write what is still in memory."""
        with storage.wrap_os_errors("write", self._folder):
            self._writer.close()
