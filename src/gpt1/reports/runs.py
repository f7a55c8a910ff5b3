"""Training runs as pages: RUN/report.html of one, and two side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gpt1 import storage
from gpt1.config import RunConfig
from gpt1.reports.curves import run_charts
from gpt1.reports.formatting import format_duration, format_perplexity, format_setting, spread
from gpt1.reports.history import LAST, History
from gpt1.reports.page import render_page
from gpt1.reports.sections import ABSENT, Section, Table

_ROWS = 24
"""The most rows in a table of samples or validation losses."""
_UNKNOWN = object()
"""The default of a setting of another version."""


def write_report(path: Path | str) -> None:
    """Write RUN/report.html for the run in `path`, finished or not.

    Raises DataError if there is no run, CorruptError if its files are damaged, StorageError.
    """
    run = History.read(path)
    name = run.path.resolve().name
    if run.updates:
        sections = [Section("Curves", run_charts({name: run}))]
    else:
        sections = [Section("Curves", None, "No update has been made yet.")]
    if run.skipped:
        rows = [(f"{line['step']:,}", line["skipped"]) for line in run.skipped[:_ROWS]]
        sections.append(Section("Skipped updates", Table(("update", "reason"), rows, "texts")))
    if run.samples:
        sections.append(_samples(run))
    note = "The resolved configuration; values that differ from the defaults are marked."
    sections += [Section("Configuration", None, note), *_settings(run)]
    sections.append(Section("Machine and data", _origin(run)))
    cards = [(label, value, "") for label, value in _results(run).items()]
    storage.update_file(Path(path) / "report.html", render_page(name, (), sections, cards))


def comparison_page(runs: Mapping[str, History]) -> bytes:
    """Return a page with two runs (name -> run) side by side."""
    tables = [Section(title, table) for title, table in comparison_tables(runs).items()]
    curves = Section("Curves", run_charts(runs))
    return render_page(" and ".join(runs), (), [*tables, curves])


def differences(a: History, b: History) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Return what two runs differ in: settings, fingerprints and machine, by name -> values."""
    parts = {
        "settings": [run.settings() for run in (a, b)],
        "fingerprints": [run.record.fingerprints for run in (a, b)],
        "machine": [{"gpt1": run.record.gpt1, **run.record.machine} for run in (a, b)],
    }
    return {
        part: {n: (x.get(n), y.get(n)) for n in x | y if x.get(n) != y.get(n)}
        for part, (x, y) in parts.items()
    }


def common_validation(a: History, b: History) -> dict[int, tuple[float, float]]:
    """Return the validation losses of two runs at the steps that both have."""
    first, second = ({e["step"]: e["valid_loss"] for e in run.evaluations} for run in (a, b))
    return {step: (loss, second[step]) for step, loss in first.items() if step in second}


def comparison_tables(runs: Mapping[str, History]) -> dict[str, Table]:
    """Return two runs (name -> run) side by side as tables, by title."""
    columns = ("", *runs)
    a, b = runs.values()
    rows = []
    for part, pairs in differences(a, b).items():
        for name, pair in pairs.items():
            label = name if part == "settings" else f"{part}: {name}"
            texts = [format_setting(value) for value in pair]
            rows.append([label, *(t[:12] if part == "fingerprints" else t for t in texts)])
    same = [["none: settings, data and machine are the same", "", ""]]
    tables = {"Differences": Table(columns, rows or same)}

    first, second = _results(a), _results(b)
    rows = [[name, first.get(name, ABSENT), second.get(name, ABSENT)] for name in first | second]
    tables["Results"] = Table(columns, rows)

    losses = spread(list(common_validation(a, b).items()), _ROWS)
    rows = [[f"{step:,}", f"{x:.4f}", f"{y:.4f}", f"{y - x:+.4f}"] for step, (x, y) in losses]
    if rows:
        tables["Validation loss"] = Table(("update", *runs, "difference"), rows)
    return tables


def _results(run: History) -> dict[str, str]:
    """Return the figures that a run has, by their names for people."""
    results = run.results
    metric = results["metric"]
    count, loss = "{:,}".format, "{:.4f}".format
    figures: list[tuple[str, str, Callable[[Any], str]]] = [
        ("updates", "updates", count),
        ("skipped (loss not finite)", "skipped", count),
        ("tokens", "tokens", count),
        ("time", "seconds", format_duration),
        ("tokens a second, median", "tokens_per_second", "{:,.0f}".format),
        ("waiting for data", "loader_share", "{:.2%}".format),
        (f"training loss, last {LAST} updates", "train_loss", loss),
        ("best validation loss", "valid_loss", loss),
        ("best validation perplexity", "valid_loss", format_perplexity),
        ("best at update", "valid_step", count),
        (f"best validation {metric}", "valid_metric", loss),
        (f"best {metric} at update", "metric_step", count),
        ("final validation loss", "final_loss", loss),
        ("final validation perplexity", "final_loss", format_perplexity),
        (f"final validation {metric}", "final_metric", loss),
        ("parameters", "parameters", count),
    ]
    texts = {"ended": results["finished"] or "not finished"}
    for label, name, form in figures:
        if results[name] is not None and not (metric and form is format_perplexity):
            texts[label] = form(results[name])
    return texts


def _samples(run: History) -> Section:
    rows = []
    for line in spread(run.samples, _ROWS):
        figures = ("", "")
        if run.evaluations:
            nearest = min(run.evaluations, key=lambda e: abs(e["step"] - line["step"]))
            loss = nearest["valid_loss"]
            figures = (f"{loss:.4f}", format_perplexity(loss))
        rows.append((f"{line['step']:,}", *figures, line["sample"]))
    table = Table(("update", "validation loss", "perplexity", "text"), rows, "texts")
    note = "" if len(rows) == len(run.samples) else f"{len(rows)} of {len(run.samples)}."
    return Section("Samples during training", table, note)


def _settings(run: History) -> list[Section]:
    """Return a table for each section of the configuration."""
    defaults = RunConfig().model_dump(mode="json")
    sections = []
    for section, fields in run.record.config.items():
        rows, marked = [], []
        for number, (name, value) in enumerate(fields.items()):
            default = defaults.get(section, {}).get(name, _UNKNOWN)
            note = ""
            if value != default:
                marked.append(number)
                note = "" if default is _UNKNOWN else f"default {format_setting(default)}"
            rows.append((name, format_setting(value), note))
        sections.append(Section(section, Table((), rows, "settings", marked), narrow=True))
    return sections


def _origin(run: History) -> Table:
    record = run.record
    values = {"gpt1": record.gpt1, **record.machine}
    values |= {f"fingerprint of {name}": value for name, value in record.fingerprints.items()}
    return Table((), [(name, format_setting(value)) for name, value in values.items()], "settings")
