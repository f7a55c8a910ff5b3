"""The data sets of the paper: the real files, cuts, samples, and what goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet
from sklearn.model_selection import train_test_split

from gpt1.data.dialect import Headless
from gpt1.errors import ConfigError, DataError
from gpt1.tasks.datasets import DATA_SETS, DataSet, DevSplit, Files, Layout, data_set
from gpt1.tasks.datasets.winograd import SCHEMA_SETS
from gpt1.tasks.kinds import Classification
from gpt1.tasks.leakage import leakage
from hub import LoopbackHub

COUNTS = {
    "sst2": {"train": 67_349, "dev": 872, "test": 1_821},
    "cola": {"train": 8_551, "dev": 527 + 516},
    "rte": {"train": 2_490 - 249, "dev": 249},
    "qnli": {"train": 9_999, "dev": 5_463},
    "snli": {"train": 9_999, "dev": 9_842, "test": 9_824},
    "mnli": {
        "train": 8_999, "dev": 2_000, "dev_matched": 1_000, "dev_mismatched": 1_000,
        "dev_from_train": 1_000,
    },
    "scitail": {"train": 1_043, "dev": 261},
    "mrpc": {"train": 4_076 - 408, "dev": 408},
    "qqp": {"train": 25_334, "dev": 3_631, "test": 10_000},
    "stsb": {"train": 5_749, "dev": 1_500, "test": 1_379},
    "race": {
        "train": 25_421 + 20_010, "train_middle": 25_421, "train_high": 20_010,
        "dev": 1_436 + 3_451, "dev_middle": 1_436, "dev_high": 3_451,
    },
    "storycloze": {"train": 1_497, "dev": 374, "val": 1_871},
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_real_files_give_as_many_examples_as_their_makers_count(
    name: str, data_folder: Path
) -> None:
    data = data_set(name)
    for split, count in COUNTS[name].items():
        rows = data.load(data_folder, split)
        account = rows.counts
        assert len(rows.examples) == account.used == count, split
        assert account.rows == account.used + account.rejected.total() + account.left_out.total()
        assert not rows.listed
        texts = data.task.num_texts
        assert {len(example.texts) for example in rows.examples} == {texts}
        labels = {example.label for example in rows.examples}
        if not data.task.label_names:
            assert all(isinstance(label, float) and 0 <= label <= 5 for label in labels)
        else:
            assert labels == set(range(len(data.task.label_names)))
    assert data.load(data_folder / name, split).examples == rows.examples, "the set's own folder"


def test_real_labels_are_counted_as_their_makers_count(data_folder: Path) -> None:
    def counts(name: str, *splits: str) -> Counter[object]:
        data = data_set(name)
        return Counter(e.label for s in splits for e in data.load(data_folder, s).examples)

    assert counts("sst2", "dev") == {1: 444, 0: 428}
    assert counts("sst2", "test") == {1: 909, 0: 912}
    assert counts("mrpc", "train", "dev")[1] == 2_753
    assert counts("scitail", "train", "dev") == {0: 657, 1: 647}
    race = data_set("race").load(data_folder, "train")
    assert race.counts.rejected == {"no question": 1}, "the one passage without"


def test_story_cloze_is_cut_as_the_release_cut_it(data_folder: Path) -> None:
    data = data_set("storycloze")
    stories = data.load(data_folder, "val").examples
    train, dev = train_test_split(stories, test_size=374, random_state=3_535_999_445)
    assert data.load(data_folder, "train").examples == train
    assert data.load(data_folder, "dev").examples == dev
    assert all(len(story.texts) == 3 for story in stories)


@pytest.mark.parametrize(("name", "of"), [("rte", 0.1), ("mrpc", 408), ("scitail", 0.2)])
def test_own_cuts_are_whole_and_no_text_is_on_both_sides(
    name: str, of: float, data_folder: Path
) -> None:
    data = data_set(name)
    train, dev = (data.load(data_folder, split) for split in ("train", "dev"))
    assert data.cut == DevSplit("dev" if name == "scitail" else "train", of)
    count = train.counts.rows
    assert train.counts.used + dev.counts.used == count
    assert train.counts.left_out == {"kept for dev": len(dev.examples)}
    assert f"{len(dev.examples):,} of {count:,} rows" in str(dev)
    left, right = train_test_split(range(count), test_size=of, random_state=0)
    assert (len(left), len(right)) == (len(train.examples), len(dev.examples))
    shared = leakage(train.examples, dev.examples, data.task.kind)
    assert (shared.exact, set(shared.texts.values())) == (0, {0})
    classes = [Counter(e.label for e in part.examples) for part in (train, dev)]
    assert abs(classes[0][0] / len(left) - classes[1][0] / len(right)) < 0.1


def test_real_winograd_schemas_begin_at_their_pronoun(data_folder: Path) -> None:
    for name, split, count in (("wsc273", "test", 273), ("dpr", "train", 1_316)):
        found = SCHEMA_SETS[name].load(data_folder, split)
        assert len(found.examples) == found.counts.used == found.counts.rows == count
        for schema in found.examples:
            assert schema.text[schema.start :].startswith(schema.pronoun)
            assert 0 <= schema.label < len(schema.options)


def test_a_limit_takes_the_same_rows_each_time_and_samples_are_nested(data_folder: Path) -> None:
    data = data_set("sst2")
    whole = data.load(data_folder, "train").examples
    large = data.load(data_folder, "train", limit=1_000)
    small = data.load(data_folder, "train", limit=100)
    assert small.examples == data.load(data_folder, "train", limit=100).examples
    assert len(small.examples) == 100
    assert Counter(small.examples) <= Counter(large.examples) <= Counter(whole)
    assert small.examples != whole[:100]
    assert small.counts.left_out == {"not in the sample": 67_249}
    assert len(data.load(data_folder, "dev", limit=10**6).examples) == 872


COLOURS = DataSet(
    title="Colours",
    task=Classification(("warm", "cold")),
    layouts=(Layout(("thing",), label="colour"),),
    labels=(("red", "orange"), ("blue",)),
    headless=(Headless(("number", "thing", "colour")),),
    files=Files(("colours",), {"train": "train.tsv", "test": "test.csv"}),
)


def test_a_new_data_set_costs_one_entry(tmp_path: Path) -> None:
    folder = tmp_path / "colours"
    folder.mkdir()
    (folder / "train.tsv").write_text('1\ta "fire"\tred\n2\tthe sea\tblue\n3\ta fox\torange\n')
    (folder / "test.csv").write_text("colour,thing\nblue,ice\n")
    rows = COLOURS.load(tmp_path, "train")
    assert [(e.texts, e.label) for e in rows.examples] == [
        (('a "fire"',), 0), (("the sea",), 1), (("a fox",), 0),
    ]  # fmt: skip
    assert COLOURS.load(folder, "test").examples[0].texts == ("ice",)


def test_every_row_is_used_or_rejected_for_a_reason_and_wrong_labels_are_listed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "train.tsv"
    path.write_text(
        "colour\tthing\nred\ta fire\nblue\tthe sea\ngreen\ta leaf\n\nred\t \n-\ta cloud\nred\n"
        "\tthe wind\nred\ta\0b\nblue\tthe sky\nred\ta brick\n"
    )
    rows = COLOURS.load(tmp_path, "train")
    assert rows.counts.rejected == {
        "wrong label": 1, "blank line": 1, "empty": 1, "no gold label": 2,
        "wrong number of fields": 1, "NUL character": 1,
    }  # fmt: skip
    assert len(rows.examples) == rows.counts.used == 4
    assert rows.counts.rows == 11
    assert rows.listed == (f"{path}:4: the label is 'green'; it must be one of red, orange, blue",)
    assert str(rows).startswith("colours train: 11 rows from 1 file: 4 used, 7 rejected (")
    assert str(rows).endswith(rows.listed[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\n1\t2\n", r"no file of Colours: it has 2 columns .a, b.; expected are the columns "
         "thing, colour; or 3 columns without a header"),
        ("colour\tthing\nred\ta fire\ngood\ta film\nbad\ta film\n",
         r"2 of 3 rows have a wrong label.*train.tsv:3: .*'good'"),
        ("colour\tthing\nred\ta fire\nred\nred\n", "2 of 3 rows have another number of fields"),
        ("thing\tmood\nx\ty\n", "expected"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_the_data_sets_says_what_was_expected(
    text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "train.tsv").write_text(text)
    with pytest.raises(DataError, match=message):
        COLOURS.load(tmp_path, "train")


@pytest.mark.parametrize(
    ("name", "source", "split", "limit", "error", "message"),
    [
        ("rte", "", "validation", None, ConfigError, "no split 'validation'; it has train, dev"),
        ("rte", "", "train", 0, ConfigError, "limit is 0"),
        ("rte", "", "test", None, DataError, "no file of rte's split test; looked for: test.tsv"),
        ("cola", "", "dev", None, DataError, "in_domain_dev.tsv and out_of_domain_dev.tsv, or"),
        ("rte", "none", "train", None, DataError, "does not exist; name the folder of rte"),
        ("cola", "in_domain_dev.tsv", "train", None, DataError, "is a file; name the folder of"),
        ("mrpc", "", "dev", None, DataError, "takes 408 rows of the split [a-z]+, which has 1\\."),
    ],
)
def test_what_cannot_be_loaded_says_what_there_is(
    name: str, source: str, split: str, limit: int | None, error: Any, message: str, tmp_path: Path
) -> None:
    (tmp_path / "in_domain_dev.tsv").write_text("x\t1\t\tA sentence.\n")
    (tmp_path / "msr_paraphrase_train.txt").write_text(
        "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t1\t2\tA dog ran.\tThe dog ran.\n"
    )
    with pytest.raises(error, match=message):
        data_set(name).load(tmp_path / source, split, limit)


def test_names_are_forgiving_and_the_nearest_is_told() -> None:
    assert data_set("SST-2") is DATA_SETS["sst2"]
    with pytest.raises(ConfigError, match=r"no data set 'sts-c'; there are .* Did you mean 'stsb'"):
        data_set("sts-c")
    with pytest.raises(DataError, match=r"storycloze: the split val is not known on the hub"):
        data_set("storycloze").load("hub", "train")


LOAD = """
import json, sys
from gpt1.tasks.datasets import data_set
name, source, split = sys.argv[1:]
rows = data_set(name).load(source, split)
print(json.dumps([[e.texts, e.label, e.question] for e in rows.examples]))
print(rows.counts)
"""


def test_hub_data_sets_come_with_integer_labels(tmp_path: Path) -> None:
    def write(name: str, rows: list[dict[str, object]]) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)

    pair = {"sentence1": "It rained.", "sentence2": "It was wet.", "idx": 0}
    write("glue/rte/train-00000-of-00001.parquet", [pair | {"label": 0}, pair | {"label": 1}])
    write("glue/rte/validation-00000-of-00001.parquet", [pair | {"label": 1}])
    write("glue/rte/test-00000-of-00001.parquet", [pair | {"label": -1}])
    write("glue/stsb/train-00000-of-00001.parquet", [pair | {"label": 2.5}])
    named = {"premise": "It rained.", "hypothesis": "It was wet."}
    labels: list[dict[str, object]] = [named | {"label": i} for i in (2, -1, 1)]
    write("snli/plain_text/test-00000-of-00001.parquet", labels)
    question = {"article": "A cat sat.", "question": "Who sat?", "options": list("abcd")}
    write("race/high/validation-00000-of-00001.parquet", [question | {"answer": "C"}])

    names = {"nyu-mll/glue": "glue", "stanfordnlp/snli": "snli", "me/copy": "race"}
    with LoopbackHub(datasets={n: tmp_path / f for n, f in names.items()}) as hub:
        env = hub.env(tmp_path / "home")

        def load(*asked: str) -> tuple[list[list[object]], str]:
            done = subprocess.run(
                [sys.executable, "-c", LOAD, *asked],
                env=env, capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            found, account = done.stdout.splitlines()
            return json.loads(found), account

        texts = ["It rained.", "It was wet."]
        found, account = load("rte", "hub", "train")
        assert found == [[texts, 0, ""], [texts, 1, ""]]
        assert account.startswith("2 rows from 1 file: 2 used"), "dev is there: nothing is cut"
        assert load("rte", "hub", "dev")[0] == [[texts, 1, ""]]
        assert load("rte", "hub", "test")[0] == [[texts, None, ""]]
        assert load("stsb", "hub", "train")[0] == [[texts, 2.5, ""]]
        found, account = load("snli", "hub", "test")
        assert [label for _, label, _ in found] == [2, 1]
        assert "(no gold label: 1)" in account
        passage = [["A cat sat.", "a", "b", "c", "d"], 2, "Who sat?"]
        assert load("race", "hub:me/copy", "dev_high")[0] == [passage]
