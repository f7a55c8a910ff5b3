"""Rates, bounds and what is recommended; `gpt1 bench` on a tiny model."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
import torch

import tiny
from commands import run_gpt1
from gpt1.cli import bench
from gpt1.config import ModelConfig, load_size
from gpt1.evaluation import speed
from gpt1.evaluation.speed import Machine, Rate
from gpt1.generation import onnx_backend
from gpt1.model.transformer import Transformer
from gpt1.reports.console import Console
from gpt1.reports.tables import format_table, print_table


def test_a_step_multiplies_the_weights_of_every_matrix() -> None:
    config = ModelConfig(**tiny.config().model_dump() | {"n_layer": 3})
    model = Transformer(config)
    matrices = [m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear)]
    assert speed.matrix_weights(config) == sum(matrices) + model.tokens.weight.numel()


def test_the_bound_is_the_narrower_of_memory_and_products() -> None:
    config = load_size("mini")
    weights = speed.matrix_weights(config)
    machine = Machine(bandwidth=1e9, peaks={"float32": 1e11, "int8": 1e12})
    assert machine.bound(config, "float32", 1) == pytest.approx(1e9 / (4 * weights))
    assert machine.bound(config, "float32", 1000) == pytest.approx(1e11 / (2 * weights))
    assert machine.bound(config, "float16", 1000) == machine.bound(config, "float32", 1000)
    assert machine.bound(config, "int4", 1) == pytest.approx(2e9 / weights)
    assert machine.bound(config, "bfloat16", 1000) == pytest.approx(1000 * 0.5e9 / weights)


def test_four_bits_are_not_recommended() -> None:
    rates = [
        Rate("float32", "torch", 1, 10, 0.5),
        Rate("int8", "onnx", 1, 30, 0.5),
        Rate("int4", "onnx", 1, 50, 0.5),
        Rate("bfloat16", "torch", 32, 900, 0.5),
    ]
    assert [speed.recommended(rates, rows).dtype for rows in (1, 32)] == ["int8", "bfloat16"]


def test_the_tables_of_bench_fit_into_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rates = [Rate("bfloat16", "torch", rows, 123456.7, 1.234) for rows in bench.ROWS]
    for table in (bench._rate_table(rates), bench._recommended_table(rates)):
        terminal = Console(highlight=False, force_terminal=True, file=io.StringIO())
        print_table("", table, console=terminal)
        text = terminal.file.getvalue()
        assert "123,457" in text
        assert "…" not in text
        assert max(map(len, format_table(table).splitlines())) <= 80


def test_bench_measures_every_width_and_draws_it(tmp_path: Path) -> None:
    plot = tmp_path / "bars.svg"
    arguments = ("bench", "--size", "tiny", "--seconds", "0.01", "--plot", str(plot))
    result = json.loads(run_gpt1(*arguments, "--json").check().stdout)
    measured = {(rate["dtype"], rate["backend"]) for rate in result["rates"]}
    assert ("float32", "torch") in measured
    assert (("int4", "onnx") in measured) == onnx_backend.is_installed()
    assert len(result["rates"]) == 3 * len(measured)
    assert all(rate["ids_per_second"] > 0 and rate["share"] > 0 for rate in result["rates"])
    assert result["machine"]["bandwidth"] > 1e8
    assert [rate["rows"] for rate in result["recommended"]] == [1, 32]
    svg = plot.read_text("utf-8")
    texts = re.findall(r">([^<>]+)</text>", svg)
    assert {"32 texts", "tokens a second, all texts together", "float32"} <= set(texts)
    assert any(text.startswith("tiny on this machine, ") for text in texts)

    refused = run_gpt1(*arguments)
    assert refused.code == 2
    assert "--force" in refused.message


def test_bench_refuses_what_does_not_write() -> None:
    assert "LSTM" in run_gpt1("bench", "--size", "lstm-mini").message
    both = run_gpt1("bench", "--size", "tiny", "--model", "mini")
    assert both.code == 2
    assert "exclude each other" in both.message
