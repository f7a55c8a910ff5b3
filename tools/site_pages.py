"""The pages of the site that are made from the source: mkdocs runs this as a hook.

Commands come from their own help, settings from `gpt1.settings.describe`, the home page from
README.md; so none of them can fall behind.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "src/gpt1/assets/mini/README.md": "mini/index.md",
}
"""Documents outside docs/, and their places on the site."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {
        "index.md": from_root("README.md"),
        "changelog.md": from_root("CHANGELOG.md"),
        "contributing.md": from_root("CONTRIBUTING.md"),
        "mini/index.md": from_root("src/gpt1/assets/mini/README.md"),
        "adr/index.md": decisions(),
        "reference/commands.md": commands(),
        "reference/settings.md": settings(),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    curve = ROOT / "src" / "gpt1" / "assets" / "mini" / "curve.png"
    files.append(File.generated(config, "mini/curve.png", abs_src_path=str(curve)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    r"""Return a page without the backslash of `a\|b` in a table, which only GitHub needs."""
    return re.sub(r"`[^`\n]*`", lambda code: code[0].replace("\\|", "|"), markdown)


def from_root(name: str) -> str:
    """Return a document of the root with its links as they are from docs/."""
    text = (ROOT / name).read_text("utf-8")
    for path, page in PAGES.items():
        text = text.replace(f"]({path})", f"]({page})")
    return re.sub(r"(\]\(|src=\")docs/", r"\1", text)


def decisions() -> str:
    """Return the list of decisions, newest last."""
    lines = []
    for path in sorted((ROOT / "docs" / "adr").glob("0*.md")):
        title = path.read_text("utf-8").splitlines()[0].removeprefix("# ")
        lines.append(f"* [{title}]({path.name})")
    return "\n".join(["# Decisions", "", "What was decided, and why.", "", *lines, ""])


def linked(text: str) -> str:
    """Return help in which the documents that it names are links, and listed names are code."""
    text = re.sub(r"^(\s*[-*] )(\w+):", r"\1`\2`:", text, flags=re.MULTILINE)
    return re.sub(r"`?docs/([\w-]+)\.md`?", r"[\1](../\1.md)", text)


def commands() -> str:
    """Return the page of all commands, from their help."""
    from typer.main import get_command

    from gpt1.cli import COMMANDS, _app

    lines = [
        "# Commands",
        "",
        "Results go to stdout (as JSON with `--json`), progress to stderr. The exit code is 0, 1 "
        "(failed) or 2 (misused). `gpt1 COMMAND --help` says the same as this page.",
        "",
        "A model, where one is asked for, is the name of a packaged model (`mini`, the default), "
        "a folder, a run, a folder of OpenAI's `params_*.npy`, or `owner/name` on the Hugging Face "
        "hub.",
        "",
        "| command | does |",
        "| --- | --- |",
        *(f"| [`gpt1 {name}`](#gpt1-{name}) | {summary} |" for name, summary in COMMANDS.items()),
        "",
    ]
    for name in COMMANDS:
        command: Any = get_command(_app([name])).commands[name]  # type: ignore[attr-defined]
        context = command.context_class(command, info_name=f"gpt1 {name}")
        usage = " ".join(command.collect_usage_pieces(context))
        records = [p.get_help_record(context) for p in command.get_params(context)]
        lines += [f"## gpt1 {name}", "", linked(command.help or ""), ""]
        lines += ["```console", f"$ gpt1 {name} {usage}", "```", "", "| | does |", "| --- | --- |"]
        lines += [
            f"| `{argument(left)}` | {linked(cell(right))} |"
            for left, right in filter(None, records)
        ]
        lines.append("")
    return "\n".join(lines)


def argument(text: str) -> str:
    """Return an option as its row shows it: types as people name them, choices with their bars."""
    text = re.sub(r"<list\[(\w+)\]>", r"<\1>", " ".join(text.split()))
    return text.replace("<int range>", "<int>").replace("<float range>", "<float>")


def cell(text: str) -> str:
    """Return text that fits into a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def settings() -> str:
    """Return the page of all settings, with the packaged sizes and recipes."""
    from gpt1.config import RunConfig, SamplingConfig, ServeConfig
    from gpt1.settings import describe

    lines = [
        "# Settings",
        "",
        "Any setting is changed by `--set section.field=value`, which may be repeated, or in a "
        '.toml file given to `--config`; in Python by `overrides=["section.field=value"]`, and '
        "those of generation by keywords. What comes later wins: defaults, the size, the recipe, "
        "the file of `--config`, options and `--set`. A run keeps all of them in `run.json`.",
        "",
    ]
    sections = {name: field.annotation for name, field in RunConfig.model_fields.items()}
    for name, kind in {**sections, "sampling": SamplingConfig, "serve": ServeConfig}.items():
        summary = (kind.__doc__ or "").split("\n")[0]
        lines += [
            f"## {name}",
            "",
            summary,
            "",
            "| setting | allowed; default; meaning |",
            "| --- | --- |",
        ]
        lines += [f"| `{name}.{field}` | {cell(told)} |" for field, told in describe(kind).items()]
        lines.append("")
    lines += ["## Sizes and recipes", "", "The presets that come with gpt1, as they are.", ""]
    for path in sorted((ROOT / "src" / "gpt1" / "presets").glob("*.toml")):
        lines += [f"### {path.stem}", "", "```toml", path.read_text("utf-8").rstrip(), "```", ""]
    return "\n".join(lines)
