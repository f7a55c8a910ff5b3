"""Each public distribution's files load as they are; the rows here are invented."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from gpt1.cli.task_files import recognise
from gpt1.data.lines import BLANK, WRONG_WIDTH
from gpt1.errors import ConfigError, DataError
from gpt1.tasks.datasets import DATA_SETS, Rows, data_set
from gpt1.tasks.datasets.winograd import SCHEMA_SETS, Schema
from gpt1.tasks.kinds import KINDS
from gpt1.tasks.spec import Example

ONE, TWO = 'A man "sleeps.', "Nobody is awake."
PARSES = "( x )\t( y )\t(ROOT x)\t(ROOT y)"
SNLI_HEADER = (
    "gold_label\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse\t"
    "sentence1\tsentence2\tcaptionID\tpairID\tlabel1\tlabel2"
)
MNLI_HEADER = (
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t"
    "sentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label"
)
JSONL = "\n".join(
    json.dumps({"annotator_labels": [x], "gold_label": x, "sentence1": ONE, "sentence2": TWO})
    for x in ("neutral", "-")
)
GENRE = "main-captions\tMSRvid\t2012test\t0001"

# name, split, file, what it holds, labels of its examples, rows rejected
FILES = [
    ("cola", "train", "in_domain_train.tsv", f"x1\t1\t\t{ONE}\nx1\t0\t*\t{ONE}\n", [1, 0], 0),
    ("cola", "dev", "CoLA/dev.tsv", f"x1\t0\t*\t{ONE}\n", [0], 0),
    ("cola", "test", "CoLA/test.tsv", f"index\tsentence\n0\t{ONE}\n", [None], 0),
    ("sst2", "train", "SST-2/train.tsv", f"sentence\tlabel\n{ONE} \t1\n", [1], 0),
    ("sst2", "test", "SST-2/test.tsv", f"index\tsentence\n0\t{ONE}\n", [None], 0),
    (
        "mrpc", "test", "msr_paraphrase_test.txt",
        f"\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t7\t8\t{ONE}\t{TWO}\r\n", [1], 0,
    ),
    (
        "mrpc", "dev", "MRPC/dev.tsv",
        f"Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t7\t8\t{ONE}\t{TWO}\n", [0], 0,
    ),
    (
        "mrpc", "test", "MRPC/test.tsv",
        f"index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t7\t8\t{ONE}\t{TWO}\n", [None], 0,
    ),
    (
        "qqp", "train", "QQP/train.tsv",
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
        f"1\t2\t3\t{ONE}\t{TWO}\t1\n4\t5\t6\tcut\n1\t2\t3\t{ONE}\t{TWO}\t0\n", [1, 0], 1,
    ),
    ("qqp", "test", "QQP/test.tsv", f"id\tquestion1\tquestion2\n0\t{ONE}\t{TWO}\n", [None], 0),
    (
        "stsb", "train", "stsbenchmark/sts-train.csv",
        f"{GENRE}\t3.800\t{ONE}\t{TWO}\n{GENRE}\t5\t{ONE}\t{TWO}\tfrom\there\n"
        f"{GENRE}\t7\t{ONE}\t{TWO}\n", [3.8, 5.0], 1,
    ),
    (
        "stsb", "train", "sts-train.csv.gz",  # read as what it is, blank lines counted
        f"\n{GENRE}\t3.800\t{ONE}\t{TWO}\n\n{GENRE}\t5\t{ONE}\t{TWO}\tfrom\there\n", [3.8, 5.0], 2,
    ),
    (
        "stsb", "dev", "STS-B/dev.tsv",
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
        f"0\tg\tf\t2012\t1\tnone\tnone\t{ONE}\t{TWO}\t2.250\n", [2.25], 0,
    ),
    (
        "mnli", "dev_matched", "MNLI/dev_matched.tsv",
        f"{MNLI_HEADER}\n0\t1\t1e\tfiction\t{PARSES}\t{ONE}\t{TWO}\tneutral\tcontradiction\n"
        f"0\t1\t1e\tfiction\t{PARSES}\t{ONE}\t{TWO}\tneutral\t-\n", [2], 1,
    ),
    ("mnli", "train", "multinli_1.0/multinli_1.0_train.jsonl", JSONL, [1], 1),
    (
        "mnli", "test_matched", "MNLI/test_matched.tsv",
        f"index\tsentence1\tsentence2\n0\t{ONE}\t{TWO}\n", [None], 0,
    ),
    ("snli", "dev", "snli_1.0/snli_1.0_dev.jsonl", JSONL, [1], 1),
    (
        "snli", "train", "snli_1.0_train.txt",
        f"{SNLI_HEADER}\nentailment\t{PARSES}\t{ONE}\t{TWO}\t1.jpg\t1e\tentailment\t\n"
        f"-\t{PARSES}\t{ONE}\t{TWO}\t1.jpg\t1e\tneutral\t\n", [0], 1,
    ),
    (
        "qnli", "dev", "QNLI/dev.tsv",
        f"index\tquestion\tsentence\tlabel\n0\t{ONE}\t{TWO}\tnot_entailment\n", [1], 0,
    ),
    (
        "rte", "dev", "RTE/dev.tsv",
        f"index\tsentence1\tsentence2\tlabel\n0\t{ONE}\t{TWO}\tentailment\n", [0], 0,
    ),
    (
        "scitail", "test", "SciTailV1.1/tsv_format/scitail_1.0_test.tsv",
        f"{ONE}\t{TWO}\tentails\n{ONE}\t{TWO}\tneutral\n", [0, 1], 0,
    ),
    (
        "storycloze", "test", "cloze_test_test__spring2016.csv",
        "InputStoryid,InputSentence1,InputSentence2,InputSentence3,InputSentence4,"
        "RandomFifthSentenceQuiz1,RandomFifthSentenceQuiz2,AnswerRightEnding\n"
        'a-1,One.,"Two, too.",Three.,Four.,"She said ""five"".",Six.,2\n', [1], 0,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "split", "file", "holds", "labels", "rejected"), FILES, ids=[f[2] for f in FILES]
)
def test_a_distributions_file_loads_as_it_is(
    name: str,
    split: str,
    file: str,
    holds: str,
    labels: list[int | float | None],
    rejected: int,
    tmp_path: Path,
) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(holds.encode() if path.suffix != ".gz" else gzip.compress(holds.encode()))
    rows = data_set(name).load(tmp_path, split)
    assert [example.label for example in rows.examples] == labels
    assert rows.counts.rejected.total() == rejected
    assert rows.counts.rows == len(labels) + rejected
    first = rows.examples[0].texts
    if name == "storycloze":
        assert first == ("One. Two, too. Three. Four.", 'She said "five".', "Six.")
    else:
        assert tuple(text.strip() for text in first) == (ONE, TWO)[: len(first)]
    _check_as_it_lies(name, path)


def _check_as_it_lies(name: str, path: Path) -> None:
    """A file is recognised without the set's name, and labelled whatever its labels are."""
    found = recognise([str(path)], DATA_SETS[name].task)
    assert found is DATA_SETS[name]
    rows = found.read([str(path)], labelled=False)
    assert len(rows.kept) == len(rows.examples) == rows.counts.rows
    assert [example.label for example in rows.usable.examples] == [None] * rows.counts.used
    assert set(rows.counts.rejected) <= {BLANK, WRONG_WIDTH}
    assert all(len(row) >= len(rows.kept[-1] or ()) > 1 for row in filter(None, rows.kept))


def test_races_folders_of_passages_load_as_they_are(tmp_path: Path) -> None:
    passage = {
        "article": "A cat sat.\nIt slept.",
        "questions": ["Who sat?", "Who _ ?"],
        "options": [["A cat.", "A dog.", "A cow.", "A bee."], ["it", "he", "she", "we"]],
        "answers": ["A", "D"],
        "id": "high1.txt",
    }
    for level, number in (("middle", 1), ("high", 2)):
        folder = tmp_path / "RACE" / "test" / level
        folder.mkdir(parents=True)
        for i in range(number):
            (folder / f"{i}.txt").write_text(json.dumps(passage))
    race = data_set("race")
    assert [len(race.load(tmp_path, s).examples) for s in ("test", "test_middle")] == [6, 2]
    last = race.load(tmp_path / "RACE", "test").examples[-1]
    assert (last.texts[0], last.texts[4]) == ("A cat sat.\nIt slept.", "we")
    assert (last.question, last.label) == ("Who _ ?", 3)

    def load(text: str) -> Rows[Example]:
        (folder / "1.txt").write_text(text)
        return race.load(tmp_path, "test_high")

    odd = passage | {"options": [["A cat.", "A dog."], ["it", "he", "she", "we"]]}
    assert load(json.dumps(odd, indent=1)).counts.rejected == {"wrong number of answers": 1}
    counts = load(json.dumps(passage | {"answers": ["A"]})).counts
    assert counts.rejected == {"lists of different lengths": 1}
    assert (counts.rows, counts.used) == (3, 2)
    for text, message in (
        ("[1]", r"1\.txt: \[1\] is not a JSON object"),
        ('{"article": ', r"1\.txt: not JSON"),
    ):
        with pytest.raises(DataError, match=message):
            load(text)


def test_schemas_are_read_from_blocks_and_from_jsonl(tmp_path: Path) -> None:
    (tmp_path / "dpr_train.c.txt").write_text(
        "\nThe item fell because it was wet.\nit\nThe item,The shelf\nthe item\n\n"
        "Ann saw Eve when She waved.\t\nshe\nAnn,Eve\nEve\n\n"
        "Ann saw Eve when they waved.\nshe\nAnn,Eve\nEve"
    )
    found = SCHEMA_SETS["dpr"].load(tmp_path, "train")
    assert found.examples == [
        Schema("The item fell because it was wet.", "it", 22, ("The item", "The shelf"), 0),
        Schema("Ann saw Eve when She waved.", "she", 17, ("Ann", "Eve"), 1),
    ]
    assert found.counts.rejected == {"no such pronoun in the sentence": 1}
    assert found.listed == (f"{tmp_path / 'dpr_train.c.txt'}:12: no such pronoun in the sentence",)
    assert len(SCHEMA_SETS["dpr"].load(tmp_path, "train", limit=1).examples) == 1

    row = {"text": "It is late and it is dark.", "pronoun": "it", "pronoun_loc": 15}
    row |= {"options": ["the hour", "the sky"], "label": 1}
    rows = [row, row, row | {"label": 2}]
    (tmp_path / "wsc273.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = SCHEMA_SETS["wsc273"].load(tmp_path, "test")
    assert [schema.start for schema in found.examples] == [15, 15]
    assert found.counts.rejected == {"wrong label": 1}
    assert "3 rows from 1 file: 2 used" in str(found)
    with pytest.raises(ConfigError, match="no split 'dev'; it has test"):
        SCHEMA_SETS["wsc273"].load(tmp_path, "dev")
    no_options = row | {"options": []}
    for bad, message in ((no_options, "no file of WSC273"), ({"txt": 1}, "no column 'text'")):
        (tmp_path / "wsc273.jsonl").write_text(json.dumps(bad))
        with pytest.raises(DataError, match=message):
            SCHEMA_SETS["wsc273"].load(tmp_path, "test")


@pytest.mark.parametrize("name", DATA_SETS)
def test_entries_are_whole(name: str) -> None:
    data = DATA_SETS[name]
    assert data.name == name
    assert data.task.kind in KINDS
    assert data.task.num_scores >= 2
    assert {"train", "dev"} <= set(data.splits)
    assert set(data.files.hub_files) <= set(data.splits)
    if data.labels:
        assert len(data.labels) == len(data.task.label_names)
