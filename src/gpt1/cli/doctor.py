"""gpt1 doctor: what this machine offers, and how many parameters a model has."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpt1._version import __version__
from gpt1.cli import options, print_json
from gpt1.errors import counted

if TYPE_CHECKING:
    from gpt1.config import ModelConfig
    from gpt1.generation.kernels import Trial

LIBRARIES = ("torch", "numpy", "tokenizers", "spacy", "ftfy", "safetensors", "huggingface_hub")
CPU_FEATURES = ("avx2", "avx512_f", "avx512_bf16", "amx_bf16")


def doctor(
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Count the parameters of this model: a name or a folder."
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Count the parameters of this size: gpt1, mini, tiny, ...")
    ] = None,
    json: options.Json = False,
) -> None:
    """Show versions, devices and what `auto` chooses; with --model or --size, the parameters."""
    from gpt1.checkpoint import folder, hub
    from gpt1.config import load_size
    from gpt1.reports.sections import Table
    from gpt1.reports.tables import print_table

    report: dict[str, Any] = {"machine": machine(), "kernels": kernel_trials()}
    if model is not None:
        report["parameters"] = parameters(folder.read_config(hub.resolve(model)))
    elif size is not None:
        report["parameters"] = parameters(load_size(size))
    if json:
        print_json(report)
        return
    rows = [(name, str(value)) for name, value in report["machine"].items()]
    print_table("This machine", Table((), rows, "settings"))
    rows = [tuple(trial.values()) for trial in report["kernels"]]
    print_table("\nKernels", Table(("weights", "kernel", "error", "1 row", "32 rows", ""), rows))
    if "parameters" in report:
        rows = [(name, f"{count:,}") for name, count in report["parameters"].items()]
        print_table("\nParameters", Table((), rows))


def machine() -> dict[str, Any]:
    """Return what gpt1 runs on, and what `auto` chooses."""
    import torch

    from gpt1.generation import choose_backend, onnx_backend
    from gpt1.generation.torch_backend import best_weights
    from gpt1.model.device import choose_device, choose_dtype

    device = choose_device("auto")
    features = [name for name in CPU_FEATURES if torch.cpu.get_capabilities().get(name)]
    counts_own_cores = hasattr(os, "sched_getaffinity")  # Linux
    settings: dict[str, Any] = {
        "gpt1": __version__,
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
        "onnxruntime": "not installed (extra onnx)",
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0)) if counts_own_cores else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu features": ", ".join(features) or "none of note",
    }
    if onnx_backend.is_installed():
        settings["onnxruntime"] = version("onnxruntime")
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        settings["memory"] = f"{memory / 2**30:.1f} GiB"
    if device.type == "cuda":
        gpu = torch.cuda.get_device_properties(device)
        settings["gpu"] = f"{gpu.name}, {gpu.total_memory / 2**30:.1f} GiB"
    settings["device auto"] = str(device)
    settings["generating in"] = f"{best_weights(device)} weights"
    for width in choose_backend.DTYPES[1:]:
        settings[f"{width} backend"] = "{} ({})".format(*choose_backend.automatic(width))
    settings["training in"] = str(choose_dtype("auto", device)).removeprefix("torch.")
    return settings


def kernel_trials() -> list[dict[str, str]]:
    """Return how each width's kernels did, and which of torch's was chosen."""
    from gpt1.generation import kernels, onnx_backend

    tried: list[tuple[str, Trial, bool]] = []
    for width in kernels.KERNELS:
        trials = kernels.trials(width)
        able = any(trial.failure is None for trial in trials)
        chosen = kernels.choose(width).__name__ if able else None
        tried += [(width, trial, trial.kernel == chosen) for trial in trials]
    if onnx_backend.is_installed():
        tried += [(width, onnx_backend.trial(width), False) for width in ("int8", "int4")]
    return [
        {
            "weights": width,
            "kernel": trial.kernel,
            "error": "" if trial.error is None else f"{trial.error:.0e}",
            "few": "" if trial.few_ms is None else f"{trial.few_ms:.3f} ms",
            "many": "" if trial.many_ms is None else f"{trial.many_ms:.3f} ms",
            "note": trial.failure or ("chosen" if chosen else ""),
        }
        for width, trial, chosen in tried
    ]


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
    blocks = counted(config.n_layer, "block")
    parts = {
        "token embedding (and head)": "tokens.",
        "position embedding": "positions.",
        f"attention, {blocks}": ".attention.",
        f"MLP, {blocks}": ".mlp.",
        f"norms, {blocks}": ".ln_",
        "one block": "blocks.0.",
    }
    counts = {
        label: sum(p.numel() for name, p in model.named_parameters() if part in name)
        for label, part in parts.items()
    }
    return {**counts, "total": model.num_parameters()}
