"""Foreign .bin files: tensors are read, and nothing in them is run."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import pickle
import random
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import tiny
from gpt1.checkpoint import folder, huggingface
from gpt1.checkpoint.convert import convert, read_bin
from gpt1.errors import CheckpointError, StorageError
from gpt1.storage import json_bytes
from tolerances import EXACT


def write_model(path: Path, **changes: Any) -> dict[str, Tensor]:
    """Write a .bin as transformers did, with a tied head; return its tensors."""
    model = tiny.model(**changes)
    weights = tiny.stored(model)
    weights["lm_head.weight"] = weights["transformer.tokens_embed.weight"]
    path.parent.mkdir(exist_ok=True)
    torch.save(OrderedDict(weights), path)
    (path.parent / "config.json").write_bytes(
        json_bytes(huggingface.write_config(model.config, None))
    )
    tiny.write_vocabulary(path.parent)
    return weights


@pytest.mark.parametrize("new", [True, False])
def test_files_of_both_ages_read_back(tmp_path: Path, new: bool) -> None:
    base = torch.arange(24.0)
    made = {
        "plain": torch.randn(3, 4),
        "half": torch.randn(5).half(),
        "brain": torch.randn(5).bfloat16(),
        "double": torch.randn(2, 2).double(),
        "whole": torch.arange(3),
        "mask": torch.ones(1, 1, 2, 2, dtype=torch.uint8),
        "yes": torch.tensor([True, False]),
        "parameter": torch.nn.Parameter(torch.randn(2)),
        "part": base[3:9].view(2, 3),
        "turned": base.view(4, 6).t(),
        "shared": base,
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 3),
    }
    torch.save(made, tmp_path / "x.bin", _use_new_zipfile_serialization=new)
    found = read_bin(tmp_path / "x.bin")
    assert found.keys() == made.keys()
    for name, tensor in made.items():
        assert_close(found[name], tensor.detach(), **EXACT)


def test_a_state_dict_with_attributes_and_a_wrapped_one_read(tmp_path: Path) -> None:
    state = torch.nn.Linear(2, 3).state_dict()
    assert state._metadata
    torch.save(state, tmp_path / "x.bin")
    assert read_bin(tmp_path / "x.bin").keys() == {"weight", "bias"}
    torch.save({"state_dict": state}, tmp_path / "y.bin")
    assert read_bin(tmp_path / "y.bin").keys() == {"weight", "bias"}


def test_a_model_is_converted_with_its_vocabulary(tmp_path: Path) -> None:
    weights = write_model(tmp_path / "in" / "pytorch_model.bin")
    convert(tmp_path / "in" / "pytorch_model.bin", tmp_path / "out")
    loaded = folder.load(tmp_path / "out")
    assert loaded.tokenizer is not None
    expected = tiny.model().state_dict()
    assert len(weights) == len(expected) + 1
    for name, tensor in expected.items():
        assert_close(loaded.state[name], tensor, **EXACT)
    with pytest.raises(StorageError, match="already there"):
        convert(tmp_path / "in" / "pytorch_model.bin", tmp_path / "out")


def test_without_its_configuration_there_is_no_model(tmp_path: Path) -> None:
    write_model(tmp_path / "in" / "m.bin")
    (tmp_path / "in" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json beside"):
        convert(tmp_path / "in" / "m.bin", tmp_path / "out")


class Calls:
    """A pickle of it calls `function` when it is opened."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.made_of = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.made_of


def payloads(canary: Path) -> dict[str, Any]:
    touch = f"open({str(canary)!r}, 'w').close()"
    return {
        "exec": Calls(exec, touch),
        "eval": Calls(eval, touch),
        "system": Calls(os.system, f"touch {canary}"),
        "getattr": Calls(getattr, "text", "upper"),
        "import": Calls(__import__, "os"),
        "open": Calls(open, str(canary), "w"),
        "partial": Calls(__import__("functools").partial, exec, touch),
        "in a dictionary": {"weight": torch.ones(2), "x": Calls(exec, touch)},
        "as a key's value": OrderedDict(a=Calls(exec, touch)),
        "in a list": [torch.ones(1), [Calls(exec, touch)]],
        "in a tuple": (Calls(exec, touch), 1),
        "a class of one's own": Calls(Calls, exec),
        "a subprocess": Calls(__import__("subprocess").Popen, ["touch", str(canary)]),
        "torch itself": Calls(torch.load, str(canary)),
        "a number": 3,
        "no tensors": {"a": 1},
        "a set": {1, 2},
    }


@pytest.mark.parametrize("form", ["new", "old", "bare"])
def test_no_payload_runs(tmp_path: Path, form: str) -> None:
    canary = tmp_path / "canary"
    watched: list[str] = []
    watching = [True]

    def watch(event: str, _: tuple[Any, ...]) -> None:
        if watching[0] and event in ("exec", "os.system", "subprocess.Popen", "pickle.find_class"):
            watched.append(event)

    files = []
    for number, payload in enumerate(payloads(canary).values()):
        file = tmp_path / f"{number}.bin"
        if form == "bare":
            file.write_bytes(pickle.dumps(payload, protocol=number % 6))
        else:
            torch.save(payload, file, _use_new_zipfile_serialization=form == "new")
        files.append(file)
    sys.addaudithook(watch)
    try:
        for file in files:
            with pytest.raises(
                CheckpointError, match=r"\.bin (was not converted|is not a complete)"
            ):
                read_bin(file)
    finally:
        watching[0] = False
    assert watched == []
    assert not canary.exists()


def test_the_refusal_names_what_was_asked_for(tmp_path: Path) -> None:
    torch.save({"a": Calls(os.system, "true")}, tmp_path / "x.bin")
    with pytest.raises(CheckpointError, match=r"asks for (posix|nt)\.system, .* nothing in it was"):
        read_bin(tmp_path / "x.bin")


def test_damage_is_refused_and_never_crashes(tmp_path: Path) -> None:
    rng = random.Random(0)
    for new in (True, False):
        buffer = io.BytesIO()
        made = {"a": torch.ones(3), "b": torch.zeros(2, 2)}
        torch.save(made, buffer, _use_new_zipfile_serialization=new)
        sound = buffer.getvalue()
        for _ in range(300):
            data = bytearray(sound)
            for _ in range(rng.randint(1, 3)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            if rng.random() < 0.3:
                del data[rng.randrange(len(data)) :]
            (tmp_path / "x.bin").write_bytes(data)
            with contextlib.suppress(CheckpointError):
                read_bin(tmp_path / "x.bin")


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "x.bin")
    with (
        zipfile.ZipFile(tmp_path / "x.bin") as old,
        zipfile.ZipFile(tmp_path / "y.bin", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    with pytest.raises(CheckpointError, match="compressed"):
        read_bin(tmp_path / "y.bin")


def test_one_storage_cannot_be_claimed_a_thousand_times(tmp_path: Path) -> None:
    base = torch.zeros(10_000)
    torch.save({f"{i}": base.view(100, 100) for i in range(1000)}, tmp_path / "x.bin")
    with pytest.raises(CheckpointError, match="claims more numbers than it holds"):
        read_bin(tmp_path / "x.bin")


def test_a_bomb_of_tuples_ends_at_once(tmp_path: Path) -> None:
    doubled = b"\x80\x02)" + b"q\x00h\x00\x86" * 60  # each is a pair of the one before
    deep = b"\x80\x02)" + b"K\x01\x86" * 1_000_000 + b"q\x00"
    for bomb in (doubled, deep):
        for end in (b".", b"}h\x00K\x01s.", b"Q.", b"cx\ny\n."):
            (tmp_path / "x.bin").write_bytes(bomb + end)
            with pytest.raises(CheckpointError, match="nested too deeply"):
                read_bin(tmp_path / "x.bin")


def test_a_storage_larger_than_the_file_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(300.0)}, tmp_path / "x.bin")
    with (
        zipfile.ZipFile(tmp_path / "x.bin") as old,
        zipfile.ZipFile(tmp_path / "y.bin", "w") as new,
    ):
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry).replace(b"M\x2c\x01", b"J\0\0\x10\0"))
    with pytest.raises(CheckpointError, match="is not a complete PyTorch file"):
        read_bin(tmp_path / "y.bin")


PRIVATE = {"parallel.py", "ray_data.py", "units.py"}
"""They speak to processes of their own, or to themselves through a file without a name."""


def test_nothing_in_the_package_opens_a_pickle() -> None:
    """Seen in the source: no file is unpickled, and numpy's unpickler is never allowed."""
    package = Path(folder.__file__).parents[1]
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported = {(node.module or "").partition(".")[0]}
            else:
                imported = set()
            where = f"{file}:{getattr(node, 'lineno', 0)}"
            if file.name not in PRIVATE:
                assert not imported & {"pickle", "cloudpickle", "dill", "joblib", "shelve"}, where
            if isinstance(node, ast.Call):
                allowed = [k.value for k in node.keywords if k.arg == "allow_pickle"]
                called = ast.unparse(node.func)
                assert called != "torch.jit.load", where
                if called == "torch.load":
                    assert file.name == "convert.py"
                    safe = [k.value for k in node.keywords if k.arg == "weights_only"]
                    assert [ast.unparse(value) for value in safe] == ["True"], where
                if called == "np.load":
                    assert [ast.unparse(value) for value in allowed] == ["False"], where
