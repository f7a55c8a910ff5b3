"""What every command shares: output in any encoding, and texts that begin with a dash."""

from __future__ import annotations

import subprocess

import pytest

from commands import ENV, GPT1, run_gpt1

PROMPT = "generate --max-new-tokens 0 --temperature 0"
DASHES = [
    (["- Hello"], "- hello"),
    (["-- Hello there"], "-- hello there"),
    (["-5 degrees"], "- 5 degrees"),
    (["--stop", "- x", "- Hello"], "- hello"),
    (["- Hello", "--seed", "3"], "- hello"),
    (["--", "-Hello"], "- hello"),
]


@pytest.mark.parametrize(("arguments", "text"), DASHES)
def test_a_text_may_begin_with_a_dash(arguments: list[str], text: str) -> None:
    assert run_gpt1(*PROMPT.split(), *arguments).check().stdout.strip() == text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-Hello"], "Put -- before a text that begins with a dash"),
        (["Hi", "--sotp", "- x"], "No such option: --sotp"),
        (["Hi", "--sotp=The end"], "No such option: --sotp"),
        (["- Hello", "--sotp", "x"], "No such option: --sotp"),
    ],
)
def test_what_may_be_an_option_is_told(arguments: list[str], said: str) -> None:
    done = run_gpt1(*PROMPT.split(), *arguments)
    assert (done.code, done.stdout) == (2, "")
    assert said in done.message


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8", "cp437"])
@pytest.mark.parametrize("command", ["tokenize '☕ ę 😀' --json", "tokenize '☕ ę 😀'"])
def test_output_in_any_encoding_loses_nothing(command: str, encoding: str) -> None:
    name, text, *options = command.replace("'", "|").split("|")
    done = subprocess.run(
        [*GPT1, name.strip(), text, *"".join(options).split()],
        capture_output=True, timeout=100, env={**ENV, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    written = done.stdout.decode(encoding)
    assert ("\\u" in written) == (encoding != "utf-8")
    assert (b"which lacks some characters" in done.stderr) == (encoding != "utf-8")
