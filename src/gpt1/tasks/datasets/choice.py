"""Which of several answers is right: RACE and the Story Cloze Test."""

from __future__ import annotations

from gpt1.tasks.datasets.entry import DataSet, DevSplit, Layout
from gpt1.tasks.datasets.files import Files
from gpt1.tasks.kinds import Choice

_RACE: dict[str, tuple[tuple[str, ...], ...]] = {
    f"{split}_{level}": ((f"{split}_{level}.jsonl.gz",), (f"{split}/{level}/*.txt",))
    for split in ("train", "dev", "test")
    for level in ("middle", "high")
}
_HUB = {"train": "train", "dev": "validation", "test": "test"}

RACE = DataSet(
    name="race",
    title="RACE",
    task=Choice(answers=4),
    metrics=("accuracy",),
    layouts=(
        # A passage with its questions; on the hub one question a row.
        Layout(("article", "options"), "answers", "questions", ("questions", "options", "answers")),
        Layout(("article", "options"), "answer", "question"),
    ),
    labels=(("A",), ("B",), ("C",), ("D",)),
    files=Files(
        folders=("race", "RACE"),
        splits={
            split: tuple(
                middle + high
                for middle, high in zip(
                    _RACE[f"{split}_middle"], _RACE[f"{split}_high"], strict=True
                )
            )
            for split in ("train", "dev", "test")
        }
        | _RACE,
        hub="ehovy/race",
        # From memory: the configurations all, middle and high.
        hub_files={
            f"{split}{'' if config == 'all' else f'_{config}'}": f"{config}/{name}-*.parquet"
            for config in ("all", "middle", "high")
            for split, name in _HUB.items()
        },
    ),
    endings={".txt": ".json"},
)

STORYCLOZE = DataSet(
    name="storycloze",
    title="Story Cloze",
    task=Choice(answers=2),
    metrics=("accuracy",),
    layouts=(
        Layout(
            (
                ("InputSentence1", "InputSentence2", "InputSentence3", "InputSentence4"),
                "RandomFifthSentenceQuiz1",
                "RandomFifthSentenceQuiz2",
            ),
            label="AnswerRightEnding",
        ),
    ),
    labels=(("1",), ("2",)),
    files=Files(
        folders=("storycloze",),
        # As they were given out, and (from memory) as later copies are named.
        splits={
            split: (
                (f"cloze_test_{split}__spring2016.csv",),
                (f"cloze_test_{split}__spring2016 - cloze_test_ALL_{split}.csv",),
            )
            for split in ("val", "test")
        },
    ),
    cut=DevSplit("val", dev=374, seed=3535999445),  # the release's (spec 4.5.1)
    endings={},
)

ENTRIES = (RACE, STORYCLOZE)
