"""Tables and help on a narrow terminal: no word is split."""

from __future__ import annotations

import io
import re

import pytest

from commands import run_gpt1
from gpt1.cli import COMMANDS
from gpt1.reports.console import Console
from gpt1.reports.sections import Table
from gpt1.reports.tables import print_table

WORDS = [("classification", "reproducibility"), ("a few words here", "unconstitutionally")]


@pytest.mark.parametrize("width", [20, 36, 40, 80])
def test_no_word_of_a_table_is_split(width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None)
    print_table("", Table(("kind", "thing"), WORDS), console=console)
    shown = out.getvalue()
    for word in " ".join(map(" ".join, WORDS)).split():
        assert word in shown, word
    assert ("kind: classification" in shown) == (width < 39)


@pytest.mark.parametrize("command", ["finetune", "predict", "pretrain", "compare", "score"])
def test_help_fits_80_columns_with_nothing_cut(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command in COMMANDS
    monkeypatch.setenv("COLUMNS", "80")
    shown = run_gpt1(command, "-h").check().stdout
    assert shown == run_gpt1(command, "--help").check().stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    assert re.search(r"-o, --out|--out, -o", shown)


def test_steps_and_epochs_together_are_refused() -> None:
    done = run_gpt1("finetune", "x.csv", "-o", "y", "--steps", 5, "--epochs", 2)
    assert done.code == 2
    assert "--steps and --epochs are given" in done.stderr
