"""A sweep over invented files: which rows are of which part, how much there is to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tiny
from gpt1.callbacks import ProgressCallback
from gpt1.checkpoint import folder
from gpt1.errors import ConfigError, DataError, Interrupted
from gpt1.reproduction.paper import FULL, NO_AUX
from gpt1.reproduction.plan import Display, Plan, execute, make_plan
from gpt1.reproduction.results import Experiment
from gpt1.reproduction.sweep import Sweep
from gpt1.tasks.collate import encode
from gpt1.tasks.spec import SPECIAL
from gpt1.text.tokenizer import Tokenizer

NAMES = ["entailment", "neutral", "contradiction"]
HEAD = "gold_label\tsentence1\tsentence2"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """MultiNLI, of which each text says where it is from."""
    place = tmp_path / "data" / "mnli"
    place.mkdir(parents=True)
    for name, count in (("train", 40), ("dev_matched", 15), ("dev_mismatched", 10)):
        rows = [f"{NAMES[i % 3]}\tthe dog {name} is {i}\tit is" for i in range(count)]
        # a row that is not used must not move the others
        rows.insert(3, "-\tthe dog\tit is")
        (place / f"{name}.tsv").write_text("\n".join([HEAD, *rows]) + "\n")
    return tmp_path / "data"


@pytest.fixture
def small(tmp_path: Path) -> str:
    tiny.write_vocabulary(tmp_path / "vocabulary")
    tokenizer = Tokenizer.load(tmp_path / "vocabulary")
    folder.save(tmp_path / "small", tiny.model(), tokenizer)
    return str(tmp_path / "small")


@pytest.mark.parametrize("limit", [None, 8, 20, 100])
def test_the_parts_of_a_split(data: Path, small: str, tmp_path: Path, limit: int | None) -> None:
    sweep = Sweep(tmp_path / "out", data, small, test=limit)
    test = sweep.rows("mnli").test
    parts = sweep.parts("mnli", test.split)
    assert sorted(parts["matched"] + parts["mismatched"]) == list(range(len(test.examples)))
    for name, rows in parts.items():
        assert rows
        assert all(f" dev_{name} " in test.examples[row].texts[0] for row in rows)
    assert sweep.parts("cola", "dev") == {}
    assert sweep.parts("mnli", "train") == {}


def test_a_plan_says_what_is_to_be_done(data: Path, small: str, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "out", data, small, None, 10, 6, ("train.steps=4",))
    pair = [Experiment("mnli"), Experiment("mnli", NO_AUX)]
    plan = make_plan(sweep, [*pair, pair[0], Experiment("rte")], Display())
    assert list(plan.tokens) == pair
    assert plan.skipped == ["RTE is not in the data folder; it is left out."]
    assert str(plan).startswith("To do: 2 models to train; done: 0\n")
    [row, whole] = plan.rows
    assert row[:4] == ("MNLI", "10", "6 of dev", "2")
    assert row[4] == whole[4] == f"{sum(plan.tokens.values()):,}"

    split = sweep.rows("mnli")
    tokenizer = Tokenizer.load(Path(small))
    tokenizer.add_tokens(SPECIAL)
    lengths = [
        encode(rows.examples, split.task, tokenizer, 32).lengths.sum()
        for rows in (split.train, split.test)
    ]
    # 4 batches of 32, and twice 6 rows that are only measured, at a third
    expected = (4 * 32 + 2) * lengths[0] / 10 + 2 * lengths[1] / 6
    assert plan.tokens[pair[0]] == pytest.approx(expected, rel=0.01)


def test_dev_rows_only_where_there_is_no_labelled_test(small: str, tmp_path: Path) -> None:
    place = tmp_path / "data" / "sst2"
    place.mkdir(parents=True)
    for name in ("train", "dev"):
        text = "".join(f"the dog {name} {i}\t{i % 2}\n" for i in range(6))
        (place / f"{name}.tsv").write_text(f"sentence\tlabel\n{text}")

    def split(test: str = "") -> str:
        if test:
            (place / "test.tsv").write_text(test)
        return Sweep(tmp_path / "out", tmp_path / "data", small).rows("sst2").test.split

    assert split() == "dev"
    assert split("sentence\nthe dog\n") == "dev"
    assert split("sentence\tlabel\nthe dog\t1\n") == "test"
    with pytest.raises(DataError, match="wrong label"):
        split("sentence\tlabel\nthe dog\tgood\nit is\tbad\n")
    sweep = Sweep(tmp_path / "out", tmp_path / "data", small)
    plan = make_plan(sweep, [Experiment("sst2")], Display())
    assert not plan.tokens
    assert "wrong label" in plan.failed[0]


def test_the_settings_of_a_result(data: Path, small: str, tmp_path: Path) -> None:
    """Other rows and other settings are told apart; where it runs and what it writes is not."""
    experiment = Experiment("mnli")

    def run(*overrides: str) -> None:
        settings = ("train.steps=1", *overrides)
        sweep = Sweep(tmp_path / "out", data, small, None, 10, 6, settings)
        assert (sweep.result(experiment) or sweep.run(experiment)).train_rows == 10

    run()
    run("train.device=cpu", "train.log_every=3")
    with pytest.raises(ConfigError, match=r"other settings.*optimizer\.lr"):
        run("optimizer.lr=1e-3")
    train = data / "mnli" / "train.tsv"
    train.write_text(train.read_text().replace("the dog train", "the cat train"))
    with pytest.raises(ConfigError, match=r"other settings \(\{'rows': "):
        run()
    train.unlink()
    run()  # nothing to compare with


class _Sweep:
    """A sweep whose experiments take no time; those without the auxiliary LM fail."""

    def __init__(self, out: Path, stop: bool = False) -> None:
        self.out, self.stop, self.ran, self.tidied = out, stop, list[int](), list[int]()

    def run(self, experiment: Experiment, progress: ProgressCallback) -> str:
        self.ran.append(experiment.seed)
        progress(1, 2)
        if self.stop:
            raise Interrupted("--resume", exit_code=130)
        if experiment.variant == NO_AUX:
            raise RuntimeError("no memory")
        return f"ran {experiment.seed}"

    def tidy(self, experiment: Experiment) -> None:
        self.tidied.append(experiment.seed)


def test_all_experiments_in_their_order_and_their_errors(tmp_path: Path) -> None:
    finished = Experiment("cola", FULL, 9)
    missing = [Experiment("cola", FULL, 1), Experiment("cola", FULL, 2), Experiment("cola", NO_AUX)]
    sweep: Any = _Sweep(tmp_path)
    said: list[str] = []
    progress: list[tuple[int, int]] = []
    display = Display(
        lambda text, unit: said.append(f"{text} ({unit})"), lambda *now: progress.append(now)
    )
    known: Any = {finished: "read"}
    tokens = dict.fromkeys(missing, 10)
    plan = Plan((finished, *missing), known, tokens, failed=["RTE: bad"])
    results, failed = execute(sweep, plan, display)
    assert results == ["read", "ran 1", "ran 2"]
    assert (sweep.ran, sweep.tidied) == ([1, 2, 0], [9])
    assert failed == ["RTE: bad", "CoLA, no auxiliary LM, seed 0: RuntimeError: no memory"]
    assert said == [
        "training 1 of 3: CoLA, full, seed 1 (tokens)",
        "training 2 of 3: CoLA, full, seed 2 (tokens)",
        "training 3 of 3: CoLA, no auxiliary LM, seed 0 (tokens)",
    ]
    assert progress == [(0, 30), (5, 30), (10, 30), (15, 30), (20, 30), (25, 30)]


def test_being_asked_to_stop_ends_it_and_says_how_to_go_on(tmp_path: Path) -> None:
    sweep: Any = _Sweep(tmp_path, stop=True)
    experiment = Experiment("cola")
    with pytest.raises(Interrupted, match="the same command goes on") as stopped:
        execute(sweep, Plan((experiment,), tokens={experiment: 1}), Display())
    assert stopped.value.exit_code == 130
