"""What the commands that work on a task share: its name, the columns, and reading the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gpt1.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    from gpt1.tasks.datasets import DataSet
    from gpt1.tasks.kinds import Task
    from gpt1.tasks.spec import Example
    from gpt1.tasks.tables import Table
    from gpt1.text.tokenizer import Tokenizer

LM = "lm"
COLUMNS = "which column is which, e.g. text=Review,label=Stars."


@dataclass(frozen=True)
class Named:
    """What --task names: neither a kind nor a data set is "lm"; a data set has its kind."""

    kind: str | None = None
    data: DataSet | None = None


def task_named(name: str) -> Named:
    """Return the task type, or the paper's data set, of that name. Raises ConfigError."""
    from gpt1.tasks.datasets import DATA_SETS, data_set
    from gpt1.tasks.kinds import KINDS

    if name == LM:
        return Named()
    if name in KINDS:
        return Named(name)
    try:
        data = data_set(name)
    except ConfigError:
        raise ConfigError(
            f"the task {name!r} is not one of {LM}, {', '.join(KINDS)}, nor a data set of the "
            f"paper ({', '.join(DATA_SETS)}).{did_you_mean(name, [LM, *KINDS, *DATA_SETS])}"
        ) from None
    return Named(data.task.kind, data)


def columns_given(text: str | None) -> dict[str, str]:
    """Return what --columns says, standard name -> the file's. Raises ConfigError.

    >>> columns_given("text=Review, label=Stars")
    {'text': 'Review', 'label': 'Stars'}
    """
    found: dict[str, str] = {}
    for part in [] if text is None else text.split(","):
        name, equals, column = (piece.strip() for piece in part.partition("="))
        if not name or not equals or not column:
            raise ConfigError(
                f"--columns is {text!r}; it takes pairs with commas between, the standard name "
                f"first, e.g. --columns text=Review,label=Stars."
            )
        if name in found:
            raise ConfigError(f"--columns names {name!r} twice; name each once.")
        found[name] = column
    return found


def read_table(
    kind: str,
    sources: str | Sequence[str],
    tokenizer: Tokenizer,
    *,
    columns: Mapping[str, str],
    task: Task | None = None,
    labelled: bool = True,
    limit: int | None = None,
) -> Table:
    """Return the rows of files; those of which the tokenizer leaves nothing are rejected as well.

    Raises ConfigError, DataError, HubError.
    """
    from gpt1.tasks.tables import read_examples

    table = read_examples(kind, sources, columns=columns, task=task, labelled=labelled, limit=limit)
    wordless = _wordless(table.usable, tokenizer)
    bad = {
        i
        for i, example in enumerate(table.examples)
        if example is not None and table.task.lacks_words(example, wordless, labelled=labelled)
    }
    if not bad:
        return table
    table.counts.reject("no words", len(bad))
    if not labelled:
        examples = [None if i in bad else e for i, e in enumerate(table.examples)]
        return replace(table, examples=examples)
    kept = [i for i in range(len(table.examples)) if i not in bad]
    if not kept:
        raise DataError(f"{table.locations[0]}: nothing to use; {table.counts}.")
    examples = [table.examples[i] for i in kept]
    return replace(table, examples=examples, locations=[table.locations[i] for i in kept])


def _wordless(examples: Sequence[Example], tokenizer: Tokenizer) -> set[str]:
    """Return the texts of which no token is left, e.g. a control character alone."""
    texts = {text for example in examples for text in example.texts}
    odd = [text for text in texts if not any(map(str.isalnum, text))]  # letters leave tokens
    return {text for text, ids in zip(odd, tokenizer.encode_batch(odd), strict=True) if not ids}


def truncation_note(cut: int) -> str:
    """Return what to say of rows longer than the window."""
    what = "row is" if cut == 1 else "rows are"
    return f"{cut:,} {what} longer than the model's window and truncated (docs/tasks.md says how)"


def fit_labels(examples: Sequence[Example], data: DataSet, task: Task) -> list[Example]:
    """Give a data set's examples the labels of a model's task. Raises ConfigError if none fit."""
    index = task.translate(data.task)
    if index is None:
        raise ConfigError(
            f"{data.title} is {data.task.describe()}; the model was taught {task.describe()}. Take "
            f"a model that was fine-tuned with --task {data.name}."
        )
    return [
        e if e.label is None or not index else replace(e, label=index[int(e.label)])
        for e in examples
    ]
