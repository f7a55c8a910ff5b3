"""README.md of a model on the hub: what it is, what it was trained on, and how good it is.

All of it comes from the model's folder and from the run that the folder lies in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gpt1.checkpoint.classifier import CLASS
from gpt1.checkpoint.folder import CONFIG, WEIGHTS, Loaded
from gpt1.checkpoint.hub import REPOSITORY, packaged_models
from gpt1.errors import GPT1Error, counted
from gpt1.escaping import escape_markdown
from gpt1.model.build import count_parameters
from gpt1.reports.formatting import format_duration, format_perplexity
from gpt1.reports.history import History
from gpt1.storage import Folder
from gpt1.storage.system import wrap_os_errors

_LABELS = 50  # more are not listed
_SETTINGS = ("optimizer.name", "optimizer.lr", "schedule.name", "train.batch_size", "train.seed")
_PAPER = "Improving Language Understanding by Generative Pre-Training"


def write(path: Path, loaded: Loaded, name: str, licence: str | None) -> str:
    """Return the card of the model folder `path` in the repository `name`."""
    run = _run(path)
    task = loaded.extra.get("task") if "head.weight" in loaded.state else None
    task = task if isinstance(task, dict) else None
    opened = Folder(path)
    known = _known(opened, loaded, task)
    parts = [
        _header(run, task, licence, known),
        f"# {name.partition('/')[2]}\n\n{_what(loaded, task)}",
        _section("The model", _facts(opened, loaded, task)),
        _section("Training", _training(run, loaded)),
        _section("Evaluation", _evaluation(run, loaded, task)),
        f"## How to use it\n\n{_usage(name, loaded, task, known)}",
        f"## Licence\n\n{_licence(licence)}",
        "## Limits\n\n" + "\n".join(f"* {line}" for line in _limits(loaded, task)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _run(path: Path) -> History | None:
    """Return the run that a model folder is part of, None if there is none that can be read."""
    real = path.resolve()
    for folder in (real.parent, real.parent.parent):
        with wrap_os_errors("read", folder):
            if (folder / "run.json").is_file():
                try:
                    return History.read(folder)
                except GPT1Error:
                    return None
    return None


def _known(folder: Folder, loaded: Loaded, task: Mapping[str, Any] | None) -> str | None:
    """Return transformers' class for the model, None if it has none."""
    if loaded.config.n_hidden is not None:
        return None
    if task is None:
        return "OpenAIGPTLMHeadModel"
    values = folder.json(CONFIG) if CONFIG in folder else {}
    return CLASS if CLASS in values.get("architectures", ()) else None


def _header(
    run: History | None, task: Mapping[str, Any] | None, licence: str | None, known: str | None
) -> str:
    lines = [f"library_name: {'transformers' if known else 'gpt1'}"]
    if known:
        lines.append(f"pipeline_tag: text-{'generation' if task is None else 'classification'}")
    if licence is not None:
        lines.append(f"license: {licence}")
    arguments = _arguments(run)
    base = str(arguments.get("model") or "")
    if REPOSITORY.fullmatch(base):
        lines.append(f"base_model: {base}")
    if sets := [file.removeprefix("hub:") for file in _files(arguments) if file.startswith("hub:")]:
        lines.append(f"datasets: [{', '.join(filter(REPOSITORY.fullmatch, sets))}]")
    return "\n".join(["---", *lines, "tags: [gpt1, openai-gpt]", "---"])


def _what(loaded: Loaded, task: Mapping[str, Any] | None) -> str:
    if loaded.config.n_hidden is not None:
        return f'The LSTM baseline of "{_PAPER}" (Radford and others, 2018), made with gpt1.'
    model = f'a GPT-1, the model of "{_PAPER}" (Radford and others, 2018)'
    if task is None:
        return f"{model[0].upper()}{model[1:]}, made with gpt1. It continues a text."
    return f"{model[0].upper()}{model[1:]}, fine-tuned with gpt1 for {task['kind']}."


def _facts(folder: Folder, loaded: Loaded, task: Mapping[str, Any] | None) -> Iterator[str]:
    config = loaded.config
    if config.n_hidden is None:
        shape = f"{counted(config.n_layer, 'layer')}, {counted(config.n_head, 'head')}, "
    else:
        shape = f"1 layer of {counted(config.n_hidden, 'unit')}, "
    yield f"Shape: {shape}width {config.n_embd:,}, {config.n_ctx:,} positions."
    head = sum(tensor.numel() for name, tensor in loaded.state.items() if name.startswith("head."))
    yield f"Parameters: {count_parameters(config) + head:,}."
    if loaded.tokenizer is not None:
        words = loaded.tokenizer.words
        yield f"Vocabulary: {config.vocab_size:,} tokens; words are split as in `{words}`."
    if task is not None and (labels := [str(label) for label in task.get("classes", ())]):
        more = f" and {len(labels) - _LABELS:,} more" if len(labels) > _LABELS else ""
        yield f"Labels: {', '.join(map(escape_markdown, labels[:_LABELS]))}{more}."
    if folder.verified and WEIGHTS in folder:
        yield f"Weights: SHA-256 `{folder.sha256(WEIGHTS)}`."


def _training(run: History | None, loaded: Loaded) -> Iterator[str]:
    """Tell where the weights come from, and what they have read."""
    arguments = _arguments(run)
    if base := str(arguments.get("model") or ""):
        base = base if base in packaged_models() or REPOSITORY.fullmatch(base) else Path(base).name
        yield f"Started from: {escape_markdown(base)}."
    elif "size" in arguments:
        yield "Started from: random weights."
    if files := _files(arguments):
        names = [file if file.startswith("hub:") else Path(file).name for file in files]
        yield f"Data: {', '.join(map(escape_markdown, names))}."
    if isinstance(rows := loaded.extra.get("rows"), dict):
        yield f"Rows: {rows['train']:,} to train on, {rows['held_out']:,} held out."
    step = loaded.extra.get("training", {}).get("steps")
    if run is None:
        if isinstance(step, int):
            yield f"{counted(step, 'update')}."
        yield "Nothing else is recorded beside the weights."
        return
    step = run.results["updates"] if step is None else step
    done = [line for line in run.updates if line["step"] <= step]
    if done:
        tokens, seconds = counted(int(done[-1]["tokens"]), "token"), done[-1]["seconds"]
        yield f"{counted(step, 'update')}, {tokens} read, in {format_duration(seconds)}."
    settings = run.settings()
    optimizer = (
        "optimizer.name",
        "optimizer.lr",
        "schedule.name",
        "train.batch_size",
        "train.seed",
    )
    told = [f"`{name}={settings[name]}`" for name in optimizer if name in settings]
    yield f"Settings: {', '.join(told)}."
    if run.record.started:
        yield f"Begun on {run.record.started[:10]}, with gpt1 {escape_markdown(run.record.gpt1)}."


def _evaluation(
    run: History | None, loaded: Loaded, task: Mapping[str, Any] | None
) -> Iterator[str]:
    validation = loaded.extra.get("training", {}).get("validation", {})
    figures = {name: value for name, value in validation.items() if isinstance(value, float)}
    if not figures:
        yield "Not measured when it was trained: no texts were held out."
        return
    loss = figures.pop("loss", math.nan)
    for name, value in figures.items():
        yield f"{escape_markdown(name)}: {value:.4f}."
    if task is None and math.isfinite(loss):
        yield f"Loss: {loss:.4f} nats a token of this vocabulary."
        yield f"Perplexity: {format_perplexity(loss)}."
    elif math.isfinite(loss):
        yield f"Loss{'' if run is None else f' ({run.loss_name})'}: {loss:.4f}."
    yield "These are figures of texts held out from training, by which the model was chosen."


def _usage(name: str, loaded: Loaded, task: Mapping[str, Any] | None, known: str | None) -> str:
    if loaded.config.n_hidden is not None:
        return f"    gpt1 evaluate {name} TEXT.txt\n\ntransformers does not know this model."
    if task is not None:
        ours = f"    gpt1 predict {name} NEW.csv"
        pipeline = "text-classification"
    else:
        ours = (
            f'    gpt1 generate "Once upon a time" --model {name}\n\nor in Python:\n\n'
            f'    import gpt1\n\n    gpt = gpt1.load("{name}")\n'
            f'    print(gpt.generate("Once upon a time", temperature=0.8).text)'
        )
        pipeline = "text-generation"
    if known is None:
        return f"{ours}\n\ntransformers has no model of this form."
    simpler = loaded.tokenizer is not None and loaded.tokenizer.words != "fast"
    note = "; its tokenizer splits some words in another way than this model learned them"
    return (
        f"{ours}\n\ntransformers loads it too, as `{known}`{note if simpler else ''}:\n\n"
        f'    from transformers import pipeline\n\n    pipe = pipeline("{pipeline}", "{name}")'
    )


def _licence(licence: str | None) -> str:
    if licence is not None:
        return f"`{licence}`, as its publisher says."
    return (
        "**None is given yet.** Without one nobody may use the model but its publisher, who can "
        "name it in `license:` of this file's header, or push again with `--license`. The data "
        "that it was trained on may set limits."
    )


def _limits(loaded: Loaded, task: Mapping[str, Any] | None) -> Iterator[str]:
    if loaded.config.n_hidden is None:
        rest = "a longer text is cut." if task is not None else "a longer prompt is refused."
        yield f"It has {counted(loaded.config.n_ctx, 'position')}: {rest}"
    yield "It reads text in lower case; what its vocabulary lacks becomes `<unk>`."
    if task is None:
        yield (
            "It repeats the kind of text that it was trained on. It knows no facts, follows no "
            "instructions, and has had no safety training."
        )
    else:
        yield (
            "It may do worse on rows unlike those it was trained on: measure it on yours with "
            "`gpt1 evaluate` before you rely on it. What it predicts is a guess, not a decision."
        )


def _section(title: str, lines: Iterator[str]) -> str:
    text = "\n".join(f"* {line}" for line in lines)
    return f"## {title}\n\n{text}" if text else ""


def _arguments(run: History | None) -> Mapping[str, Any]:
    """Return the arguments of the command that started the run."""
    arguments = {} if run is None else (run.record.command or {}).get("arguments")
    return arguments if isinstance(arguments, dict) else {}


def _files(arguments: Mapping[str, Any]) -> list[str]:
    files = arguments.get("files") or arguments.get("data") or []
    return [str(file) for file in (files if isinstance(files, list) else [files])]
