"""TorchBackends: close to the model, or equal to it; never at the model's expense."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gpt1.config import ModelConfig
from gpt1.errors import ConfigError
from gpt1.generation import kernels
from gpt1.generation.torch_backend import TorchBackend, make_backend
from gpt1.model.transformer import Transformer
from tolerances import BF16

CONFIG = ModelConfig(vocab_size=301, n_ctx=32, n_embd=64, n_layer=3, n_head=4)
HALF = 2e-3
"""float16 keeps 11 bits of a weight: 2^-11 of each, some times that after the layers."""


def make(dtype: torch.dtype = torch.float32) -> Transformer:
    return Transformer(CONFIG, generator=torch.Generator().manual_seed(1)).to(dtype).eval()


def some_ids(rows: int = 3, length: int = 20) -> Tensor:
    return torch.randint(301, (rows, length), generator=torch.Generator().manual_seed(2))


def logits_of(backend: TorchBackend, ids: Tensor) -> Tensor:
    """Return the logits (B, T, V), read one id at a time."""
    B, T = ids.shape
    cache, slots = backend.new_cache(B + 1, T), slice(1, B + 1)
    steps = [backend.prefill(ids[:, :1], torch.ones(B, dtype=torch.int64), cache, slots)]
    steps += [backend.decode(ids[:, t], cache, slots) for t in range(1, T)]
    return torch.stack(steps, 1)


def error(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float32_is_the_model_itself(dtype: torch.dtype) -> None:
    model, ids = make(dtype), some_ids()
    logits = logits_of(make_backend(model, "float32"), ids)
    assert logits.dtype == dtype
    assert make_backend(make(torch.float64)).dtype == torch.float64  # auto rounds nothing finer
    with pytest.raises(
        ConfigError, match=r"torch cannot compute with int4 .* can with float32, float16"
    ):
        make_backend(model, "int4")  # which onnxruntime has
    with pytest.raises(ConfigError, match=r"the model is torch\.float64, and only float32 is"):
        make_backend(make(torch.float64), "int8")
    with torch.inference_mode():
        torch.testing.assert_close(logits, model(ids).logits)


def test_auto_takes_float16_weights_on_a_cpu_that_has_them_and_stays_close() -> None:
    model, ids = make(), some_ids()
    ready = make_backend(model)
    assert ready.weights in ("float16", "float32")
    with torch.inference_mode():
        assert error(logits_of(ready, ids), model(ids).logits) < HALF


def test_float16_weights_compute_with_the_rounded_weights_in_float32() -> None:
    """The only loss is the rounding of the weights: rounding them by hand gives the same."""
    if make_backend(make()).weights != "float16":
        pytest.skip("this torch build has no float16 linear operator")
    model, ids = make(), some_ids()
    rounded = make()
    with torch.no_grad():
        for module in rounded.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.copy_(module.weight.half().float())
        hidden = rounded.hidden(ids)
        expected = hidden @ rounded.tokens.weight.half().float().T  # the table itself stays exact
    assert error(logits_of(make_backend(model), ids), expected) < 1e-6


def test_without_a_sound_kernel_the_weights_stay_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise RuntimeError("no engine")

    monkeypatch.setattr(kernels, "trials", kernels.trials.__wrapped__)
    monkeypatch.setattr(kernels.HalfFbgemm, "forward", lambda self, x: torch.zeros(len(x), 1536))
    assert "wrong" in (kernels.trials("float16")[0].failure or "")
    assert make_backend(make()).weights == "float32"
    monkeypatch.setattr(torch.ops.quantized, "linear_prepack_fp16", missing)
    assert kernels.trials("float16")[0].failure == "no engine"
    with pytest.raises(
        ConfigError, match=r"torch cannot compute with float16 .* can with float32, bfloat16, int8"
    ):
        make_backend(make(), "float16")


@pytest.mark.parametrize(("width", "most"), [("float16", HALF), ("bfloat16", BF16), ("int8", 0.05)])
def test_every_width_is_close_and_shares_what_it_can(width: str, most: float) -> None:
    model, ids = make(), some_ids()
    ready = make_backend(model, width)
    assert ready.weights == width
    assert ready.num_bytes < 8 * model.num_parameters()
    shared = ready.model.tokens.weight is model.tokens.weight
    assert shared == (width != "bfloat16")
    with torch.inference_mode():
        assert error(logits_of(ready, ids), model(ids).logits) < most


@pytest.mark.parametrize("kernel", kernels.KERNELS["int8"])
def test_int8_computes_the_rounded_matrices_exactly_whatever_rows_are_together(
    kernel: type[kernels.Kernel],
) -> None:
    generator = torch.Generator().manual_seed(3)
    weight, bias = torch.randn(80, 96, generator=generator), torch.randn(80, generator=generator)
    x = torch.randn(40, 96, generator=generator) * torch.logspace(-3, 3, 40)[:, None]
    x[7] = 0
    if any(t.kernel == kernel.__name__ and t.failure for t in kernels.trials("int8")):
        pytest.skip(f"this machine has no {kernel.__name__}")
    scale = weight.abs().amax(1).double() / 127
    steps = x.abs().amax(1, keepdim=True).clamp_min(1e-30) / 127
    rows = (x / steps).round().double()
    expected = rows @ (weight / scale[:, None].float()).round().double().T * scale
    expected = expected * steps.double() + bias.double()
    packed = kernel(weight, bias)
    together = packed(x)
    torch.testing.assert_close(together.double(), expected, rtol=1e-6, atol=1e-6)
    for i, row in enumerate(x):
        assert torch.equal(packed(row[None]), together[i : i + 1])
    assert torch.equal(packed(x.view(2, 20, 96)), together.view(2, 20, 80))
    x[3, 5] = torch.nan
    assert packed(x)[3].isnan().all()
    assert torch.equal(packed(x)[4:], together[4:])


def test_bfloat16_leaves_the_model_in_float32() -> None:
    model, ids = make(), some_ids()
    ready = TorchBackend(model, "bfloat16")
    logits = logits_of(ready, ids)
    assert logits.dtype == torch.float32
    with torch.inference_mode():
        assert error(logits, model(ids).logits) < BF16
    assert model.tokens.weight.dtype == torch.float32


def test_the_model_is_left_alone_and_dropout_is_off() -> None:
    model, ids = make().train(), some_ids()
    before = {name: (p.data_ptr(), p.detach().clone()) for name, p in model.named_parameters()}
    kinds = [type(m) for m in model.modules()]
    for ready in (
        make_backend(model, "float32"),
        make_backend(model),
        TorchBackend(model, "bfloat16"),
    ):
        assert torch.equal(logits_of(ready, ids), logits_of(ready, ids))
    assert all(m.training for m in model.modules())
    assert [type(m) for m in model.modules()] == kinds
    assert all(p.requires_grad for p in model.parameters())
    for name, p in model.named_parameters():
        pointer, value = before[name]
        assert p.data_ptr() == pointer
        assert torch.equal(p, value)


def test_a_backend_shares_embeddings_and_knows_when_the_model_has_moved_on() -> None:
    model = make()
    ready = make_backend(model)
    assert ready.model.tokens.weight is model.tokens.weight
    assert ready.model.positions.weight is model.positions.weight

    def step() -> None:
        with torch.no_grad():
            model.blocks[2].mlp.fc.bias.add_(1)

    def replace() -> None:
        model.tokens = torch.nn.Embedding(301, 64)

    for change in (step, lambda: model.load_state_dict(make().state_dict()), replace):
        ready, exact = make_backend(model), make_backend(model, "float32")
        assert ready.is_current()
        assert exact.is_current()
        change()
        assert not ready.is_current()
        assert not exact.is_current()


def test_rows_are_extended_cut_back_and_extended_again() -> None:
    """Pieces of every length, in rows of different lengths, against the whole texts at once."""
    model = make().double()
    backend, ids = TorchBackend(model), some_ids()[:2, :20]
    with torch.inference_mode():
        expected = model(ids).logits
    cache = backend.new_cache(3, 30)
    backend.extend(ids[:, :9], torch.tensor([9, 4]), cache, slice(0, 2))
    cache.truncate(0, 7)  # rows of 7 and 4 ids
    further = torch.stack([ids[0, 7:12], ids[1, 4:9]])
    found = backend.logits(backend.extend(further, torch.tensor([5, 3]), cache, slice(0, 2)))
    torch.testing.assert_close(found[0], expected[0, 7:12])
    torch.testing.assert_close(found[1, :3], expected[1, 4:7])
    assert cache.lengths.tolist() == [12, 7, 0]
    torch.testing.assert_close(
        backend.decode(torch.stack([ids[0, 12], ids[1, 7]]), cache, slice(0, 2)),
        torch.stack([expected[0, 12], expected[1, 7]]),
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_auto_on_cuda_is_bfloat16_and_close() -> None:
    model, ids = make().cuda(), some_ids().cuda()
    ready = make_backend(model)
    assert ready.weights == "bfloat16"
    with torch.inference_mode():
        assert error(logits_of(ready, ids), model(ids).logits) < BF16
