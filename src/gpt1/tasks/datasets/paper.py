"""An entry for each data set of the paper's tables 2 to 4.

Columns, integer labels and file names on the hub were not checked against the hub.
"""

from __future__ import annotations

from gpt1.data.dialect import Headless
from gpt1.tasks.datasets.entry import DataSet, DevSplit
from gpt1.tasks.datasets.files import TSV, Files, glue, hub_files
from gpt1.tasks.datasets.layout import Layout
from gpt1.tasks.kinds import Choice, Classification, Entailment, Regression, Similarity

_BINARY = (("0",), ("1",))


def _any_of(names: tuple[str, ...], *splits: str) -> str:
    """Return alternatives, each the files of `splits` that are read together."""
    return " | ".join(" + ".join(name.format(split) for split in splits) for name in names)


SST2 = DataSet(
    title="SST-2",
    task=Classification(("negative", "positive")),
    layouts=(Layout(("sentence",)),),
    labels=_BINARY,
    files=glue("sst2", "SST-2"),
)

COLA = DataSet(
    title="CoLA",
    task=Classification(("unacceptable", "acceptable"), metric="matthews"),
    more_metrics=("accuracy",),
    layouts=(Layout(("sentence",)),),
    labels=_BINARY,
    headless=(Headless(("source", "label", "mark", "sentence")),),
    files=glue(
        "cola", "CoLA", "cola_public/raw",
        train="in_domain_train.tsv | train.tsv",
        dev="in_domain_dev.tsv + out_of_domain_dev.tsv | dev.tsv",
    ),
)  # fmt: skip

# Classes stand in the order of the hub's integer labels.
_TWO = Entailment(("entailment", "not_entailment"))
_THREE = Entailment(("entailment", "neutral", "contradiction"))
# The original jsonl and txt; GLUE's MNLI has both gold_label and these names.
_GOLD = Layout(("sentence1", "sentence2"), label="gold_label")
_SENTENCES = Layout(("sentence1", "sentence2"))
_NAMED = Layout(("premise", "hypothesis"))

RTE = DataSet(
    title="RTE",
    task=_TWO,
    layouts=(_SENTENCES,),
    files=glue("rte", "RTE"),
    cut=DevSplit("train", dev=0.1),
)

QNLI = DataSet(
    title="QNLI",
    task=_TWO,
    layouts=(Layout(("question", "sentence")),),
    files=glue("qnli", "QNLI"),
)

SNLI = DataSet(
    title="SNLI",
    task=_THREE,
    layouts=(_GOLD, _NAMED),
    files=Files(
        folders=("snli", "snli_1.0"),
        splits={s: _any_of(("{}.tsv", "snli_1.0_{}.jsonl", "snli_1.0_{}.txt"), s) for s in TSV},
        hub="stanfordnlp/snli",
        hub_files=hub_files("plain_text"),
    ),
)

_MNLI = ("{}.tsv", "multinli_1.0_{}.jsonl", "multinli_1.0_{}.txt")
_MNLI_DEV = (*_MNLI, "{}_1k.tsv")  # the last is a sample
_MNLI_HUB = {"train": "train-", "dev": "validation_", "dev_matched": "validation_matched-",
             "dev_mismatched": "validation_mismatched-", "test_matched": "test_matched-",
             "test_mismatched": "test_mismatched-"}  # fmt: skip

MNLI = DataSet(
    title="MultiNLI",
    task=_THREE,
    layouts=(_GOLD, _SENTENCES, _NAMED),
    files=Files(
        folders=("mnli", "MNLI", "multinli_1.0"),
        splits={
            "train": _any_of(_MNLI, "train"),
            "dev": _any_of(_MNLI_DEV, "dev_matched", "dev_mismatched"),
            "dev_matched": _any_of(_MNLI_DEV, "dev_matched"),
            "dev_mismatched": _any_of(_MNLI_DEV, "dev_mismatched"),
            "dev_from_train": "dev_from_train.tsv",
            "test_matched": "test_matched.tsv",
            "test_mismatched": "test_mismatched.tsv",
        },
        hub="nyu-mll/glue",
        hub_files={split: f"mnli/{name}*.parquet" for split, name in _MNLI_HUB.items()},
    ),
)

_SCITAIL = ("{}.tsv", "scitail_1.0_{}.tsv", "tsv_format/scitail_1.0_{}.tsv")

SCITAIL = DataSet(
    title="SciTail",
    task=Entailment(("entails", "neutral")),
    layouts=(_GOLD, _NAMED),  # columns and labels of snli_format are those of SNLI
    labels=(("entails", "entailment"), ("neutral",)),
    headless=(Headless(("premise", "hypothesis", "label")),),
    files=Files(
        folders=("scitail", "SciTailV1.1/tsv_format", "SciTailV1.1", "tsv_format"),
        splits={s: _any_of(_SCITAIL, s) for s in TSV},
        hub="allenai/scitail",
        # Not its tsv_format: that was read with quotes, which lost 499 rows of train (its card).
        hub_files=hub_files("snli_format"),
    ),
    cut=DevSplit("dev", dev=0.2),
)

MRPC = DataSet(
    title="MRPC",
    task=Similarity(("not_equivalent", "equivalent"), metric="f1"),
    more_metrics=("accuracy",),
    layouts=(Layout(("#1 String", "#2 String"), label="Quality"), _SENTENCES),  # the hub's last
    labels=_BINARY,
    files=glue(
        "mrpc", "MRPC", "MSRParaphraseCorpus",
        train="train.tsv | msr_paraphrase_train.txt",  # GLUE's dev is in the latter
        test="msr_paraphrase_test.txt | test.tsv",
    ),
    cut=DevSplit("train", dev=408),
)  # fmt: skip

_QUESTIONS = ("question1", "question2")

QQP = DataSet(
    title="QQP",
    task=Similarity(("not_duplicate", "duplicate"), metric="f1"),
    more_metrics=("accuracy",),
    layouts=(Layout(_QUESTIONS, label="is_duplicate"), Layout(_QUESTIONS)),
    labels=_BINARY,
    files=glue("qqp", "QQP", test="test.tsv | test_balanced.tsv"),
)

STSB = DataSet(
    title="STS-B",
    task=Regression(scale=(0.0, 5.0)),
    more_metrics=("spearman",),
    layouts=(Layout(("sentence1", "sentence2"), label="score"), _SENTENCES),
    headless=(
        # Some rows go on with where the sentences are from.
        Headless(("genre", "file", "year", "id", "score", "sentence1", "sentence2"), wider=True),
    ),
    files=glue(
        "stsb", "STS-B", "stsbenchmark",
        **{split: f"sts-{split}.csv | {split}.tsv" for split in TSV},
    ),
    formats={".csv": "tsv"},
)  # fmt: skip

_LEVELS = {"": ("middle", "high"), "_middle": ("middle",), "_high": ("high",)}
_RACE = {"train": "train", "dev": "validation", "test": "test"}  # split -> its name on the hub

RACE = DataSet(
    title="RACE",
    task=Choice(answers=4),
    layouts=(
        # A passage with its questions; on the hub one question a row.
        Layout(("article", "options"), "answers", "questions", ("questions", "options", "answers")),
        Layout(("article", "options"), "answer", "question"),
    ),
    labels=(("A",), ("B",), ("C",), ("D",)),
    files=Files(
        folders=("race", "RACE"),
        splits={
            split + part: _any_of((f"{split}_{{}}.jsonl.gz", f"{split}/{{}}/*.txt"), *levels)
            for split in _RACE
            for part, levels in _LEVELS.items()
        },
        hub="ehovy/race",
        hub_files={
            split + part: f"{part[1:] or 'all'}/{name}-*.parquet"
            for split, name in _RACE.items()
            for part in _LEVELS
        },
    ),
    formats={".txt": "json-row"},
)

_STORY = tuple(f"InputSentence{i}" for i in (1, 2, 3, 4))
_ENDINGS = ("RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2")
# As they were given out, and as later copies are named.
_CLOZE = ("cloze_test_{0}__spring2016.csv", "cloze_test_{0}__spring2016 - cloze_test_ALL_{0}.csv")

STORYCLOZE = DataSet(
    title="Story Cloze",
    task=Choice(answers=2),
    layouts=(Layout((_STORY, *_ENDINGS), label="AnswerRightEnding"),),
    labels=(("1",), ("2",)),
    files=Files(("storycloze",), {split: _any_of(_CLOZE, split) for split in ("val", "test")}),
    cut=DevSplit("val", dev=374, seed=3535999445, released=True),  # spec 4.5.1
    formats={},
)

_ALL = (SST2, COLA, RTE, QNLI, SNLI, MNLI, SCITAIL, MRPC, QQP, STSB, RACE, STORYCLOZE)
DATA_SETS: dict[str, DataSet] = {entry.name: entry for entry in _ALL}
