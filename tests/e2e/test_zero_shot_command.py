"""gpt1 zero-shot: the table, the curves of a run's snapshots, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from pathlib import Path

import pytest

import gpt1
import tiny
from commands import Completed, run_gpt1
from gpt1.checkpoint import folder
from gpt1.cli import progress
from gpt1.errors import DataError
from gpt1.evaluation.zero_shot_curves import Point, draw_curves, measure_run, models_of_run
from gpt1.evaluation.zero_shot_sets import SETTINGS, load_sets, measure
from gpt1.model.build import build_model
from gpt1.text.tokenizer import Tokenizer
from papersets import write_sets

NAMES = list(SETTINGS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sets(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Tokenizer) -> tuple[Path, Path]:
    """A Transformer's run with snapshots, and an LSTM's with checkpoints and a model."""
    place = tmp_path_factory.mktemp("runs")
    one, two = place / "transformer", place / "lstm"
    for step in (100, 3, 20):
        folder.save(one / "snapshots" / f"step-{step:08d}", tiny.model(step), tiny_tokenizer)
    (one / "checkpoints" / "step-00000099").mkdir(parents=True)  # not read: there are snapshots
    shape = tiny.config(n_layer=1, n_hidden=16)
    lstm = build_model(shape).eval()
    folder.save(two / "checkpoints" / "step-00000010", lstm, tiny_tokenizer)
    folder.save(two / "model", lstm, tiny_tokenizer, {"training": {"steps": 40}})
    return one, two


def zero_shot(*arguments: object) -> Completed:
    return run_gpt1("zero-shot", *arguments)


def rows(text: str) -> list[list[str]]:
    """Return the cells of the tables in a command's output, where three blanks part columns."""
    lines = [re.split(r" {3,}", line.rstrip()) for line in text.splitlines()]
    return [cells for cells in lines if len(cells) > 1]


def test_a_table_of_all_sets(data: Path, runs: tuple[Path, Path]) -> None:
    model = runs[0] / "snapshots" / "step-00000003"
    ended = zero_shot("--model", model, "--data", data).check()
    out, err = ended.stdout, ended.stderr
    head, *lines = rows(out)
    assert head == ["", "metric", "value", "95% interval", "guessing", "relative", "rows", "split"]
    assert [line[0] for line in lines] == NAMES
    assert [line[1] for line in lines] == ["Matthews", *["accuracy"] * 4]
    assert [line[4] for line in lines] == ["0.0", "50.0", "25.0", "50.0", "50.0"]
    assert [line[6] for line in lines] == ["10", "5", "8", "3", "3"]
    assert [line[7] for line in lines] == ["dev", "dev", "dev", "train", "test"]
    assert "cola dev: 10 rows from 2 files: 10 used" in err
    assert "cola train: 9 rows from 1 file: 9 used" in err


@pytest.mark.parametrize("kind", [0, 1])
def test_the_json_is_what_measure_gives(kind: int, data: Path, runs: tuple[Path, Path]) -> None:
    """Of a Transformer, and of an LSTM, which has no cache."""
    place = models_of_run(runs[kind])[100 if kind == 0 else 40]
    command = ("--model", place, "--data", data, "--sets", "race, cola,race", "--json")
    out = zero_shot(*command).check().stdout
    gpt = gpt1.load(place)
    found = measure(gpt.model, gpt.tokenizer, load_sets(data, ["race", "cola"]))
    assert json.loads(out) == [vars(result) for result in found]
    assert [result.data for result in found] == ["race", "cola"]


def test_another_split_is_measured_and_named(data: Path, runs: tuple[Path, Path]) -> None:
    command = ("--model", runs[1] / "model", "--data", data, "--split", "test")
    out = zero_shot(*command, "--sets", "sst2,dpr,wsc273", "--json").check().stdout
    assert [(r["data"], r["rows"], r["split"]) for r in json.loads(out)] == [
        ("sst2", 1, "test"), ("dpr", 2, "test"), ("wsc273", 3, "test"),
    ]  # fmt: skip
    [schema, _] = load_sets(data, ["dpr"], split="test")["dpr"].rows
    assert schema.label == 1
    tuned = load_sets(data, ["cola"], split="train")["cola"]
    assert (tuned.split, len(tuned.rows), len(tuned.tuning)) == ("train", 9, 9)
    assert zero_shot(*command, "--sets", "cola").code == 2
    refused = zero_shot(*command[:-1], "dev", "--sets", "dpr")
    assert refused.code == 2
    assert "no split 'dev'" in refused.stderr


def test_labels_that_are_kept_back_are_refused(tmp_path: Path) -> None:
    (tmp_path / "test.tsv").write_text("sentence\nthe dog sat .\n")
    with pytest.raises(DataError, match="split test of sst2 has no labels"):
        load_sets(tmp_path, ["sst2"], split="test")


def test_mini_and_the_runs_own_folder_without_a_word(
    data: Path, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    out = zero_shot("--data", data, "--sets", "sst2").check().stdout
    assert "Zero-shot: mini" in out
    copy = tmp_path / "run"
    shutil.copytree(runs[1], copy)
    err = zero_shot("--data", data, "--sets", "sst2", "--checkpoints", copy).check().stderr
    assert (copy / "zero-shot.png").is_file()
    assert (copy / "zero-shot.json").is_file()
    assert "zero-shot.png" in err


def test_curves_of_two_runs(
    data: Path, runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    picture = tmp_path / "new" / "figure.png"
    both = ("--checkpoints", runs[0], "--checkpoints", runs[1])
    ended = zero_shot(*both, "--data", data, "--out", picture).check()
    out, err = ended.stdout, ended.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    numbers = json.loads(picture.with_suffix(".json").read_text())
    assert list(numbers["settings"]) == NAMES
    steps = {name: [point["step"] for point in points] for name, points in numbers["runs"].items()}
    assert steps == {"transformer": [3, 20, 100], "lstm": [10, 40]}
    for points in numbers["runs"].values():
        for point in points:
            assert [result["data"] for result in point["results"]] == NAMES
    shown = rows(out)
    columns = ["cola dev", "sst2 dev", "race dev", "dpr train", "wsc273 test"]
    heads = [number for number, row in enumerate(shown) if row == ["updates", *columns]]
    assert heads == [0, 4, 8, 11]  # values and relative scores of both runs
    assert [row[0] for row in shown[1:4]] == ["3", "20", "100"]
    assert [row[0] for row in shown[9:11]] == ["10", "40"]
    first = numbers["runs"]["transformer"][0]["results"]
    assert shown[1][1:] == [f"{100 * result['value']:.1f}" for result in first]
    assert shown[5][1:] == [f"{result['normalised']:.2f}" for result in first]
    assert "measuring lstm: 76 of 76 rows" in err
    assert f"wrote {picture} and {picture.with_suffix('.json')}" in err


def test_the_same_curves_of_a_few_rows_again(
    data: Path, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    shown = []
    for name in ("a", "b"):
        command = ("--checkpoints", runs[1], "--data", data, "--out", tmp_path / f"{name}.png")
        shown.append(zero_shot(*command, "--limit", 2, "--json").check().stdout)
    assert shown[0] == shown[1] == (tmp_path / "a.json").read_text()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    refused = zero_shot(*command, "--limit", 1)
    assert (refused.code, "b.png, which exists" in refused.stderr) == (2, True)
    (tmp_path / "b.png").unlink()
    assert "b.json, which exists" in zero_shot(*command, "--limit", 1).stderr
    assert (tmp_path / "b.json").read_text() == shown[0]
    zero_shot(*command, "--limit", 1, "--force").check()
    last = json.loads(shown[0])["runs"]["lstm"][-1]
    assert [result["rows"] for result in last["results"]] == [2] * 5


def test_runs_of_the_same_name(data: Path, runs: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(runs[1], tmp_path / "x" / "_run")
    shutil.copytree(runs[1], tmp_path / "y" / "_run")
    both = ["--checkpoints", tmp_path / "x" / "_run", "--checkpoints", tmp_path / "y" / "_run"]
    with warnings.catch_warnings(action="error"):  # a label that begins with _ is not drawn
        options = ("--data", data, "--out", tmp_path / "f.png", "--sets", "dpr")
        out = zero_shot(*both, *options).check().stdout
    assert "Zero-shot, x/_run: values" in out
    assert "Zero-shot, y/_run: values" in out
    assert list(json.loads((tmp_path / "f.json").read_text())["runs"]) == ["x/_run", "y/_run"]


def test_a_picture_of_a_model_before_its_first_update(data: Path, runs: tuple[Path, Path]) -> None:
    points = measure_run(runs[1], load_sets(data, ["sst2"]))
    moved = [Point(step, point.results) for step, point in zip((0, 50), points, strict=True)]
    assert len(draw_curves({"run": moved})) > 1000


def test_what_is_refused(
    data: Path, runs: tuple[Path, Path], tmp_path: Path, tiny_tokenizer: Tokenizer
) -> None:
    _, two = runs
    picture = tmp_path / "f.png"
    for arguments, code, message in [
        (("--model", two, "--checkpoints", two, "--out", picture), 2, "give --model M"),
        (("--model", two, "--out", picture), 2, "--out is for the picture"),
        (("--checkpoints", two, "--checkpoints", two), 2, "of several runs"),
        (("--checkpoints", two, "--out", tmp_path / "f.jpg"), 2, "must end in .png"),
        (("--model", two, "--sets", "cola,rte"), 2, "'cola', 'rte'; there are cola"),
        (("--model", two, "--sets", "racee"), 2, "Did you mean 'race'?"),
        (("--model", two, "--sets", ","), 2, "the data sets are none"),
        (("--checkpoints", tmp_path, "--out", picture), 1, "neither snapshots"),
        (("--model", two, "--data", tmp_path / "nowhere"), 2, "nowhere"),
    ]:
        ended = zero_shot("--data", data, *arguments)
        assert ended.code == code, (arguments, ended.stderr)
        assert message in ended.stderr
        assert not ended.stdout
    assert zero_shot("--model", two).code == 2  # --data is missing
    folder.save(tmp_path / "run" / "snapshots" / "step-00000001", tiny.model(), None)
    ended = zero_shot("--checkpoints", tmp_path / "run", "--data", data, "--out", picture)
    assert ended.code == 1
    assert "has no vocabulary" in ended.stderr
    assert not picture.exists()


def test_real_schemas_are_cut_where_the_pronoun_is(
    data_folder: Path, release_vocabulary: Path
) -> None:
    """Before and after are tokenized apart; together they are the sentence's tokens."""
    tokenizer = Tokenizer.load(release_vocabulary)
    assert [tokenizer.encode(word) for word in (" very", "negative", "positive")] == [
        [963], [9503], [6353],
    ]  # fmt: skip
    sets = load_sets(data_folder, ["dpr", "wsc273"])
    for questions in sets.values():
        for one in questions.rows:
            for option in one.options:
                before = one.text[: one.start] + option
                after = one.text[one.start + len(one.pronoun) :]
                parts = tokenizer.encode(before) + tokenizer.encode(after)
                assert tokenizer.encode(before + after) == parts
