"""The grid over invented files: which rows are of which part, how much there is to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tiny
from gpt1.checkpoint import folder
from gpt1.errors import DataError, Interrupted
from gpt1.reproduction import grid as grid_module
from gpt1.reproduction import plan as planning
from gpt1.reproduction.grid import Budget, Cell, Grid, Result
from gpt1.reproduction.paper import FULL, NO_AUX
from gpt1.reproduction.plan import Plan, Work, carry_out, plan
from gpt1.text.tokenizer import Tokenizer

NAMES = ["entailment", "neutral", "contradiction"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """MultiNLI, of which each text says where it is from."""
    place = tmp_path / "data" / "mnli"
    place.mkdir(parents=True)
    for name, count in (("train", 40), ("dev_matched", 15), ("dev_mismatched", 10)):
        rows = [f"{NAMES[i % 3]}\tthe dog {name} is {i}\tit is" for i in range(count)]
        # a row that is not used must not move the others
        rows.insert(3, "-\tthe dog\tit is")
        text = "\n".join(["gold_label\tsentence1\tsentence2", *rows]) + "\n"
        (place / f"{name}.tsv").write_text(text)
    return tmp_path / "data"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    tiny.write_vocabulary(tmp_path / "vocabulary")
    tokenizer = Tokenizer.load(tmp_path / "vocabulary")
    folder.save(tmp_path / "small", tiny.model(), tokenizer)
    return tmp_path / "small"


@pytest.mark.parametrize("limit", [None, 8, 20, 100])
def test_the_parts_of_a_split(data: Path, small: Path, tmp_path: Path, limit: int | None) -> None:
    grid = Grid(tmp_path / "out", data, model=str(small), budget=Budget(test=limit))
    _, test = grid.rows("mnli")
    parts = grid.parts("mnli", test.split)
    assert sorted(parts["matched"] + parts["mismatched"]) == list(range(len(test.examples)))
    for name, rows in parts.items():
        assert rows
        assert all(f" dev_{name} " in test.examples[row].texts[0] for row in rows)
    assert grid.parts("cola", "dev") == {}
    assert grid.parts("mnli", "train") == {}


def test_a_plan_says_what_is_to_be_done(data: Path, small: Path, tmp_path: Path) -> None:
    grid = Grid(tmp_path / "out", data, model=str(small), budget=Budget(10, 6, ("train.steps=4",)))
    cells = [Cell("mnli"), Cell("mnli", NO_AUX), Cell("mnli"), Cell("rte")]
    found = plan(grid, cells)
    [work] = found.works
    assert (work.data, work.train_rows, work.test_rows, work.split) == ("mnli", 10, 6, "dev")
    assert list(work.tokens) == [Cell("mnli"), Cell("mnli", NO_AUX)]
    assert found.lost == ("RTE is not in the data folder; it is left out.",)
    assert found.seconds == pytest.approx(sum(work.seconds.values()))
    assert found.seconds > 0
    table = found.table()
    assert table.title == "To do: 2 models to train, 0 are done"
    assert table.rows[0][:4] == ("MNLI", "10", "6 of dev", "2")
    assert table.rows[-1][4] == f"{sum(work.tokens.values()):,}"


def test_dev_rows_only_where_there_is_no_labelled_test(small: Path, tmp_path: Path) -> None:
    place = tmp_path / "data" / "sst2"
    place.mkdir(parents=True)
    for name in ("train", "dev"):
        text = "".join(f"the dog {name} {i}\t{i % 2}\n" for i in range(6))
        (place / f"{name}.tsv").write_text(f"sentence\tlabel\n{text}")

    def split() -> str:
        grid = Grid(tmp_path / "out", tmp_path / "data", model=str(small))
        return grid.rows("sst2")[1].split

    assert split() == "dev"
    (place / "test.tsv").write_text("sentence\nthe dog\n")
    assert split() == "dev"
    (place / "test.tsv").write_text("sentence\tlabel\nthe dog\t1\n")
    assert split() == "test"
    (place / "test.tsv").write_text("sentence\tlabel\nthe dog\tgood\nit is\tbad\n")
    with pytest.raises(DataError, match="wrong label"):
        split()
    found = plan(Grid(tmp_path / "out", tmp_path / "data", model=str(small)), [Cell("sst2")])
    assert not found.works
    assert "wrong label" in found.failed[0]


def test_the_settings_of_a_result(data: Path, small: Path, tmp_path: Path) -> None:
    """Other rows and other settings are told apart; where it runs and what it writes is not."""

    def settings(*overrides: str) -> dict[str, Any]:
        grid = Grid(tmp_path / "out", data, model=str(small), budget=Budget(10, 6))
        found = grid._settings(Cell("mnli"), rows=True)
        if overrides:
            grid.budget = Budget(10, 6, overrides)
            found |= {"config": grid._settings(Cell("mnli"), rows=False)["config"]}
        return found

    first = settings()
    others = grid_module._others
    assert others(first, settings()) == []
    assert others(first, settings("train.device=cpu", "train.log_every=3")) == []
    assert others(first, settings("optimizer.lr=1e-3")) == ["config.optimizer.lr"]
    older = {name: value for name, value in first.items() if name not in ("rows", "config")}
    assert others(older, settings("optimizer.lr=1e-3")) == []
    train = data / "mnli" / "train.tsv"
    train.write_text(train.read_text().replace("the dog train", "the cat train"))
    assert others(first, settings()) == ["rows"]
    train.unlink()
    assert others(first, settings()) == []  # nothing to compare with


def test_tokens_are_about_those_of_the_encoded_rows(
    data_folder: Path, release_vocabulary: Path, small: Path, tmp_path: Path
) -> None:
    """Within a third, on real text with the release's vocabulary."""
    tokenizer = Tokenizer.load(release_vocabulary)
    grid = Grid(tmp_path / "out", data_folder, model=str(small), budget=Budget(40, 40))
    for name in ("rte", "stsb"):
        train, _ = grid.rows(name)
        count = sum(
            len(tokenizer.encode(text)) for example in train.examples for text in example.texts
        ) + len(train.examples) * (len(train.examples[0].texts) + 1)
        ours = grid_module._TOKENS_A_WORD * grid_module._words(train.examples, train.task, 1000)
        assert ours / train.task.sequences == pytest.approx(count, rel=0.34), name


class _Grid:
    """A grid whose cells take no time; `failing` raise."""

    def __init__(self, out: Path, failing: tuple[str, ...] = ()) -> None:
        self.out, self.failing, self.ran = out, failing, []

    def config(self, cell: Cell) -> Any:
        class Train:
            steps, epochs, batch_size = None, 3, 32

        class Config:
            train = Train

        return Config

    def result(self, cell: Cell) -> Any:
        return "read" if cell.seed == 9 else None

    def run(self, cell: Cell) -> Result:
        self.ran.append(cell.seed)
        if cell.variant in self.failing:
            raise RuntimeError("no memory")
        return f"ran {cell.seed}"  # type: ignore[return-value]


def test_all_cells_in_their_order_and_their_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "_LOOK", 0.01)
    cells = (Cell("cola", FULL, 9), *(Cell("cola", FULL, seed) for seed in (1, 2)))
    bad = Cell("cola", NO_AUX, 3)
    todo = [*cells[1:], bad]
    work = Work("cola", 64, 10, "dev", dict.fromkeys(todo, 10), dict.fromkeys(todo, 2.0))
    grid: Any = _Grid(tmp_path, (NO_AUX,))
    said: list[tuple[str, str, int, int | None]] = []
    made = carry_out(
        grid, Plan((*cells, bad), (work,), 1, failed=("RTE: bad",)),
        lambda *what: said.append(what),
    )  # fmt: skip
    assert made.results == ["read", "ran 1", "ran 2"]
    assert grid.ran == [1, 2, 3]
    assert made.failed == ["RTE: bad", "CoLA, no auxiliary LM, seed 3: RuntimeError: no memory"]
    assert [line[0] for line in said][:1] == ["training 1 of 3"]
    assert said[-1][0] == "training 3 of 3"
    assert said[-1][2:] == (4000, 6000)
    assert said[0][1] == "CoLA, full, seed 1, 6 s left"


def test_how_far_a_cell_is_comes_from_its_log(tmp_path: Path) -> None:
    grid: Any = _Grid(tmp_path)
    cell = Cell("cola")
    share = planning._share(grid, cell, 64)  # 6 updates
    assert share() == 0.0
    log = tmp_path / "runs" / cell.name / "metrics.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text("{}\n" * 3)
    assert share() == 0.5
    log.write_text("{}\n" * 60)
    assert share() == 1.0


def test_being_asked_to_stop_ends_it_and_says_how_to_go_on(tmp_path: Path) -> None:
    def stop(cell: Cell) -> Result:
        raise Interrupted("--resume", exit_code=130)

    grid: Any = _Grid(tmp_path)
    grid.run = stop
    work = Work("cola", 64, 10, "dev", {Cell("cola"): 1}, {Cell("cola"): 2.0})
    with pytest.raises(Interrupted, match="the same command goes on") as stopped:
        carry_out(grid, Plan((Cell("cola"),), (work,), 0))
    assert stopped.value.exit_code == 130
