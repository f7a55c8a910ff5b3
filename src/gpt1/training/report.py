"""A run as one page, RUN/report.html: curves, samples, settings, machine; or two runs overlaid.

The page holds all it needs: no script, no font and no picture from elsewhere, so it can be mailed
and printed. The curves are SVG with at most some hundred points each, however long the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from gpt1 import storage
from gpt1._version import __version__
from gpt1.config import RunConfig
from gpt1.training.curves import charts, spread
from gpt1.training.history import History
from gpt1.training.progress import perplexity

_SAMPLES = 24  # in the table, at most


def write_report(path: Path | str) -> None:
    """Write RUN/report.html for the run in `path`, finished or not.

    Raises DataError if there is no run, CorruptError if its files are damaged, StorageError.
    """
    history = History.read(path)
    storage.write_file(Path(path) / "report.html", _report(history))


def write_comparison(
    out: Path | str,
    runs: Mapping[str, History],
    tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]],
) -> None:
    """Write a page with the curves of `runs` (name -> run) over one another. Raises StorageError.

    `tables` are (title, head, rows), shown above the curves.
    """
    parts = [f"<h1>{escape(' and '.join(runs))}</h1>"]
    for title, head, rows in tables:
        shown = table(head, rows, "figures")
        parts += [f"<h2>{escape(title)}</h2>", f'<div class="scroll">{shown}</div>']
    parts += ["<h2>Curves</h2>", charts(runs)]
    storage.write_file(out, page(f"gpt1: {' and '.join(runs)}", parts))


# The page


def _report(history: History) -> bytes:
    name = history.path.resolve().name
    facts = "".join(
        f"<div><dt>{escape(label)}</dt><dd>{escape(text)}</dd></div>"
        for label, text in history.results.labelled().items()
        if text is not None
    )
    parts = [
        f"<h1>{escape(name)}</h1>",
        f'<dl class="facts">{facts}</dl>',
        "<h2>Curves</h2>",
        charts({name: history}) if history.updates else "<p>No update is done yet.</p>",
        *_left_out(history),
        *_samples(history),
        "<h2>Configuration</h2>",
        "<p>As resolved; what is not the default is marked.</p>",
        f'<div class="sections">{"".join(_sections(history))}</div>',
        "<h2>Machine and data</h2>",
        table((), _about(history), "settings"),
    ]
    return page(f"gpt1: {name}", parts)


def page(title: str, parts: Iterable[str]) -> bytes:
    """Return a page in the look of the reports; `parts` are HTML, below one another."""
    template = resources.files("gpt1.training") / "report_template.html"
    text = Template(template.read_text("utf-8")).substitute(
        title=escape(title), body="\n".join(parts)
    )
    return text.encode(errors="replace")  # half a surrogate pair cannot be written


def _left_out(history: History) -> list[str]:
    if not history.skipped:
        return []
    rows = [(f"{line['step']:,}", line["skipped"]) for line in history.skipped[:_SAMPLES]]
    return ["<h2>Updates left out</h2>", table(("update", "reason"), rows, "numbers")]


def _samples(history: History) -> list[str]:
    if not history.samples:
        return []
    shown = spread(history.samples, _SAMPLES)
    rows = []
    for line in shown:
        check = history.check_near(line["step"])
        figures = ("", "")
        if check is not None:
            figures = (f"{check['valid_loss']:.4f}", perplexity(check["valid_loss"]))
        rows.append((f"{line['step']:,}", *figures, line["sample"]))
    head = ("update", "validation loss", "perplexity", "text")
    note = f"<p>{len(shown)} of {len(history.samples)}.</p>" * (len(shown) < len(history.samples))
    texts = table(head, rows, "numbers")
    return ["<h2>Samples along the way</h2>", note, f'<div class="scroll">{texts}</div>']


def _sections(history: History) -> Iterable[str]:
    """Yield a table for each section of the configuration."""
    defaults = RunConfig().model_dump(mode="json")
    for section, fields in history.record["config"].items():
        usual = defaults.get(section, {})
        rows, changed = [], []
        for name, value in fields.items():
            differs = name not in usual or usual[name] != value
            default = f"default {value_text(usual[name])}" if differs and name in usual else ""
            rows.append((name, value_text(value), default))
            changed.append(differs)
        yield f"<div><h3>{escape(section)}</h3>{table((), rows, 'settings', changed)}</div>"


def _about(history: History) -> list[tuple[str, str]]:
    record = history.record
    rows = [("gpt1", record["gpt1"])]
    rows += [(name, value_text(value)) for name, value in record["machine"].items()]
    rows += [
        (f"fingerprint of {name}", value_text(value)) for name, value in record["facts"].items()
    ]
    if record["gpt1"] != __version__:
        rows.append(("this page by gpt1", __version__))
    return rows


def value_text(value: Any) -> str:
    """Write a setting's value for people."""
    if value is None or value == "":
        return "none" if value is None else '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value)) or "none"
    return str(value)


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    kind: str = "",
    changed: Sequence[bool] = (),
) -> str:
    """Return a table; every text in it is escaped here."""
    parts = [f'<table class="{kind}">']
    if head:
        parts.append(f"<tr>{''.join(f'<th>{escape(text)}</th>' for text in head)}</tr>")
    for number, row in enumerate(rows):
        mark = ' class="changed"' if number < len(changed) and changed[number] else ""
        cells = "".join(f"<td>{escape(text)}</td>" for text in row)
        parts.append(f"<tr{mark}>{cells}</tr>")
    return "\n".join([*parts, "</table>"])
