"""`GoingOn`: what a task takes over from a model that was trained on one of the same kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from gpt1.tasks.spec import Label

if TYPE_CHECKING:
    from gpt1.tasks.kinds.base import Task


class GoingOn(ABC):
    """Going on with the trained head of a task of the same kind; the base of `Task`."""

    @property
    @abstractmethod
    def num_outputs(self) -> int:
        """How many numbers the head gives for a state."""

    def going_on(self, trained: Task) -> Self:
        """Return this task, learned from new rows, with the labels of `trained` as well."""
        return self

    def relabel(self, label: Label, other: Task) -> Label:
        """Return a label of `other`, whose labels this task has, in the terms of this one."""
        return label

    def rows_of(self, trained: Task) -> Mapping[int, int]:
        """Return which numbers of the trained head mean the same: ours -> theirs."""
        same = self.num_outputs == trained.num_outputs
        return {i: i for i in range(self.num_outputs)} if same else {}

    def describe_rows(self, trained: Task, rows: Mapping[int, int]) -> str:
        """Return what of the trained head is kept, for people, given `rows_of`."""
        return "the model's trained head is kept" if rows else "the model's head is drawn anew"
