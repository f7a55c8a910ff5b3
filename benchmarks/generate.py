"""How fast is text written, beside transformers and llama.cpp on the same machine?

    python benchmarks/generate.py [--size gpt1] [--width float16 ...] [--streams 1 32] [--runs 5]
    python benchmarks/generate.py --sweep [--width int8]

Each engine runs in a process of its own with its own defaults: ours; OpenAIGPT of transformers,
which has no cache; and llama.cpp (extra `bench`) on a GPT-2 of the same shape. One that is not
installed is left out with a message. Weights are random and everything is greedy, so that all do
the same work; ours also makes text of the ids. Of one stream are measured

    one      a prompt of 32 ids, 128 ids written; float32 beside transformers
    first    a prompt of 400 ids, until its first id is written

and of several, in the same turns,

    equal    prompts of 32 ids, 32 ids written behind each
    mixed    the same with lengths from 1 to 63

--sweep measures `equal` with 1, 2, 4 ... 64 streams, ours alone. A width and a number of streams
take one to two minutes at the size gpt1 on two cores, so a part may be asked for alone. Runs
alternate; the first is short, to warm up, and the median of the others counts. The share is that of
the memory's measured bandwidth: a step of one stream reads every weight once. The last line is one
JSON document.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

SHELL = dict(os.environ)  # importing gpt1 sets how OpenMP's threads wait; others keep their default
FORMS = {"float32": "F32", "float16": "F16", "bfloat16": "F16", "int8": "Q8_0", "int4": "Q4_0"}
"""Widths, and what llama.cpp calls the one that each is measured beside."""
NEEDS = {"transformers": ["transformers"], "llama.cpp": ["llama_cpp", "gguf"]}
BATCH = 2048
"""Ids that llama.cpp reads at once."""
Write = Callable[[list[list[int]], int], object]


def ours(options: argparse.Namespace) -> tuple[Write, dict[str, Any]]:
    import torch

    from gpt1.config import SamplingConfig, load_size
    from gpt1.generation.choose_backend import make_backend
    from gpt1.generation.engine import generate
    from gpt1.model.transformer import Transformer
    from gpt1.text.tokenizer import Tokenizer
    from gpt1.text.vocabulary import Vocabulary

    torch.set_num_threads(options.threads)
    config = load_size(options.size)
    model = Transformer(config, generator=torch.Generator().manual_seed(0)).eval()
    words = {f"w{i}</w>": i for i in range(1, config.vocab_size)}
    tokenizer = Tokenizer(Vocabulary.of({"<unk>": 0, **words}, []))
    backend = make_backend(model, options.width[0], options.backend)
    ids = torch.randint(config.vocab_size, (1, 64), generator=torch.Generator().manual_seed(1))
    store, row = backend.new_cache(1, 64), slice(0, 1)
    logits = [backend.prefill(ids[:, :1], torch.tensor([1]), store, row)]
    logits += [backend.decode(ids[:, t], store, row) for t in range(1, 64)]
    with torch.inference_mode():
        error = float((torch.cat(logits) - model(ids).logits[0]).abs().max())

    def write(prompts: list[list[int]], new: int) -> None:
        results = generate(backend, tokenizer, prompts, SamplingConfig(max_new_tokens=new))
        assert all(len(result.logprobs) == new for result in results)

    return write, {"name": f"ours, {backend.name}", "logits_error": error}


def transformers(options: argparse.Namespace) -> tuple[Write, dict[str, Any]]:
    import torch
    from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

    from gpt1.checkpoint.huggingface import write_config
    from gpt1.config import load_size

    torch.set_num_threads(options.threads)
    config = OpenAIGPTConfig(**write_config(load_size(options.size), None))
    model = OpenAIGPTLMHeadModel(config).eval()

    def write(prompts: list[list[int]], new: int) -> None:
        ids = torch.tensor(prompts)
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=new,
            min_new_tokens=new,
            pad_token_id=0,
        )

    return write, {"name": "transformers float32"}


def llama_cpp(options: argparse.Namespace) -> tuple[Write, dict[str, Any]]:
    import llama_cpp as llama
    import numpy as np

    from gpt1.config import load_size

    config, form = load_size(options.size), FORMS[options.width[0]]
    silent = llama.llama_log_callback(lambda level, text, data: None)
    llama.llama_log_set(silent, ctypes.c_void_p(0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        write_gguf(path, config, form)
        settings = llama.llama_model_default_params()
        model = llama.llama_model_load_from_file(str(path).encode(), settings)

    @cache
    def context(streams: int) -> Any:
        settings = llama.llama_context_default_params()
        settings.n_ctx = config.n_ctx * streams
        settings.n_batch = BATCH
        settings.n_threads = settings.n_threads_batch = options.threads
        settings.n_seq_max = streams
        return llama.llama_init_from_model(model, settings)

    def write(prompts: list[list[int]], new: int, kept: Any = silent) -> None:
        """Write `new` ids behind each prompt, all streams in one batch a step."""
        held, best = context(len(prompts)), [0] * len(prompts)
        llama.llama_memory_clear(llama.llama_get_memory(held), True)
        batch = llama.llama_batch_init(BATCH, 0, 1)

        def read(rows: list[tuple[int, int, int, bool]]) -> None:
            """Read (id, position, stream, whether its logits are needed) of a batch."""
            for i, (token, position, stream, last) in enumerate(rows):
                batch.token[i], batch.pos[i], batch.logits[i] = token, position, last
                batch.n_seq_id[i], batch.seq_id[i][0] = 1, stream
            batch.n_tokens = len(rows)
            assert llama.llama_decode(held, batch) == 0
            for i, (_, _, stream, last) in enumerate(rows):
                if last:
                    logits = llama.llama_get_logits_ith(held, i)
                    row = np.ctypeslib.as_array(logits, shape=(config.vocab_size,))
                    best[stream] = int(row.argmax())

        rows = [
            (token, position, stream, position == len(prompt) - 1)
            for stream, prompt in enumerate(prompts)
            for position, token in enumerate(prompt)
        ]
        for start in range(0, len(rows), BATCH):
            read(rows[start : start + BATCH])
        for t in range(new - 1):
            read([(best[s], len(prompt) + t, s, True) for s, prompt in enumerate(prompts)])
        llama.llama_batch_free(batch)

    return write, {"name": f"llama.cpp {form}"}


@cache
def is_installed(engine: str) -> bool:
    """Return whether an engine can be measured; say why not, or how llama.cpp was built."""
    lacking = [name for name in NEEDS[engine] if importlib.util.find_spec(name) is None]
    if lacking:
        print(f'{engine} is left out; pip install "gpt1[bench]" adds {", ".join(lacking)}')
    elif engine == "llama.cpp":
        import llama_cpp as llama

        built = " ".join(llama.llama_print_system_info().decode().split())
        print(f"llama.cpp (llama-cpp-python {llama.__version__}) is built for {built}", flush=True)
    return not lacking


def write_gguf(path: Path, config: Any, form: str) -> None:
    """Write a GPT-2 of random weights and the shape of `config`, without a vocabulary."""
    import gguf
    import numpy as np

    C, kind = config.n_embd, gguf.GGMLQuantizationType[form]
    writer = gguf.GGUFWriter(str(path), "gpt2")
    writer.add_context_length(config.n_ctx)
    writer.add_embedding_length(C)
    writer.add_feed_forward_length(4 * C)
    writer.add_block_count(config.n_layer)
    writer.add_head_count(config.n_head)
    writer.add_layer_norm_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType[f"{'ALL' if form == 'F32' else 'MOSTLY'}_{form}"])
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(config.vocab_size)
    source = np.random.default_rng(0)

    def matrix(name: str, rows: int, columns: int, kind: Any = kind) -> None:
        values = 0.02 * source.standard_normal((rows, columns), dtype=np.float32)
        packed = gguf.quants.quantize(values, kind)
        writer.add_tensor(f"{name}.weight", packed, raw_dtype=kind)

    def vector(name: str, size: int, value: float = 0) -> None:
        writer.add_tensor(name, np.full(size, value, np.float32))

    def norm(name: str) -> None:
        vector(f"{name}.weight", C, 1)
        vector(f"{name}.bias", C)

    matrix("token_embd", config.vocab_size, C)
    matrix("position_embd", config.n_ctx, C, gguf.GGMLQuantizationType.F32)
    sizes = {"attn_qkv": (3, 1), "attn_output": (1, 1), "ffn_up": (4, 1), "ffn_down": (1, 4)}
    for i in range(config.n_layer):
        for name, (rows, columns) in sizes.items():
            matrix(f"blk.{i}.{name}", rows * C, columns * C)
            vector(f"blk.{i}.{name}.bias", rows * C)
        norm(f"blk.{i}.attn_norm")
        norm(f"blk.{i}.ffn_norm")
    norm("output_norm")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


ENGINES = {"ours": ours, "transformers": transformers, "llama.cpp": llama_cpp}


def work(options: argparse.Namespace) -> None:
    """Answer each line of stdin, [lengths of prompts, new ids], with the seconds it took."""
    if options.engine == "ours":
        import gpt1  # noqa: F401  before torch, which reads the wait policy as it is loaded
    write, facts = ENGINES[options.engine](options)
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        lengths, new = json.loads(line)
        prompts = [[7 + i % 50 for i in range(length)] for length in lengths]
        began = time.perf_counter()
        write(prompts, new)
        print(json.dumps(time.perf_counter() - began), flush=True)


class Worker:
    """An engine with weights of one width, in a process of its own."""

    def __init__(self, engine: str, width: str, options: argparse.Namespace) -> None:
        command = [sys.executable, __file__, "--engine", engine, "--width", width]
        for name in ("size", "threads", "backend"):
            command += [f"--{name}", str(getattr(options, name))]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=SHELL, stdin=pipe, stdout=pipe, text=True)
        self.facts: dict[str, Any] = self._read()

    def seconds(self, lengths: list[int], new: int) -> float:
        print(json.dumps([lengths, new]), file=self.process.stdin, flush=True)
        return self._read()

    def _read(self) -> Any:
        if not (line := self.process.stdout.readline()):
            sys.exit("An engine has failed; its error is above.")
        return json.loads(line)


Part = tuple[list[int], int]
"""The lengths of the prompts, and how many ids are written behind each."""


def parts(options: argparse.Namespace) -> Iterator[dict[str, Part]]:
    """Yield the parts that are measured in the same turns, by name."""
    if options.sweep:
        yield {f"{2**i} equal": ([32] * 2**i, 32) for i in range(7)}
        return
    for streams in options.streams:
        if streams == 1:
            yield {"one": ([32], 128), "first": ([400], 1)}
        else:
            mixed = [1 + i * 62 // (streams - 1) for i in range(streams)]
            random.Random(0).shuffle(mixed)
            yield {f"{streams} equal": ([32] * streams, 32), f"{streams} mixed": (mixed, 32)}


def measure(
    asked: dict[str, Part], engines: dict[str, list[Worker]], runs: int
) -> dict[str, list[list[float]]]:
    """Return the seconds of each part and engine, from runs that alternate."""
    seconds = {part: [[] for _ in engines[part]] for part in asked}
    for turn, (part, (lengths, new)) in product(range(runs + 1), asked.items()):
        for worker, spent in zip(engines[part], seconds[part], strict=True):
            taken = worker.seconds(lengths, new if turn else min(new, 4))
            if turn:
                spent.append(taken)
    return seconds


def report(
    asked: dict[str, Part], engines: dict[str, list[Worker]], runs: int, share: float
) -> Iterator[dict[str, Any]]:
    """Measure parts, ours being the first engine; print and yield a row for each of them.

    `share` is the share of the memory's bandwidth that one id a second of one stream takes.
    """
    before: tuple[str, float] | None = None
    for part, timed in measure(asked, engines, runs).items():
        lengths, new = asked[part]
        medians = [statistics.median(seconds) for seconds in timed]
        for worker, seconds, median in zip(engines[part], timed, medians, strict=True):
            unit = "ms" if new == 1 else "ids/s"
            rates = [1000 * s if new == 1 else len(lengths) * new / s for s in seconds]
            rate, low, high = statistics.median(rates), min(rates), max(rates)
            row = {"part": part, "engine": worker.facts["name"], unit: rate, "range": [low, high]}
            note = ""
            if worker is not engines[part][0]:
                row["ours_is"] = median / medians[0]
                note = f"ours is {row['ours_is']:.2f} times as fast"
            elif part == "one":
                row |= {"share": share * rate, "logits_error": worker.facts["logits_error"]}
                note = f"{row['share']:.0%} of the bandwidth, logits off {row['logits_error']:.0e}"
            elif new > 1:
                if before:
                    row["to_before"] = rate / before[1]
                    note = f"{row['to_before']:.2f} times {before[0]}"
                before = (part, rate)
            spread = f"{low:,.1f}-{high:,.1f}"
            print(
                f"{part:10}{row['engine']:24}{rate:9,.1f} {unit:6}{spread:>17}  {note}", flush=True
            )
            yield row


def rows(width: str, options: argparse.Namespace, share: float) -> Iterator[dict[str, Any]]:
    """Measure and yield all that is asked for of a width, with engines started when needed."""
    with ExitStack() as stack:

        @cache
        def start(engine: str) -> Worker:
            worker = Worker(engine, width, options)
            stack.enter_context(worker.process)
            return worker

        for asked in parts(options):
            engines = {}
            for part in asked:
                engines[part] = [start("ours")]
                other = "transformers" if (width, part) == ("float32", "one") else "llama.cpp"
                if not options.sweep and is_installed(other):
                    engines[part].append(start(other))
            yield from report(asked, engines, options.runs, share)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=["mini", "gpt1"], default="gpt1")
    parser.add_argument("--width", choices=FORMS, nargs="+", default=list(FORMS))
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--backend", choices=["auto", "torch", "onnx"], default="auto")
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        work(options)
        return
    import torch

    from gpt1.config import load_size
    from gpt1.errors import ConfigError
    from gpt1.evaluation.speed import BITS, matrix_weights, measure_machine
    from gpt1.generation.choose_backend import check

    torch.set_num_threads(options.threads)
    bandwidth = measure_machine(torch.device("cpu")).bandwidth
    print(f"{options.size}, {options.threads} threads, memory {bandwidth / 1e9:.1f} GB/s")
    settings = {name: getattr(options, name) for name in ("size", "runs", "threads", "backend")}
    document = {"benchmark": "generate", "machine": platform.machine(), **settings}
    document |= {"bandwidth": bandwidth, "results": []}
    for width in options.width:
        try:
            check(width, options.backend)
        except ConfigError as error:
            print(f"{width} is left out: {error}", flush=True)
            continue
        share = matrix_weights(load_size(options.size)) * BITS[width] / 8 / bandwidth
        document["results"] += [{"width": width, **row} for row in rows(width, options, share)]
    print(json.dumps(document))


if __name__ == "__main__":
    main()
