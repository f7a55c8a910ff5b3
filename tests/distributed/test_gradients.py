"""However many ranks share an update, and however it is cut: the same gradients, masks included."""

from __future__ import annotations

import json
from pathlib import Path

import launch
import pytest

import tolerances


@pytest.mark.parametrize(
    "ranks", [2, pytest.param(4, marks=pytest.mark.slow)], ids=["2 ranks", "4 ranks"]
)
def test_ranks_give_the_gradients_of_one_process(ranks: int) -> None:
    script = str(Path(__file__).with_name("gradients.py"))
    launcher = launch.torchrun(ranks, [], module=script)
    said = launch.finish(launcher)
    assert launcher.returncode == 0, said
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert len(lines) == (2 * 3 + 3) * 2
    for line in lines:
        exact = line["dtype"] == "torch.float64"
        limit = tolerances.ACCUMULATION_FP64["rtol"] if exact else tolerances.FP32
        # with 4 ranks a rank's share of 8 is 2, so 4 sequences cannot go through together and
        # dropout's masks are cut in another way
        if line["micro"] <= 8 // ranks:
            assert line["tensors"] == (26 if line["kind"] == "lm" else 28)
            assert line["worst"] <= limit, line
            assert abs(line["norm"]) <= limit, line
            assert abs(line["loss"]) <= limit, line
        assert line["tokens"] == 0, line
