"""The commands in the order in which one uses them."""

from __future__ import annotations

import json
import random
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from commands import ENV, GPT1, run_gpt1, run_gpt1_process
from gpt1 import __version__, cli
from gpt1.storage import Log

WORDS = "the cat sat on a mat and the dog ran to the sea where an old man told a tale of rain"
SIZE = "[model]\nvocab_size = 96\nn_ctx = 32\nn_embd = 16\nn_layer = 2\nn_head = 2\n"
STEPS = 60


def gpt1(place: Path, line: str) -> tuple[str, str]:
    """Run a command in `place`, in a process of its own; return stdout and stderr."""
    done = run_gpt1_process(*shlex.split(line), cwd=place).check()
    assert "\x1b" not in done.stdout + done.stderr  # no colours where there is no terminal
    return done.stdout, done.stderr


def here(line: str) -> tuple[str, str]:
    """Run a command in this process, which has torch already; return stdout and stderr."""
    done = run_gpt1(line).check()
    return done.stdout, done.stderr


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with stories, jokes and a size of model."""
    choose = random.Random(0)
    words = WORDS.split()
    with (tmp_path / "stories.jsonl").open("w") as stories:
        for _ in range(60):
            story = " ".join(choose.choice(words) for _ in range(30))
            stories.write(json.dumps({"text": f"{story}."}) + "\n")
    with (tmp_path / "jokes.csv").open("w") as jokes:
        jokes.write('"ID","Joke"\n')
        for number in range(40):
            first, second = choose.choice(words), choose.choice(words)
            jokes.write(f'{number},"why did the {first} sit? the {second} {number}."\n')
    (tmp_path / "size.toml").write_text(SIZE)
    return tmp_path


def test_from_text_to_jokes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    out, err = here("learn-bpe stories.jsonl --vocab-size 96 --out words")
    assert "60 rows from 1 file: 60 used, 0 rejected" in out
    assert re.search(r"\d+ tokens learned in .* s -> words", out)
    assert "no further pair occurs 2 times" in err  # so few words have no 96 pieces

    out, err = here("prepare stories.jsonl --tokenizer words --out shards --json")
    summary = json.loads(out)
    assert err == ""
    assert (summary["documents"], summary["rows"], summary["rejected"]) == (60, 60, {})
    assert summary["tokens"] >= 60 * 30

    pretrain = (
        f"pretrain shards --valid shards --size size.toml --steps {STEPS} --out base --set "
        f"train.batch_size=4 --set train.log_every=1 --set train.dtype=float32 --set "
        f"optimizer.lr=2e-2"
    )
    stopped = interrupt(place, pretrain)
    assert "stopped after update" in stopped
    assert "gpt1 resume base goes on from there" in stopped
    assert not (place / "base" / "model").exists()

    out, err = gpt1(place, "resume base")
    assert out == "base/model\n"
    assert re.search(r"resumed at update \d+\n", err)
    assert f"update {STEPS}/{STEPS}  loss " in err
    assert "validation, all of it in float32" in err
    lines = [line for line in Log(place / "base" / "metrics.jsonl").read() if "loss" in line]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert lines[-1]["loss"] < lines[0]["loss"] - 0.3
    assert "data:image/svg" in (place / "base" / "report.html").read_text("utf-8")

    out, err = here(
        "finetune jokes.csv --model base --column Joke --steps 8 --limit 30 --out jokes --set "
        "train.batch_size=4 --set train.eval_every=4 --set train.dtype=float32",
    )
    assert out == "jokes/model\n"
    assert "30 rows from 1 file: 30 used, 0 rejected" in err
    assert "each is text + the token <|endoftext|>" in err
    assert "copied from the training texts: " in err

    line = "generate 'the cat' --model jokes --seed 3 --max-new-tokens 8 --json"
    out, err = gpt1(place, line)
    written = json.loads(out)
    assert err == "seed: 3\n"
    assert written["text"].startswith("The cat")
    assert written["finish_reason"] in ("length", "eos")
    assert len(written["logprobs"]) <= 8

    out, err = here("explain 'the cat sat' --model jokes --steps 2 --json")
    walk = json.loads(out)
    assert err == ""
    assert (walk["logits_shape"][1], len(walk["steps"])) == (len(walk["ids"]), 2)
    assert written["ids"][:2] == walk["ids"][:2]

    out, err = here("tokenize 'the cat sat' --model jokes --json")
    found = json.loads(out)
    assert err == ""
    assert (found["ids"], found["tokens"]) == (walk["ids"], walk["tokens"])
    assert [found["text"][a:b] for a, b in found["offsets"]][:1] == ["the"]

    out, err = here("evaluate jokes stories.jsonl --json")
    assert err == "60 rows from 1 file: 60 used, 0 rejected\n"
    assert json.loads(out)["perplexity"] > 1
    out, err = here("doctor --model jokes --json")
    assert err == ""
    assert json.loads(out)["parameters"]["total"] == walk["parameters"]


def interrupt(place: Path, line: str) -> str:
    """Run a command, press Ctrl-C at its first update, and return its stderr."""
    process = subprocess.Popen(
        [*GPT1, *shlex.split(line)], cwd=place, env=ENV,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stderr
        seen = ""
        while f"update 1/{STEPS}" not in seen:
            printed = process.stderr.readline()
            assert printed, seen
            seen += printed
        process.send_signal(signal.SIGINT)
        out, rest = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), seen + rest
    assert "Traceback" not in rest
    return rest


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_says_what_a_command_does(command: str) -> None:
    done = run_gpt1(command, "--help").check()
    assert done.stderr == ""
    assert f"gpt1 {command}" in done.stdout
    assert "*args" not in done.stdout
    assert "None" not in done.stdout


def test_the_version_is_told() -> None:
    done = run_gpt1("--version")
    assert (done.code, done.stdout, done.stderr) == (0, f"gpt1 {__version__}\n", "")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_learns_and_writes_offline(tmp_path: Path) -> None:
    done = run_gpt1_process("demo", "--out", "here", cwd=tmp_path, timeout=600).check()
    start, tuned = map(float, re.findall(r"held out: ([\d.]+) -> ([\d.]+) ", done.stdout)[0])
    assert tuned < start / 2
    jokes = done.stdout.partition("4. Three jokes")[2].partition("Perplexity")[0]
    assert len(re.findall(r"^  Joke ?:", jokes, re.MULTILINE)) == 6
    out, _ = gpt1(tmp_path, "generate 'JOKE: Why' --model here --seed 0")
    assert re.match("Joke ?: why", out)
