"""gpt1 serve: models over HTTP, and the studio."""

from __future__ import annotations

import inspect
import warnings
from typing import Annotated, Literal

import typer

from gpt1.cli import options
from gpt1.config import ServeConfig, load_serving
from gpt1.errors import ConfigError, GPT1Error, Note
from gpt1.settings import describe


def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="Packaged models, model folders, runs, or owner/name on the hub; NAME=MODEL "
            "serves one under a name of your own.",
            show_default="mini",
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="The address to listen on; one that others can reach needs a key.",
            show_default="127.0.0.1",
        ),
    ] = None,
    port: Annotated[int | None, typer.Option(help="The port.", show_default="8000")] = None,
    key_file: Annotated[
        str | None, typer.Option(help="A file with one API key per line.", show_default="no keys")
    ] = None,
    queue: Annotated[
        int | None, typer.Option(help="How many requests may wait.", show_default="256")
    ] = None,
    dtype: options.AnyDtype = "auto",
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="This process, or Ray Serve (at RAY_ADDRESS, if that is set)."),
    ] = "local",
    replicas: Annotated[
        int | None,
        typer.Option(min=1, help="Ray: how many processes hold the models.", show_default="1"),
    ] = None,
    config: options.Config = None,
    set_: options.Overrides = None,
) -> None:
    """Serve models over HTTP: OpenAI's completions and embeddings, and a web page, the studio.

    Open the address that it prints. Ctrl-C or SIGTERM finishes the requests under way and stops;
    a second one stops at once. --set serve.FIELD=VALUE, or [serve] in a .toml file, changes any
    setting:
    """
    try:
        from gpt1.serving.limits import Keys
        from gpt1.serving.models import load
        from gpt1.serving.server import Server, check_host
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("gpt1"):
            raise
        raise ConfigError(
            f"gpt1 serve needs {error.name}, which is not installed: pip install 'gpt1[serve]'"
        ) from None

    settings = load_serving(
        config, set_ or (), host=host, port=port, key_file=key_file, queue=queue, dtype=dtype
    )
    keys = Keys.read(settings.key_file)
    check_host(settings.host, keys)
    if engine == "ray":
        from gpt1.serving import replicas as ray_replicas

        ray_replicas.serve(models or ["mini"], settings, keys, replicas or 1)
        return
    if replicas is not None:
        raise ConfigError(f"--replicas is {replicas}; only --engine ray has more than one.")
    served = load(models or ["mini"], settings)
    warnings.simplefilter("ignore", Note)  # from here on they are about the texts of clients
    server = Server(served, settings, keys)
    server.run()
    if not server.should_exit:
        raise GPT1Error("the model thread has ended; what is printed above says why.")


assert serve.__doc__
_LINES = [f"- serve.{name}: {told}" for name, told in describe(ServeConfig).items()]
serve.__doc__ = "\n\n".join([inspect.cleandoc(serve.__doc__), *_LINES])
