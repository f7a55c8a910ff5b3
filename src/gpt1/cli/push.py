"""gpt1 push: a model folder -> a repository on the hub."""

from __future__ import annotations

import re
import sys
from typing import Annotated

import typer


def push(
    folder: Annotated[
        str, typer.Argument(help="A model folder, a run, or the name of a packaged model.")
    ],
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The repository on the hub.")],
    private: Annotated[
        bool, typer.Option("--private", help="Only you, or your organization, can see it.")
    ] = False,
    licence: Annotated[
        str | None,
        typer.Option("--license", help="The licence to name in the card, e.g. mit or cc-by-4.0."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the card, and upload nothing.")
    ] = False,
) -> None:
    """Upload a model to the Hugging Face hub, with a card made from its records.

    It uploads the weights, the vocabulary and the card, never the state of an optimizer, and says
    so before it does. The repository is created if it does not exist: public, unless --private is
    given. A README.md in the folder that gpt1 did not write is the card as it is. The token is that
    of hf auth login, or HF_TOKEN. Then --model OWNER/NAME loads the model anywhere.
    """
    from gpt1.checkpoint import folder as folders, push as pushing
    from gpt1.errors import ConfigError, counted
    from gpt1.reports import hub_card

    pushing.check_name(name)
    if licence is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", licence):
        raise ConfigError(
            f"--license is {licence!r}; give one of the hub's names, in lower case: mit, "
            f"apache-2.0, cc-by-4.0, other ..."
        )
    path = pushing.find(folder)
    loaded = folders.load(path)
    card = pushing.own_card(path)
    if card is not None and licence is not None:
        raise ConfigError(f"{path} has a card of its own; name the licence in its README.md.")
    card = card or hub_card.write(path, loaded, name, licence).encode()
    upload = pushing.prepare(path, card)
    sizes = upload.sizes()
    print(
        f"{counted(len(sizes), 'file')} of {path}, {sum(sizes.values()) / 1e6:,.1f} MB in all, "
        f"for {name} ({'private' if private else 'public'}):",
        file=sys.stderr,
    )
    for file, size in sizes.items():
        print(f"  {size:>13,} bytes  {file}", file=sys.stderr)
    if dry_run:
        print(card.decode(), end="")
        return
    print(pushing.push(upload, name, private=private))
