"""gpt1 bench: how fast this machine writes, and with which weights it should."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpt1.cli import options, print_json
from gpt1.errors import ConfigError, UsageError, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpt1.evaluation.speed import Machine, Rate
    from gpt1.model.transformer import Transformer
    from gpt1.reports.sections import BarChart, Table

ROWS = (1, 8, 32)


def bench(
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="The model to measure: a name or a folder.", show_default="mini"
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Random weights of this size instead: gpt1, mini, tiny, ...")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.01, max=60, help="How long each rate is measured.")
    ] = 1,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the rates as a bar chart into this .svg file.")
    ] = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Measure how fast this machine generates text, with each width of the weights.

    It takes about a minute. Close other programs first: they would slow it down. The bound is what
    memory and processor allow; a small model may pass it where its weights fit into the caches.
    """
    if model is not None and size is not None:
        raise UsageError("--model and --size exclude each other; give one of them.")
    present = plot is not None and options.check_file("--plot", plot, ".svg", force=force)

    from gpt1.cli.progress import Progress
    from gpt1.evaluation import speed
    from gpt1.reports.tables import print_table

    transformer = _load(model or "mini", size)
    machine = speed.measure_machine(transformer.tokens.weight.device)
    rates: list[Rate] = []
    with Progress("measuring", "rates") as shown:
        for rate in speed.measure_rates(transformer, machine, ROWS, seconds):
            rates.append(rate)
            shown.progress(len(rates), 0)
    best = [speed.recommended(rates, rows) for rows in (ROWS[0], ROWS[-1])]
    if plot is not None:
        from gpt1 import storage
        from gpt1.reports.charts import draw_svg

        chart = _chart(rates, f"{size or model or 'mini'} on this machine, {_threads()}")
        storage.write_file(plot, draw_svg(chart, alone=True), replace=present)
    if json:
        print_json(
            {
                "machine": asdict(machine),
                "rates": [asdict(rate) for rate in rates],
                "recommended": [asdict(rate) for rate in best],
            }
        )
        return
    settings = [("model", size or model or "mini"), ("torch", _threads())]
    print_table("This machine", _machine_table(machine, settings))
    print_table(
        "\nTokens a second, all texts together",
        _rate_table(rates),
        "share: of what memory and processor could do, as measured; caches can exceed it",
    )
    print_table(
        "\nRecommended, as arguments of gpt1.load",
        _recommended_table(best),
        "int4 is left out: it costs a few percent of perplexity",
    )


def _threads() -> str:
    import torch

    return counted(torch.get_num_threads(), "thread")


def _load(name: str, size: str | None) -> Transformer:
    """Return a model on the device that `auto` means. Raises ConfigError for an LSTM."""
    import torch

    from gpt1.checkpoint import folder, hub
    from gpt1.config import load_size
    from gpt1.model.build import build_model
    from gpt1.model.device import choose_device
    from gpt1.model.transformer import Transformer

    if size is None:
        model = folder.build(folder.load(hub.resolve(name)))
    else:
        model = build_model(load_size(size), generator=torch.Generator().manual_seed(0))
    if not isinstance(model, Transformer):
        raise ConfigError(f"{size or name} is an LSTM, which does not generate. Take another.")
    return model.to(choose_device("auto")).eval()


def _machine_table(machine: Machine, settings: Sequence[tuple[str, str]]) -> Table:
    from gpt1.reports.sections import Table

    rows = [*settings, ("reading memory", f"{machine.bandwidth / 1e9:,.1f} GB/s")]
    rows += [(f"{name} products", f"{p / 1e9:,.0f} GFLOP/s") for name, p in machine.peaks.items()]
    return Table((), rows, "settings")


def _by_setting(rates: Sequence[Rate]) -> dict[str, list[Rate]]:
    """Return the rates of each width and backend, in order."""
    grouped: dict[str, list[Rate]] = {}
    for rate in rates:
        grouped.setdefault(f"{rate.dtype}, {rate.backend}", []).append(rate)
    return grouped


def _rate_table(rates: Sequence[Rate]) -> Table:
    from gpt1.reports.sections import Table

    columns = ["weights, backend"]
    for rows in ROWS:
        columns += [counted(rows, "text"), "share"]
    table = [
        [name, *(cell for r in row for cell in (f"{r.ids_per_second:,.0f}", f"{r.share:.0%}"))]
        for name, row in _by_setting(rates).items()
    ]
    return Table(columns, table)


def _recommended_table(best: Sequence[Rate]) -> Table:
    from gpt1.reports.sections import Table

    rows = [
        (counted(rate.rows, "text"), f'dtype="{rate.dtype}", backend="{rate.backend}"',
         f"{rate.ids_per_second:,.0f} tokens/s")
        for rate in best
    ]  # fmt: skip
    return Table((), rows, "settings")


def _chart(rates: Sequence[Rate], title: str) -> BarChart:
    from gpt1.reports.sections import BarChart

    grouped = _by_setting(rates)
    bars = {
        counted(rows, "text"): [
            rate.ids_per_second for row in grouped.values() for rate in row if rate.rows == rows
        ]
        for rows in ROWS
    }
    names = [name.replace(", ", "\n") for name in grouped]
    return BarChart(title, "tokens a second, all texts together", names, bars)
