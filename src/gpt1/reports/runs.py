"""Training runs as pages: RUN/report.html of one, and several side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt1 import storage
from gpt1.reports.configuration import command_line, configuration
from gpt1.reports.curves import run_charts
from gpt1.reports.formatting import format_duration, format_perplexity, format_setting, spread
from gpt1.reports.history import LAST, History
from gpt1.reports.page import render_page
from gpt1.reports.sections import ABSENT, Section, Table

_ROWS = 24
"""The most rows in a table of samples or validation losses."""


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
    sections += configuration(run)
    sections.append(Section("Machine and data", _origin(run)))
    cards = [(label, value, "") for label, value in _results(run).items()]
    storage.update_file(Path(path) / "report.html", render_page(name, (), sections, cards))


def comparison_page(runs: Mapping[str, History]) -> bytes:
    """Return a page with two or more runs (name -> run): their curves, then what differs."""
    tables = [Section(title, table) for title, table in comparison_tables(runs).items()]
    curves = Section("Curves", run_charts(runs))
    *names, last = runs
    return render_page(f"{', '.join(names)} and {last}", (), [curves, *tables])


def differences(runs: Sequence[History]) -> dict[str, dict[str, tuple[Any, ...]]]:
    """Return what runs differ in: settings, fingerprints and machine, by name -> values."""
    parts = {
        "settings": [run.settings() for run in runs],
        "fingerprints": [run.record.fingerprints for run in runs],
        "machine": [{"gpt1": run.record.gpt1, **run.record.machine} for run in runs],
    }
    found: dict[str, dict[str, tuple[Any, ...]]] = {}
    for part, values in parts.items():
        names = dict.fromkeys(name for each in values for name in each)
        rows = {name: tuple(each.get(name) for each in values) for name in names}
        found[part] = {n: row for n, row in rows.items() if any(v != row[0] for v in row)}
    return found


def common_validation(runs: Sequence[History]) -> dict[int, tuple[float, ...]]:
    """Return the validation losses of runs at the steps that all have."""
    losses = [{e["step"]: e["valid_loss"] for e in run.evaluations} for run in runs]
    steps = [step for step in losses[0] if all(step in each for each in losses)]
    return {step: tuple(each[step] for each in losses) for step in steps}


def comparison_tables(runs: Mapping[str, History]) -> dict[str, Table]:
    """Return runs (name -> run) side by side as tables, by title; of two, the difference too."""
    columns, histories = ("", *runs), list(runs.values())
    rows = []
    for part, found in differences(histories).items():
        for name, values in found.items():
            label = name if part == "settings" else f"{part}: {name}"
            texts = [format_setting(value) for value in values]
            rows.append([label, *(t[:12] if part == "fingerprints" else t for t in texts)])
    same = [["none: settings, data and machine are the same", *[""] * len(runs)]]
    tables = {"Differences": Table(columns, rows or same)}

    results = [_results(run) for run in histories]
    names = dict.fromkeys(name for each in results for name in each)
    rows = [[name, *(each.get(name, ABSENT) for each in results)] for name in names]
    tables["Results"] = Table(columns, rows)

    difference = ["difference"] if len(runs) == 2 else []
    rows = []
    for step, losses in spread(list(common_validation(histories).items()), _ROWS):
        change = [f"{losses[1] - losses[0]:+.4f}"] if difference else []
        rows.append([f"{step:,}", *(f"{loss:.4f}" for loss in losses), *change])
    if rows:
        tables["Validation loss"] = Table(("update", *runs, *difference), rows)
    return tables


def _results(run: History) -> dict[str, str]:
    """Return the figures that a run has, by their names for people."""
    results = run.results
    metric = results["metric"]
    unit = "" if run.loss_name in ("nats a token", "task loss") else f" ({run.loss_name})"
    count, loss = "{:,}".format, "{:.4f}".format
    figures: list[tuple[str, str, Callable[[Any], str]]] = [
        ("updates", "updates", count),
        ("skipped (loss not finite)", "skipped", count),
        ("tokens", "tokens", count),
        ("time", "seconds", format_duration),
        ("tokens a second, median", "tokens_per_second", "{:,.0f}".format),
        ("waiting for data", "loader_share", "{:.2%}".format),
        (f"training loss{unit}, last {LAST} updates", "train_loss", loss),
        (f"best validation loss{unit}", "valid_loss", loss),
        ("best validation perplexity", "valid_loss", format_perplexity),
        ("best at update", "valid_step", count),
        (f"best validation {metric}", "valid_metric", loss),
        (f"best {metric} at update", "metric_step", count),
        (f"final validation loss{unit}", "final_loss", loss),
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


def _origin(run: History) -> Table:
    record = run.record
    begun = {"started": record.started, "command": command_line(run)}
    values = {name: text for name, text in begun.items() if text}
    values |= {"gpt1": record.gpt1, **record.machine}
    values |= {f"fingerprint of {name}": value for name, value in record.fingerprints.items()}
    return Table((), [(name, format_setting(value)) for name, value in values.items()], "settings")
