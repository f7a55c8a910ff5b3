"""TensorBoard reads back what was written, once, however often the run was continued."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest

from gpt1.errors import ConfigError, StorageError
from gpt1.training.tracking import Tensorboard


def update(step: int, loss: float) -> dict[str, Any]:
    return {
        "step": step, "loss": loss, "lr": 0.5, "grad_norm": 2.0, "tokens": 9, "seconds": 1.0,
        "tokens_per_second": 8.0, "loader_share": 0.25,
    }  # fmt: skip


def read(folder: Path) -> Any:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = events.EventAccumulator(str(folder))
    found.Reload()
    return found


def write(folder: Path, records: list[dict[str, Any]], purge_step: int | None = None) -> None:
    pytest.importorskip("tensorboard")
    board = Tensorboard(folder, purge_step)
    for record in records:
        board.record(record)
    board.close()


def test_figures_and_texts_are_found_again(tmp_path: Path) -> None:
    write(
        tmp_path / "events",
        [
            {"step": 0, "valid_loss": 1.0, "valid_accuracy": 0.75},
            update(1, 2.0),
            {"step": 1, "sample": "it was\na <b>cat"},
            {"step": 2, "skipped": "the loss is nan"},
        ],
    )
    found = read(tmp_path / "events")
    scalars = {
        tag: [(event.step, event.value) for event in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }
    assert scalars == {
        "training/loss": [(1, 2.0)],
        "training/perplexity": [(1, pytest.approx(math.exp(2)))],
        "training/lr": [(1, 0.5)],
        "training/grad_norm": [(1, 2.0)],
        "training/tokens_per_second": [(1, 8.0)],
        "training/loader_share": [(1, 0.25)],
        "validation/loss": [(0, 1.0)],
        "validation/accuracy": [(0, 0.75)],
        "validation/perplexity": [(0, pytest.approx(math.e))],
    }
    texts = {tag: found.Tensors(tag)[0] for tag in found.Tags()["tensors"]}
    assert {tag: event.step for tag, event in texts.items()} == {
        "sample/text_summary": 1,
        "skipped/text_summary": 2,
    }
    assert texts["sample/text_summary"].tensor_proto.string_val == [b"    it was\n    a <b>cat"]


@pytest.mark.parametrize(("purge_step", "kept"), [(3, [1.0, 2.0, 30.0]), (0, [30.0]), (None, None)])
def test_a_continued_run_takes_the_place_of_what_came_after(
    tmp_path: Path, purge_step: int | None, kept: list[float] | None
) -> None:
    write(tmp_path, [update(step, float(step)) for step in (1, 2, 3, 4)])
    write(tmp_path, [update(3, 30.0)], purge_step)
    losses = [event.value for event in read(tmp_path).Scalars("training/loss")]
    assert losses == ([1.0, 2.0, 3.0, 4.0, 30.0] if kept is None else kept)


def test_without_tensorboard_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ConfigError, match=r'train\.tensorboard is true.*"gpt1\[track\]"'):
        Tensorboard(tmp_path)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not write"):
        Tensorboard(tmp_path / "file" / "events")
