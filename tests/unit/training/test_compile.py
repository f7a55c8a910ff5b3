"""torch.compile of the blocks: the same training, or none and a word why."""

from __future__ import annotations

import io

import pytest
import torch
from rich.console import Console

import tiny
from gpt1.model.transformer import Transformer
from gpt1.training import trainer
from gpt1.training.progress import TrainingProgress


def plain_model() -> Transformer:
    return tiny.model(embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0)


def gradient(model: Transformer) -> torch.Tensor:
    ids = torch.randint(0, 90, (2, 32), generator=torch.Generator().manual_seed(0))
    model.train()
    model.hidden(ids).square().sum().backward()
    grad = model.blocks[0].mlp.fc.weight.grad
    assert grad is not None
    return grad


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_compiled_blocks_have_the_gradients_of_plain_ones() -> None:
    plain, compiled = plain_model(), plain_model()
    said = io.StringIO()
    trainer._compile(compiled, torch.float32, TrainingProgress(1, Console(file=said)))
    assert said.getvalue() == ""
    assert compiled.blocks[0]._compiled_call_impl is not None
    torch.testing.assert_close(gradient(compiled), gradient(plain), rtol=1e-4, atol=1e-4)


def test_a_compiler_that_fails_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: torch.nn.Module) -> None:
        def fails(*args: object) -> None:
            raise OSError("no C++ compiler\nand a page about it")

        self._compiled_call_impl = fails

    monkeypatch.setattr(torch.nn.Module, "compile", broken)
    model, said = plain_model(), io.StringIO()
    trainer._compile(model, torch.float32, TrainingProgress(1, Console(file=said, width=200)))
    assert said.getvalue() == (
        "torch.compile does not work here (no C++ compiler); going on without it\n"
    )
    torch.testing.assert_close(gradient(model), gradient(plain_model()))
