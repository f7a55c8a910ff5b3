"""Training runs as pages: RUN/report.html of one, and two side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gpt1 import storage
from gpt1._version import __version__
from gpt1.config import RunConfig
from gpt1.reports.curves import run_charts
from gpt1.reports.formatting import format_perplexity, format_setting, spread
from gpt1.reports.history import History
from gpt1.reports.page import render_page
from gpt1.reports.sections import ABSENT, Cards, Charts, Columns, Section, Table

_SAMPLES = 24  # in the table, at most
_ROWS = 20  # of validation losses, at most


def write_report(path: Path | str) -> None:
    """Write RUN/report.html for the run in `path`, finished or not.

    Raises DataError if there is no run, CorruptError if its files are damaged, StorageError.
    """
    run = History.read(path)
    name = run.path.resolve().name
    curves = Section("Curves", None, "No update has been made yet.")
    if run.updates:
        curves = Section("Curves", Charts(run_charts({name: run})))
    page = render_page(
        name,
        (),
        [
            Section("", Cards(run.results.cards())),
            curves,
            *_skipped(run),
            *_samples(run),
            Section(
                "Configuration",
                Columns(list(_settings(run))),
                "The resolved configuration; values that differ from the defaults are marked.",
            ),
            Section("Machine and data", _origin(run)),
        ],
    )
    storage.write_file(Path(path) / "report.html", page)


def write_comparison(out: Path | str, runs: Mapping[str, History]) -> None:
    """Write a page with two runs (name -> run) side by side. Raises StorageError."""
    tables = [Section(title, table) for title, table in comparison_tables(runs).items()]
    curves = Section("Curves", Charts(run_charts(runs)))
    storage.write_file(out, render_page(" and ".join(runs), (), [*tables, curves]))


def differences(a: History, b: History) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Return what two runs differ in: settings, fingerprints and machine, by name -> values."""
    parts = {
        "settings": (a.settings(), b.settings()),
        "fingerprints": (a.record["fingerprints"], b.record["fingerprints"]),
        "machine": tuple({"gpt1": r.record["gpt1"], **r.record["machine"]} for r in (a, b)),
    }
    return {
        part: {
            name: (one.get(name), other.get(name))
            for name in one | other
            if one.get(name) != other.get(name)
        }
        for part, (one, other) in parts.items()
    }


def common_validation(a: History, b: History) -> dict[int, tuple[float, float]]:
    """Return the validation losses at the steps that both runs have."""
    other = {line["step"]: line["valid_loss"] for line in b.evaluations}
    return {
        line["step"]: (line["valid_loss"], other[line["step"]])
        for line in a.evaluations
        if line["step"] in other
    }


def comparison_tables(runs: Mapping[str, History]) -> dict[str, Table]:
    """Return two runs (name -> run) side by side as tables, by title."""
    columns = ("", *runs)
    a, b = runs.values()
    tables = {"Differences": Table(columns, _differences(a, b))}

    cards = [{card.label: card.value for card in run.results.cards()} for run in (a, b)]
    labels = dict.fromkeys([*cards[0], *cards[1]])
    rows = [[label, *(each.get(label, ABSENT) for each in cards)] for label in labels]
    tables["Results"] = Table(columns, rows)

    both = spread(list(common_validation(a, b).items()), _ROWS)
    rows = [[f"{step:,}", f"{x:.4f}", f"{y:.4f}", f"{y - x:+.4f}"] for step, (x, y) in both]
    if rows:
        tables["Validation loss"] = Table(("update", *runs, "difference"), rows)
    return tables


def _differences(a: History, b: History) -> list[list[str]]:
    rows = []
    for part, pairs in differences(a, b).items():
        for name, pair in pairs.items():
            label = name if part == "settings" else f"{part}: {name}"
            texts = [format_setting(value) for value in pair]
            rows.append([label, *(t[:12] if part == "fingerprints" else t for t in texts)])
    return rows or [["none: settings, data and machine are the same", "", ""]]


def _skipped(run: History) -> list[Section]:
    if not run.skipped:
        return []
    rows = [(f"{line['step']:,}", line["skipped"]) for line in run.skipped[:_SAMPLES]]
    return [Section("Skipped updates", Table(("update", "reason"), rows, "texts"))]


def _samples(run: History) -> list[Section]:
    if not run.samples:
        return []
    shown = spread(run.samples, _SAMPLES)
    rows = []
    for line in shown:
        nearest = run.evaluation_near(line["step"])
        figures = ("", "")
        if nearest is not None:
            loss = nearest["valid_loss"]
            figures = (f"{loss:.4f}", format_perplexity(loss))
        rows.append((f"{line['step']:,}", *figures, line["sample"]))
    table = Table(("update", "validation loss", "perplexity", "text"), rows, "texts")
    note = "" if len(shown) == len(run.samples) else f"{len(shown)} of {len(run.samples)}."
    return [Section("Samples during training", table, note)]


def _settings(run: History) -> Iterator[Section]:
    """Yield a table for each section of the configuration."""
    defaults = RunConfig().model_dump(mode="json")
    for section, fields in run.record["config"].items():
        default = defaults.get(section, {})
        rows, changed = [], []
        for number, (name, value) in enumerate(fields.items()):
            text = ""
            if name not in default or default[name] != value:
                changed.append(number)
                text = f"default {format_setting(default[name])}" if name in default else ""
            rows.append((name, format_setting(value), text))
        yield Section(section, Table((), rows, "settings", changed))


def _origin(run: History) -> Table:
    record = run.record
    rows = [("gpt1", record["gpt1"])]
    rows += [(name, format_setting(value)) for name, value in record["machine"].items()]
    rows += [
        (f"fingerprint of {name}", format_setting(value))
        for name, value in record["fingerprints"].items()
    ]
    if record["gpt1"] != __version__:
        rows.append(("this page by gpt1", __version__))
    return Table((), rows, "settings")
