"""What the estimators share: fit, save and load, and parameters as settings of a run."""

from __future__ import annotations

import contextlib
import copy
import numbers
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from gpt1.checkpoint import folder, hub
from gpt1.config import RunConfig, default_recipe, load_run
from gpt1.data.rows import read_each, short
from gpt1.errors import (
    CheckpointError,
    ConfigError,
    InputError,
    Interrupted,
    TrainingError,
    counted,
)
from gpt1.estimators.rows import (
    FEATURES,
    Row,
    count_conflicts,
    item,
    pairs_of,
    read_features,
    read_pair,
    read_weights,
    warn_of_rows,
)
from gpt1.estimators.saving import (
    SETTINGS,
    call_record,
    read_classes,
    read_fitted,
    read_params,
    to_json,
)
from gpt1.estimators.scikit import BaseEstimator, check_is_fitted, clone, draw_seed
from gpt1.generation.torch_backend import narrow
from gpt1.model.build import Model
from gpt1.pipeline import GPT1, load
from gpt1.reports.history import History
from gpt1.storage import Folder
from gpt1.tasks.collate import encode
from gpt1.tasks.kinds import Task
from gpt1.tasks.leakage import hold_out
from gpt1.tasks.predictor import Predictor
from gpt1.tasks.spec import SPECIAL, Example
from gpt1.text.tokenizer import Tokenizer
from gpt1.text.unknown import check_unknown
from gpt1.training import supervised
from gpt1.training.run import RunOptions

CLASS_OF: Mapping[str, str] = {
    "classification": "TextClassifier",
    "entailment": "EntailmentClassifier",
    "similarity": "SimilarityClassifier",
    "regression": "SimilarityRegressor",
    "choice": "MultipleChoiceClassifier",
    "multi-label": "MultiLabelClassifier",
    "sequence-labelling": "SequenceLabeler",
}
_NEVER = 10**9
Learned = tuple[Task, list[Any], NDArray[Any] | None]
"""The task, the label of each row in its terms, and `classes_`, if the task has classes."""


@dataclass(eq=False, repr=False)
class Estimator(BaseEstimator):  # type: ignore[misc]
    """Rows and parameters in, a fine-tuned `Predictor` out.

    The fields are the parameters: a dataclass writes the `__init__` that scikit-learn reads.
    """

    _kind: ClassVar[str]
    _dtype: ClassVar[type] = str  # of `classes_`, for a model of the command line

    model: str | Path | GPT1 | None = "mini"
    _: KW_ONLY
    recipe: str | None = None
    epochs: float | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    lm_coef: float | None = None
    early_stopping: bool = True
    validation_fraction: float = 0.1
    n_iter_no_change: float | None = None
    random_state: Any = None
    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    verbose: bool = True
    warm_start: bool = False
    allow_unknown: bool = False
    run: str | Path | None = None
    settings: Sequence[str] = ()

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fine-tune a copy of the model on rows X (n,) and their labels y (n,); return self.

        Paper, section 3.2. sample_weight (n,): how much each row counts; 2 is as if it were there
        twice, 0 leaves it out. With `early_stopping` a part of the rows is held out, equal texts
        together; about ten times a run the model is evaluated on it, and the best one is kept. The
        global random generators are left as they were. Raises InputError naming the rows or labels
        that cannot be used (also a text without a word), ConfigError for a parameter out of its
        bounds, TrainingError.
        """
        rows = self._read(X)
        task, labels, classes = self._learn_labels(rows, y)
        features = read_features(clone(self), X)
        weights = read_weights(sample_weight, len(rows))
        examples = [
            Example(row, label, weight=weight)
            for row, label, weight in zip(rows, labels, weights, strict=True)
            if weight
        ]
        conflicts = count_conflicts(examples, task)
        if conflicts and self.verbose:
            occur = "text occurs" if conflicts == 1 else "texts occur"
            print(f"{conflicts:,} {occur} with different labels; all are kept", file=sys.stderr)
        with contextlib.ExitStack() as stack:
            stack.enter_context(_names_of_parameters())
            stack.enter_context(torch.random.fork_rng(range(torch.cuda.device_count())))
            temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="gpt1-"))
            out = Path(temporary, "run") if self.run is None else Path(self.run)
            model, tokenizer = self._start()
            config = self._resolve(model)
            task = supervised.choose_metric(task, config.task.metric)
            words = tokenizer.with_words(config.data.words or tokenizer.words)
            words.add_tokens(SPECIAL)
            texts, places = [" ".join(row) for row in rows], [f"X[{i}]" for i in range(len(rows))]
            check_unknown(texts, words, places, allow=self.allow_unknown)
            truncated = encode(examples, task, words, model.config.n_ctx).truncated
            share = self.validation_fraction if self.early_stopping else 0.0
            training, held_out = hold_out(examples, share, config.train.seed, self._kind)
            kept, call = self.run is not None, call_record(self, config)
            options = RunOptions(out, quiet=not self.verbose, report=kept, command=call)
            try:
                model, tokenizer = supervised.finetune(
                    model, tokenizer, task, training, held_out, config, options
                )
            except Interrupted as error:
                if error.exit_code == 128 + signal.SIGINT:  # so that a grid search stops too
                    raise KeyboardInterrupt(str(error) if self.run else "fit was stopped") from None
                raise
            history = History.read(out).evaluations
        self._set_fitted(Predictor(model, tokenizer, task), classes)
        for name in FEATURES:
            self.__dict__.pop(name, None)
        self.__dict__.update(features)
        self.seed_ = config.train.seed
        self.n_cut_ = truncated
        self.conflicts_ = conflicts
        self.history_ = [
            {name.removeprefix("valid_"): value for name, value in line.items()} for line in history
        ]
        return self

    @property
    def partial_fit(self) -> Any:
        """There is none: a model that sees a few rows at a time forgets the ones before."""
        raise AttributeError(
            f"{type(self).__name__} has no partial_fit: a fit goes over all rows several times. To "
            f"train a fitted one further, on old and new rows, set warm_start=True and fit."
        )

    def save(self, path: Path | str) -> None:
        """Write the fitted estimator into a folder, whole or not at all, without pickle.

        It is a model folder, so `gpt1 predict` and `gpt1 evaluate` take it too. A model given as a
        GPT1 and generators given as random_state are not kept. Raises StorageError.
        """
        check_is_fitted(self, "predictor_")
        predictor = self.predictor_
        extra = {"task": predictor.task.to_json(), "estimator": to_json(self)}
        folder.save(path, predictor.model, predictor.tokenizer, extra)

    @classmethod
    def load(cls, path: Path | str, *, device: str = "auto") -> Self:
        """Load a fitted estimator that `save` wrote; it predicts the same to the last bit.

        A folder of `gpt1 finetune --task` will do: its labels are texts then, and the parameters
        the defaults. Raises CheckpointError, naming the right class for another kind of task.
        """
        predictor = Predictor.load(path, device=device)
        kind = predictor.task.kind
        if kind != cls._kind:
            raise CheckpointError(
                f"{path} holds a model for {kind}; {cls.__name__} is for {cls._kind}. Load it with "
                f"gpt1.{CLASS_OF[kind]}.load."
            )
        names = predictor.task.label_names
        default = {"params": {"settings": ()}, "fitted": {}, "classes": names, "dtype": cls._dtype}
        saved = Folder(hub.resolve(path)).json(folder.OWN).get("estimator", default)
        try:
            estimator = cls(**read_params(saved))
            estimator._set_fitted(predictor, read_classes(predictor.task, saved))
            estimator.__dict__.update(read_fitted(saved))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise CheckpointError(
                f"the section estimator of {path}/{folder.OWN} is not one that this gpt1 writes. "
                f"Update gpt1 if the folder is newer, or restore it from a copy."
            ) from None
        return estimator

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.target_tags.required = True
        return tags

    # Rows and labels

    _row = staticmethod(read_pair)
    _rows = staticmethod(pairs_of)

    def _read(self, X: Any, *, blank: bool = False) -> list[Row]:
        """Return the texts of the rows of X; `blank` lets them be empty.

        Raises InputError naming the rows that are wrong.
        """
        if isinstance(X, Iterator):
            raise InputError(f"X is {short(X)}, which can be read once; make a list of it.")
        rows = self._rows(X, "X")
        if not rows:
            raise InputError("X has no rows; give at least one.")
        return read_each(partial(self._row, blank=blank), rows, "X")

    def _learn_labels(self, rows: list[Row], y: Any) -> Learned:
        raise NotImplementedError

    def _set_fitted(self, predictor: Predictor, classes: NDArray[Any] | None) -> None:
        self.predictor_ = predictor
        self.model_ = predictor.model
        if classes is not None:
            self.classes_ = classes

    # Training

    def _trained(self) -> Task | None:
        """Return the task of the fit that a warm start goes on from, None without one."""
        return self.predictor_.task if self.warm_start and hasattr(self, "predictor_") else None

    def _start(self) -> tuple[Model, Tokenizer]:
        """Return a model that training may change, and its tokenizer."""
        if self._trained() is not None:
            return copy.deepcopy(self.model_), self.predictor_.tokenizer
        if isinstance(self.model, GPT1):
            return copy.deepcopy(self.model.model), self.model.tokenizer
        if not isinstance(self.model, str | Path):
            raise ConfigError(
                f"model is {short(self.model)}; it must be a name such as mini, a folder, or a "
                f"loaded GPT1, which is not saved with an estimator: set_params(model=...)."
            )
        gpt = load(self.model, device="cpu", dtype="float32")
        return gpt.model, gpt.tokenizer

    def _task_settings(self) -> dict[str, Any]:
        """Return the section task of the configuration."""
        return {"lm_coef": item(self.lm_coef)}

    def _resolve(self, model: Model) -> RunConfig:
        """Return the configuration of the run. Raises ConfigError."""
        if isinstance(self.settings, str) or not all(isinstance(s, str) for s in self.settings):
            raise ConfigError(
                f"settings is {short(self.settings)}; it must be several strings, such as "
                f'("task.clf_pdrop=0.2",).'
            )
        if any(s.strip().startswith("data.valid_share") for s in self.settings):
            raise ConfigError(
                "settings has data.valid_share; the part held out is validation_fraction. Use that."
            )
        share = self.validation_fraction
        if self.early_stopping and not (isinstance(share, numbers.Real) and 0 < share < 1):
            raise ConfigError(
                f"validation_fraction is {share!r}; it must be more than 0 and less than 1, or set "
                f"early_stopping=False."
            )
        if self.run is not None and (Path(self.run) / "run.json").exists():
            raise TrainingError(
                f"run is {self.run}; there is a run already. Choose another folder, or None to "
                f"keep none."
            )
        train = {
            "epochs": item(self.epochs),
            "batch_size": item(self.batch_size),
            "seed": draw_seed(self.random_state),
            "device": self.device,
            "patience": item(self.n_iter_no_change) if self.early_stopping else None,
        }
        if self.run is None:  # nobody will resume it
            train |= {"save_every": _NEVER, "keep_checkpoints": 1}
        return load_run(
            recipe=self.recipe or default_recipe(self._kind, model.config),
            overrides=self.settings,
            train=train,
            task=self._task_settings(),
            optimizer={"lr": item(self.learning_rate)},
        )

    # Predicting

    def _probabilities(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self, "predictor_")
        read_features(self, X)
        if self.dtype not in ("float32", "bfloat16"):
            raise ConfigError(f"dtype is {short(self.dtype)}; it must be float32 or bfloat16.")
        predictor, rows = self.predictor_, self._read_new(X)
        warn_of_rows(rows, predictor.tokenizer)
        encoded = predictor.encode([Example(row) for row in rows], blank=True)
        if encoded.truncated and self.verbose:
            print(
                f"{encoded.truncated:,} of {counted(len(encoded), 'row')} did not fit the model's "
                f"window and had to be truncated (docs/tasks.md says how)",
                file=sys.stderr,
            )
        model = narrow(self.model_, self.dtype)
        return Predictor(model, predictor.tokenizer, predictor.task).score(encoded)

    def _read_new(self, X: Any) -> list[Row]:
        """Return the rows of X, which must be like those of fit; their texts may be empty."""
        return self._read(X, blank=True)


@contextlib.contextmanager
def _names_of_parameters() -> Iterator[None]:
    """Name parameters in the message of a ConfigError, not the settings they stand for."""
    try:
        yield
    except ConfigError as error:
        message = str(error)
        for name, setting in SETTINGS.items():
            message = message.replace(f"{setting} ", f"{name} ")
        raise ConfigError(message) from None
