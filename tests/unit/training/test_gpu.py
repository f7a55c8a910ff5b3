"""Training on a GPU: bf16, fused Adam, compiled blocks; learns as on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import gpt1
from gpt1.data.shards import write_shards
from gpt1.data.tables import open_texts
from gpt1.storage import Log
from gpt1.text.tokenizer import Tokenizer

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]
SIZE = "[model]\nvocab_size = 80\nn_ctx = 64\nn_embd = 64\nn_layer = 2\nn_head = 2\n"


def losses(place: Path, device: str, *more: str) -> list[float]:
    out = place / f"run-{device}"
    gpt1.pretrain(
        place / "shards", size=str(place / "size.toml"), out=out,
        overrides=["train.steps=40", "train.batch_size=4", "optimizer.lr=1e-3",
                   f"train.device={device}", *more],
    )  # fmt: skip
    return [line["loss"] for line in Log(out / "metrics.jsonl").read() if "loss" in line]


def test_a_gpu_learns_what_a_cpu_learns(
    tmp_path: Path, stories: list[str], tokenizer: Tokenizer
) -> None:
    (tmp_path / "size.toml").write_text(SIZE)
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in stories))
    write_shards(tmp_path / "shards", open_texts(tmp_path / "text.jsonl"), tokenizer, workers=1)
    gpu = losses(tmp_path, "cuda", "train.compile=on")
    cpu = losses(tmp_path, "cpu")
    assert cpu[0] - cpu[-1] > 0.5
    assert gpu[0] == pytest.approx(cpu[0], rel=1e-2)
    assert sum(gpu[-10:]) == pytest.approx(sum(cpu[-10:]), rel=5e-2)  # other dropout masks
