"""What is printed cannot steer a terminal; a stream that is full or closed is told."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import tiny
import worlds
from commands import ENV, GPT1, run_gpt1
from gpt1.checkpoint import folder
from gpt1.escaping import printable
from gpt1.tasks.kinds import Classification
from gpt1.tasks.predictor import Predictor
from run_logs import make_run, update

STEERING = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202e\r"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\r\nüñ 漢 🙂\n", "plain\ttext\r\nüñ 漢 🙂\n"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x9b2J", "\\x9b2J"),
        ("over\rwritten", "over\\rwritten"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\x00\x07\x7f", "\\x00\\x07\\x7f"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


@pytest.mark.parametrize(
    "command",
    [
        ("tokenize", STEERING),
        ("tokenize", STEERING, "--words", STEERING),
        ("generate", "x", "--model", STEERING),
        ("finetune", STEERING, "--out", "o"),
        ("finetune", "rows.csv", "--task", "classification", "--out", "o", "--set", STEERING),
        ("compare", "a", "nothing" + STEERING),
        ("compare", "a", "b"),
    ],
    ids=lambda command: " ".join(command).replace(STEERING, "ESC"),
)
def test_no_command_lets_a_name_or_a_text_steer_the_terminal(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text(f"text,label\na {STEERING[:9]} b,{STEERING[:9]}\nc d,x\n")
    for name in ("a", "b"):
        make_run(Path(name), [update(1, 2.5)], {"data": {"prefix": STEERING + name}})
    done = run_gpt1(*command)
    for text in (done.stdout, done.stderr):
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(text)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("command", ["--version", "--help", "tokenize hello", "doctor --json"])
@pytest.mark.parametrize("where", [">/dev/full", ">&-", ">&- 2>&-", "2>&-", "2>/dev/full"])
def test_a_full_or_closed_stream_is_no_traceback(command: str, where: str) -> None:
    shell = f"{' '.join(GPT1)} {command} {where}"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, env=ENV, check=False)
    assert done.returncode == (0 if where.startswith("2") else 1)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    if "2>" not in where:
        assert done.stderr.startswith("gpt1: ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    "where",
    [
        ">/dev/full",
        "| :",
        *(pytest.param(w, marks=pytest.mark.slow) for w in (">&-", "2>&1 | :", "2>&-")),
    ],
)
@pytest.mark.parametrize(
    ("command", "written"),
    [
        ("finetune rows.csv --model tiny --task classification --steps 2 --out o", "o/model"),
        ("evaluate task rows.csv --page o.html", "o.html"),
        ("compare run run --out o.html", "o.html"),
        ("predict task rows.csv --out o.csv", "o.csv"),
        ("convert tiny --out o", "o"),
    ],
)
def test_no_result_is_lost_with_the_stream(
    tmp_path: Path, command: str, written: str, where: str
) -> None:
    """A reader that has gone is no failure; a stdout that is full or closed is told."""
    (tmp_path / "rows.csv").write_text("text,label\n" + "the dog,no\na cat,yes\n" * 4)
    words, task = worlds.tokenizer(tmp_path / "words", words="fast"), Classification(("no", "yes"))
    folder.save(tmp_path / "tiny", tiny.model(), words)
    Predictor(worlds.model(task, words).float(), words, task).save(tmp_path / "task")
    make_run(tmp_path / "run", [update(1, 2.5)])
    shell = f"set -o pipefail; {' '.join(GPT1)} {command} {where}"
    done = subprocess.run(
        ["bash", "-c", shell], capture_output=True, env=ENV, cwd=tmp_path, check=False
    )
    assert done.returncode == (1 if where in (">/dev/full", ">&-") else 0), done.stderr
    assert (tmp_path / written).exists()
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


def test_runs_of_any_kinds_are_compared(tmp_path: Path) -> None:
    lm = [{"step": 0, "valid_loss": 3.0}, update(1, 2.5), {"step": 1, "valid_loss": 2.0}]
    task = [{**line, "valid_accuracy": 0.5} if "valid_loss" in line else line for line in lm]
    kinds = {"lm": lm, "task": task, "without": [update(1, 2.5)], "begun": []}
    for name, lines in kinds.items():
        make_run(tmp_path / name, lines)
    for a in kinds:
        page = tmp_path / f"{a}.html"
        run_gpt1("compare", tmp_path / a, tmp_path / "task", "--out", page).check()
        for b in kinds:
            results = run_gpt1("compare", tmp_path / a, tmp_path / b, "--json").check()
            assert [run["run"] for run in json.loads(results.stdout)["runs"]]
