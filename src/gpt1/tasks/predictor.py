"""`Predictor`: a model that was fine-tuned on a task, from examples to scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gpt1.callbacks import ProgressCallback
from gpt1.checkpoint import folder, hub
from gpt1.errors import CheckpointError, counted, memory_guard
from gpt1.model.build import Model
from gpt1.model.device import choose_device
from gpt1.tasks import network
from gpt1.tasks.collate import Encoded, by_length, encode
from gpt1.tasks.kinds import Task, task_from_json
from gpt1.tasks.spec import Example
from gpt1.text.tokenizer import Tokenizer

_MEMORY = "while examples were scored. Free some, or give a smaller batch_size or shorter texts."


class Predictor:
    """A model that was fine-tuned on a task: examples in, scores out.

    `task` says what the scores mean. The model runs without dropout, longest examples first; an
    example's scores do not depend on the others beyond rounding.
    """

    def __init__(self, model: Model, tokenizer: Tokenizer, task: Task) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.task = task

    def __repr__(self) -> str:
        return f"Predictor({self.task!r})"

    @classmethod
    def load(cls, name: str | Path, *, device: str = "auto") -> Predictor:
        """Load a folder that `gpt1 finetune --task` wrote, or the run around it.

        Raises CheckpointError if the model there was not fine-tuned on a task.
        """
        path = hub.resolve(name)
        loaded = folder.load(path)
        if "task" not in loaded.extra or loaded.tokenizer is None:
            raise CheckpointError(
                f"the model in {path} has no task: it was not fine-tuned on one. Run "
                f"gpt1 finetune --task classification ... first."
            )
        task = task_from_json(loaded.extra["task"])
        model = folder.build(loaded)
        if model.head is None or len(model.head.bias) != task.num_outputs:
            raise CheckpointError(
                f"the head in {path} does not fit its task, which has "
                f"{counted(task.num_outputs, 'output')}. Restore the folder from a copy."
            )
        return cls(model.to(choose_device(device)), loaded.tokenizer, task)

    def save(self, path: Path | str) -> None:
        """Write a model folder with the head and the task, whole or not at all."""
        folder.save(path, self.model, self.tokenizer, {"task": self.task.to_json()})

    def probabilities(
        self,
        examples: Sequence[Example],
        *,
        batch_size: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> NDArray[np.float64]:
        """Return each example's distribution over classes, answers or anchors, (n, num_scores).

        batch_size: examples in a forward pass; None: as many as are fast. `progress(done, total)`
        counts examples. Raises InputError.
        """
        return self.score(self.encode(examples), batch_size=batch_size, progress=progress)

    def encode(self, examples: Sequence[Example], *, blank: bool = False) -> Encoded:
        """Return examples as ids; `truncated` says how many are longer than the window.

        `blank` lets texts be without a token. Raises InputError.
        """
        n_ctx = self.model.config.n_ctx
        return encode(examples, self.task, self.tokenizer, n_ctx, blank=blank)

    def score(
        self,
        encoded: Encoded,
        *,
        batch_size: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> NDArray[np.float64]:
        """Return the distributions of encoded examples; see `probabilities`."""
        probabilities = np.empty(encoded.targets.shape)
        done = 0
        with torch.inference_mode(), memory_guard(_MEMORY):
            for chosen, batch in by_length(encoded, batch_size):
                states = network.hidden(self.model, batch)
                logits = network.scores(self.model, states, batch, self.task)
                rows = encoded.units_of(chosen)
                probabilities[rows] = self.task.probabilities(logits.cpu(), batch.readable)
                done += len(chosen)
                if progress is not None:
                    progress(done, len(encoded))
        return probabilities

    def decide(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the prediction of each row: the likeliest class or answer, the expected score."""
        return self.task.decide(probabilities)
