"""Memory of fine-tuning on short texts: the estimate beside the peak, and what stays between fits.

    python benchmarks/memory.py rows.csv --steps 60 --fits 3

rows.csv has the columns text and label. Each run is a process of its own, as a user starts it; its
peak is the system's figure (getrusage), the one of /usr/bin/time -v.
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
import sys, gpt1
path, steps, fits = sys.argv[1], sys.argv[2], int(sys.argv[3])
import csv
rows = list(csv.DictReader(open(path, encoding="utf-8")))
X, y = [row["text"] for row in rows], [row["label"] for row in rows]
for number in range(1, fits + 1):
    settings = (f"train.steps={steps}",)
    gpt1.TextClassifier("mini", random_state=0, verbose=False, settings=settings).fit(X, y)
    pages = int(open("/proc/self/statm").read().split()[1])
    print(f"resident after fit {number}: {pages * 4096 / 2**20:,.0f} MiB", flush=True)
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
    with tempfile.TemporaryDirectory() as folder:
        for task in ("lm", "classification"):
            run = ["finetune", args.rows, "--task", task, "--steps", args.steps]
            run += ["--text-column", "text", "--out", str(Path(folder, task))]
            peak, printed = peak_of([sys.executable, "-m", "gpt1", *run])
            said = re.search(r"about ([\d.]+) GiB", printed)
            assert said is not None
            estimate = float(said[1]) * 1024
            print(f"{task}: {estimate:,.0f} MiB said, {peak:,} MiB peak ({estimate / peak:.0%})")
    subprocess.run([sys.executable, "-c", FITS, args.rows, args.steps, args.fits], check=True)


if __name__ == "__main__":
    main()
