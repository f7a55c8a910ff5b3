"""Memory of fine-tuning: the estimate beside the peak, and what stays between fits in one process.

    python benchmarks/memory.py rows.csv --steps 60 --fits 3

rows.csv has the columns text and label. Each run is a process of its own, as a user starts it; its
peak is the system's figure (getrusage), the one of /usr/bin/time -v. The full size has random
weights, and makes a checkpoint and two evaluations in its few updates.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FITS = """
import csv, resource, sys, gpt1
path, steps, fits = sys.argv[1], sys.argv[2], int(sys.argv[3])
rows = list(csv.DictReader(open(path, encoding="utf-8")))
X, y = [row["text"] for row in rows], [row["label"] for row in rows]
for number in range(1, fits + 1):
    settings = (f"train.steps={steps}",)
    gpt1.TextClassifier("mini", random_state=0, verbose=False, settings=settings).fit(X, y)
    pages = int(open("/proc/self/statm").read().split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    resident = pages * resource.getpagesize() >> 20
    line = f"| TextClassifier, {resident:,} MiB resident after fit {number} | | {peak:,} | |"
    print(line, flush=True)
"""
FULL = """
import sys, gpt1, torch
from gpt1.config import load_size
from gpt1.model.transformer import Transformer
from gpt1.text.tokenizer import Tokenizer
from gpt1.text.vocabulary import Vocabulary
config, words = load_size("gpt1"), gpt1.load("mini").tokenizer.vocabulary
spare = {f"spare{id}</w>": id for id in range(len(words.ids), config.vocab_size)}
tokenizer = Tokenizer(Vocabulary.of({**words.ids, **spare}, words.merges))
model = Transformer(config, generator=torch.Generator().manual_seed(0))
gpt1.GPT1(model, tokenizer).save(sys.argv[1])
"""


def peak_of(command: list[str]) -> tuple[int, str]:
    """Run a command; return its peak of resident memory in MiB, and what it printed on stderr."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        log.seek(0)
        printed = log.read().decode()
    assert status == 0, printed
    return usage.ru_maxrss // 1024, printed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows")
    parser.add_argument("--steps", default="60")
    parser.add_argument("--fits", default="3")
    args = parser.parse_args()
    few = ("--set", "train.eval_every=3", "--set", "train.eval_windows=64")
    print("| run | MiB said before | peak | said / peak |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        full = str(Path(folder, "gpt1"))
        subprocess.run([sys.executable, "-c", FULL, full], check=True)
        for name, model, task, steps, more in (
            ("mini, plain texts", "mini", "lm", args.steps, ()),
            ("mini, classification", "mini", "classification", args.steps, ()),
            ("GPT-1's size, classification", full, "classification", "6", few),
        ):
            run = ["finetune", args.rows, "--model", model, "--task", task, "--steps", steps, *more]
            run += ["--text-column", "text", "--out", str(Path(folder, name))]
            peak, printed = peak_of([sys.executable, "-m", "gpt1", *run])
            said = re.search(r"about ([\d.]+) GiB", printed)
            assert said is not None
            estimate = float(said[1]) * 1024
            print(f"| {name} | {estimate:,.0f} | {peak:,} | {estimate / peak:.0%} |", flush=True)
    subprocess.run([sys.executable, "-c", FITS, args.rows, args.steps, args.fits], check=True)


if __name__ == "__main__":
    main()
