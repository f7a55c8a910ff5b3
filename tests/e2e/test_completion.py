"""What the shells are told when a person presses Tab."""

from __future__ import annotations

import pytest

from commands import run_gpt1
from gpt1.cli import COMMANDS


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("gpt1 ", " ".join(COMMANDS)),
        ("gpt1 ge", "generate"),
        ("gpt1 generate --mod", "--model"),
        ("gpt1 generate Once --model m", "mini"),
        ("gpt1 evaluate mi", "mini"),
        ("gpt1 generate Once --model ", ""),  # then the shell offers files
    ],
    ids=["commands", "ge", "option", "model", "argument", "files"],
)
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_shell_is_told_how_a_line_may_go_on(
    line: str, offered: str, shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_GPT1_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("COMP_WORDS" if shell == "bash" else "_TYPER_COMPLETE_ARGS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    out = run_gpt1("").check().stdout
    if shell == "bash":
        assert {*out.split()} == {*offered.split()}
    else:
        assert all(f'"{name}"' in out for name in offered.split())
        assert bool(offered) == ("_arguments" in out)


def test_bash_is_given_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    script = run_gpt1("--show-completion", "bash").check().stdout
    assert "_GPT1_COMPLETE=complete_bash" in script
    assert script.strip().endswith("gpt1")
