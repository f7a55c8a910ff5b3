"""`GoingOn`: what a task learns from its rows, and takes over from a trained one of its kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from gpt1.tasks.spec import Example

if TYPE_CHECKING:
    from gpt1.tasks.kinds.base import Task


class GoingOn(ABC):
    """Going on with the trained head of a task of the same kind; the base of `Task`."""

    @classmethod
    @abstractmethod
    def learn(
        cls,
        examples: Sequence[Example],
        raw: Sequence[Any],
        places: Sequence[str],
        trained: Task | None = None,
    ) -> Self:
        """Return the task that labels as they are written belong to, going on from `trained`.

        Raises DataError.
        """

    @property
    @abstractmethod
    def num_outputs(self) -> int:
        """How many numbers the head gives for a state."""

    def going_on(self, trained: Task | None) -> Self:
        """Return this task, learned from new rows, with the labels of `trained` as well."""
        return self

    def rows_of(self, trained: Task) -> Mapping[int, int]:
        """Return which numbers of the trained head mean the same: ours -> theirs."""
        same = self.num_outputs == trained.num_outputs
        return {i: i for i in range(self.num_outputs)} if same else {}

    def describe_rows(self, trained: Task, rows: Mapping[int, int]) -> str:
        """Return what of the trained head is kept, for people, given `rows_of`."""
        return "the model's trained head is kept" if rows else "the model's head is drawn anew"
