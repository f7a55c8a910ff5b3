"""Writes the files of training runs that never were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gpt1.config import RunConfig
from gpt1.storage import Log

RECORD: dict[str, Any] = {
    "gpt1": "9.8.7",
    "config": RunConfig().model_dump(mode="json"),
    "fingerprints": {"data": "d" * 64, "validation": None},
    "machine": {"torch": "2.13.0", "threads": 4},
}


def update(step: int, loss: float, **more: Any) -> dict[str, Any]:
    """Return an update's line of metrics.jsonl."""
    return {
        "step": step, "loss": loss, "lr": 1e-3 / step, "grad_norm": 0.5, "tokens": 100 * step,
        "tokens_per_second": 1000.0 + step, "seconds": 2.0 * step, "loader_share": 0.01, **more,
    }  # fmt: skip


def make_run(
    path: Path,
    lines: list[dict[str, Any]],
    settings: dict[str, dict[str, Any]] | None = None,
    **record: Any,
) -> Path:
    """Write the files that a run leaves; `settings` and `record` replace parts of RECORD."""
    path.mkdir(parents=True)
    run: dict[str, Any] = json.loads(json.dumps({**RECORD, **record}))
    for section, fields in (settings or {}).items():
        run["config"][section].update(fields)
    (path / "run.json").write_text(json.dumps(run))
    Log(path / "metrics.jsonl").append(*lines)
    return path
