"""The kinds of task, one class for each; an instance's fields say what its head's numbers mean.

| kind | texts of an example | label |
| --- | --- | --- |
| classification | (text,) | index of the class |
| entailment | (premise, hypothesis) | index of the class |
| similarity | (text_a, text_b), in no order | index of the class |
| regression | (text_a, text_b), in no order | a score between `scale`'s ends |
| choice | (context, answer_0, answer_1, ...) | index of the right answer |
| multi-label | (text,) | indices of the classes, in order |
| sequence-labelling | the words | their tags |

A new kind is a class in a module of its own here and a line in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from gpt1.errors import CheckpointError
from gpt1.tasks.kinds.base import Task
from gpt1.tasks.kinds.choice import Choice
from gpt1.tasks.kinds.classes import Classification, Entailment, Similarity
from gpt1.tasks.kinds.labelling import SequenceLabelling
from gpt1.tasks.kinds.multi_label import MultiLabel
from gpt1.tasks.kinds.regression import Regression

_KINDS = (Classification, Entailment, Similarity, Regression, Choice, MultiLabel, SequenceLabelling)
KINDS: Mapping[str, type[Task]] = MappingProxyType({task.kind: task for task in _KINDS})
"""Every kind of task by its name."""


def task_from_json(values: Any) -> Task:
    """Return the task whose `to_json` this is. Raises CheckpointError if it is none."""
    try:
        task: Task = TypeAdapter(KINDS[values["kind"]]).validate_python(values)
        if task.num_scores and task.metric in task.metric_names:
            return task
    except (KeyError, TypeError, ValidationError):
        pass
    raise CheckpointError(
        f"the section task of gpt1.json is not one that gpt1 writes: {str(values)[:80]}. Restore "
        f"the folder from a copy."
    )


__all__ = [
    "KINDS",
    "Choice",
    "Classification",
    "Entailment",
    "MultiLabel",
    "Regression",
    "SequenceLabelling",
    "Similarity",
    "Task",
    "task_from_json",
]
