"""Does the one text follow from the other: RTE, QNLI, SNLI, MultiNLI, SciTail.

The classes stand in the order of the hub's integer labels.
"""

from __future__ import annotations

from gpt1.data.formats import Headless
from gpt1.tasks.datasets.entry import DataSet, DevSplit, Layout
from gpt1.tasks.datasets.files import Files, hub_files
from gpt1.tasks.kinds import Entailment

_TWO = Entailment(("entailment", "not_entailment"))
_THREE = Entailment(("entailment", "neutral", "contradiction"))
# The original jsonl and txt; GLUE's MNLI has both gold_label and these names.
_GOLD = Layout(("sentence1", "sentence2"), label="gold_label")
_NAMED = Layout(("premise", "hypothesis"))

RTE = DataSet(
    name="rte",
    title="RTE",
    task=_TWO,
    metrics=("accuracy",),
    layouts=(Layout(("sentence1", "sentence2")),),
    files=Files(
        folders=("rte", "RTE"),
        splits={"train": (("train.tsv",),), "dev": (("dev.tsv",),), "test": (("test.tsv",),)},
        hub="nyu-mll/glue",
        hub_files=hub_files("rte"),
    ),
    cut=DevSplit("train", dev=0.1),
)

QNLI = DataSet(
    name="qnli",
    title="QNLI",
    task=_TWO,
    metrics=("accuracy",),
    layouts=(Layout(("question", "sentence")),),
    files=Files(
        folders=("qnli", "QNLI"),
        splits={"train": (("train.tsv",),), "dev": (("dev.tsv",),), "test": (("test.tsv",),)},
        hub="nyu-mll/glue",
        hub_files=hub_files("qnli"),
    ),
)

SNLI = DataSet(
    name="snli",
    title="SNLI",
    task=_THREE,
    metrics=("accuracy",),
    layouts=(_GOLD, _NAMED),
    files=Files(
        folders=("snli", "snli_1.0"),
        splits={
            split: ((f"{split}.tsv",), (f"snli_1.0_{split}.jsonl",), (f"snli_1.0_{split}.txt",))
            for split in ("train", "dev", "test")
        },
        hub="stanfordnlp/snli",
        hub_files=hub_files("plain_text"),
    ),
)

_MULTINLI = {
    split: (
        (f"{split}.tsv",),
        (f"multinli_1.0_{split}.jsonl",),
        (f"multinli_1.0_{split}.txt",),
        (f"{split}_1k.tsv",),  # a sample
    )
    for split in ("dev_matched", "dev_mismatched")
}
_GLUE_MNLI = hub_files("mnli")

MNLI = DataSet(
    name="mnli",
    title="MultiNLI",
    task=_THREE,
    metrics=("accuracy",),
    layouts=(_GOLD, Layout(("sentence1", "sentence2")), _NAMED),
    files=Files(
        folders=("mnli", "MNLI", "multinli_1.0"),
        splits={
            "train": (
                ("train.tsv",),
                ("multinli_1.0_train.jsonl",),
                ("multinli_1.0_train.txt",),
            ),
            "dev": tuple(
                matched + mismatched
                for matched, mismatched in zip(*_MULTINLI.values(), strict=True)
            ),
            **_MULTINLI,
            "dev_from_train": (("dev_from_train.tsv",),),
            "test_matched": (("test_matched.tsv",),),
            "test_mismatched": (("test_mismatched.tsv",),),
        },
        hub="nyu-mll/glue",
        hub_files={
            "train": _GLUE_MNLI["train"],
            "dev": "mnli/validation_*.parquet",
            "dev_matched": "mnli/validation_matched-*.parquet",
            "dev_mismatched": "mnli/validation_mismatched-*.parquet",
            "test_matched": "mnli/test_matched-*.parquet",
            "test_mismatched": "mnli/test_mismatched-*.parquet",
        },
    ),
)

SCITAIL = DataSet(
    name="scitail",
    title="SciTail",
    task=Entailment(("entails", "neutral")),
    metrics=("accuracy",),
    # Columns and labels of snli_format are those of SNLI.
    layouts=(_GOLD, _NAMED),
    labels=(("entails", "entailment"), ("neutral",)),
    headless=(Headless(("premise", "hypothesis", "label")),),
    files=Files(
        folders=("scitail", "SciTailV1.1/tsv_format", "SciTailV1.1", "tsv_format"),
        splits={
            split: (
                (f"{split}.tsv",),
                (f"scitail_1.0_{split}.tsv",),
                (f"tsv_format/scitail_1.0_{split}.tsv",),
            )
            for split in ("train", "dev", "test")
        },
        hub="allenai/scitail",
        # Not its tsv_format: that was read with quotes, which lost 499 rows of train (its card).
        hub_files=hub_files("snli_format"),
    ),
    cut=DevSplit("dev", dev=0.2),
)

ENTRIES = (RTE, QNLI, SNLI, MNLI, SCITAIL)
