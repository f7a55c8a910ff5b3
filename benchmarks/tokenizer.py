"""How fast is exact tokenisation? spaCy alone, one process cold and warm, all processors.

python benchmarks/tokenizer.py [--data FOLDER] [--megabytes N]
Prints a table; the last line is one JSON document. Without novels it makes text up.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter, process_time

from gpt1.data.parallel import EncoderPool, cpu_count
from gpt1.text.tokenizer import Tokenizer

NOVELS = "novels/train.jsonl.gz"
VOCABULARY = "gpt1_bpe"
SPACY_SHARE = 2_000_000
"""Characters: as much as spaCy alone is given, as it is slow."""


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=os.environ.get("GPT1_DATA", default))
    parser.add_argument("--megabytes", type=float, default=60)
    arguments = parser.parse_args()
    texts, source = load_texts(arguments.data and Path(arguments.data), arguments.megabytes)
    size = sum(len(text.encode()) for text in texts) / 1e6
    import spacy

    nlp = spacy.blank("en").tokenizer
    share = texts[0][:SPACY_SHARE]
    results = {"spacy alone": rate([share], lambda texts: [nlp(text) for text in texts])}
    for words in ("original", "fast"):
        tokenizer = load_tokenizer(arguments.data and Path(arguments.data), texts, words)
        tokenizer.encode("a.b c")  # reads spaCy's rules

        def alone(texts: Sequence[str], tokenizer: Tokenizer = tokenizer) -> None:
            for text in texts:
                tokenizer.encode(text)

        results[f"{words}, 1 process, cold"] = rate(texts, alone)
        results[f"{words}, 1 process, warm"] = rate(texts, alone)
        fresh = load_tokenizer(arguments.data and Path(arguments.data), texts, words)
        with EncoderPool(fresh, cpu_count()) as pool:
            for state in ("cold", "again"):  # cold: with the start of the workers

                def together(texts: Sequence[str], pool: EncoderPool = pool) -> None:
                    for _ in pool.encode(texts):
                        pass

                results[f"{words}, {cpu_count()} processes, {state}"] = rate(texts, together)
    print(f"{size:.1f} MB of {source}, {len(texts)} texts; MB/s (and per second of processor time)")
    for name, (wall, cpu) in results.items():
        own = "" if "processes" in name else f"  ({cpu:6.2f})"
        print(f"{name:32} {wall:6.2f}{own}")
    document = {
        "benchmark": "tokenize",
        "source": source,
        "megabytes": round(size, 1),
        "megabytes_per_second": {name: round(wall, 2) for name, (wall, _) in results.items()},
        "processors": cpu_count(),
        "python": platform.python_version(),
    }
    print(json.dumps(document))


def rate(texts: Sequence[str], work: Callable[[Sequence[str]], object]) -> tuple[float, float]:
    """Return megabytes a second, by the clock and by this process's processor time."""
    size = sum(len(text.encode()) for text in texts) / 1e6
    wall, cpu = perf_counter(), process_time()
    work(texts)
    return size / (perf_counter() - wall), size / (process_time() - cpu)


def load_texts(data: Path | None, megabytes: float) -> tuple[list[str], str]:
    """Return whole books, or, without a data folder, texts of made-up words."""
    texts: list[str] = []
    size = 0.0
    if data and (data / NOVELS).is_file():
        with gzip.open(data / NOVELS, "rt", encoding="utf-8") as lines:
            for line in lines:
                if size >= megabytes:
                    break
                texts.append(json.loads(line)["text"])
                size += len(texts[-1]) / 1e6
        return texts, "novels"
    print("no novels; the text is made up", file=sys.stderr)
    rng = random.Random(0)
    vocabulary = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(1, 9))) for _ in range(30_000)]
    weights = [1 / rank for rank in range(1, len(vocabulary) + 1)]
    while size < megabytes:
        words = rng.choices(vocabulary, weights, k=100_000)
        texts.append(" ".join(f"{word}." if n % 12 == 11 else word for n, word in enumerate(words)))
        size += len(texts[-1]) / 1e6
    return texts, "made-up text"


def load_tokenizer(data: Path | None, texts: Sequence[str], words: str) -> Tokenizer:
    """Return the released vocabulary, or one learnt from some of the text."""
    if data and (data / VOCABULARY).is_dir():
        return Tokenizer.load(data / VOCABULARY, words)
    return Tokenizer.train([texts[0]], 2000, words)


if __name__ == "__main__":
    main()
