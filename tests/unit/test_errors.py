"""Memory that runs out is recognised by what libraries say then."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import pytest

from commands import run_gpt1_process
from gpt1.errors import GPT1Error, TrainingError, memory_guard


class PanicException(BaseException):
    """As Rust's."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        RuntimeError("could not create a primitive descriptor for a matmul primitive"),
        RuntimeError("could not execute a primitive"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("StringLiteral: Unable to create type object!"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        OSError(12, "Cannot allocate memory"),
        PanicException("PyObject pointer is null"),
    ],
)
def test_memory_that_runs_out_is_an_error_with_a_remedy(error: BaseException) -> None:
    with pytest.raises(GPT1Error, match="memory ran out here"), memory_guard("here"):
        raise error
    with pytest.raises(GPT1Error), memory_guard("here"):
        raise ValueError("a library that needs another") from error


@pytest.mark.parametrize(
    "error", [RuntimeError("x"), KeyboardInterrupt(), SystemExit(3), TrainingError("bad_alloc")]
)
def test_other_errors_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, memory_guard("here"):
        raise error
    assert caught.value is error


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of addresses is Linux's")
@pytest.mark.parametrize("mebibytes", [400, 900])
def test_a_command_that_is_short_of_memory_says_so(tmp_path: Path, mebibytes: int) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (mebibytes << 20, mebibytes << 20))

    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"the cat {n},{n % 2}\n" for n in range(40)))
    arguments = ("finetune", rows, "--task", "classification", "--out", tmp_path / "out")
    done = run_gpt1_process(*arguments, preexec_fn=limit)
    assert done.code == 1
    assert "memory" in done.stderr.splitlines()[-1]
