"""gpt1 compare: two runs side by side, on the terminal, as JSON and as a page."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from gpt1 import cli
from gpt1.config import RunConfig
from gpt1.storage import Log
from pages import Page


def make_run(place: Path, losses: list[float], *, every: int = 2, **settings: Any) -> Path:
    """Write the files of a run; `settings` are of its optimizer."""
    place.mkdir(parents=True)
    config = RunConfig().model_dump(mode="json")
    config["optimizer"].update(settings)
    record = {
        "gpt1": "0.1.0", "config": config,
        "fingerprints": {"data": "a" * 64, "tokenizer": "c" * 64},
        "machine": {"torch": "2.13.0", "threads": 2},
    }  # fmt: skip
    (place / "run.json").write_text(json.dumps(record))
    lines: list[dict[str, Any]] = []
    for step, loss in enumerate(losses, 1):
        lines.append({
            "step": step, "loss": loss, "lr": 1e-3, "grad_norm": 1.0, "tokens": 100 * step,
            "tokens_per_second": 50.0, "seconds": 2.0 * step,
        })  # fmt: skip
        if step % every == 0:
            lines.append({"step": step, "valid_loss": loss + 0.5})
    Log(place / "metrics.jsonl").append(*lines)
    return place


def compare(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[Any, str, str]:
    """Run the command; return its exit code, stdout and stderr."""
    monkeypatch.setattr(sys, "argv", ["gpt1", "compare", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code, *capsys.readouterr()


def rows(text: str) -> list[list[str]]:
    """Return the cells of the tables."""
    return [re.split(r" {3,}", line) for line in text.splitlines() if "   " in line]


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    return (
        make_run(tmp_path / "one", [4.0, 3.0, 3.0, 2.0], lr=1e-3),
        make_run(tmp_path / "two", [4.0, 2.5, 2.0, 2.5, 1.0, 1.0, 1.0, 1.5], every=4, lr=2e-3),
    )


def test_two_runs_are_put_side_by_side(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = compare(monkeypatch, capsys, *runs)
    assert (code, err) == (0, "")
    found = rows(out)
    assert found[:2] == [["", "one", "two"], ["optimizer.lr", "0.001", "0.002"]]
    for row in (
        ["updates", "4", "8"],
        ["tokens", "400", "800"],
        ["time", "8 s", "16 s"],
        ["training loss, last 50 updates", "3.0000", "1.9375"],
        ["best validation loss", "2.5000", "2.0000"],
        ["best at update", "4", "8"],
    ):
        assert row in found
    assert found[-2:] == [
        ["update", "one", "two", "difference"],
        ["4", "2.5000", "3.0000", "+0.5000"],
    ]
    assert "n_embd" not in out  # only what differs


def test_the_same_as_json(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = compare(monkeypatch, capsys, *runs, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["differences"] == {
        "settings": {"optimizer.lr": [0.001, 0.002]}, "fingerprints": {}, "machine": {}
    }  # fmt: skip
    assert found["validation"] == [{"step": 4, "losses": [2.5, 3.0]}]
    assert [run["valid_loss"] for run in found["runs"]] == [2.5, 2.0]
    assert [run["run"] for run in found["runs"]] == ["one", "two"]


def test_the_page_has_both_runs_in_every_chart(
    runs: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = compare(monkeypatch, capsys, *runs, "--out", tmp_path / "both.html")
    assert code == 0
    assert "optimizer.lr" in out
    page = Page((tmp_path / "both.html").read_bytes())
    assert len(page.charts) == 7
    for chart in page.charts:
        assert ">one" in chart
        assert ">two" in chart
    assert ["optimizer.lr", "0.001", "0.002"] in page.rows
    assert ["4", "2.5000", "3.0000", "+0.5000"] in page.rows
    code, out, err = compare(monkeypatch, capsys, *runs, "--out", runs[0] / "metrics.jsonl")
    assert (code, out) == (2, "")
    assert "ends in .html" in err


def test_runs_of_one_name_are_told_apart_and_a_run_equals_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a = make_run(tmp_path / "a" / "[red]run", [3.0, 2.0])
    b = make_run(tmp_path / "b" / "[red]run", [3.0, 2.0])
    code, out, _ = compare(monkeypatch, capsys, a, b)
    assert code == 0
    assert rows(out)[0] == ["", "a/[red]run", "b/[red]run"]
    assert "nothing: settings, data and machine are the same" in out
    code, out, _ = compare(monkeypatch, capsys, a, a)
    assert code == 0
    assert rows(out)[-1] == ["2", "2.5000", "2.5000", "+0.0000"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [make_run(tmp_path / name, [3.0, 2.0]) for name in ("a\udcff", "b")]
    for more in ((), ("--json",), ("--out", tmp_path / "page.html")):
        code, out, err = compare(monkeypatch, capsys, *runs, *more)
        assert (code, err) == (0, "")
        assert "a?" in out


def test_runs_on_other_data_machines_and_versions_differ_in_it(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((runs[1] / "run.json").read_text())
    record["gpt1"] = "0.2.0"
    record["fingerprints"]["data"] = "b" * 64
    record["machine"]["gpus"] = 8
    record["config"]["future"] = {"x": True}
    del record["config"]["train"]["seed"]
    (runs[1] / "run.json").write_text(json.dumps(record))
    code, out, _ = compare(monkeypatch, capsys, *runs)
    assert code == 0
    for row in (
        ["train.seed", "0", "none"],
        ["future.x", "none", "true"],
        ["fingerprints: data", "a" * 12, "b" * 12],
        ["machine: gpt1", "0.1.0", "0.2.0"],
        ["machine: gpus", "none", "8"],
    ):
        assert row in rows(out)


def test_what_is_no_run_or_damaged_is_told(
    runs: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for place in (tmp_path, tmp_path / "nothing", runs[0] / "run.json"):
        code, out, err = compare(monkeypatch, capsys, runs[0], place)
        assert (code, out) == (2, ""), place
        assert f"{place} is no run: it has no run.json" in err
    log = runs[1] / "metrics.jsonl"
    log.write_text("}\n" + log.read_text())
    code, out, err = compare(monkeypatch, capsys, *runs, "--json")
    assert (code, out) == (1, "")
    assert err.startswith(f"gpt1: {log} has a damaged line")
    (runs[1] / "run.json").write_bytes(b"\xff")
    code, out, err = compare(monkeypatch, capsys, *runs)
    assert (code, out) == (1, "")
    assert "run.json is damaged" in err
    code, out, err = compare(monkeypatch, capsys, runs[0])
    assert (code, out) == (2, "")
