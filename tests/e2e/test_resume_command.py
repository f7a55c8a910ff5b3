"""gpt1 resume: a run goes on from its folder alone, and a finished one can be made longer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import worlds
from commands import run_gpt1
from gpt1.checkpoint import folder
from gpt1.storage import Log

FAST = "--set train.batch_size=4 --set train.save_every=1 --set train.dtype=float32"
RUNS = {
    "pretrain": f"pretrain shards --valid shards --size size.toml --steps 4 {FAST}",
    "lm": f"finetune texts.csv --task lm --text-column body --model model --steps 4 {FAST}",
    "recipe": f"finetune texts.csv --text-column body --model model --recipe own.toml {FAST}",
    "classification": f"finetune rows.csv --task classification --delimiter semicolon --text-column"
    f" body --label-column says --valid valid.csv --model model --set train.epochs=2 {FAST}",
}
"""The commands, but for --out."""
SIZE = "[model]\nvocab_size = 60\nn_ctx = 16\nn_embd = 8\nn_layer = 1\nn_head = 2\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_runs: None) -> Path:
    """A folder with a tiny model and files of every sort of run; it is the working folder."""
    monkeypatch.chdir(tmp_path)
    worlds.write_model(tmp_path)
    texts = [f"the dog and the cat {'sit' if i % 2 else 'run'} {i}" for i in range(24)]
    Path("texts.csv").write_text("id,body\n" + "".join(f"{i},{t}\n" for i, t in enumerate(texts)))
    rows = [f"{text};{'yes' if i % 2 else 'no'}\n" for i, text in enumerate(texts)]
    Path("rows.csv").write_text("body;says\n" + "".join(rows[:12]))
    Path("valid.csv").write_text("body;says\n" + "".join(rows[12:]))
    Path("own.toml").write_text("[train]\nsteps = 4\n")
    Path("size.toml").write_text(SIZE)
    run_gpt1("prepare texts.csv --column body --tokenizer words --out shards").check()
    return tmp_path


def weights(run: Path) -> bytes:
    return (run / "model" / folder.WEIGHTS).read_bytes()


@pytest.mark.parametrize("name", RUNS)
def test_a_stopped_run_goes_on_from_any_folder_to_the_same_weights(
    place: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_gpt1(f"{RUNS[name]} --out run").check()
    expected = weights(place / "run")
    shutil.rmtree("run/model")
    for newest in sorted(Path("run/checkpoints").iterdir())[-1:]:
        shutil.rmtree(newest)
    Path("own.toml").unlink()  # the settings are in run.json
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    done = run_gpt1("resume ../run").check()
    assert "resumed at update" in done.stderr
    assert weights(place / "run") == expected
    assert "already finished" in run_gpt1("resume ../run").check().stderr


@pytest.mark.parametrize("name", ["pretrain", "classification"])
def test_a_finished_run_is_made_longer_and_says_so_in_its_record(place: Path, name: str) -> None:
    run_gpt1(f"{RUNS[name]} --out run").check()
    lines = Log(Path("run/metrics.jsonl")).read()
    done = max(line["step"] for line in lines)
    longer = "--steps 9" if name == "pretrain" else "--epochs 4"
    said = run_gpt1(f"resume run {longer}").check().stderr
    assert f"goes on after update {done}" in said
    assert (Path("run/snapshots") / f"step-{done:08d}" / folder.WEIGHTS).is_file()
    assert Log(Path("run/metrics.jsonl")).read()[: len(lines)] == lines
    changes = json.loads(Path("run/run.json").read_text())["changes"]
    setting, values = ("steps", [4, 9]) if name == "pretrain" else ("epochs", [2.0, 4.0])
    assert [(c["step"], c["settings"]) for c in changes] == [(done, {f"train.{setting}": values})]
    assert "already finished" in run_gpt1("resume run").check().stderr
    refused = run_gpt1("resume run --steps 2")
    assert (refused.code, "Ask for more" in refused.stderr) == (1, True)


@pytest.mark.parametrize(
    ("run_json", "code", "said"),
    [
        (None, 1, "there is no run in run"),
        ("{", 1, "run.json is damaged"),
        ("{}", 1, "started from Python"),
    ],
)
def test_what_is_no_run_of_a_command_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_json: str | None, code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if run_json is not None:
        Path("run").mkdir()
        Path("run/run.json").write_text(run_json)
    done = run_gpt1("resume run")
    assert (done.code, done.stdout) == (code, "")
    assert said in done.stderr
