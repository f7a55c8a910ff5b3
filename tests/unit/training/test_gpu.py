"""Training on a GPU: bf16, fused Adam, compiled blocks; learns as on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import runs

from gpt1.text.tokenizer import Tokenizer

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]
SHAPE = {"n_ctx": 64, "n_embd": 64, "n_layer": 2, "n_head": 2}
SETTINGS = ("train.steps=40", "train.batch_size=4", "optimizer.lr=1e-3")


def test_a_gpu_learns_what_a_cpu_learns(
    tmp_path: Path, stories: list[str], tokenizer: Tokenizer
) -> None:
    corpus = runs.make_corpus(tmp_path, stories, tokenizer, SHAPE, *SETTINGS)
    losses = {}
    for device, compiled in (("cuda", "on"), ("cpu", "off")):
        out = tmp_path / device
        corpus.train(out, f"train.device={device}", f"train.compile={compiled}", valid=None)
        losses[device] = [line["loss"] for line in runs.history(out) if "loss" in line]
    gpu, cpu = losses["cuda"], losses["cpu"]
    assert cpu[0] - cpu[-1] > 0.5
    assert gpu[0] == pytest.approx(cpu[0], rel=1e-2)
    assert sum(gpu[-10:]) == pytest.approx(sum(cpu[-10:]), rel=5e-2)  # other dropout masks
