"""The files of OpenAI's release: one flat array cut anywhere, and a list of shapes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import hashed
from gpt1.checkpoint import folder, huggingface
from gpt1.config import ModelConfig
from gpt1.errors import CheckpointError
from tolerances import EXACT

CONFIG = ModelConfig(vocab_size=50, n_ctx=16, n_embd=128, n_layer=2, n_head=2)


def flat(weights: dict[str, Tensor]) -> list[tuple[list[int], Tensor]]:
    """Return the release's order and shapes: positions, tokens, and a leading 1 on matrices."""
    items = [(name, tensor.float()) for name, tensor in weights.items()]
    items[:2] = items[1], items[0]
    return [
        ([1, *t.shape] if name.startswith("h.") and t.dim() == 2 else [*t.shape], t)
        for name, t in items
    ]


def write(path: Path, config: ModelConfig = CONFIG, parts: int = 10) -> dict[str, Tensor]:
    """Write a release; return its weights by Hugging Face's names."""
    weights = hashed.stored(config, 0.25)
    items = flat(weights)
    path.mkdir(parents=True, exist_ok=True)
    (path / "params_shapes.json").write_text(json.dumps([shape for shape, _ in items]))
    numbers = torch.cat([tensor.flatten() for _, tensor in items]).numpy()
    for i, part in enumerate(np.array_split(numbers, parts)):
        np.save(path / f"params_{i}.npy", part)
    return weights


@pytest.mark.parametrize("parts", [1, 10])
def test_every_tensor_lands_in_its_place(tmp_path: Path, parts: int) -> None:
    weights = write(tmp_path / "model", parts=parts)
    loaded = folder.load(tmp_path / "model")
    assert loaded.config == CONFIG
    assert loaded.tokenizer is None
    for ours, theirs in huggingface.names(CONFIG.n_layer).items():
        expected = weights[theirs].float()
        turned = theirs.startswith("h.") and expected.dim() == 2
        assert_close(loaded.state[ours], expected.t() if turned else expected, **EXACT)
    folder.build(loaded)


def test_it_is_the_same_model_as_in_hugging_face_s_layout(tmp_path: Path) -> None:
    write(tmp_path / "release")
    first = folder.load(tmp_path / "release")
    folder.save(tmp_path / "ours", folder.build(first), None)
    second = folder.load(tmp_path / "ours")
    assert second.config == first.config
    for name, tensor in first.state.items():
        assert_close(second.state[name], tensor, **EXACT)


def test_the_released_shapes_are_the_released_size(tmp_path: Path) -> None:
    shapes = huggingface.shapes(ModelConfig())
    items = flat({name: torch.empty(shape, device="meta") for name, shape in shapes.items()})
    (tmp_path / "params_shapes.json").write_text(json.dumps([shape for shape, _ in items]))
    assert folder.read_config(tmp_path) == ModelConfig()
    assert len(items) == 146
    assert items[0][0] == [512, 768]
    assert items[2][0] == [1, 768, 2304]


@pytest.mark.parametrize("values", [{"n_head": 4}, {"hparams": {"n_head": 4}}])
def test_the_heads_can_be_told(tmp_path: Path, values: object) -> None:
    write(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert folder.load(tmp_path).config.n_head == 4


def test_a_width_that_tells_no_heads_is_refused(tmp_path: Path) -> None:
    write(tmp_path, CONFIG.model_copy(update={"n_embd": 24}))
    with pytest.raises(CheckpointError, match=r"how many heads .* not a multiple of 64\. Add"):
        folder.load(tmp_path)


def npy(*arrays: Any) -> bytes:
    """Return the bytes of an array as .npy, of several as .npz."""
    buffer = io.BytesIO()
    if len(arrays) == 1:
        np.save(buffer, arrays[0], allow_pickle=True)
    else:
        np.savez(buffer, *arrays)
    return buffer.getvalue()


def infinite(data: bytes) -> bytes:
    part = np.load(io.BytesIO(data))
    part[3] = np.inf
    return npy(part)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("params_3.npy", lambda data: data[:-5], r"params_3\.npy is not a complete \.npy file"),
        ("params_2.npy", lambda _: npy(np.array([{"a": 1}], object)), "is not a complete"),
        ("params_2.npy", lambda _: npy(np.zeros((2, 2), np.float32)), "is not a flat array"),
        ("params_2.npy", lambda _: npy(np.zeros(3), np.zeros(3)), "is not a flat array"),
        ("params_0.npy", infinite, "not finite: positions"),
        ("params_shapes.json", lambda data: data.replace(b"[1, 128, 128]", b"[1, 128, 129]", 1),
         r"shape 4 \(h\.0\.attn\.c_proj\.weight\) is \[1, 128, 129\]"),
        ("params_shapes.json", lambda _: b'[[16, 128], [50, "x"]]', "is not GPT-1's"),
        ("params_shapes.json", lambda _: json.dumps([[-16, 128]] * 26).encode(), "is not GPT-1's"),
    ],
)  # fmt: skip
def test_what_is_damaged_is_refused(
    tmp_path: Path, name: str, damage: Callable[[bytes], bytes], message: str
) -> None:
    write(tmp_path)
    (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    with pytest.raises(CheckpointError, match=message):
        folder.load(tmp_path)


def test_a_lost_part_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "params_9.npy").unlink()
    with pytest.raises(CheckpointError, match=r"numbers in 9 files .* asks for"):
        folder.load(tmp_path)
