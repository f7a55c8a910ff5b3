"""gpt1 generate: continue a prompt on the terminal."""

from __future__ import annotations

import inspect
import secrets
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from gpt1.cli import options, print_json, read_text
from gpt1.config import SamplingConfig, load_sampling
from gpt1.settings import describe

_SEARCH = ("sampling.num_beams=", "sampling.penalty_alpha=")


def generate(
    prompt: Annotated[str, typer.Argument(help="The text to continue; - reads it from stdin.")],
    model: options.Model = "mini",
    max_new_tokens: Annotated[
        int | None, typer.Option(help="How many tokens to generate at most.", show_default="64")
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="Randomness; 0 always picks the most likely token.",
            show_default="0.8; 0 with beams or contrastive search",
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            help="Sample only from the K most likely tokens.", metavar="K", show_default="40"
        ),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            help="Sample only from the most likely tokens whose probabilities sum to P.",
            metavar="P",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="The random seed; the same seed gives the same text.", show_default="a random one"
        ),
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Stop before this text; may be repeated."),
    ] = None,
    truecase: Annotated[
        bool, typer.Option(help="Restore capitals and spaces in the text where that is safe.")
    ] = True,
    assistant: Annotated[
        str | None,
        typer.Option(help="A smaller model with the same vocabulary, whose guesses save time."),
    ] = None,
    dtype: options.AnyDtype = "auto",
    json: options.Json = False,
    set_: options.Overrides = None,
) -> None:
    """Continue a prompt and show the text while it is generated.

    The seed is printed to stderr. --set sampling.FIELD=VALUE changes any other setting, e.g.
    --set 'sampling.bad_words=["dog", "cat"]'; --set sampling.top_k=none switches one off. The
    fields:
    """
    search = any(s.strip().startswith(_SEARCH) for s in set_ or ())
    if temperature is None:
        temperature = 0.0 if search else 0.8
    if top_k is None:
        top_k = 4 if search else 40
    sampling = load_sampling(
        set_ or (),
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=secrets.randbits(32) if seed is None else seed,
        stop=tuple(stop or ()),
        truecase=truecase,
    )
    text = read_text(prompt)

    import gpt1
    from gpt1.generation import engine

    gpt = gpt1.load(model, dtype=dtype)
    helper = None if assistant is None else gpt.assist(gpt1.load(assistant))
    if sampling.temperature:
        print(f"seed: {sampling.seed}", file=sys.stderr)
    if json or sampling.num_return_sequences > 1:
        generation = engine.generate(
            gpt.backend(), gpt.tokenizer, [text], sampling, assistant=helper
        )[0]
        if json:
            print_json({**asdict(generation), "seed": sampling.seed})
        else:
            for number, other in enumerate([generation, *generation.others], 1):
                print(f"{number}. {other.text}")
        return
    ids = gpt.tokenizer.encode(text)
    pieces = engine.stream(gpt.backend(), gpt.tokenizer, ids, sampling, assistant=helper)
    print(gpt.tokenizer.decode(ids, truecase=sampling.truecase), end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


assert generate.__doc__
_FLAGS = inspect.signature(generate).parameters
_LINES = [
    f"- {name}: {told}" for name, told in describe(SamplingConfig).items() if name not in _FLAGS
]
generate.__doc__ = "\n\n".join([inspect.cleandoc(generate.__doc__), *_LINES])
