"""A run: it can be cut off anywhere and goes on bit for bit; it refuses what would harm it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import gpt1
from gpt1 import storage
from gpt1.data.shards import write_shards
from gpt1.data.tables import open_texts
from gpt1.errors import ConfigError, CorruptError, Interrupted, TokenizerError, TrainingError
from gpt1.reports.history import History
from gpt1.text.tokenizer import Tokenizer
from gpt1.training.step import Updater

SIZE = """
[model]
vocab_size = 80
n_ctx = 16
n_embd = 16
n_layer = 2
n_head = 2
"""
SETTINGS = (
    "train.batch_size=4", "train.micro_batch_size=2", "train.dtype=float32", "train.save_every=3",
    "train.eval_every=4", "optimizer.lr=1e-2",
)  # fmt: skip
TIMING = ("seconds", "tokens_per_second", "loader_share")


@pytest.fixture(scope="session")
def corpus(
    tmp_path_factory: pytest.TempPathFactory, stories: list[str], tokenizer: Tokenizer
) -> Path:
    place = tmp_path_factory.mktemp("corpus")
    (place / "size.toml").write_text(SIZE)
    for name, texts in (("train", stories[:50]), ("valid", stories[50:])):
        rows = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (place / f"{name}.jsonl").write_text(rows)
        write_shards(place / name, open_texts(place / f"{name}.jsonl"), tokenizer, workers=1)
    return place


def train(corpus: Path, out: Path, *more: str, resume: bool = False, steps: int = 10) -> gpt1.GPT1:
    return gpt1.pretrain(
        corpus / "train",
        valid=corpus / "valid",
        size=str(corpus / "size.toml"),
        out=out,
        resume=resume,
        overrides=[*SETTINGS, f"train.steps={steps}", *more],
    )


def history(run: Path) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in line.items() if key not in TIMING}
        for line in storage.Log(run / "metrics.jsonl").read()
    ]


def weights(gpt: gpt1.GPT1) -> dict[str, torch.Tensor]:
    return gpt.model.state_dict()


def same(a: gpt1.GPT1, b: gpt1.GPT1) -> bool:
    return all(torch.equal(x, weights(b)[name]) for name, x in weights(a).items())


@pytest.fixture(scope="session")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[gpt1.GPT1, Path]:
    """A run never interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return train(corpus, out), out


def test_a_run_learns_and_leaves_model_log_and_curves(whole: tuple[gpt1.GPT1, Path]) -> None:
    gpt, out = whole
    lines = history(out)
    checks = [line for line in lines if "valid_loss" in line]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 11))
    assert checks[-1]["valid_loss"] < checks[0]["valid_loss"] - 0.3
    assert "data:image/svg" in (out / "report.html").read_text()
    results = History.read(out).results
    assert (results.updates, results.tokens) == (10, 10 * 4 * 16)
    assert results.finished == "all updates done"
    assert results.parameters == gpt.num_parameters()
    assert results.final_loss == pytest.approx(checks[-1]["valid_loss"], abs=0.1)
    assert same(gpt, gpt1.load(out))
    assert [p.name for p in sorted((out / "checkpoints").iterdir())] == [
        "step-00000009",
        "step-00000010",
    ]


@pytest.mark.parametrize("stop_after", [1, 2, 3, 7, 10])
def test_a_resumed_run_is_the_run_never_interrupted(
    corpus: Path,
    tmp_path: Path,
    whole: tuple[gpt1.GPT1, Path],
    stop_after: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    update, done = Updater.update, 0

    def stopping(*args: Any, **more: Any) -> Any:
        nonlocal done
        if done == stop_after:
            raise RuntimeError("cut off")
        done += 1
        return update(*args, **more)

    monkeypatch.setattr(Updater, "update", stopping)
    if stop_after < 10:
        with pytest.raises(RuntimeError, match="cut off"):
            train(corpus, tmp_path / "run")
    else:
        train(corpus, tmp_path / "run")
    monkeypatch.setattr(Updater, "update", update)
    resumed = train(corpus, tmp_path / "run", resume=True)
    assert same(resumed, whole[0])
    assert history(tmp_path / "run") == history(whole[1])


def test_a_signal_saves_and_resumes(
    corpus: Path, tmp_path: Path, whole: tuple[gpt1.GPT1, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Updater.update

    def signalled(self: Updater, batches: Any, number: int, *args: Any) -> Any:
        if number == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return update(self, batches, number, *args)

    monkeypatch.setattr(Updater, "update", signalled)
    with pytest.raises(Interrupted, match="after update 5 of 10") as stopped:
        train(corpus, tmp_path / "run")
    assert stopped.value.exit_code == 0
    monkeypatch.setattr(Updater, "update", update)
    assert same(train(corpus, tmp_path / "run", resume=True), whole[0])
    assert history(tmp_path / "run") == history(whole[1])


STABLE = (
    "schedule.name=warmup_stable_decay", "schedule.warmup_steps=2", "schedule.warmup_share=1",
    "optimizer.name=muon",
)  # fmt: skip


def stop_after(monkeypatch: pytest.MonkeyPatch, last: int) -> None:
    """Ask the run of this process to stop after update number `last`."""
    update = Updater.update

    def signalled(self: Updater, batches: Any, number: int, *args: Any) -> Any:
        if number == last - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return update(self, batches, number, *args)

    monkeypatch.setattr(Updater, "update", signalled)


def test_a_run_without_a_fixed_end_is_resumed_and_ended_later(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = train(corpus, tmp_path / "planned", *STABLE, "schedule.decay_share=0.4", steps=10)
    for last, end in ((3, 1000), (5, 1000), (8, 10)):  # stopped twice before its decay, once in it
        more = (*STABLE, f"schedule.decay_share={0.4 if end == 10 else 0.0}")
        with monkeypatch.context() as patch:
            stop_after(patch, last)
            with pytest.raises(Interrupted):
                train(corpus, tmp_path / "run", *more, steps=end, resume=last > 3)
    with pytest.raises(TrainingError, match=r"train\.steps was 10 and is 1000"):
        train(corpus, tmp_path / "run", *STABLE, steps=1000, resume=True)
    ended = train(corpus, tmp_path / "run", *STABLE, "schedule.decay_share=0.4", resume=True)
    assert same(ended, planned)
    rates = [line["lr"] for line in history(tmp_path / "run") if "lr" in line]
    assert rates == [line["lr"] for line in history(tmp_path / "planned") if "lr" in line]


def test_a_damaged_checkpoint_is_noticed_and_the_one_before_is_used(
    corpus: Path,
    tmp_path: Path,
    whole: tuple[gpt1.GPT1, Path],
    capfd: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    train(corpus, run)
    storage.remove(run / "model")
    newest = run / "checkpoints" / "step-00000010"
    data = bytearray((newest / "optimizer.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (newest / "optimizer.safetensors").write_bytes(data)
    resumed = train(corpus, run, resume=True)
    said = " ".join(capfd.readouterr().err.split())
    assert "step-00000010" in said
    assert "resumed at update 9" in said
    assert same(resumed, whole[0])


def test_a_damaged_checkpoint_is_written_anew(
    corpus: Path, tmp_path: Path, whole: tuple[gpt1.GPT1, Path]
) -> None:
    run = tmp_path / "run"
    train(corpus, run)
    storage.remove(run / "model")
    damaged = run / "checkpoints" / "step-00000010" / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert same(train(corpus, run, resume=True), whole[0])
    assert storage.Folder(damaged.parent).read("model.safetensors")


def test_a_run_whose_every_checkpoint_is_damaged_does_not_begin_again(
    corpus: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train(corpus, run)
    storage.remove(run / "model")
    before = (run / "metrics.jsonl").read_bytes()
    for checkpoint in (run / "checkpoints").glob("step-*"):
        (checkpoint / "state.json").write_text("{}")
    with pytest.raises(CorruptError, match=r"No checkpoint in .* is whole"):
        train(corpus, run, resume=True)
    assert (run / "metrics.jsonl").read_bytes() == before


def test_what_a_killed_writer_left_is_cleared(corpus: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(corpus, run)
    left = run / "checkpoints" / ".step-00000011.new-abcd"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    train(corpus, run, resume=True)
    assert not left.exists()


@pytest.mark.parametrize("setting", ["data.valid_share=0.1", "data.prefix=x", "data.words=fast"])
def test_settings_that_would_change_nothing_are_refused(
    corpus: Path, tmp_path: Path, setting: str
) -> None:
    with pytest.raises(ConfigError, match=r"data\..* is set; shards are text already cut"):
        train(corpus, tmp_path / "run", setting)


def test_two_processes_cannot_train_in_one_folder(corpus: Path, tmp_path: Path) -> None:
    code = (
        "import sys, time; from gpt1.training import run; "
        "held = run._lock(__import__('pathlib').Path(sys.argv[1])); print('held', flush=True); "
        "time.sleep(60)"
    )
    run = tmp_path / "run"
    train(corpus, run, steps=1)
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(run / "lock")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(TrainingError, match=f"another process .*{other.pid}.* is training"):
            train(corpus, run, steps=1, resume=True)
    finally:
        other.kill()
        other.wait()
        if other.stdout:
            other.stdout.close()
    train(corpus, run, steps=1, resume=True)  # the lock died with its owner


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["optimizer.lr=1e-3"], "optimizer.lr was 0.01 and is 0.001"),
        (["train.seed=7"], "train.seed was 0 and is 7"),
        (["model.attn_pdrop=0.2"], "model.attn_pdrop was 0.1 and is 0.2"),
        (["train.steps=11"], "train.steps was 1 and is 11"),
    ],
)
def test_a_run_does_not_go_on_with_other_settings(
    corpus: Path, tmp_path: Path, more: list[str], said: str
) -> None:
    train(corpus, tmp_path / "run", steps=1)
    with pytest.raises(TrainingError, match=said):
        train(corpus, tmp_path / "run", *more, steps=1, resume=True)
    train(corpus, tmp_path / "run", "train.save_every=1", steps=1, resume=True)


def test_a_run_does_not_go_on_with_other_text(
    corpus: Path, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    train(corpus, tmp_path / "run", steps=1)
    with pytest.raises(TrainingError, match="the data is another one"):
        gpt1.pretrain(
            corpus / "valid",
            valid=corpus / "valid",
            size=str(corpus / "size.toml"),
            out=tmp_path / "run",
            resume=True,
            overrides=[*SETTINGS, "train.steps=1"],
        )


def test_a_run_is_not_started_over_another(corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path / "run", steps=1)
    before = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(TrainingError, match="Use --resume to continue"):
        train(corpus, tmp_path / "run", steps=1)
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_there_must_be_something_to_resume(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no run to resume"):
        train(corpus, tmp_path / "run", resume=True)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_and_spares_the_checkpoint(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: float
) -> None:
    update = Updater.update

    def poisoned(self: Updater, batches: Any, number: int, *args: Any) -> Any:
        if number == 6:
            with torch.no_grad():
                self.model.positions.weight[3, 3] = bad
        return update(self, batches, number, *args)

    monkeypatch.setattr(Updater, "update", poisoned)
    said = r"at update 10 the loss is nan.*numbers 36 to 39.*3 before .* left out.*=float32"
    with pytest.raises(TrainingError, match=said):
        train(corpus, tmp_path / "run", "train.eval_every=10")
    newest = max((tmp_path / "run" / "checkpoints").glob("step-*"))
    assert newest.name == "step-00000006"
    assert all(torch.isfinite(p).all() for p in gpt1.load(newest).model.parameters())


def test_early_stopping_keeps_the_best(corpus: Path, tmp_path: Path) -> None:
    gpt = train(corpus, tmp_path / "run", "train.patience=2", "train.eval_every=1",
                "optimizer.lr=0.3", steps=60)  # fmt: skip
    checks = [line for line in history(tmp_path / "run") if "valid_loss" in line]
    assert len(checks) < 61
    best = min(line["valid_loss"] for line in checks)
    record = json.loads((tmp_path / "run" / "model" / "gpt1.json").read_text())
    assert record["training"]["validation"]["loss"] == pytest.approx(best, rel=1e-5)
    assert gpt.num_parameters() > 0


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
    corpus: Path, tmp_path: Path, stories: list[str]
) -> None:
    other = Tokenizer.train(stories, vocab_size=50)
    write_shards(tmp_path / "other", open_texts(corpus / "valid.jsonl"), other, workers=1)
    with pytest.raises(TokenizerError):
        gpt1.pretrain(
            corpus / "train", valid=tmp_path / "other", size=str(corpus / "size.toml"),
            out=tmp_path / "run",
        )  # fmt: skip


def test_an_unknown_setting_names_the_nearest(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'batch_size'"):
        train(corpus, tmp_path / "run", "train.batchsize=3")
