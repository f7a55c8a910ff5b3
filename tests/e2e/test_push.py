"""`gpt1 push` through the real hub client, to a hub of our own and back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

import tiny
import worlds
from commands import run_gpt1, run_gpt1_process
from gpt1.checkpoint import folder
from gpt1.storage import write_folder
from hub import TOKEN, Answer, LoopbackHub

LOAD = """
import sys, gpt1
gpt = gpt1.load(sys.argv[1], device="cpu")
gpt.save(sys.argv[2])
"""

TWICE = """
import sys
from pathlib import Path
from gpt1 import cli
model, there = sys.argv[1:]
sys.argv = ["gpt1", "push", model, "me/tiny", "--private"]
try:
    cli.main()
except SystemExit as end:
    assert not end.code
for stale in ("head.safetensors", "notes.txt"):
    (Path(there) / stale).write_text("x")
cli.main()
"""
PUSH = """
import os, sys
from pathlib import Path
from huggingface_hub import constants
from gpt1.checkpoint import push
from gpt1.errors import HubError
upload = push.prepare(Path(sys.argv[1]), b"---\\ntags: [gpt1]\\n---\\n")
token = sys.argv[2]
def refused(name, token, **options):
    os.environ["HF_TOKEN"] = token
    try:
        print("not refused:", push.push(upload, name, **{"private": False, **options}))
    except HubError as error:
        print(error)
refused("me/x", "")
refused("me/x", "hf_wrong")
refused("you/x", token)
refused("me/open", token, private=True)
refused("me/busy", token)
constants.HF_HUB_OFFLINE = True
refused("me/x", token)
constants.HF_HUB_OFFLINE = False
constants.ENDPOINT = "http://127.0.0.1:9"
refused("me/x", token)
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    with LoopbackHub(store=tmp_path / "hub") as hub:
        yield hub


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("model")
    words = worlds.tokenizer(place / "vocabulary", words="fast")
    extra = {"training": {"steps": 7, "reason": "all updates done", "validation": {"loss": 2.5}}}
    folder.save(place / "tiny", tiny.model(), words, extra)
    return place / "tiny"


def test_a_pushed_model_loads_by_name_bit_for_bit(
    hub: LoopbackHub, model: Path, tmp_path: Path
) -> None:
    source = tmp_path / "checkpoint"
    files = {f.name: f.read_bytes() for f in model.iterdir() if f.name != "manifest.json"}
    extra = {"optimizer.safetensors": b"moments", "state.json": b"{}"}
    write_folder(source, files | extra)
    env = hub.env(tmp_path / "home") | {"HF_TOKEN": TOKEN}
    done = run_gpt1_process("push", source, "me/tiny", "--license", "mit", env=env).check()
    assert done.stdout == f"{hub.url}/me/tiny\n"
    assert "for me/tiny (public):" in done.stderr
    assert f"{(model / 'model.safetensors').stat().st_size:,} bytes  model.safetensors" in (
        done.stderr
    )
    there = hub.repositories["models"]["me/tiny"]
    assert {f.name for f in there.iterdir()} == {*files, "manifest.json", ".gitattributes"}
    assert (there / "model.safetensors").read_bytes() == files["model.safetensors"]
    card = (there / "README.md").read_text("utf-8")
    assert yaml.safe_load(card.split("---\n")[1])["license"] == "mit"
    assert "--model me/tiny" in card
    assert "Loss: 2.5000 nats" in card
    assert "Perplexity: 12.18" in card

    (there / "README.md").write_text(f"{card}\nEdited on the hub.\n")  # by its owner
    subprocess.run(
        [sys.executable, "-c", LOAD, "me/tiny", tmp_path / "back"],
        env=hub.env(tmp_path / "other"),
        check=True,
        timeout=60,
    )
    before, after = folder.load(model), folder.load(tmp_path / "back")
    assert before.state.keys() == after.state.keys()
    assert all(torch.equal(before.state[name], after.state[name]) for name in before.state)
    assert before.tokenizer is not None
    assert after.tokenizer is not None
    assert before.tokenizer.fingerprint == after.tokenizer.fingerprint


def test_pushing_again_replaces_the_model_whole(
    hub: LoopbackHub, model: Path, tmp_path: Path
) -> None:
    there = tmp_path / "hub" / "me" / "tiny"
    command = [sys.executable, "-c", TWICE, model, there]
    env = hub.env(tmp_path / "home") | {"HF_TOKEN": TOKEN}
    subprocess.run(command, env=env, check=True, timeout=60)
    assert hub.private == {"me/tiny"}
    assert not (there / "head.safetensors").exists()
    assert (there / "notes.txt").exists()  # not of a model: its owner's
    folder.load(there)


def test_what_the_hub_refuses_is_told(hub: LoopbackHub, model: Path, tmp_path: Path) -> None:
    for name in ("me/open", "me/busy"):
        there = tmp_path / name
        there.mkdir(parents=True)
        (there / ".gitattributes").write_text("x")
        hub.repositories["models"][name] = there

    def conflict(answer: Answer) -> Answer:
        return (412, answer[1], answer[2]) if b"me/busy/commit" in answer[2] else answer

    hub.change = conflict
    done = subprocess.run(
        [sys.executable, "-c", PUSH, model, TOKEN],
        env=hub.env(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert "there is no token for the hub. Run hf auth login, or set HF_TOKEN" in told[0]
    assert "the hub answers 401; the token is not valid any more" in told[1]
    assert "the hub answers 403; the token may not write there" in told[2]
    assert "me/open exists and is public, so nothing was uploaded" in told[3]
    assert "something else was committed there meanwhile" in told[4]
    assert "HF_HUB_OFFLINE is set. Unset it" in told[5]
    assert "could not upload to me/x: the hub cannot be reached. Check the conn" in told[6]
    assert hub.repositories["models"].keys() == {"me/open", "me/busy"}
    assert [f.name for f in (tmp_path / "me" / "open").iterdir()] == [".gitattributes"]


@pytest.mark.parametrize("name", ["tiny", "me/", "a/b/c", "me/-x", "me/a b", "me/a--b", "me/x.git"])
def test_a_name_that_is_none_is_refused_before_anything_else(name: str, model: Path) -> None:
    done = run_gpt1("push", model, name)
    assert done.code == 2
    assert "its name must be owner/name" in done.message


def test_only_a_whole_model_is_pushed(model: Path, tmp_path: Path) -> None:
    unfinished = tmp_path / "run"
    (unfinished / "checkpoints" / "step-00000002").mkdir(parents=True)
    (unfinished / "run.json").write_text("{}")
    done = run_gpt1("push", unfinished, "me/x")
    assert done.code == 1
    assert "a run that is not finished" in done.message
    assert f"push its newest checkpoint, {unfinished}/checkpoints/step-00000002" in done.message

    damaged = tmp_path / "damaged"
    shutil.copytree(model, damaged)
    data = bytearray((damaged / "vocab.json").read_bytes())
    data[-3] ^= 1
    (damaged / "vocab.json").write_bytes(data)
    assert "is not what was written" in run_gpt1("push", damaged, "me/x").message
    (damaged / "manifest.json").unlink()
    assert "has no manifest.json" in run_gpt1("push", damaged, "me/x").message
    assert "there is no folder" in run_gpt1("push", tmp_path / "none", "me/x").message


def test_the_card_tells_what_the_run_records(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").mkdir()
    rows = "\n".join(f"the dog {i},{'yes' if i % 2 else 'no|<b>'}" for i in range(12))
    (tmp_path / "secret" / "pets.csv").write_text(f"text,label\n{rows}\n")
    options = "--task classification --steps 2 --batch-size 4 --set train.device=cpu"
    run_gpt1(
        "finetune", "secret/pets.csv", "--model", model, "--out", "run", *options.split()
    ).check()
    done = run_gpt1("push", "run", "me/pets", "--dry-run").check()
    card = done.stdout
    header = yaml.safe_load(card.split("---\n")[1])
    assert header["pipeline_tag"] == "text-classification"
    assert "license" not in header
    assert "**None is given yet.**" in card
    for fact in (
        "fine-tuned with gpt1 for classification",
        "* Data: pets.csv.",
        "* 2 updates, ",
        r"* Labels: no\|\<b\>, yes.",
        "`train.batch_size=4`",
        "gpt1 predict me/pets NEW.csv",
        f"* Started from: {model.name}.",
    ):
        assert fact in card
    assert "secret" not in card
    assert str(tmp_path) not in card
    assert "optimizer" not in done.stderr

    own = json.loads((tmp_path / "run" / "model" / "gpt1.json").read_text())
    count = sum(tensor.numel() for tensor in folder.load(tmp_path / "run" / "model").state.values())
    assert own["task"]["kind"] == "classification"
    assert f"* Parameters: {count:,}." in card


def test_a_card_that_a_person_wrote_stays(tmp_path: Path) -> None:
    done = run_gpt1("push", "mini", "me/mini", "--dry-run").check()
    assert done.stdout.startswith("---\nlibrary_name: transformers\n")
    assert "73 English novels" in done.stdout
    assert "curve.png" in done.stderr
    assert run_gpt1("push", "mini", "me/mini", "--license", "mit").code == 2
    assert run_gpt1("push", "mini", "me/mini", "--license", "MIT: x").code == 2
