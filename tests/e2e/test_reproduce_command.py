"""gpt1 reproduce: whole runs over invented data sets in the public forms, and what it refuses."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import tiny
from gpt1.checkpoint import folder
from gpt1.cli import progress
from gpt1.cli.reproduce import reproduce
from gpt1.errors import CheckpointError, ConfigError, CorruptError, DataError, HubError
from gpt1.model.build import build_model
from gpt1.reproduction import pretraining
from gpt1.text.tokenizer import Tokenizer
from gpt1.training import supervised

TEXTS = ["the dog sat.", "a cat ran and ran.", "is the dog a cat?", "it is.", "the end and the dog"]
QUICK = ("--set", "train.steps=1", "--set", "train.batch_size=4", "--limit-train", "8")
PNG = b"\x89PNG"

Run = Callable[..., tuple[Any, str, str]]


def write(path: Path, rows: list[list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), "utf-8")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CoLA, STS-B, MultiNLI and RACE, a few rows each, and two texts to pre-train on."""
    place = tmp_path_factory.mktemp("data")
    for name, count in (("in_domain_train", 9), ("in_domain_dev", 6), ("out_of_domain_dev", 4)):
        rows: list[list[object]] = [["x", i % 2, "", TEXTS[i % 5]] for i in range(count)]
        write(place / "cola" / f"{name}.tsv", rows)
    for split in ("train", "dev", "test"):
        rows = [["g", "f", 2020, i, i % 6, TEXTS[i % 5], TEXTS[-i % 5]] for i in range(10)]
        write(place / "stsb" / f"sts-{split}.csv", rows)
    names = ["entailment", "neutral", "contradiction"]
    for name, count in (("train", 12), ("dev_matched_1k", 7), ("dev_mismatched_1k", 5)):
        rows = [[names[i % 3], TEXTS[i % 5], TEXTS[-i % 5]] for i in range(count)]
        write(place / "mnli" / f"{name}.tsv", [["gold_label", "sentence1", "sentence2"], *rows])
    (place / "race").mkdir()
    passage = {
        "article": " ".join(TEXTS), "questions": ["is it?", "the cat is _ ."],
        "options": [TEXTS[:4], TEXTS[1:]], "answers": ["A", "C"],
    }  # fmt: skip
    for name in ("train_middle", "train_high", "dev_middle", "dev_high"):
        text = (json.dumps(passage) + "\n") * 2
        (place / "race" / f"{name}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    (place / "novels").mkdir()
    lines = [json.dumps({"text": " ".join(TEXTS * 60)}) for _ in range(3)]
    (place / "novels" / "train.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
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


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call the command; returns what it raised or its exit code, stdout and stderr."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(reproduce)
    monkeypatch.setenv("COLUMNS", "240")

    def call(*arguments: object) -> tuple[Any, str, str]:
        result = CliRunner().invoke(app, list(map(str, arguments)))
        failed = result.exception if not isinstance(result.exception, SystemExit) else None
        return failed or result.exit_code, result.stdout, result.stderr

    return call


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs that were trained, one after the other."""
    found: list[str] = []
    real = supervised.finetune

    def finetune(*arguments: Any, **options: Any) -> Any:
        found.append(options["out"].name)
        return real(*arguments, **options)

    monkeypatch.setattr(supervised, "finetune", finetune)
    return found


def test_table5_with_all_variants(
    run: Run, data: Path, models: dict[str, Path], tmp_path: Path, trained: list[str]
) -> None:
    """Figures, files, the same again without training, tables 2 to 4 of the same cells."""
    out = tmp_path / "out"
    options = ("--data", data, "--out", out, "--model", models["small"], *QUICK)
    command = ("table5", *options, "--lstm", models["lstm"], "--sets", "cola,mnli,rte")
    code, shown, err = run(*command)
    assert code == 0, err
    assert len(trained) == 2 * 4
    assert "RTE is not in the data folder; it is left out." in err
    assert "To do: 8 models to train, 0 are done" in err
    assert not list((out / "runs").iterdir())
    for part in ("full: ours (small, 0.0", "full: the paper (116.5 M)", "LSTM, auxiliary LM: ours"):
        assert part in shown
    assert f"{out}/table5.md\n{out}/table5.html\n{out}/table5.json\n" in err

    text = (out / "table5.md").read_text()
    assert "another model size" in text
    assert "8 of 392,702 rows, dev" in text
    assert "RTE is not in the data folder; it is left out." in text
    values = json.loads((out / "table5.json").read_text())
    whole = [f for f in values["figures"] if f["data"] in ("cola", "mnli")]
    assert len(whole) == 8
    assert {f["rows"] for f in whole if f["data"] == "mnli"} == {12}
    parts = {f["data"]: f["rows"] for f in values["figures"] if f["data"].startswith("mnli_")}
    assert parts == {"mnli_matched": 7, "mnli_mismatched": 5}
    assert len(values["differences"]) == 6

    page = (out / "table5.html").read_text()
    assert "<h1>Table 5 anew" in page
    assert "http://" not in page
    assert "https://" not in page

    trained.clear()
    before = {path: path.read_bytes() for path in out.glob("table5.*")}
    code, again, err = run(*command)
    assert code == 0
    assert again == shown
    assert not trained
    assert "To do" not in err
    assert {path: path.read_bytes() for path in out.glob("table5.*")} == before
    code, printed, _ = run(*command, "--json")
    assert json.loads(printed) == values

    code, shown, _ = run("tables2-4", *options, "--sets", "cola,mnli", "--json")
    assert code == 0
    assert not trained
    table2 = json.loads(shown)["tables"][0]
    ours = dict(zip(table2["head"], table2["rows"][-1], strict=True))
    matched = next(f for f in values["figures"] if f["data"] == "mnli_matched")["metrics"]
    assert ours["MNLI-m (acc; ours: 8 of 392,702 rows, dev)"].startswith(
        f"{100 * matched['accuracy']['value']:.1f} ("
    )
    assert table2["rows"][-2][1:] == ["82.1", "81.4", "89.9", "88.3", "88.1", "56.0"]


def test_a_run_that_was_cut_off_goes_on(
    run: Run,
    data: Path,
    models: dict[str, Path],
    tmp_path: Path,
    trained: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    command = ("table5", "--data", data, "--out", out, "--model", models["small"], *QUICK,
               "--sets", "cola", "--seeds", 2, "--variants", "full,no-aux")  # fmt: skip
    counted = supervised.finetune

    def killed(*arguments: Any, **options: Any) -> Any:
        if len(trained) == 1:
            raise KeyboardInterrupt
        return counted(*arguments, **options)

    monkeypatch.setattr(supervised, "finetune", killed)
    run(*command)
    assert trained == ["cola-full-seed-0"]
    assert not (out / "table5.md").exists()

    monkeypatch.setattr(supervised, "finetune", counted)
    _, shown, _ = run(*command, "--finished", "--json")
    lost, no_lstm = json.loads(shown)["lost"]
    assert lost == "3 of 4 models are not trained yet."
    assert "gpt1 pretrain SHARDS --size lstm-mini --out RUN" in no_lstm
    assert len(trained) == 1
    code, _, err = run(*command)
    assert code == 0
    assert "To do: 3 models to train, 1 are done" in err
    assert trained[1:] == [
        "cola-no-auxiliary-lm-seed-0", "cola-full-seed-1", "cola-no-auxiliary-lm-seed-1"
    ]  # fmt: skip
    assert "2 seeds" in (out / "table5.md").read_text()


def test_a_cell_that_fails_does_not_lose_the_others(
    run: Run,
    data: Path,
    models: dict[str, Path],
    tmp_path: Path,
    trained: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    counted = supervised.finetune

    def failing(*arguments: Any, **options: Any) -> Any:
        if "stsb-full" in options["out"].name:
            raise RuntimeError("out of memory")
        return counted(*arguments, **options)

    monkeypatch.setattr(supervised, "finetune", failing)
    broken = tmp_path / "data"
    shutil.copytree(data, broken)
    write(broken / "rte" / "train.tsv", [["what", "is", "this"], [1, 2, 3]])
    command = ("table5", "--data", broken, "--out", tmp_path / "out", "--model", models["small"],
               *QUICK, "--sets", "stsb,rte,cola", "--variants", "full,no-aux")  # fmt: skip
    code, _, err = run(*command)
    assert code == 1
    assert trained == [
        "stsb-no-auxiliary-lm-seed-0", "cola-full-seed-0", "cola-no-auxiliary-lm-seed-0"
    ]  # fmt: skip
    assert "failed: STSB, full, seed 0: RuntimeError: out of memory" in err
    assert "failed: RTE: " in err
    assert "no file of RTE" in err
    assert "training 4 of 4: CoLA, no auxiliary LM, seed 0, " in err
    values = json.loads((tmp_path / "out" / "table5.json").read_text())
    assert len(values["figures"]) == 3
    assert any("out of memory" in line for line in values["lost"])


def test_figure2_left(
    run: Run, data: Path, models: dict[str, Path], tmp_path: Path, trained: list[str]
) -> None:
    out = tmp_path / "out"
    options = ("--data", data, "--out", out, "--model", models["small"], *QUICK)
    code, _, err = run("figure2-left", *options, "--sets", "mnli")
    assert code == 0, err
    assert trained == [
        f"mnli-{cell}-seed-0"
        for cell in ("no-pre-training", "full-0-layers", "full-1-layers", "full")
    ]  # fmt: skip
    picture = out / "figure2-left.png"
    assert picture.read_bytes().startswith(PNG)
    assert str(picture) in err
    values = json.loads((out / "figure2-left.json").read_text())
    assert [point["blocks"] for point in values["points"]["mnli"]] == [-1, 0, 1, 2]
    assert {point["test_rows"] for point in values["points"]["mnli"]} == {12}
    assert [row[0] for row in values["tables"][0]["rows"]] == ["none", "0", "1", "2"]
    assert "data:image/png;base64," in (out / "figure2-left.html").read_text()
    assert "![figure2-left.png](figure2-left.png)" in (out / "figure2-left.md").read_text()


def test_figure2_right_of_a_run(
    run: Run, data: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, shown, err = run(
        "figure2-right", "--data", data, "--out", out, "--checkpoints", models["run"],
        "--sets", "cola,race,dpr", "--limit-test", 6,
    )  # fmt: skip
    assert code == 0, err
    assert "cola dev: 10 rows from 2 files: 6 used" in err
    assert "dpr is left out: " in shown
    assert (out / "figure2-right.png").read_bytes().startswith(PNG)
    values = json.loads((out / "figure2-right.json").read_text())
    assert [point["step"] for point in values["runs"]["run"]] == [1, 5]
    # of RACE a quarter
    assert [result["rows"] for result in values["runs"]["run"][0]["results"]] == [6, 1]


def test_figure2_right_pretrains_a_tiny_model(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretraining, "_VOCABULARY", 60)
    out = tmp_path / "out"
    command = ("figure2-right", "--data", data, "--out", out, "--sets", "race", "--texts", 2,
               "--set", "train.steps=4", "--set", "train.batch_size=2", "--set", "model.n_layer=1",
               "--set", "model.n_embd=16")  # fmt: skip
    code, _, err = run(*command)
    assert code == 0, err
    values = json.loads((out / "figure2-right.json").read_text())
    assert [point["step"] for point in values["runs"]["tiny"]] == [1, 2, 4]
    before = (out / "figure2-right.png").read_bytes()
    code, _, err = run(*command)
    assert code == 0, err
    assert (out / "figure2-right.png").read_bytes() == before
    assert "loss" not in err  # one display, not the pre-training's own beside it
    raised, *_ = run(*command[:7], "--texts", 1)
    assert isinstance(raised, ConfigError)
    assert "was made of other texts" in str(raised)


def test_what_is_refused(run: Run, data: Path, models: dict[str, Path], tmp_path: Path) -> None:
    small, out = models["small"], tmp_path / "out"
    for arguments, kind, message in [
        (("table5", "--sets", "glue"), ConfigError, "there is no data set 'glue'"),
        (("table5", "--variants", "full,half"), ConfigError, "there is no variant 'half'"),
        (("table5", "--variants", "lstm"), ConfigError, "give its folder with --lstm"),
        (("table5", "--lstm", small), ConfigError, "which is a Transformer"),
        (("table5", "--model", "nothing"), HubError, "there is no such folder"),
        (("table5", "--set", "train.stepz=1"), ConfigError, "train.stepz"),
        (("table5", "--data", tmp_path / "none"), DataError, "does not exist"),
        (("table5", "--sets", "rte,qqp"), DataError, "there is nothing to show"),
        (("table5", "--finished"), DataError, "holds no finished result"),
        (("figure2-left", "--variants", "full"), ConfigError, "--variants is for table5"),
        (("table5", "--checkpoints", small), ConfigError, "is for figure2-right"),
        (("figure2-left", "--texts", 8), ConfigError, "--texts is for figure2-right"),
        (("figure2-right", "--sets", "rte"), ConfigError, "there are cola"),
        (("figure2-right", "--checkpoints", tmp_path), CheckpointError, "neither snapshots"),
        (("figure2-right", "--sets", "dpr"), DataError, "nothing to measure on"),
        (("figure2-right", "--model", "mini"), ConfigError, "--model is for what is fine-tuned"),
        (("figure2-right", "--seeds", 1), ConfigError, "--seeds is for what is fine-tuned"),
        (("figure2-right", "--limit-train", 5), ConfigError, "--limit-train is for"),
        (("figure2-right", "--finished"), ConfigError, "--finished is for"),
        (("figure2-right", "--checkpoints", small, "--texts", 2), ConfigError, "--texts is for a"),
    ]:
        model = () if arguments[0] == "figure2-right" else ("--model", small)
        raised, shown, _ = run("--data", data, "--out", out, *model, *arguments)
        assert isinstance(raised, kind), (arguments, raised)
        assert message in str(raised), (arguments, raised)
        assert not shown
        assert not out.exists()
    assert run("table6", "--data", data, "--out", out)[0] == 2


def test_results_of_another_model_or_other_data(
    run: Run, data: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    out, other = tmp_path / "out", tmp_path / "data"
    shutil.copytree(data / "cola", other / "cola")
    command = ("table5", "--data", other, "--out", out, "--sets", "cola", "--variants", "full",
               *QUICK)  # fmt: skip
    assert run(*command, "--model", models["small"])[0] == 0
    known = json.loads((out / "table5.json").read_text())["figures"][0]["leakage"]
    assert known == {"exact": 10, "overlapping": 0, "rows": 10}  # the five texts again

    code, *_ = run(*command, "--model", models["small"], "--finished")
    assert code == 0
    raised, *_ = run(*command, "--model", "mini", "--finished")
    assert isinstance(raised, DataError)
    assert "1 finished result" in str(raised)
    assert "made with another model (small) than mini" in str(raised)

    rows: list[list[object]] = [["x", i % 2, "", f"it is {i}"] for i in range(9)]
    write(other / "cola" / "in_domain_train.tsv", rows)
    raised, *_ = run(*command, "--model", models["small"])
    assert isinstance(raised, ConfigError)
    assert "holds a result of other settings ({'rows': " in str(raised)
    cell = out / "cells" / "cola-full-seed-0"
    older = json.loads((cell / "result.json").read_text())
    del older["settings"]["rows"], older["settings"]["config"], older["leakage"]
    (cell / "manifest.json").unlink()
    (cell / "result.json").write_text(json.dumps(older))
    assert run(*command, "--model", models["small"])[0] == 0  # it does not say


def test_damaged_and_other_results(
    run: Run, data: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ("table5", "--data", data, "--out", out, "--sets", "cola", "--variants", "full",
               *QUICK)  # fmt: skip
    assert run(*command, "--model", models["small"])[0] == 0
    raised, *_ = run(*command, "--model", models["small"], "--limit-test", 3)
    assert isinstance(raised, ConfigError)
    assert "holds a result of other settings" in str(raised)
    shutil.copytree(models["run"] / "snapshots" / "step-00000005", tmp_path / "small")
    raised, *_ = run(*command, "--model", tmp_path / "small")  # its name is the same
    assert "holds a result of other settings" in str(raised)

    cell = out / "cells" / "cola-full-seed-0"
    whole = (cell / "result.json").read_bytes()
    (cell / "result.json").write_bytes(whole[:200])
    raised, *_ = run(*command, "--model", models["small"])
    assert isinstance(raised, CorruptError)
    assert "is not what was written" in str(raised)
    (cell / "manifest.json").unlink()
    for damage in (b"{}", b"[]", b'{"cell": {"data": "cola"}}', whole.replace(b'"gold"', b'"old"')):
        (cell / "result.json").write_bytes(damage)
        for more in ((), ("--finished",)):
            raised, *_ = run(*command, "--model", models["small"], *more)
            assert isinstance(raised, CheckpointError), (damage, raised)
            assert "result.json is damaged" in str(raised)
            assert "Remove that folder" in str(raised)
