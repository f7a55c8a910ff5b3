"""Do two texts say the same, and how nearly: MRPC, QQP, STS-B."""

from __future__ import annotations

from gpt1.data.formats import Headless
from gpt1.tasks.datasets.entry import DataSet, DevSplit, Layout
from gpt1.tasks.datasets.files import Files, hub_files
from gpt1.tasks.kinds import Regression, Similarity

MRPC = DataSet(
    name="mrpc",
    title="MRPC",
    task=Similarity(("not_equivalent", "equivalent"), metric="f1"),
    metrics=("f1", "accuracy"),
    layouts=(
        Layout(("#1 String", "#2 String"), label="Quality"),
        Layout(("sentence1", "sentence2")),  # the hub
    ),
    labels=(("0",), ("1",)),
    files=Files(
        folders=("mrpc", "MRPC", "MSRParaphraseCorpus"),
        splits={
            "train": (("train.tsv",), ("msr_paraphrase_train.txt",)),  # GLUE's dev is in the latter
            "dev": (("dev.tsv",),),
            "test": (("msr_paraphrase_test.txt",), ("test.tsv",)),
        },
        hub="nyu-mll/glue",
        hub_files=hub_files("mrpc"),
    ),
    cut=DevSplit("train", dev=408),
)

QQP = DataSet(
    name="qqp",
    title="QQP",
    task=Similarity(("not_duplicate", "duplicate"), metric="f1"),
    metrics=("f1", "accuracy"),
    layouts=(
        Layout(("question1", "question2"), label="is_duplicate"),
        Layout(("question1", "question2")),
    ),
    labels=(("0",), ("1",)),
    files=Files(
        folders=("qqp", "QQP"),
        splits={
            "train": (("train.tsv",),),
            "dev": (("dev.tsv",),),
            "test": (("test.tsv",), ("test_balanced.tsv",)),
        },
        hub="nyu-mll/glue",
        hub_files=hub_files("qqp"),
    ),
)

STSB = DataSet(
    name="stsb",
    title="STS-B",
    task=Regression(scale=(0.0, 5.0)),
    metrics=("pearson", "spearman"),
    layouts=(
        Layout(("sentence1", "sentence2"), label="score"),
        Layout(("sentence1", "sentence2")),  # the hub
    ),
    headless=(
        # Some rows go on with where the sentences are from.
        Headless(("genre", "file", "year", "id", "score", "sentence1", "sentence2"), wider=True),
    ),
    files=Files(
        folders=("stsb", "STS-B", "stsbenchmark"),
        splits={
            split: ((f"sts-{split}.csv",), (f"{split}.tsv",)) for split in ("train", "dev", "test")
        },
        hub="nyu-mll/glue",
        hub_files=hub_files("stsb"),
    ),
    endings={".csv": ".tsv"},
)

ENTRIES = (MRPC, QQP, STSB)
