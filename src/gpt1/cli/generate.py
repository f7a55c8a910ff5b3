"""gpt1 generate: continue a prompt on the terminal."""

from __future__ import annotations

from typing import Annotated

import typer


def generate(
    prompt: Annotated[str, typer.Argument(help="The text to continue; - reads it from stdin.")],
    model: Annotated[
        str, typer.Option(help="The model: a name, a folder or a repository.")
    ] = "mini",
    max_new_tokens: Annotated[
        int | None, typer.Option(help="How many tokens to write at most; 64 by default.")
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="Randomness; 0 always takes the likeliest token.")
    ] = 0.8,
    top_k: Annotated[
        int,
        typer.Option(help="Sample from the k likeliest tokens; --set sampling.top_k=none: all."),
    ] = 40,
    top_p: Annotated[
        float | None, typer.Option(help="Sample from the likeliest tokens that sum to p.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="A seed; the same one writes the same text.")
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="End before this text; may be repeated.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="sampling.field=value; may be repeated.")
    ] = None,
) -> None:
    """Continue a prompt and show the text while it is written.

    The seed is printed to stderr. Further settings: --set sampling.min_p=0.1,
    sampling.repetition_penalty=1.2, sampling.max_length=20, sampling.overflow=slide.
    """
    import secrets
    import sys
    from dataclasses import asdict

    from gpt1.cli import print_json, text_given
    from gpt1.config import load_sampling

    sampling = load_sampling(
        set_ or (),
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=secrets.randbits(32) if seed is None else seed,
        stop=tuple(stop or ()),
    )
    text = text_given(prompt)

    import gpt1
    from gpt1.generation import engine

    gpt = gpt1.load(model)
    if sampling.temperature:
        print(f"seed: {sampling.seed}", file=sys.stderr)
    if json:
        generation = engine.generate(gpt.backend(), gpt.tokenizer, [text], sampling)[0]
        print_json({**asdict(generation), "seed": sampling.seed})
        return
    ids = gpt.tokenizer.encode(text)
    pieces = engine.stream(gpt.backend(), gpt.tokenizer, ids, sampling)
    print(gpt.tokenizer.decode(ids), end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()
