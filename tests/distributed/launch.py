"""Start several ranks the way a person does, and look after them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gpt1
from gpt1.data.shards import write_shards
from gpt1.data.tables import Texts
from gpt1.storage import Log
from gpt1.text.tokenizer import Tokenizer

SIZE = "[model]\nvocab_size = 80\nn_ctx = 8\nn_embd = 8\nn_layer = 2\nn_head = 2\n"
SETTINGS = (
    "train.batch_size=8", "train.micro_batch_size=1", "train.dtype=float32", "train.eval_windows=4",
    "optimizer.lr=1e-2",
)  # fmt: skip


def make_corpus(place: Path) -> Path:
    """Write shards and a size into `place`; return it."""
    texts = [f"the cat sat on mat {n} and the dog ran to {n + 1}" for n in range(200)]
    tokenizer = Tokenizer.train(texts, vocab_size=60)
    (place / "size.toml").write_text(SIZE)
    (place / "text.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    write_shards(place / "shards", Texts(place / "text.jsonl"), tokenizer, workers=1)
    return place


def arguments(corpus: Path, out: Path, *settings: str) -> list[str]:
    """Return the words of a `gpt1 pretrain` command."""
    words = ["pretrain", str(corpus / "shards"), "--valid", str(corpus / "shards")]
    words += ["--size", str(corpus / "size.toml"), "--recipe", "pretrain", "--out", str(out)]
    return words + [word for setting in (*SETTINGS, *settings) for word in ("--set", setting)]


def alone(corpus: Path, out: Path, *settings: str, resume: bool = False) -> gpt1.GPT1:
    """Train in this process, as one rank."""
    return gpt1.pretrain(
        corpus / "shards",
        valid=corpus / "shards",
        size=str(corpus / "size.toml"),
        recipe="pretrain",
        out=out,
        resume=resume,
        overrides=[*SETTINGS, *settings],
    )


def torchrun(ranks: int, words: list[str], *, module: str = "gpt1") -> subprocess.Popen[str]:
    """Start `torchrun -m MODULE WORDS`, or a script if `module` is a path."""
    what = [module] if module.endswith(".py") else ["-m", module]
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
         str(ranks), *what, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )  # fmt: skip


def finish(launcher: subprocess.Popen[str], timeout: float = 100) -> str:
    """Wait for a launcher and return what all printed; kill them if it takes too long."""
    try:
        said, _ = launcher.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(launcher.pid, signal.SIGKILL)
        said, _ = launcher.communicate()
        raise AssertionError(f"no end after {timeout} s:\n{said}") from None
    return said


def pids(launcher: subprocess.Popen[str]) -> dict[int, int]:
    """Return the process of each rank that runs now, from /proc."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            status = (place / "status").read_text()
            if f"\nPPid:\t{launcher.pid}\n" not in status or "\nState:\tZ" in status:
                continue
            variables = (place / "environ").read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        for variable in variables:
            if variable.startswith(b"RANK="):
                found[int(variable[5:])] = int(place.name)
    return found


def wait_for_updates(run: Path, count: int, launcher: subprocess.Popen[str]) -> None:
    """Wait until a run's log has `count` updates."""
    until = time.monotonic() + 90
    while time.monotonic() < until and launcher.poll() is None:
        if sum("loss" in line for line in Log(run / "metrics.jsonl").read()) >= count:
            return
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):  # it has ended by itself
        os.killpg(launcher.pid, signal.SIGKILL)
    raise AssertionError(f"the run made no {count} updates:\n{finish(launcher)}")


def losses(run: Path) -> list[tuple[int, float, int]]:
    """Return (step, loss, tokens so far) of every update in a run's log."""
    lines = Log(run / "metrics.jsonl").read()
    return [(line["step"], line["loss"], line["tokens"]) for line in lines if "loss" in line]
