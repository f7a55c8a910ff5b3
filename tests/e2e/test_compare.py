"""gpt1 compare: two runs side by side, on the terminal, as JSON and as a page."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from commands import run_gpt1
from pages import Page
from run_logs import make_run, update

BOTH_EVALUATED = ["4", "2.5000", "3.0000", "+0.5000"]


def lines(losses: list[float], every: int = 2) -> list[dict[str, Any]]:
    """Return the log of a run that is evaluated every so many updates."""
    log = []
    for step, loss in enumerate(losses, 1):
        log.append(update(step, loss))
        if step % every == 0:
            log.append({"step": step, "valid_loss": loss + 0.5})
    return log


def rows(text: str) -> list[list[str]]:
    """Return the cells of the tables."""
    return [re.split(r" {3,}", line) for line in text.splitlines() if "   " in line]


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    losses = [4.0, 2.5, 2.0, 2.5, 1.0, 1.0, 1.0, 1.5]
    return (
        make_run(tmp_path / "one", lines([4.0, 3.0, 3.0, 2.0]), {"optimizer": {"lr": 1e-3}}),
        make_run(tmp_path / "two", lines(losses, every=4), {"optimizer": {"lr": 2e-3}}),
    )


def test_two_runs_are_put_side_by_side(runs: tuple[Path, Path]) -> None:
    done = run_gpt1("compare", *runs).check()
    assert not done.stderr
    table = rows(done.stdout)
    assert table[:2] == [["", "one", "two"], ["optimizer.lr", "0.001", "0.002"]]  # what differs
    for row in (
        ["updates", "4", "8"],
        ["tokens", "400", "800"],
        ["time", "8 s", "16 s"],
        ["training loss, last 50 updates", "3.0000", "1.9375"],
        ["best validation loss", "2.5000", "2.0000"],
        ["best at update", "4", "8"],
    ):
        assert row in table
    assert table[-2:] == [["update", "one", "two", "difference"], BOTH_EVALUATED]


def test_the_same_as_json(runs: tuple[Path, Path]) -> None:
    done = run_gpt1("compare", *runs, "--json").check()
    assert not done.stderr
    values = json.loads(done.stdout)
    settings = {"optimizer.lr": [0.001, 0.002]}
    assert values["differences"] == {"settings": settings, "fingerprints": {}, "machine": {}}
    assert values["validation"] == [{"step": 4, "losses": [2.5, 3.0]}]
    results = [(run["run"], run["valid_loss"]) for run in values["runs"]]
    assert results == [("one", 2.5), ("two", 2.0)]


def test_the_page_has_both_runs_in_every_chart(runs: tuple[Path, Path], tmp_path: Path) -> None:
    done = run_gpt1("compare", *runs, "--out", tmp_path / "both.html").check()
    assert "optimizer.lr" in done.stdout
    page = Page((tmp_path / "both.html").read_bytes())
    assert len(page.charts) == 8
    assert all(">one" in chart and ">two" in chart for chart in page.charts)
    assert ["optimizer.lr", "0.001", "0.002"] in page.rows
    assert BOTH_EVALUATED in page.rows
    refused = run_gpt1("compare", *runs, "--out", runs[0] / "metrics.jsonl")
    assert (refused.code, refused.stdout) == (2, "")
    assert "must end in .html" in refused.stderr


def test_three_runs_are_compared_and_one_is_refused(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    third = make_run(tmp_path / "three", lines([4.0, 3.5, 3.0, 2.75]), {"optimizer": {"lr": 1e-3}})
    page = tmp_path / "page.html"
    shown = run_gpt1("compare", *runs, third, "-o", page).check().stdout
    assert rows(shown)[:2] == [
        ["", "one", "two", "three"],
        ["optimizer.lr", "0.001", "0.002", "0.001"],
    ]
    assert rows(shown)[-1] == ["4", "2.5000", "3.0000", "3.2500"]
    assert Page(page.read_bytes()).headings[1] == "Curves"
    done = run_gpt1("compare", runs[0])
    assert (done.code, "give two or more" in done.stderr) == (2, True)


def test_runs_of_one_name_are_told_apart_and_a_run_equals_itself(tmp_path: Path) -> None:
    a, b = (make_run(tmp_path / name / "[red]run", lines([3.0, 2.0])) for name in "ab")
    shown = run_gpt1("compare", a, b).check().stdout
    assert rows(shown)[0] == ["", "a/[red]run", "b/[red]run"]
    assert "none: settings, data and machine are the same" in shown
    shown = run_gpt1("compare", a, a).check().stdout
    assert rows(shown)[-1] == ["2", "2.5000", "2.5000", "+0.0000"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
@pytest.mark.parametrize("more", [(), ("--json",), ("--out", "page.html")])
def test_a_name_that_is_no_text_is_printed(
    more: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [make_run(tmp_path / name, lines([3.0, 2.0])) for name in ("a\udcff", "b")]
    done = run_gpt1("compare", *runs, *more).check()
    assert not done.stderr
    assert "a?" in done.stdout


def test_runs_on_other_data_machines_and_versions_differ_in_it(runs: tuple[Path, Path]) -> None:
    record = json.loads((runs[1] / "run.json").read_text())
    record["gpt1"] = "0.2.0"
    record["fingerprints"]["data"] = "b" * 64
    record["machine"]["gpus"] = 8
    record["config"]["future"] = {"x": True}
    del record["config"]["train"]["seed"]
    (runs[1] / "run.json").write_text(json.dumps(record))
    table = rows(run_gpt1("compare", *runs).check().stdout)
    for row in (
        ["train.seed", "0", "none"],
        ["future.x", "none", "true"],
        ["fingerprints: data", "d" * 12, "b" * 12],
        ["machine: gpt1", "9.8.7", "0.2.0"],
        ["machine: gpus", "none", "8"],
    ):
        assert row in table


def test_what_is_no_run_or_damaged_is_told(runs: tuple[Path, Path], tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing", runs[0] / "run.json"):
        done = run_gpt1("compare", runs[0], path)
        assert (done.code, done.stdout) == (2, ""), path
        assert f"{path} is no run: it has no run.json" in done.stderr
    log = runs[1] / "metrics.jsonl"
    log.write_text("}\n" + log.read_text())
    done = run_gpt1("compare", *runs, "--json")
    assert (done.code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"gpt1: {log} has a damaged line")
    (runs[1] / "run.json").write_bytes(b"\xff")
    done = run_gpt1("compare", *runs)
    assert (done.code, done.stdout) == (1, "")
    assert "run.json is damaged" in done.stderr
    done = run_gpt1("compare", runs[0])
    assert (done.code, done.stdout) == (2, "")


BAD_LINES: tuple[dict[str, Any], ...] = (
    {"step": "1", "valid_loss": 2.0}, {"step": 1, "valid_loss": 2.0, "valid_accuracy": "high"},
    {"step": 1, "valid_loss": None}, {"step": 1, "loss": 2.0}, {"step": 1, "sample": 5},
    {"step": 1, "valid_loss": 1e308}, update(1, 10**400),
)  # fmt: skip
BAD_ENDS: tuple[Any, ...] = (
    [], {"training": []}, {"training": None}, {"training": {"reason": 5}},
    {"training": {"validation": {"loss": "low"}}},
)  # fmt: skip


BAD = [("metrics.jsonl", x) for x in BAD_LINES] + [("model/gpt1.json", x) for x in BAD_ENDS]


@pytest.mark.parametrize(("name", "content"), BAD)
def test_what_no_run_has_written_is_told(
    runs: tuple[Path, Path], name: str, content: dict[str, Any]
) -> None:
    (runs[1] / "model").mkdir(exist_ok=True)
    (runs[1] / "model/gpt1.json").write_text("{}")
    run_gpt1("compare", *runs).check()
    (runs[1] / name).write_text(json.dumps(content) + "\n")
    for more in ((), ("--json",)):
        done = run_gpt1("compare", *runs, *more)
        assert (done.code, done.stdout) == (1, "")
        assert f"{runs[1] / name} " in done.stderr
