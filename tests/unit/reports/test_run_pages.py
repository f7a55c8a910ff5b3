"""The report: what it shows, that it holds all it needs, and that nothing in it is trusted."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

import run_logs
from gpt1.config import load_run
from gpt1.errors import CorruptError, DataError
from gpt1.reports.history import History
from gpt1.reports.runs import comparison_page, write_report
from gpt1.storage import write_folder
from pages import Page
from run_logs import update

LINES: list[dict[str, Any]] = [
    {"step": 0, "valid_loss": 5.0},
    *(update(step, 4.0 - step / 10) for step in range(1, 6)),
    {"step": 5, "sample": "it was a cat"},
    {"step": 5, "valid_loss": 3.25},
    update(6, 3.3),
    {"step": 7, "skipped": "the loss is nan"},
    *(update(step, 3.2) for step in (8, 9, 10)),
    {"step": 10, "sample": "it was a dog"},
    {"step": 10, "valid_loss": 3.5},
]


def make_run(path: Path, lines: list[dict[str, Any]] = LINES, **more: Any) -> Path:
    """Write the files of a run, that of LINES by default."""
    return run_logs.make_run(path, lines, **more)


def report(run: Path) -> Page:
    """Write a run's page; its own checks see that it asks for nothing and runs nothing."""
    write_report(run)
    return Page((run / "report.html").read_bytes())


def test_the_summary_is_what_the_log_says(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    write_folder(
        run / "model",
        {"gpt1.json": json.dumps({"training": {
            "steps": 10, "reason": "all updates done", "validation": {"loss": math.log(20)},
        }}).encode()},
    )  # fmt: skip
    page = report(run)
    losses = [line["loss"] for line in LINES if "loss" in line]
    assert page.facts == {
        "ended": "all updates done",
        "updates": "10",
        "skipped (loss not finite)": "1",
        "tokens": "1,000",
        "time": "20 s",
        "tokens a second, median": "1,005",
        "waiting for data": "1.00%",
        "training loss, last 50 updates": f"{sum(losses) / len(losses):.4f}",
        "best validation loss": "3.2500",
        "best validation perplexity": "25.79",
        "best at update": "5",
        "final validation loss": "2.9957",
        "final validation perplexity": "20.00",
        "parameters": "116,534,784",
    }


def test_the_page_shows_curves_samples_settings_and_machine(tmp_path: Path) -> None:
    run = make_run(tmp_path / "my run", settings={"train": {"batch_size": 7, "seed": 3}})
    page = report(run)
    assert page.headings == [
        "my run", "Curves", "Loss", "Perplexity", "Learning rate", "Gradient norm", "Speed",
        "Waiting for data", "Skipped updates", "Samples during training", "Configuration",
        "Machine and data",
    ]  # fmt: skip
    assert len(page.charts) == 6
    for label in ("update", "nats a token", "perplexity", "learning rate", "tokens a second"):
        assert any(re.search(rf"<text[^>]*>{label}</text>", chart) for chart in page.charts), label
    assert ["5", "3.2500", "25.79", "it was a cat"] in page.rows
    assert ["10", "3.5000", "33.12", "it was a dog"] in page.rows
    assert ["7", "the loss is nan"] in page.rows
    assert page.marked == [["batch_size", "7", "default 64"], ["seed", "3", "default 0"]]
    assert ["n_embd", "768", ""] in page.rows
    for row in (["gpt1", "9.8.7"], ["threads", "4"], ["fingerprint of data", "d" * 64]):
        assert row in page.rows


def test_settings_stand_beside_the_recipe_and_the_users_are_marked(tmp_path: Path) -> None:
    settings = {"task": {"kind": "classification"}, "train": {"epochs": 3.0, "seed": 5}}
    arguments = {"files": ["a b.csv"], "task": "classification", "recipe": "supervised",
                 "lr": 1e-3, "set_": ["train.seed=5"], "header": False}  # fmt: skip
    page = report(make_run(
        tmp_path / "run",
        [{"step": 0, "valid_loss": 2.0, "valid_accuracy": 0.5}, update(1, 2.0, task_loss=1.0)],
        settings={**settings, "optimizer": {"lr": 1e-3}},
        started="2026-01-02 03:04",
        command={"name": "finetune", "arguments": arguments},
    ))  # fmt: skip
    recipe = load_run(recipe="supervised")
    assert page.marked == [
        ["lr", "0.001", f"recipe {recipe.optimizer.lr}"], ["seed", "5", "recipe 0"]
    ]  # fmt: skip
    assert ["kind", "classification", "recipe lm"] in page.rows
    assert ["started", "2026-01-02 03:04"] in page.rows
    told = "gpt1 finetune 'a b.csv' --task classification --recipe supervised --lr 0.001 "
    told += "--set train.seed=5 --no-header --out run"
    assert ["command", told] in page.rows
    assert ">task + 0.5 x LM<" in page.chart("Loss")
    assert "Task loss" in page.headings
    assert "Perplexity" not in page.headings


def test_a_call_from_python_is_compared_with_its_recipe(tmp_path: Path) -> None:
    given = {"recipe": "small-texts", "prefix": "JOKE: ", "set_": ["train.seed=5"]}
    settings = load_run(recipe="small-texts").model_dump(mode="json")
    settings["train"]["seed"], settings["data"]["prefix"] = 5, "JOKE: "
    command = {"name": "GPT1.finetune", "arguments": given}
    page = report(make_run(tmp_path / "run", settings=settings, command=command))
    assert page.marked == [["prefix", "JOKE: ", 'recipe ""'], ["seed", "5", "recipe 0"]]
    assert "command" not in {row[0] for row in page.rows}


def test_texts_are_never_markup(tmp_path: Path) -> None:
    bad = "</td><script>alert('x')</script>&amp;<img src=x onerror=y>"
    lines = [*LINES, {"step": 10, "sample": bad}, {"step": 11, "skipped": bad}]
    run = make_run(
        tmp_path / "<b>bold & $title",
        lines,
        settings={"train": {"sample_prompt": bad}},
        machine={"<i>torch": bad},
        fingerprints={bad: bad},
    )
    page = report(run)
    assert "<b>" not in page.text
    assert page.headings[0] == "<b>bold & $title"
    shown = [cell for row in page.rows for cell in row]
    assert shown.count(bad) == 5
    other = make_run(tmp_path / "other", lines, machine={"torch": bad})
    both_runs = {bad: History.read(run), "other": History.read(other)}
    both = Page(comparison_page(both_runs))
    assert ["", bad, "other"] in both.rows
    assert [f"fingerprints: {bad}", bad[:12], "none"] in both.rows


def test_odd_names_and_texts_are_shown_as_they_are(tmp_path: Path) -> None:
    lines = [*LINES, {"step": 10, "sample": "half \ud800 a pair, \u4e00 \x01"}]
    run = History.read(make_run(tmp_path / "run", lines))
    write_report(run.path)
    assert "half ? a pair, \u4e00" in (run.path / "report.html").read_text("utf-8")
    names = ["_hidden", "$x_{$ \u4e00 \udcff"]
    charts = "".join(Page(comparison_page(dict.fromkeys(names, run))).charts)
    for name in (" _hidden", "$x_{$ \u4e00 ?"):
        assert len(re.findall(rf"<text[^>]*>{re.escape(name)}(, smoothed)?</text>", charts)) == 8


def test_the_page_of_a_long_run_is_small_and_keeps_its_spikes(tmp_path: Path) -> None:
    lines = [update(step, 3 + math.sin(step * step)) for step in range(1, 8001)]
    lines[4321]["grad_norm"] = 77.0
    page = report(make_run(tmp_path / "long", lines))
    assert len(page.text) < 400_000
    lines[4321]["grad_norm"] = 0.5
    plain = report(make_run(tmp_path / "plain", lines))
    assert re.search(r"<text[^>]*>50</text>", page.chart("Gradient norm"))
    assert not re.search(r"<text[^>]*>50</text>", plain.chart("Gradient norm"))


@pytest.mark.parametrize(
    "lines", [[], [{"step": 0, "valid_loss": 5.0}], [{"step": 1, "skipped": ""}]]
)
def test_a_run_without_updates_has_a_page(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    page = report(make_run(tmp_path / "run", lines))
    assert page.facts["ended"] == "not finished"
    assert not page.charts


def test_a_run_of_one_update_has_curves(tmp_path: Path) -> None:
    assert len(report(make_run(tmp_path / "run", LINES[1:2])).charts) == 6


def test_losses_that_are_no_numbers_or_too_large_are_drawn_around(tmp_path: Path) -> None:
    lines = [update(1, 800.0), update(2, math.nan), update(3, 2.0, grad_norm=0.0)]
    page = report(make_run(tmp_path / "run", lines))
    assert page.facts["training loss, last 50 updates"] == "401.0000"


def test_runs_of_other_versions_have_a_page(tmp_path: Path) -> None:
    lines = [{k: v for k, v in line.items() if k != "loader_share"} for line in LINES]
    config = {"model": {"n_embd": 64, "n_new": 1}, "future": {"x": [1, 2]}}
    page = report(make_run(tmp_path / "run", lines, config=config))
    assert "waiting for data" not in page.facts
    assert "parameters" not in page.facts
    assert page.marked == [
        ["n_embd", "64", "default 768"], ["n_new", "1", ""], ["x", "1, 2", ""]
    ]  # fmt: skip


def test_many_samples_are_thinned_out_evenly(tmp_path: Path) -> None:
    lines = [line for step in range(1, 101)
             for line in (update(step, 3.0), {"step": step, "sample": f"text {step}"})]  # fmt: skip
    page = report(make_run(tmp_path / "run", lines))
    shown = [row[-1] for row in page.rows if row[-1].startswith("text ")]
    assert (len(shown), shown[0], shown[-1]) == (24, "text 1", "text 100")
    assert "24 of 100." in page.text


def test_the_report_is_the_same_each_time(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    assert report(run).text == report(run).text


# A folder that is none, or damaged


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match=r"is no run: it has no run\.json. Give the folder"):
            write_report(place)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"config": 1}', '{"gpt1": "1", "config": {"a": 1}}', "[" * 9999],
)
def test_a_damaged_record_is_refused(tmp_path: Path, text: str) -> None:
    run = make_run(tmp_path / "run")
    (run / "run.json").write_text(text)
    with pytest.raises(CorruptError, match=r"run\.json is damaged"):
        write_report(run)


@pytest.mark.parametrize(
    "line",
    [
        "1", "null", "[]", '"step"', "{}", '{"step": "1"}', '{"step": 1, "loss": 2.0}',
        '{"step": 1, "valid_loss": "x"}', '{"step": 1, "sample": 3}', '{"step": 1, "skipped": []}',
        json.dumps(update(1, 1.0, lr="fast")),
    ],
)  # fmt: skip
def test_a_line_that_no_run_wrote_is_refused(tmp_path: Path, line: str) -> None:
    run = make_run(tmp_path / "run")
    with (run / "metrics.jsonl").open("a") as log:
        log.write(f"{line}\n")
    with pytest.raises(CorruptError, match=rf"metrics\.jsonl line {len(LINES) + 1} is no record"):
        write_report(run)


def test_a_last_line_cut_off_is_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    with (run / "metrics.jsonl").open("a") as log:
        log.write('{"step": 11, "loss')
    assert report(run).facts["updates"] == "10"
    (run / "metrics.jsonl").write_text("not json\n")
    with pytest.raises(CorruptError, match="damaged line"):
        write_report(run)
