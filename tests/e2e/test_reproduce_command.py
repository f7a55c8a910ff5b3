"""gpt1 reproduce: whole runs over invented data sets in the public forms, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import tiny
from commands import Completed, run_gpt1
from gpt1.checkpoint import folder
from gpt1.cli import progress
from gpt1.errors import Interrupted
from gpt1.model.build import build_model
from gpt1.reproduction import pretraining
from gpt1.tasks import bootstrap
from gpt1.text.tokenizer import Tokenizer
from gpt1.training import supervised
from papersets import write_rows, write_sets

QUICK = ("--set", "train.steps=1", "--set", "train.batch_size=4", "--limit-train", "8")
PNG = b"\x89PNG"


@pytest.fixture(autouse=True)
def _quick(quick_runs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "SAMPLES", 200)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without the Winograd schemas."""
    place = write_sets(tmp_path_factory.mktemp("data"))
    shutil.rmtree(place / "winograd")
    return place


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A random Transformer of two blocks and a random LSTM, with a vocabulary."""
    place = tmp_path_factory.mktemp("models")
    tiny.write_vocabulary(place / "vocabulary")
    tokenizer = Tokenizer.load(place / "vocabulary")
    folder.save(place / "small", tiny.model(), tokenizer)
    folder.save(place / "lstm", build_model(tiny.config(n_layer=1, n_hidden=16)), tokenizer)
    for step in (1, 5):
        folder.save(place / "run" / "snapshots" / f"step-{step:08d}", tiny.model(step), tokenizer)
    return {name: place / name for name in ("small", "lstm", "run")}


def reproduce(*arguments: object) -> Completed:
    return run_gpt1("reproduce", *arguments)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs that were trained, one after the other; raises for those in `fails`."""
    names: list[str] = []
    monkeypatch.setattr(supervised, "finetune", _noting(names, {}))
    return names


def _noting(names: list[str], fails: dict[str, BaseException]) -> Any:
    real = supervised.finetune

    def finetune(*arguments: Any) -> Any:
        name = arguments[-1].out.name
        if name in fails:
            raise fails[name]
        names.append(name)
        return real(*arguments)

    return finetune


def test_table5_with_all_variants(
    data: Path, models: dict[str, Path], tmp_path: Path, trained: list[str]
) -> None:
    """Figures, files, the same again without training, tables 2 to 4 of the same results."""
    out = tmp_path / "out"
    options = ("--data", data, "--out", out, "--model", models["small"], *QUICK)
    command = ("table5", *options, "--lstm", models["lstm"], "--sets", "cola,mnli,rte")
    first = reproduce(*command).check()
    assert len(trained) == 2 * 4
    assert "RTE is not in the data folder; it is left out." in first.stderr
    assert "To do: 8 models to train; done: 0" in first.stderr
    assert not list((out / "runs").iterdir())
    for part in ("full: ours (small, 0.0", "full: the paper (116.5 M)", "LSTM, auxiliary LM: ours"):
        assert part in first.stdout
    assert f"{out}/table5.md\n{out}/table5.html\n{out}/table5.json\n" in first.stderr

    text = (out / "table5.md").read_text()
    assert "another model size" in text
    assert "8 of 392,702 rows, dev" in text
    assert "RTE is not in the data folder; it is left out." in text
    values = json.loads((out / "table5.json").read_text())
    whole = [f for f in values["figures"] if f["data"] in ("cola", "mnli")]
    assert len(whole) == 8
    assert whole[0]["parameters"] == tiny.model().num_parameters()
    assert {f["rows"] for f in whole if f["data"] == "mnli"} == {12}
    parts = {f["data"]: f["rows"] for f in values["figures"] if f["data"].startswith("mnli_")}
    assert parts == {"mnli_matched": 7, "mnli_mismatched": 5}
    assert {f["leakage"]["rows"] for f in values["figures"] if f["data"] == "cola"} == {10}
    assert len(values["differences"]) == 6
    page = (out / "table5.html").read_text()
    assert "<h1>Table 5 anew" in page
    assert "http://" not in page
    assert "https://" not in page

    trained.clear()
    before = {path: path.read_bytes() for path in out.glob("table5.*")}
    again = reproduce(*command).check()
    assert again.stdout == first.stdout
    assert "To do" not in again.stderr
    assert {path: path.read_bytes() for path in out.glob("table5.*")} == before
    assert json.loads(reproduce(*command, "--json").stdout) == values
    shown = reproduce("tables2-4", *options, "--sets", "cola,mnli", "--json").check().stdout
    assert not trained
    table2 = json.loads(shown)["tables"][0]
    ours = dict(zip(table2["head"], table2["rows"][-1], strict=True))
    matched = next(f for f in values["figures"] if f["data"] == "mnli_matched")["metrics"]
    assert ours["MNLI-m (acc; ours: 8 of 392,702 rows, dev)"].startswith(
        f"{100 * matched['accuracy']['value']:.1f} ("
    )
    assert table2["rows"][-2][1:] == ["82.1", "81.4", "89.9", "88.3", "88.1", "56.0"]


def test_a_run_that_was_cut_off_goes_on(
    data: Path, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    command = ("table5", "--data", data, "--out", out, "--model", models["small"], *QUICK,
               "--sets", "cola", "--seeds", 2, "--variants", "full,no-aux")  # fmt: skip
    trained: list[str] = []
    second = "cola-no-auxiliary-lm-seed-0"
    with monkeypatch.context() as patch:
        stopped = Interrupted("stopped", exit_code=130)
        patch.setattr(supervised, "finetune", _noting(trained, {second: stopped}))
        assert reproduce(*command).code == 130
    assert trained == ["cola-full-seed-0"]
    assert not (out / "table5.md").exists()

    monkeypatch.setattr(supervised, "finetune", _noting(trained, {}))
    skipped, no_lstm = json.loads(reproduce(*command, "--finished", "--json").stdout)["skipped"]
    assert skipped == "Not trained yet: 3 of 4 models."
    assert "gpt1 pretrain SHARDS --size lstm-mini --out RUN" in no_lstm
    assert len(trained) == 1
    assert "To do: 3 models to train; done: 1" in reproduce(*command).check().stderr
    assert trained[1:] == [second, "cola-full-seed-1", "cola-no-auxiliary-lm-seed-1"]
    assert "2 seeds" in (out / "table5.md").read_text()


def test_an_experiment_that_fails_does_not_lose_the_others(
    data: Path, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    trained: list[str] = []
    fails: dict[str, BaseException] = {"stsb-full-seed-0": RuntimeError("out of memory")}
    monkeypatch.setattr(supervised, "finetune", _noting(trained, fails))
    broken = tmp_path / "data"
    shutil.copytree(data, broken)
    write_rows(broken / "rte" / "train.tsv", [["what", "is", "this"], [1, 2, 3]])
    ended = reproduce(
        "table5", "--data", broken, "--out", tmp_path / "out", "--model", models["small"],
        *QUICK, "--sets", "stsb,rte,cola", "--variants", "full,no-aux",
    )  # fmt: skip
    assert ended.code == 1
    assert trained == [
        "stsb-no-auxiliary-lm-seed-0", "cola-full-seed-0", "cola-no-auxiliary-lm-seed-0"
    ]  # fmt: skip
    assert "failed: STSB, full, seed 0: RuntimeError: out of memory" in ended.stderr
    assert "failed: RTE: " in ended.stderr
    assert "no file of RTE" in ended.stderr
    assert "training 4 of 4: CoLA, no auxiliary LM, seed 0: " in ended.stderr
    values = json.loads((tmp_path / "out" / "table5.json").read_text())
    assert len(values["figures"]) == 3
    assert any("out of memory" in line for line in values["skipped"])


def test_figure2_left(
    data: Path, models: dict[str, Path], tmp_path: Path, trained: list[str]
) -> None:
    out = tmp_path / "out"
    options = ("--data", data, "--out", out, "--model", models["small"], *QUICK)
    ended = reproduce("figure2-left", *options, "--sets", "mnli").check()
    assert trained == [
        f"mnli-{name}-seed-0"
        for name in ("no-pre-training", "full-0-layers", "full-1-layers", "full")
    ]
    picture = out / "figure2-left.png"
    assert picture.read_bytes().startswith(PNG)
    assert str(picture) in ended.stderr
    values = json.loads((out / "figure2-left.json").read_text())
    assert [point["blocks"] for point in values["points"]["mnli"]] == [-1, 0, 1, 2]
    assert {point["rows"] for point in values["points"]["mnli"]} == {12}
    assert [row[0] for row in values["tables"][0]["rows"]] == ["none", "0", "1", "2"]
    assert "data:image/png;base64," in (out / "figure2-left.html").read_text()
    assert "![figure2-left.png](figure2-left.png)" in (out / "figure2-left.md").read_text()


def test_figure2_right_of_a_run(data: Path, models: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = reproduce(
        "figure2-right", "--data", data, "--out", out, "--checkpoints", models["run"],
        "--sets", "cola,race,dpr", "--limit-test", 6,
    ).check()  # fmt: skip
    assert "cola dev: 10 rows from 2 files: 6 used" in ended.stderr
    assert "dpr is left out: " in ended.stdout
    assert (out / "figure2-right.png").read_bytes().startswith(PNG)
    values = json.loads((out / "figure2-right.json").read_text())
    assert [point["step"] for point in values["runs"]["run"]] == [1, 5]
    # of RACE a quarter
    assert [result["rows"] for result in values["runs"]["run"][0]["results"]] == [6, 1]
    steps = [row[0] for row in values["tables"][0]["rows"]]
    assert steps == ["1", "5", "guessing"]


def test_figure2_right_pretrains_a_tiny_model(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretraining, "_VOCABULARY", 60)
    out = tmp_path / "out"
    command = ("figure2-right", "--data", data, "--out", out, "--sets", "race", "--texts", 2,
               "--set", "train.steps=4", "--set", "train.batch_size=2", "--set", "model.n_layer=1",
               "--set", "model.n_embd=16")  # fmt: skip
    reproduce(*command).check()
    values = json.loads((out / "figure2-right.json").read_text())
    assert [point["step"] for point in values["runs"]["tiny"]] == [1, 2, 4]
    before = (out / "figure2-right.png").read_bytes()
    again = reproduce(*command).check()
    assert (out / "figure2-right.png").read_bytes() == before
    assert "loss" not in again.stderr  # one display, not the pre-training's own beside it
    assert len(list((out / "runs").iterdir())) == 1
    reproduce(*command, "--texts", 1).check()  # other texts: another run
    assert len(list((out / "runs").iterdir())) == 2


def test_what_is_refused(data: Path, models: dict[str, Path], tmp_path: Path) -> None:
    small, out = models["small"], tmp_path / "out"
    for arguments, code, message in [
        (("table5", "--sets", "glue"), 2, "there is no data set 'glue'"),
        (("table5", "--variants", "full,half"), 2, "there is no variant 'half'"),
        (("table5", "--variants", "no-auxx"), 2, "Did you mean 'no-aux'?"),
        (("table5", "--variants", "lstm"), 2, "give its folder with --lstm"),
        (("table5", "--lstm", small), 2, "which is a Transformer"),
        (("table5", "--model", "nothing"), 1, "there is no such folder"),
        (("table5", "--set", "train.stepz=1"), 2, "train.stepz"),
        (("table5", "--data", tmp_path / "none"), 2, "does not exist"),
        (("table5", "--sets", "rte,qqp"), 2, "there is nothing to show"),
        (("table5", "--finished"), 2, "Not trained yet"),
        (("figure2-left", "--variants", "full"), 2, "--variants is for table5"),
        (("table5", "--checkpoints", small), 2, "is for figure2-right"),
        (("figure2-left", "--texts", 8), 2, "--texts is for figure2-right"),
        (("figure2-right", "--sets", "rte"), 2, "there are cola"),
        (("figure2-right", "--checkpoints", tmp_path), 1, "neither snapshots"),
        (("figure2-right", "--sets", "dpr"), 2, "nothing to measure on"),
        (("figure2-right", "--model", "mini"), 2, "--model is for table5, tables2-4, figure2-left"),
        (("figure2-right", "--seeds", 1), 2, "--seeds is for table5"),
        (("figure2-right", "--limit-train", 5), 2, "--limit-train is for"),
        (("figure2-right", "--finished"), 2, "--finished is for"),
        (("figure2-right", "--checkpoints", small, "--texts", 2), 2, "--texts is for a"),
    ]:
        model = () if arguments[0] == "figure2-right" else ("--model", small)
        ended = reproduce("--data", data, "--out", out, *model, *arguments)
        assert ended.code == code, (arguments, ended.stderr)
        assert message in ended.stderr, (arguments, ended.stderr)
        assert not ended.stdout
        assert not out.exists()
    assert reproduce("table6", "--data", data, "--out", out).code == 2


def test_results_of_another_model_and_damaged_ones(
    data: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ("table5", "--data", data, "--out", out, "--sets", "cola", "--variants", "full",
               *QUICK)  # fmt: skip
    small = (*command, "--model", models["small"])
    reproduce(*small).check()
    reproduce(*small, "--finished").check()
    page = out / "table5.md"
    page.write_bytes(b"mine")
    refused = reproduce(*small, "--finished")
    assert (refused.code, f"{page} is not as gpt1 wrote it" in refused.stderr) == (1, True)
    assert page.read_bytes() == b"mine"
    page.unlink()
    refused = reproduce(*command, "--model", "mini", "--finished")
    assert "1 finished result(s) of" in refused.stderr
    assert "made with another model (small) than mini" in refused.stderr
    shutil.copytree(models["run"] / "snapshots" / "step-00000005", tmp_path / "small")
    for other in ((*small, "--limit-test", 3), (*command, "--model", tmp_path / "small")):
        refused = reproduce(*other)  # the second has the same name, and other weights
        assert refused.code == 2
        assert "holds a result of other settings" in refused.stderr

    folder = out / "experiments" / "cola-full-seed-0"
    whole = (folder / "result.json").read_bytes()
    (folder / "result.json").write_bytes(whole[:200])
    refused = reproduce(*small)
    assert refused.code == 1
    assert "is not what was written" in refused.stderr
    (folder / "manifest.json").unlink()
    for damage in (b"{}", b"[]", b'{"data": {"a": "b"}}', whole.replace(b'"gold"', b'"old"')):
        (folder / "result.json").write_bytes(damage)
        for more in ((), ("--finished",)):
            refused = reproduce(*small, *more)
            assert refused.code == 1, damage
            assert "result.json is damaged" in refused.stderr
            assert "Remove that folder" in refused.stderr
