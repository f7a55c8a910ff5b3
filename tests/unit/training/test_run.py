"""A run: it can be cut off anywhere and goes on bit for bit; it refuses what would harm it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import runs
from runs import Corpus, history, same

import gpt1
from gpt1 import storage
from gpt1.data.shards import write_shards
from gpt1.data.tables import Texts
from gpt1.errors import ConfigError, Interrupted, TokenizerError, TrainingError
from gpt1.text.tokenizer import Tokenizer
from gpt1.training.step import Updater

SHAPE = {"n_ctx": 16, "n_embd": 16, "n_layer": 2, "n_head": 2}
SETTINGS = (
    "train.batch_size=4", "train.micro_batch_size=2", "train.dtype=float32", "train.save_every=3",
    "train.eval_every=4", "optimizer.lr=1e-2", "train.steps=10",
)  # fmt: skip


@pytest.fixture
def finished(corpus: Corpus, tmp_path: Path) -> Path:
    """A run of one update."""
    corpus.train(tmp_path / "run", "train.steps=1")
    return tmp_path / "run"


def test_a_run_learns_and_leaves_model_log_and_curves(whole: tuple[gpt1.GPT1, Path]) -> None:
    gpt, out = whole
    lines = history(out)
    evaluations = [line for line in lines if "valid_loss" in line]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 11))
    assert evaluations[-1]["valid_loss"] < evaluations[0]["valid_loss"] - 0.3
    assert "data:image/svg" in (out / "report.html").read_text()
    assert same(gpt, gpt1.load(out))
    kept = [path.name for path in sorted((out / "checkpoints").iterdir())]
    assert kept == ["step-00000009", "step-00000010"]


@pytest.mark.parametrize("after", [2, 7])
def test_a_resumed_run_is_the_run_never_interrupted(
    corpus: Corpus, tmp_path: Path, whole: tuple[gpt1.GPT1, Path], after: int
) -> None:
    runs.cut_off(corpus, tmp_path / "run", after=after)
    assert same(corpus.train(tmp_path / "run", resume=True), whole[0])
    assert history(tmp_path / "run") == history(whole[1])


def test_a_finished_run_is_left_as_it_is(
    corpus: Corpus, tmp_path: Path, whole: tuple[gpt1.GPT1, Path]
) -> None:
    corpus.train(tmp_path / "run")
    assert same(corpus.train(tmp_path / "run", resume=True), whole[0])
    assert history(tmp_path / "run") == history(whole[1])


def stopped(corpus: Corpus, out: Path, *more: str, last: int, resume: bool = False) -> Interrupted:
    """Run, and be asked to stop during update number `last`; return how the run ended."""

    def act(updater: Updater, number: int) -> None:
        if number == last - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        runs.before_updates(patch, act)
        with pytest.raises(Interrupted) as ended:
            corpus.train(out, *more, resume=resume)
    return ended.value


def test_a_run_without_a_fixed_end_is_resumed_and_ended_later(
    corpus: Corpus, tmp_path: Path
) -> None:
    stable = (
        "schedule.name=warmup_stable_decay", "schedule.warmup_steps=2", "schedule.warmup_share=1",
        "optimizer.name=muon",
    )  # fmt: skip
    run, open_end = tmp_path / "run", (*stable, "train.steps=1000", "schedule.decay_share=0.0")
    fixed_end = (*stable, "schedule.decay_share=0.4")
    planned = corpus.train(tmp_path / "planned", *fixed_end)
    stopped(corpus, run, *open_end, last=3)
    stopped(corpus, run, *open_end, last=5, resume=True)
    stopped(corpus, run, *fixed_end, last=8, resume=True)  # in the decay
    with pytest.raises(TrainingError, match=r"train\.steps was 10 and is 1000"):
        corpus.train(run, *stable, "train.steps=1000", resume=True)
    assert same(corpus.train(run, *fixed_end, resume=True), planned)
    rates = [[line["lr"] for line in history(tmp_path / n) if "lr" in line]
             for n in ("run", "planned")]  # fmt: skip
    assert rates[0] == rates[1]


def test_what_a_killed_writer_left_is_cleared(corpus: Corpus, finished: Path) -> None:
    left = finished / "checkpoints" / ".step-00000011.new-gpt1-abcdefgh"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    corpus.train(finished, "train.steps=1", resume=True)
    assert not left.exists()


@pytest.mark.parametrize("setting", ["data.valid_share=0.1", "data.prefix=x", "data.words=fast"])
def test_settings_that_would_change_nothing_are_refused(
    corpus: Corpus, tmp_path: Path, setting: str
) -> None:
    with pytest.raises(ConfigError, match=r"data\..* is set; shards are text already cut"):
        corpus.train(tmp_path / "run", setting)


def test_two_processes_cannot_train_in_one_folder(corpus: Corpus, finished: Path) -> None:
    code = (
        "import sys, time; from gpt1.training import run; "
        "held = run._lock(__import__('pathlib').Path(sys.argv[1])); print('held', flush=True); "
        "time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(finished / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            with pytest.raises(TrainingError, match=f"another process .*{other.pid}.* is train"):
                corpus.train(finished, "train.steps=1", resume=True)
        finally:
            other.kill()
    corpus.train(finished, "train.steps=1", resume=True)  # the lock died with its owner


def test_early_stopping_keeps_the_best(corpus: Corpus, tmp_path: Path) -> None:
    settings = ("train.patience=0.5", "train.eval_every=1", "optimizer.lr=0.3", "train.steps=60")
    corpus.train(tmp_path / "run", *settings)
    losses = [line["valid_loss"] for line in history(tmp_path / "run") if "valid_loss" in line]
    assert len(losses) < 61
    record = json.loads((tmp_path / "run" / "model" / "gpt1.json").read_text())
    assert record["training"]["steps"] == len(losses) - 1
    assert record["training"]["validation"]["loss"] == pytest.approx(min(losses), rel=1e-5)


def test_the_log_survives_being_cut_off_in_a_line(tmp_path: Path) -> None:
    log = storage.Log(tmp_path / "log.jsonl")
    log.append({"a": 1}, {"a": 2})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"a": 3')
    assert log.read() == [{"a": 1}, {"a": 2}]
    log.keep(2)
    log.append({"a": 4})
    assert log.read() == [{"a": 1}, {"a": 2}, {"a": 4}]


def test_validation_text_of_another_tokenizer_is_refused(
    corpus: Corpus, tmp_path: Path, stories: list[str]
) -> None:
    other = Tokenizer.train(stories, vocab_size=50)
    write_shards(tmp_path / "other", Texts(corpus.place / "valid.jsonl"), other, workers=1)
    with pytest.raises(TokenizerError):
        corpus.train(tmp_path / "run", valid=tmp_path / "other")
