"""gpt1 reproduce: the paper's tables and figures, with models and data of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

_FINE_TUNED = ("table5", "tables2-4", "figure2-left")
_ONLY_FOR = {
    "variants": ("table5",),
    "lstm": ("table5",),
    "checkpoints": ("figure2-right",),
    "texts": ("figure2-right",),
    "model": _FINE_TUNED,
    "seeds": _FINE_TUNED,
    "limit_train": _FINE_TUNED,
    "finished": _FINE_TUNED,
}
"""Flags that only some tables or figures know."""


def reproduce(
    context: typer.Context,
    name: Annotated[
        Literal["table5", "tables2-4", "figure2-left", "figure2-right"],
        typer.Argument(help="The table or figure.", metavar="NAME"),
    ],
    data: Annotated[str, typer.Option(help="The folder that holds the data sets.")],
    out: Annotated[Path, typer.Option(help="The folder of results; it may exist.")],
    model: Annotated[str, typer.Option(help="A name, a folder or a repository.")] = "mini",
    lstm: Annotated[
        str | None, typer.Option(help="A pre-trained LSTM's folder, for table5's last row.")
    ] = None,
    sets: Annotated[str, typer.Option(help="Data sets, separated by commas.")] = "",
    variants: Annotated[
        str, typer.Option(help="For table5: full,no-pretraining,no-aux,lstm.")
    ] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Models to train of each variant.")] = 1,
    limit_train: Annotated[
        int, typer.Option(min=0, help="Training rows of each set (RACE: a quarter); 0: all.")
    ] = 2000,
    limit_test: Annotated[
        int, typer.Option(min=0, help="Measured rows of each set (RACE: a quarter); 0: all.")
    ] = 1000,
    checkpoints: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="For figure2-right: a run's folder; may be repeated."),
    ] = None,
    texts: Annotated[
        int, typer.Option(min=1, help="For figure2-right without a run: novels to pre-train on.")
    ] = 8,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="section.field=value, may be repeated.")
    ] = None,
    finished: Annotated[
        bool, typer.Option("--finished", help="Train nothing; show the finished results in OUT.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Reproduce the paper's tables and figures, ours beside the paper's.

    table5: full, without pre-training, without the auxiliary LM, and the LSTM. tables2-4: all data
    sets. figure2-left: what each transferred block is worth. figure2-right: zero-shot scores over
    pre-training; without --checkpoints a tiny model is pre-trained for it on DATA/novels.

    Says first how long it will take. Finished results stay in OUT, so the same command goes on
    where it was cut off. Writes OUT/NAME.md, .html, .json, and .png where there is a picture.
    """
    import sys

    from gpt1.cli import print_json
    from gpt1.cli.progress import Progress
    from gpt1.errors import ConfigError
    from gpt1.reports.tables import print_table
    from gpt1.reproduction import experiments
    from gpt1.reproduction.plan import Display
    from gpt1.reproduction.sweep import Sweep

    _check_flags(context, name)
    if checkpoints and set_:
        raise ConfigError("--set is for what is trained; with --checkpoints nothing is. Leave one.")
    chosen = _variants(variants, lstm)
    rows = limit_train or None, limit_test or None
    sweep = Sweep(out, data, model, lstm, *rows, tuple(set_ or ()))
    with Progress() as shown:
        display = Display(shown.status, shown.progress, shown.note)
        options = experiments.Options(_split(sets), seeds, not finished, display)
        if name == "table5":
            made = experiments.table5(sweep, options, chosen)
        elif name == "tables2-4":
            made = experiments.tables2_4(sweep, options)
        elif name == "figure2-left":
            made = experiments.figure2_left(sweep, options)
        else:
            made = experiments.figure2_right(sweep, options, runs=checkpoints or (), texts=texts)
    document, failed = made
    paths = document.write(out)
    if json:
        print_json(document.to_json())
    else:
        print("\n".join(document.notes))
        for section in document.sections:
            print()
            print_table(section.title, section.table, section.note)
    print(*paths, *(f"failed: {line}" for line in failed), sep="\n", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def _check_flags(context: typer.Context, name: str) -> None:
    """Raise ConfigError for a flag that would change nothing."""
    from gpt1.errors import ConfigError

    # by name: the enum is click's, or the one that newer typer brings itself
    sources = {flag: context.get_parameter_source(flag) for flag in context.params}
    given = {f for f, source in sources.items() if source and source.name == "COMMANDLINE"}
    for flag, names in _ONLY_FOR.items():
        if flag in given and name not in names:
            flag = flag.replace("_", "-")
            raise ConfigError(
                f"--{flag} is for {', '.join(names)} and would change nothing here. Leave it out."
            )
    if {"checkpoints", "texts"} <= given:
        raise ConfigError("--texts is for a run made here; leave it or --checkpoints out.")


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _variants(text: str, lstm: str | None) -> list[str]:
    """Return the variants asked for, by default all that can be had. Raises ConfigError."""
    from gpt1.errors import ConfigError, did_you_mean
    from gpt1.reproduction.experiments import VARIANTS

    names = _split(text) or [n for n in VARIANTS if n != "lstm" or lstm is not None]
    for name in names:
        if name not in VARIANTS:
            raise ConfigError(
                f"there is no variant {name!r}; there are {', '.join(VARIANTS)}."
                f"{did_you_mean(name, VARIANTS)}"
            )
    return [VARIANTS[n] for n in dict.fromkeys(names)]
