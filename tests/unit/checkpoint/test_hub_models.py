"""Names of models: paths, and repositories through the real hub client against a hub of our own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import tiny
from gpt1.checkpoint import folder, huggingface
from gpt1.checkpoint.hub import resolve
from gpt1.errors import HubError
from gpt1.storage import json_bytes
from hub import LoopbackHub

RESOLVE = """
import sys
from gpt1.checkpoint import hub
from gpt1.errors import HubError
for name in sys.argv[1:]:
    try:
        print(hub.resolve(name))
    except HubError as error:
        print(f"HubError: {error}".replace("\\n", " | "))
assert "torch" not in sys.modules
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    place = tmp_path_factory.mktemp("repositories")
    folder.save(place / "tiny", tiny.model(), None)
    (place / "tiny" / "pytorch_model.bin").write_bytes(b"never fetched")
    (place / "tiny" / "onnx").mkdir()
    (place / "tiny" / "onnx" / "model.onnx").write_bytes(b"never fetched")
    for name in ("pickled", "other"):
        (place / name).mkdir()
    values = huggingface.write_config(tiny.config(), None)
    (place / "pickled" / "config.json").write_bytes(json_bytes(values))
    torch.save({}, place / "pickled" / "pytorch_model.bin")
    (place / "other" / "notes.txt").write_text("x")
    models = {f"me/{name}": place / name for name in ("tiny", "pickled", "other")}
    with LoopbackHub(models=models | {"me/gated": place / "tiny"}, gated=("me/gated",)) as hub:
        yield hub


def ask(env: dict[str, str], *names: str) -> list[str]:
    """Resolve the names in a process of its own; return what each came to."""
    done = subprocess.run(
        [sys.executable, "-c", RESOLVE, *names], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_repository_is_fetched_without_its_pickle_and_found_again_offline(
    served: LoopbackHub, tmp_path: Path
) -> None:
    (place,) = ask(served.env(tmp_path), "me/tiny")
    fetched = Path(place)
    assert fetched.is_relative_to(tmp_path)
    names = {item.name for item in fetched.iterdir()}
    assert {"config.json", "model.safetensors", "gpt1.json", "manifest.json"} <= names
    assert not {"pytorch_model.bin", "onnx"} & names
    assert not [path for _, path in served.requests if path.endswith((".bin", ".onnx"))]
    assert folder.load(fetched).config == tiny.config()

    before = len(served.requests)
    offline = served.env(tmp_path) | {"HF_HUB_OFFLINE": "1"}
    again, missing = ask(offline, "me/tiny", "me/pickled")
    assert again == place
    assert "HF_HUB_OFFLINE is set, and it was not fetched before. Unset it" in missing
    assert len(served.requests) == before

    unreachable = served.env(tmp_path) | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    again, missing = ask(unreachable, "me/tiny", "me/pickled")
    assert again == place
    assert "the hub cannot be reached, and it was not fetched before. Check the conn" in missing


def test_what_cannot_be_fetched_says_what_to_do(served: LoopbackHub, tmp_path: Path) -> None:
    unknown, gated, pickled, other = ask(
        served.env(tmp_path), "me/nobody", "me/gated", "me/pickled", "me/other"
    )
    assert "HubError: could not fetch the model me/nobody: no model has that name" in unknown
    assert "its owner grants access to it" in gated
    assert "only as a pickle, pytorch_model.bin" in pickled
    assert "hf download me/pickled --local-dir pickled" in pickled
    assert "gpt1 convert pickled/pytorch_model.bin --out pickled-gpt1" in pickled
    assert "me/other holds no weights that gpt1 reads; it has notes.txt" in other


def test_a_path_that_is_there_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "me" / "tiny").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolve("me/tiny") == Path("me/tiny")
    assert resolve(tmp_path / "me") == tmp_path / "me"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("~/me") == tmp_path / "me"


@pytest.mark.parametrize(
    "name", ["nothing", "/no/such", "./model", "a/b/c", "../x", "me/", "/x", "a b/c", "-x/y", ""]
)
def test_what_is_no_name_is_never_asked_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HubError, match=r"there is no such folder.* Give a folder, or owner/name"):
        resolve(name)


def test_a_path_is_never_taken_for_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HubError, match="no such folder"):
        resolve(Path("me/tiny"))
