"""One sentence, one class: SST-2 and CoLA."""

from __future__ import annotations

from gpt1.data.formats import Headless
from gpt1.tasks.datasets.entry import DataSet, Layout
from gpt1.tasks.datasets.files import Files, hub_files
from gpt1.tasks.kinds import Classification

SST2 = DataSet(
    name="sst2",
    title="SST-2",
    task=Classification(("negative", "positive")),
    metrics=("accuracy",),
    layouts=(Layout(("sentence",)),),
    labels=(("0",), ("1",)),
    files=Files(
        folders=("sst2", "SST-2"),
        splits={"train": (("train.tsv",),), "dev": (("dev.tsv",),), "test": (("test.tsv",),)},
        hub="nyu-mll/glue",
        hub_files=hub_files("sst2"),
    ),
)

COLA = DataSet(
    name="cola",
    title="CoLA",
    task=Classification(("unacceptable", "acceptable"), metric="matthews"),
    metrics=("matthews", "accuracy"),
    layouts=(Layout(("sentence",)),),
    labels=(("0",), ("1",)),
    headless=(Headless(("source", "label", "mark", "sentence")),),
    files=Files(
        folders=("cola", "CoLA", "cola_public/raw"),
        splits={
            "train": (("in_domain_train.tsv",), ("train.tsv",)),
            "dev": (("in_domain_dev.tsv", "out_of_domain_dev.tsv"), ("dev.tsv",)),
            "test": (("test.tsv",),),
        },
        hub="nyu-mll/glue",
        hub_files=hub_files("cola"),
    ),
)

ENTRIES = (SST2, COLA)
