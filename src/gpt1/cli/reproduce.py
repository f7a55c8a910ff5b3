"""gpt1 reproduce: the paper's tables and figures, with models and data of any size."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from gpt1.cli import options, print_json
from gpt1.errors import ConfigError, did_you_mean

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
"""The options that only some tables or figures use."""


def reproduce(
    context: typer.Context,
    name: Annotated[
        Literal["table5", "tables2-4", "figure2-left", "figure2-right"],
        typer.Argument(help="The table or figure.", metavar="NAME"),
    ],
    data: options.DataFolder,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The folder for the results; it may exist.")
    ],
    model: options.Model = "mini",
    lstm: Annotated[
        str | None, typer.Option(help="A pre-trained LSTM's folder, for table5's last row.")
    ] = None,
    sets: Annotated[
        str, typer.Option(help="The data sets, separated by commas.", show_default="the paper's")
    ] = "",
    variants: Annotated[
        str,
        typer.Option(
            help="For table5: some of full, no-pretraining, no-aux and lstm, separated by commas.",
            show_default="all; lstm only with --lstm",
        ),
    ] = "",
    seeds: Annotated[int, typer.Option(min=1, help="How many models to train per variant.")] = 1,
    limit_train: Annotated[
        int, typer.Option(min=0, help="Training rows per data set (RACE: a quarter); 0: all.")
    ] = 2000,
    limit_test: Annotated[
        int, typer.Option(min=0, help="Measured rows per data set (RACE: a quarter); 0: all.")
    ] = 1000,
    checkpoints: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="For figure2-right: a run's folder; may be repeated."),
    ] = None,
    texts: Annotated[
        int, typer.Option(min=1, help="For figure2-right without a run: novels to pre-train on.")
    ] = 8,
    set_: options.Overrides = None,
    finished: Annotated[
        bool, typer.Option("--finished", help="Train nothing; show the finished results in OUT.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Reproduce the paper's tables and figures, and show our figures beside the paper's.

    table5: the full model, without pre-training, without the auxiliary LM, and the LSTM. tables2-4:
    all data sets. figure2-left: what each transferred block adds. figure2-right: zero-shot scores
    over pre-training; without --checkpoints a tiny model is pre-trained for it on DATA/novels.

    The command first says how long it will take. Finished results stay in OUT, so the same command
    continues where it was interrupted. It writes OUT/NAME.md, .html, .json and, for figures, .png.
    """
    from gpt1.cli.progress import Progress
    from gpt1.reports.tables import print_table
    from gpt1.reproduction import experiments
    from gpt1.reproduction.plan import Display
    from gpt1.reproduction.sweep import Sweep
    from gpt1.storage import check_own

    _check_flags(context, name)
    if checkpoints and set_:
        raise ConfigError(
            "--set is for training; with --checkpoints nothing is trained. Leave one out."
        )
    chosen = _variants(variants, lstm)
    for ending in ("md", "html", "json", "png"):
        check_own(out / f"{name}.{ending}")
    limits = limit_train or None, limit_test or None
    sweep = Sweep(out, data, model, lstm, *limits, tuple(set_ or ()))
    with Progress() as shown:
        display = Display(shown.status, shown.progress, shown.note)
        how = experiments.Options(options.split_commas(sets), seeds, not finished, display)
        if name == "table5":
            document, failed = experiments.table5(sweep, how, chosen)
        elif name == "tables2-4":
            document, failed = experiments.tables2_4(sweep, how)
        elif name == "figure2-left":
            document, failed = experiments.figure2_left(sweep, how)
        else:
            document, failed = experiments.figure2_right(
                sweep, how, runs=checkpoints or (), texts=texts
            )
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
    """Raise ConfigError for an option that would change nothing."""
    # by name: the enum is click's, or the one that newer typer brings itself
    sources = {option: context.get_parameter_source(option) for option in context.params}
    given = {o for o, source in sources.items() if source and source.name == "COMMANDLINE"}
    for option, names in _ONLY_FOR.items():
        if option in given and name not in names:
            raise ConfigError(
                f"--{option.replace('_', '-')} is for {', '.join(names)} and changes nothing here. "
                f"Leave it out."
            )
    if {"checkpoints", "texts"} <= given:
        raise ConfigError(
            "--texts is for a run made here; with --checkpoints none is. Leave one out."
        )


def _variants(text: str, lstm: str | None) -> list[str]:
    """Return the variants that are named; by default all that are possible. Raises ConfigError."""
    from gpt1.reproduction.experiments import VARIANTS

    names = options.split_commas(text) or [n for n in VARIANTS if n != "lstm" or lstm is not None]
    for name in names:
        if name not in VARIANTS:
            raise ConfigError(
                f"there is no variant {name!r}; there are {', '.join(VARIANTS)}."
                f"{did_you_mean(name, VARIANTS)}"
            )
    return [VARIANTS[n] for n in dict.fromkeys(names)]
