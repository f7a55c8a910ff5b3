"""TensorBoard reads back what was written, once, however often the run was continued."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest

from gpt1.errors import ConfigError, StorageError
from gpt1.training.tracking import Tensorboard
from run_logs import update


def write(folder: Path, records: list[dict[str, Any]], purge_step: int | None = None) -> Any:
    """Write records; return what TensorBoard reads of the folder."""
    pytest.importorskip("tensorboard")
    board = Tensorboard(folder, purge_step)
    for record in records:
        board.record(record)
    board.close()
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = events.EventAccumulator(str(folder))
    found.Reload()
    return found


def test_figures_and_texts_are_found_again(tmp_path: Path) -> None:
    records = [
        {"step": 0, "valid_loss": 1.0, "valid_accuracy": 0.75},
        update(1, 2.0, lr=0.5),
        {"step": 1, "sample": "it was\na <b>cat"},
        {"step": 2, "skipped": "the loss is nan"},
    ]
    found = write(tmp_path / "events", records)
    scalars = {
        tag: [(event.step, event.value) for event in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }
    assert scalars == {
        "training/loss": [(1, 2.0)],
        "training/perplexity": [(1, pytest.approx(math.exp(2)))],
        "training/lr": [(1, 0.5)],
        "training/grad_norm": [(1, 0.5)],
        "training/tokens_per_second": [(1, 1001.0)],
        "training/loader_share": [(1, pytest.approx(0.01))],
        "validation/loss": [(0, 1.0)],
        "validation/accuracy": [(0, 0.75)],
        "validation/perplexity": [(0, pytest.approx(math.e))],
    }
    texts = {tag: found.Tensors(tag)[0] for tag in found.Tags()["tensors"]}
    steps = {tag: event.step for tag, event in texts.items()}
    assert steps == {"sample/text_summary": 1, "skipped/text_summary": 2}
    assert texts["sample/text_summary"].tensor_proto.string_val == [b"    it was\n    a <b>cat"]


@pytest.mark.parametrize(
    ("purge_step", "kept"), [(3, [1.0, 2.0, 30.0]), (0, [30.0]), (None, [1.0, 2.0, 3.0, 4.0, 30.0])]
)
def test_a_continued_run_takes_the_place_of_what_came_after(
    tmp_path: Path, purge_step: int | None, kept: list[float]
) -> None:
    write(tmp_path, [update(step, float(step)) for step in (1, 2, 3, 4)])
    found = write(tmp_path, [update(3, 30.0)], purge_step)
    assert [event.value for event in found.Scalars("training/loss")] == kept


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
