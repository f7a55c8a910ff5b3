"""gpt1 doctor: what this machine offers, and how many parameters a model has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from gpt1.config import ModelConfig

LIBRARIES = ("torch", "numpy", "tokenizers", "spacy", "ftfy", "safetensors", "huggingface_hub")


def doctor(
    model: Annotated[
        str | None, typer.Option(help="Count this model's parameters: a name or a folder.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="The same for a size: gpt1, mini, tiny.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show versions, devices and what `auto` chooses; with --model or --size, its parameters."""
    from gpt1.reports.sections import Table
    from gpt1.reports.tables import print_table
    from gpt1.storage import json_bytes

    settings = machine()
    config = _config(model, size)
    parts = {} if config is None else parameters(config)
    if json:
        report: dict[str, Any] = {"machine": settings}
        if parts:
            report["parameters"] = parts
        print(json_bytes(report).decode(), end="")
        return
    print_table("This machine", Table((), [(k, str(v)) for k, v in settings.items()], "settings"))
    if parts:
        rows = [(name, f"{count:,}") for name, count in parts.items()]
        print_table("\nParameters", Table((), rows))


def machine() -> dict[str, Any]:
    """Return what gpt1 runs on, and what `auto` chooses."""
    import os
    import platform
    from importlib.metadata import version

    import torch

    from gpt1._version import __version__
    from gpt1.generation.torch_backend import best_weights
    from gpt1.model.device import choose_device, choose_dtype

    device = choose_device("auto")
    offered = torch.cpu.get_capabilities()
    widths = [name for name in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16") if offered.get(name)]
    settings: dict[str, Any] = {
        "gpt1": __version__,
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu features": ", ".join(widths) or "none of note",
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        settings["memory"] = f"{memory / 2**30:.1f} GiB"
    if device.type == "cuda":
        gpu = torch.cuda.get_device_properties(device)
        settings["gpu"] = f"{gpu.name}, {gpu.total_memory / 2**30:.1f} GiB"
    settings["device auto"] = str(device)
    settings["generating in"] = f"{best_weights(device)} weights"
    settings["training in"] = str(choose_dtype("auto", device)).removeprefix("torch.")
    return settings


def parameters(config: ModelConfig) -> dict[str, int]:
    """Return the number of weights of each part of a model, and of all (spec 1.9.1).

    >>> from gpt1.config import load_size
    >>> parameters(load_size("gpt1"))["total"]
    116534784
    """
    import torch

    from gpt1.model.build import build_model

    with torch.device("meta"):
        model = build_model(config)

    def count(part: str) -> int:
        return sum(p.numel() for name, p in model.named_parameters() if part in name)

    n = config.n_layer
    return {
        "token embedding (and head)": count("tokens."),
        "position embedding": count("positions."),
        f"attention, {n} blocks": count(".attention."),
        f"MLP, {n} blocks": count(".mlp."),
        f"norms, {n} blocks": count(".ln_"),
        "one block": count("blocks.0."),
        "total": model.num_parameters(),
    }


def _config(model: str | None, size: str | None) -> ModelConfig | None:
    from gpt1.config import load_size

    if model is None:
        return None if size is None else load_size(size)
    from gpt1.checkpoint import folder, hub

    return folder.read_config(hub.resolve(model))
