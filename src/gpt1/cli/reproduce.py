"""gpt1 reproduce: the paper's tables and figures, with models and data of any size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from gpt1.reproduction.document import Table
    from gpt1.reproduction.plan import Plan


def reproduce(
    context: typer.Context,
    name: Annotated[
        Literal["table5", "tables2-4", "figure2-left", "figure2-right"],
        typer.Argument(help="What to make anew.", metavar="NAME"),
    ],
    data: Annotated[str, typer.Option(help="The folder that holds the data sets.")],
    out: Annotated[Path, typer.Option(help="The folder of results; may be there already.")],
    model: Annotated[str, typer.Option(help="A name, a folder or a repository.")] = "mini",
    lstm: Annotated[
        str | None, typer.Option(help="A pre-trained LSTM's folder: table5's last row.")
    ] = None,
    sets: Annotated[str | None, typer.Option(help="Data sets, with commas between.")] = None,
    variants: Annotated[
        str | None, typer.Option(help="Of table5: full,no-pretraining,no-aux,lstm.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Models of each kind.")] = 1,
    limit_train: Annotated[
        int, typer.Option(min=0, help="Training rows of each set (RACE: a quarter); 0: all.")
    ] = 2000,
    limit_test: Annotated[
        int, typer.Option(min=0, help="Measured rows of each set (RACE: a quarter); 0: all.")
    ] = 1000,
    checkpoints: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Of figure2-right: a run's folder; may be repeated."),
    ] = None,
    texts: Annotated[
        int, typer.Option(min=1, help="Of figure2-right without a run: novels to pre-train on.")
    ] = 8,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="section.field=value, may be repeated.")
    ] = None,
    finished: Annotated[
        bool, typer.Option("--finished", help="Train nothing: show what is finished in OUT.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make the paper's tables and figures anew, ours beside the paper's.

    table5: full, without pre-training, without the auxiliary LM, and the LSTM. tables2-4: all data
    sets. figure2-left: what each transferred block is worth. figure2-right: zero-shot scores over
    pre-training; without --checkpoints a tiny model is pre-trained for it on DATA/novels.

    Says first how long it will take. What is finished stays in OUT, so the same command goes on
    where it was cut off. Writes OUT/NAME.md, .html, .json, and .png where there is a picture.
    """
    import sys

    from rich.console import Console

    from gpt1.cli.progress import Progress
    from gpt1.errors import ConfigError
    from gpt1.reproduction import anew, document
    from gpt1.reproduction.grid import Budget, Grid
    from gpt1.storage import json_bytes

    some = _parts(sets)
    chosen = _variants(variants, lstm)
    given = _given(context)
    for option, of in [
        ("variants", "table5"), ("lstm", "table5"),
        ("checkpoints", "figure2-right"), ("texts", "figure2-right"),
    ]:  # fmt: skip
        if option in given and name != of:
            raise ConfigError(
                f"--{option} is for {of} and would change nothing here. Leave it out."
            )
    if name == "figure2-right":
        for option in ("model", "seeds", "limit_train", "finished"):
            if option in given:
                raise ConfigError(
                    f"--{option.replace('_', '-')} is for what is fine-tuned and would change "
                    f"nothing in figure2-right. Leave it out."
                )
        if checkpoints and "texts" in given:
            raise ConfigError("--texts is for a run made here; leave it or --checkpoints out.")
    if name == "figure2-right" and checkpoints and set_:
        raise ConfigError("--set is for what is trained; with --checkpoints nothing is. Leave one.")
    budget = Budget(limit_train or None, limit_test or None, tuple(set_ or ()))
    with Progress() as shown:

        def report(doing: str, state: str, done: int, total: int | None) -> None:
            shown.show(doing, state, done, total)

        def planned(plan: Plan) -> None:
            for line in (*plan.lost, *plan.failed):
                shown.console.print(line, soft_wrap=True, markup=False)
            if plan.works:
                _print(shown.console, plan.table())

        if name == "figure2-right":
            made = anew.figure2_right(
                out, data, runs=checkpoints or (), limit=budget.test, texts=texts,
                overrides=budget.overrides, report=report, **({"sets": some} if some else {}),
                said=lambda line: shown.console.print(line, soft_wrap=True, markup=False),
            )  # fmt: skip
        else:
            grid = Grid(out, data, model=model, lstm=lstm, budget=budget, quiet=True)
            common: Any = {"seeds": seeds, "planned": planned, "report": report}
            common["train"] = not finished
            common |= {"sets": some} if some else {}
            if name == "table5":
                made = anew.table5(grid, variants=chosen, **common)
            elif name == "tables2-4":
                made = anew.tables2_4(grid, **common)
            else:
                made = anew.figure2_left(grid, **common)
    paths = document.write(made.document, out)
    if json:
        print(json_bytes(document.as_json(made.document)).decode(), end="")
    else:
        console = Console(highlight=False)
        for note in made.document.notes:
            console.print(note, markup=False)
        for table in made.document.tables:
            console.print()
            _print(console, table)
    for path in paths:
        print(path, file=sys.stderr)
    if made.failed:
        for line in made.failed:
            print(f"failed: {line}", file=sys.stderr)
        raise typer.Exit(1)


def _given(context: typer.Context) -> set[str]:
    """Return the names of the options that are on the command line."""
    # by name: the enum is click's, or the one that newer typer brings itself
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, one in sources.items() if one is not None and one.name == "COMMANDLINE"}


def _parts(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _variants(text: str | None, lstm: str | None) -> list[str]:
    """Return the variants asked for; without a word all that can be had. Raises ConfigError."""
    from gpt1.errors import ConfigError
    from gpt1.reproduction.anew import VARIANTS

    names = _parts(text) or [n for n in VARIANTS if n != "lstm" or lstm is not None]
    unknown = [n for n in names if n not in VARIANTS]
    if unknown:
        raise ConfigError(f"there is no variant {unknown[0]!r}; there are {', '.join(VARIANTS)}.")
    return [VARIANTS[n] for n in dict.fromkeys(names)]


def _print(console: Any, shown: Table) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(shown.title), title_justify="left", caption_justify="left")
    if shown.note:
        table.caption = escape(shown.note)
    for number, name in enumerate(shown.head):
        table.add_column(escape(name), justify="right" if number else "left", overflow="fold")
    for row in shown.rows:
        table.add_row(*map(escape, row))
    console.print(table)
