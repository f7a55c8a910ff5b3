"""The four task types as scikit-learn estimators: fit, predict, score, clone, grid search.

| estimator | a row of X | y |
| --- | --- | --- |
| TextClassifier | text | label: a str, a whole number or a bool |
| EntailmentClassifier | (premise, hypothesis) | label |
| SimilarityClassifier | (text_a, text_b), in no order | label |
| SimilarityRegressor | (text_a, text_b), in no order | score |
| MultipleChoiceClassifier | (context, [answer, ...]) | index of the right answer |

X and y are lists, tuples, numpy arrays or pandas columns. Fitting is `training.supervised`, the one
that `gpt1 finetune --task` runs, and predicting is `pipeline.Predictor`. Parameters that are None
are left to the recipe. scikit-learn is imported here alone (extra gpt1[sklearn]).
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import numbers
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from gpt1.checkpoint import folder, hub
from gpt1.config import RunConfig, load_run
from gpt1.data.tables import text_fault
from gpt1.errors import (
    CheckpointError,
    ConfigError,
    GPT1Error,
    InputError,
    Interrupted,
    TrainingError,
)
from gpt1.evaluation.metrics import METRICS
from gpt1.model.build import Model
from gpt1.pipeline import GPT1, Predictor, load
from gpt1.storage import Folder
from gpt1.tasks.collate import encode
from gpt1.tasks.spec import SPECIAL, Example, Kind, Task
from gpt1.tasks.tables import hold_out, identity
from gpt1.text.tokenizer import Tokenizer
from gpt1.training import supervised
from gpt1.training.history import History

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted, column_or_1d
except ImportError as error:

    class MissingExtra(GPT1Error, ImportError):
        """A library of an extra is not installed."""

    raise MissingExtra(
        'the estimators need scikit-learn, which is not installed. Run: pip install "gpt1[sklearn]"'
    ) from error

Row = tuple[str, ...]
"""The texts of an example, as `tasks.spec.Example` has them."""

_CLASS_OF: Mapping[Kind, str] = {
    "classification": "TextClassifier",
    "entailment": "EntailmentClassifier",
    "similarity": "SimilarityClassifier",
    "regression": "SimilarityRegressor",
    "choice": "MultipleChoiceClassifier",
}
_SETTINGS = {
    "epochs": "train.epochs",
    "learning_rate": "optimizer.lr",
    "batch_size": "train.batch_size",
    "lm_coef": "task.lm_coef",
    "n_iter_no_change": "train.patience",
    "random_state": "train.seed",
    "device": "train.device",
}
"""What parameters set in a run's configuration."""
_NEVER = 10**9


@dataclass(frozen=True)
class _Given:
    """Parameters as settings of a run; `task` is a list of overrides."""

    train: dict[str, Any]
    optimizer: dict[str, Any]
    task: list[str]


class _Estimator(BaseEstimator):  # type: ignore[misc]
    """What the five share: rows and parameters in, a fine-tuned `Predictor` out."""

    _kind: Kind

    def __init__(
        self,
        model: str | Path | GPT1 = "mini",
        *,
        recipe: str | None = None,
        epochs: float | None = None,
        learning_rate: float | None = None,
        batch_size: int | None = None,
        lm_coef: float | None = None,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 3,
        random_state: Any = None,
        device: str = "auto",
        verbose: bool = True,
        run: str | Path | None = None,
        settings: Sequence[str] = (),
    ) -> None:
        self.model = model
        self.recipe = recipe
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.lm_coef = lm_coef
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state
        self.device = device
        self.verbose = verbose
        self.run = run
        self.settings = settings

    def fit(self, X: Any, y: Any) -> Self:
        """Fine-tune a copy of the model on rows X (n,) and their labels y (n,); return self.

        Paper, section 3.2. With `early_stopping` a part of the rows is held out, equal texts
        together; about ten times a run the model is tried on it, and the best one is kept. The
        global random generators are left as they were. Raises InputError for rows or labels that
        cannot be used, ConfigError for a parameter out of its bounds, TrainingError.
        """
        rows = self._read(X)
        task, gold, learned = self._learn_labels(rows, y)
        examples = [Example(row, label) for row, label in zip(rows, gold, strict=True)]
        conflicts = _conflicts(examples, self._kind)
        if conflicts and self.verbose:
            _note(
                f"{conflicts:,} text{'s occur' if conflicts > 1 else ' occurs'} with different "
                f"labels; all are kept"
            )
        with contextlib.ExitStack() as stack:
            stack.enter_context(_own_generators())
            model, tokenizer = self._start()
            given = self._given(task)
            config = self._resolve(model, given)
            seed = config.train.seed
            words = tokenizer.with_words(config.data.words or tokenizer.words)
            words.add_tokens(SPECIAL)
            cut = encode(examples, task, words, model.config.n_ctx).cut
            training, validation = self._split(examples, seed)
            if self.run is None:
                place = stack.enter_context(tempfile.TemporaryDirectory(prefix="gpt1-"))
                out = Path(place) / "run"
            else:
                out = Path(self.run)
            with _interrupts(kept=self.run is not None):
                model, tokenizer = supervised.finetune(
                    model,
                    tokenizer,
                    task,
                    training,
                    validation,
                    metric=METRICS[task.metric],
                    out=out,
                    recipe=self.recipe,
                    overrides=[*given.task, *self.settings],
                    quiet=not self.verbose,
                    kept=self.run is not None,
                    train=given.train,
                    optimizer=given.optimizer,
                )
            history = [
                {name.removeprefix("valid_"): value for name, value in line.items()}
                for line in History.read(out).checks
            ]
        self._keep(Predictor(model, tokenizer, task), learned)
        self.seed_ = seed
        self.n_cut_ = cut
        self.conflicts_ = conflicts
        self.history_ = history
        return self

    def save(self, path: Path | str) -> None:
        """Write the fitted estimator into a folder, whole or not at all, without pickle.

        It is a model folder, so `gpt1 predict` and `gpt1 evaluate` take it too. A model given as a
        GPT1 and generators given as random_state are not kept. Raises StorageError.
        """
        check_is_fitted(self, "predictor_")
        predictor = self.predictor_
        about = {
            "class": _CLASS_OF[self._kind],
            "params": {name: self._plain(name, v) for name, v in self.get_params(False).items()},
            "fitted": {
                name: getattr(self, name) for name in _FITTED if name in vars(self)
            },
            **self._labels_to_json(),
        }  # fmt: skip
        extra = {"task": predictor.task.to_json(), "estimator": about}
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
                f"gpt1.{_CLASS_OF[kind]}.load."
            )
        about = Folder(hub.resolve(path)).json(folder.OWN).get("estimator")
        if about is None:
            made = cls()
            made._keep(predictor, made._labels_from_json(predictor.task, None))
            return made
        try:
            params = dict(about["params"])
            params["settings"] = tuple(params["settings"])
            if isinstance(params.get("class_weight"), list):
                params["class_weight"] = dict(map(tuple, params["class_weight"]))
            made = cls(**params)
            made._keep(predictor, made._labels_from_json(predictor.task, about))
            for name in _FITTED:
                if name in about["fitted"]:
                    setattr(made, name, about["fitted"][name])
        except (KeyError, TypeError, ValueError, AttributeError):
            raise CheckpointError(
                f"the section estimator of {path}/{folder.OWN} is not one that this gpt1 writes. "
                f"Update gpt1 if the folder is newer, or restore it from a copy."
            ) from None
        return made

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.target_tags.required = True
        return tags

    # Rows and labels

    def _read(self, X: Any) -> list[Row]:
        """Return the texts of the rows of X. Raises InputError naming the first that is wrong."""
        return [self._row(value, f"X[{i}]") for i, value in enumerate(_listed(X, "X"))]

    def _row(self, value: Any, place: str) -> Row:
        first, second = _parts(value, place, "a pair (text, text)")
        return _text(first, f"{place}[0]"), _text(second, f"{place}[1]")

    def _learn_labels(
        self, rows: list[Row], y: Any
    ) -> tuple[Task, list[int] | list[float], dict[str, Any]]:
        """Return the task, what y says in its terms, and the attributes that this gives."""
        raise NotImplementedError

    def _keep(self, predictor: Predictor, learned: Mapping[str, Any]) -> None:
        self.predictor_ = predictor
        self.model_ = predictor.model
        for name, value in learned.items():
            setattr(self, name, value)

    def _labels_to_json(self) -> dict[str, Any]:
        return {}

    def _labels_from_json(self, task: Task, about: Mapping[str, Any] | None) -> dict[str, Any]:
        return {}

    def _plain(self, name: str, value: Any) -> Any:
        """Return a parameter as a JSON value."""
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, Path):
            return str(value)
        if name == "settings":
            return list(value)
        if isinstance(value, Mapping):  # class_weight: the labels are no strings, maybe
            return [[_item(label), _item(weight)] for label, weight in value.items()]
        if name == "model" and not isinstance(value, str):
            return None
        if name == "random_state" and value is not None and not isinstance(value, int):
            return self.seed_
        return value

    # Training

    def _start(self) -> tuple[Model, Tokenizer]:
        """Return a model that training may change, and its tokenizer."""
        if isinstance(self.model, GPT1):
            return copy.deepcopy(self.model.model), self.model.tokenizer
        if self.model is None:
            raise ConfigError(
                "model is None: this estimator was fitted from a model in memory, which is not "
                "saved with it. Name one: set_params(model=...)."
            )
        if not isinstance(self.model, str | Path):
            raise ConfigError(
                f"model is {_short(self.model)}; it must be a name such as mini, a folder, or what "
                f"gpt1.load returns."
            )
        gpt = load(self.model, device="cpu", dtype="float32")
        return gpt.model, gpt.tokenizer

    def _given(self, task: Task) -> _Given:
        """Return what the parameters say, in the words of the configuration."""
        train = {
            "epochs": _item(self.epochs),
            "batch_size": _item(self.batch_size),
            "seed": _draw_seed(self.random_state),
            "device": self.device,
            "patience": _item(self.n_iter_no_change) if self.early_stopping else None,
        }
        if self.run is None:  # nobody will resume it
            train |= {"save_every": _NEVER, "keep_checkpoints": 1}
        lines = [] if self.lm_coef is None else [f"task.lm_coef={_item(self.lm_coef)}"]
        weight = self._class_weight(task)
        if isinstance(weight, dict):
            weight = "{" + ", ".join(f"{_toml(name)} = {w}" for name, w in weight.items()) + "}"
        if weight is not None:
            lines.append(f"task.class_weight={weight}")
        return _Given(train, {"lr": _item(self.learning_rate)}, lines)

    def _class_weight(self, task: Task) -> Any:
        return None

    def _resolve(self, model: Model, given: _Given) -> RunConfig:
        """Return the configuration of the run. Raises ConfigError in the parameters' names."""
        if isinstance(self.settings, str) or not all(isinstance(s, str) for s in self.settings):
            raise ConfigError(
                f"settings is {_short(self.settings)}; it must be several strings, e.g. "
                f'settings=("task.clf_pdrop=0.2",).'
            )
        if any(s.strip().startswith("data.valid_share") for s in self.settings):
            raise ConfigError(
                "settings has data.valid_share; the part held out is validation_fraction. Use that."
            )
        share = self.validation_fraction
        sound = isinstance(share, numbers.Real) and 0 < share < 1
        if self.early_stopping and not sound:
            raise ConfigError(
                f"validation_fraction is {share!r}; it must be more than 0 and less than 1, or set "
                f"early_stopping=False."
            )
        if self.run is not None and (Path(self.run) / "run.json").exists():
            raise TrainingError(
                f"run is {self.run}, and there is a run already. Give another folder, or None to "
                f"keep none."
            )
        try:
            return load_run(
                recipe=self.recipe or supervised.default_recipe(model.config),
                overrides=[*given.task, *self.settings],
                train=given.train,
                optimizer=given.optimizer,
            )
        except ConfigError as error:
            message = str(error)
            for name, setting in _SETTINGS.items():
                message = message.replace(f"{setting} is", f"{name} is")
            raise ConfigError(message) from None

    def _split(self, examples: list[Example], seed: int) -> tuple[list[Example], list[Example]]:
        """Return the examples to train on and those held out; every class is among the former."""
        if not self.early_stopping:
            return examples, []
        training, held = hold_out(examples, self.validation_fraction, seed, self._kind)
        if self._kind in ("regression", "choice"):
            return training, held
        there = {example.label for example in training}
        back = {identity(e, self._kind) for e in held if e.label not in there}
        training += [e for e in held if identity(e, self._kind) in back]
        return training, [e for e in held if identity(e, self._kind) not in back]

    # Predicting

    def _probabilities(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self, "predictor_")
        predictor = self.predictor_
        encoded = predictor.encode([Example(row) for row in self._read_new(X)])
        if encoded.cut and self.verbose:
            _note(
                f"{encoded.cut:,} of {len(encoded):,} rows are longer than the model's window and "
                f"were cut (docs/tasks.md says how)"
            )
        return predictor.score(encoded)

    def _read_new(self, X: Any) -> list[Row]:
        """Return the rows of X, which must be like those of fit."""
        return self._read(X)


class _Classifier(ClassifierMixin, _Estimator):  # type: ignore[misc]
    """Labels of any sort as the task's classes."""

    classes_: NDArray[Any]
    """(n_classes,): the labels, sorted, in the dtype that y had."""

    def __init__(
        self,
        model: str | Path | GPT1 = "mini",
        *,
        recipe: str | None = None,
        epochs: float | None = None,
        learning_rate: float | None = None,
        batch_size: int | None = None,
        lm_coef: float | None = None,
        class_weight: Literal["balanced"] | Mapping[Any, float] | None = None,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 3,
        random_state: Any = None,
        device: str = "auto",
        verbose: bool = True,
        run: str | Path | None = None,
        settings: Sequence[str] = (),
    ) -> None:
        super().__init__(
            model,
            recipe=recipe,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            lm_coef=lm_coef,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            random_state=random_state,
            device=device,
            verbose=verbose,
            run=run,
            settings=settings,
        )
        self.class_weight = class_weight

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the likeliest label of each row, (n,), in the dtype of `classes_`.

        Raises InputError for a row that cannot be used, NotFittedError before fit.
        """
        decided = self.predict_proba(X).argmax(1)
        chosen: NDArray[Any] = self.classes_[decided]
        return chosen

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class, (n, n_classes), in the order of `classes_`."""
        return self._probabilities(X)

    def _learn_labels(
        self, rows: list[Row], y: Any
    ) -> tuple[Task, list[int] | list[float], dict[str, Any]]:
        labels = _labels(y, len(rows))
        classes, codes = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise InputError(
                f"y has one class, {classes[0]!s}, in all {len(rows):,} rows; a classifier needs "
                f"at least two. Give rows of another one too."
            )
        task = Task(self._kind, tuple(map(_name, classes.tolist())))
        return task, codes.tolist(), {"classes_": classes}

    def _class_weight(self, task: Task) -> Any:
        wanted = self.class_weight
        if wanted is None or wanted == "balanced":
            return wanted
        if not isinstance(wanted, Mapping):
            raise ConfigError(
                f'class_weight is {_short(wanted)}; it must be None, "balanced" or a dict from '
                f"label to weight."
            )
        found = {}
        for label, weight in wanted.items():
            name = _name(_item(label))
            if name not in task.classes:
                raise InputError(
                    f"class_weight names {label!r}; the classes of y are "
                    f"{', '.join(task.classes[:20])}. Correct it."
                )
            number = _item(weight)
            if not isinstance(number, int | float) or not 0 < number < math.inf:
                raise InputError(
                    f"class_weight of {label!r} is {weight!r}; it must be a number above 0."
                )
            found[name] = float(number)
        return found

    def _labels_to_json(self) -> dict[str, Any]:
        return {"classes": self.classes_.tolist(), "dtype": self.classes_.dtype.str}

    def _labels_from_json(self, task: Task, about: Mapping[str, Any] | None) -> dict[str, Any]:
        if about is None:
            return {"classes_": np.array(task.classes)}
        dtype = np.dtype(about["dtype"])
        classes = np.array(about["classes"], dtype)
        if dtype.kind not in "OUbiuf" or tuple(map(_name, classes.tolist())) != task.classes:
            raise ValueError("classes")
        return {"classes_": classes}


class TextClassifier(_Classifier):
    """Classify texts (paper, sections 3.3 and 4.2): X is n texts, y their labels.

    Parameters, all but `model` by keyword; None leaves it to the recipe:
    model: a name, a folder, or a loaded GPT1, of which a copy is trained.
    recipe: "supervised" (the paper), "small", "release" or a .toml; None: by the model's width.
    epochs, learning_rate, batch_size, lm_coef (weight of the auxiliary LM loss).
    class_weight: None, "balanced", or a dict from label to weight.
    early_stopping, validation_fraction, n_iter_no_change: hold out so much of the rows, stop after
    so many tries without a better figure, keep the best model. Without it, or where the part is
    less than 20 different texts, all rows are trained on and the last model is kept.
    random_state: None, an int, a RandomState or a Generator. device: "auto", "cpu", "cuda".
    verbose: progress on stderr. run: a new folder that keeps the run, with its report.
    settings: more of the configuration, e.g. ("task.clf_pdrop=0.2",).

    Attributes: classes_; predictor_ and model_; seed_; n_cut_, how many rows are longer than the
    window (cut as `tasks.transforms` says); conflicts_, how many texts have different labels;
    history_, what was found on the rows held out: [{"step": ..., "loss": ..., "accuracy": ...}].

    >>> TextClassifier("mini", epochs=2).set_params(random_state=0)
    TextClassifier(epochs=2, random_state=0)
    """

    _kind = "classification"

    def _row(self, value: Any, place: str) -> Row:
        return (_text(value, place),)


class EntailmentClassifier(_Classifier):
    """Label pairs (premise, hypothesis), in this order (paper, section 3.3).

    X is n pairs or an (n, 2) array of texts. Parameters and attributes are TextClassifier's.
    """

    _kind = "entailment"


class SimilarityClassifier(_Classifier):
    """Label pairs of texts in no order (paper, section 3.3): (a, b) and (b, a) get the same.

    X is n pairs or an (n, 2) array of texts. Parameters and attributes are TextClassifier's.
    """

    _kind = "similarity"


class MultipleChoiceClassifier(ClassifierMixin, _Estimator):  # type: ignore[misc]
    """Choose the right one of several answers (paper, section 3.3).

    X is n pairs (context, [answer, ...]) with the same number of answers, y the index of the right
    one, from 0. Parameters (but class_weight) and attributes are TextClassifier's; `classes_` is
    0, 1, ..., answers - 1.
    """

    _kind = "choice"
    classes_: NDArray[np.int64]

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Return the index of the likeliest answer of each row, (n,).

        Raises InputError for a row that cannot be used or has another number of answers than those
        of fit, NotFittedError before fit.
        """
        decided = self.predict_proba(X).argmax(1)
        chosen: NDArray[Any] = self.classes_[decided]
        return chosen

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each answer, (n, answers)."""
        return self._probabilities(X)

    def _row(self, value: Any, place: str) -> Row:
        context, answers = _parts(value, place, "a pair (context, [answer, ...])")
        if not isinstance(answers, list | tuple | np.ndarray):
            raise InputError(
                f"{place}[1] is {_short(answers)}; it must be the list of the answers."
            )
        if len(answers) < 2:
            raise InputError(
                f"{place} has {len(answers)} answer{'s' * (len(answers) != 1)}; a choice has at "
                f"least two."
            )
        texts = [_text(answer, f"{place}[1][{i}]") for i, answer in enumerate(answers)]
        return (_text(context, f"{place}[0]"), *texts)

    def _read(self, X: Any) -> list[Row]:
        rows = super()._read(X)
        for i, row in enumerate(rows):
            if len(row) != len(rows[0]):
                raise InputError(
                    f"X[{i}] has {len(row) - 1} answers and X[0] {len(rows[0]) - 1}; all rows must "
                    f"have the same number. Give the others to an estimator of their own."
                )
        return rows

    def _read_new(self, X: Any) -> list[Row]:
        rows, answers = self._read(X), len(self.classes_)
        if len(rows[0]) != answers + 1:
            raise InputError(
                f"X[0] has {len(rows[0]) - 1} answers; this estimator was fitted to {answers}. "
                f"Give rows of {answers} answers, or fit another one."
            )
        return rows

    def _learn_labels(
        self, rows: list[Row], y: Any
    ) -> tuple[Task, list[int] | list[float], dict[str, Any]]:
        answers = len(rows[0]) - 1
        gold: list[int] = []
        for i, value in enumerate(_column(y, len(rows))):
            index = _item(value)
            sound = isinstance(index, int | float) and not isinstance(index, bool)
            if not sound or index not in range(answers):
                raise InputError(
                    f"y[{i}] is {_short(value)}; it must be the index of the right answer, 0 to "
                    f"{answers - 1}."
                )
            gold.append(int(index))
        return Task("choice", answers=answers), gold, {"classes_": np.arange(answers)}

    def _labels_from_json(self, task: Task, about: Mapping[str, Any] | None) -> dict[str, Any]:
        assert task.answers is not None
        return {"classes_": np.arange(task.answers)}


class SimilarityRegressor(RegressorMixin, _Estimator):  # type: ignore[misc]
    """Score how similar two texts are, in no order (paper, section 4.2, STS-B).

    X is n pairs or an (n, 2) array of texts, y their scores. The head gives probabilities to six
    points of the scale and the prediction is the expected one. `low` and `high`, the ends of the
    scale, are the least and the greatest of y where they are None. `score` is R^2; the best model
    is chosen by Pearson's correlation. The other parameters (but class_weight) and the attributes
    (but classes_) are TextClassifier's.
    """

    _kind = "regression"

    def __init__(
        self,
        model: str | Path | GPT1 = "mini",
        *,
        low: float | None = None,
        high: float | None = None,
        recipe: str | None = None,
        epochs: float | None = None,
        learning_rate: float | None = None,
        batch_size: int | None = None,
        lm_coef: float | None = None,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 3,
        random_state: Any = None,
        device: str = "auto",
        verbose: bool = True,
        run: str | Path | None = None,
        settings: Sequence[str] = (),
    ) -> None:
        super().__init__(
            model,
            recipe=recipe,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            lm_coef=lm_coef,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            random_state=random_state,
            device=device,
            verbose=verbose,
            run=run,
            settings=settings,
        )
        self.low = low
        self.high = high

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the expected score of each pair, (n,).

        Raises InputError for a row that cannot be used, NotFittedError before fit.
        """
        probabilities = self._probabilities(X)
        return self.predictor_.decide(probabilities)

    def _learn_labels(
        self, rows: list[Row], y: Any
    ) -> tuple[Task, list[int] | list[float], dict[str, Any]]:
        scores = [_score(value, f"y[{i}]") for i, value in enumerate(_column(y, len(rows)))]
        if min(scores) == max(scores):
            count = (
                "y has one sample" if len(scores) == 1 else f"y has {len(scores):,} equal scores"
            )
            raise InputError(
                f"{count}, {scores[0]:g}; a regression needs scores that differ. Give others too."
            )
        low = min(scores) if self.low is None else _score(self.low, "low")
        high = max(scores) if self.high is None else _score(self.high, "high")
        for i, score in enumerate(scores):
            if not low <= score <= high:
                raise InputError(
                    f"y[{i}] is {score:g}; the scale goes from {low:g} to {high:g}. Correct it, or "
                    f"give another low and high."
                )
        return Task("regression", scale=(low, high), metric="pearson"), scores, {}


_FITTED = ("seed_", "n_cut_", "conflicts_", "history_")
"""Attributes that are kept with a saved estimator."""


def _listed(data: Any, name: str) -> list[Any]:
    """Return the rows of a list, tuple, array or pandas column. Raises InputError."""
    if isinstance(data, str | bytes | Mapping | Set) or data is None:
        raise InputError(
            f"{name} is {_short(data)}; it must be a list, an array or a column of rows. Put a "
            f"single row into a list."
        )
    if hasattr(data, "to_numpy"):
        data = data.to_numpy()
    if hasattr(data, "__array__"):
        data = np.asarray(data).tolist()
    try:
        len(data)
        rows = list(data)
    except TypeError:
        raise InputError(
            f"{name} is {_short(data)}; it must be a list, an array or a column of rows. Make a "
            f"list of it."
        ) from None
    if not rows:
        raise InputError(f"{name} has no rows; give at least one.")
    return rows


def _text(value: Any, place: str) -> str:
    """Return the text `value`. Raises InputError if it is none, or an empty one."""
    if not isinstance(value, str):
        raise InputError(
            f"{place} is {_short(value)}; it must be a text (str). Correct the row or leave it out."
        )
    fault = text_fault(value)
    if fault == "empty":
        raise InputError(
            f"{place} is {value[:20]!r}, without a word; it must have one. Leave the row out."
        )
    if fault:
        raise InputError(
            f"{place} has a {fault}, which is no text: {value[:40]!r}. Correct the row or leave it "
            f"out."
        )
    return str(value)


def _parts(value: Any, place: str, wanted: str) -> tuple[Any, Any]:
    """Return the two parts of a row. Raises InputError."""
    if not isinstance(value, list | tuple | np.ndarray):
        raise InputError(f"{place} is {_short(value)}; it must be {wanted}.")
    if len(value) != 2:
        count = f"{len(value)} part{'s' * (len(value) != 1)}"
        raise InputError(f"{place} has {count}; it must be {wanted}.")
    first, second = value
    return first, second


def _column(y: Any, n: int) -> list[Any]:
    """Return the labels, one for each of n rows. Raises InputError."""
    if y is None:
        raise InputError("fit requires y to be passed, but the target y is None. Give the labels.")
    if len(getattr(y, "shape", ())) == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    labels = _listed(y, "y")
    if isinstance(labels[0], list | tuple | np.ndarray):
        raise InputError(
            f"y[0] is {_short(labels[0])}; it must be one label for each row, not several."
        )
    if len(labels) != n:
        raise InputError(f"X has {n:,} rows and y {len(labels):,}; give one label for each row.")
    return labels


def _labels(y: Any, n: int) -> NDArray[Any]:
    """Return class labels as an array of their own dtype. Raises InputError for what is none."""
    values = _column(y, n)
    sorts = [_sort(_item(value), f"y[{i}]") for i, value in enumerate(values)]
    for i, sort in enumerate(sorts):
        if sort is not sorts[0]:
            raise InputError(
                f"y[{i}] is {_short(values[i])}, y[0] is {_short(values[0])}; all labels must be "
                f"of one type. Make them all str, for instance."
            )
    dtype = np.asarray(y).dtype if hasattr(y, "__array__") else None
    if dtype is not None and dtype.kind in "OT":
        dtype = np.dtype(object) if sorts[0] is str else None
    if dtype == np.dtype(object):
        found = np.empty(n, object)
        found[:] = [str(value) for value in values]
        return found
    return np.asarray([_item(value) for value in values], dtype)


def _sort(value: Any, place: str) -> type:
    """Return which of str, bool, float a label is, whole numbers as float. Raises InputError."""
    if isinstance(value, str) and value.strip():
        return str
    if isinstance(value, bool):
        return bool
    if isinstance(value, int | float) and math.isfinite(value) and value == int(value):
        return float
    missing = value is None or repr(value) in ("''", "nan", "<NA>", "NaT")
    if missing:
        raise InputError(f"{place} is {value!r}; every row needs a label. Leave it out.")
    what = f"{_short(value)}, a continuous value" if isinstance(value, float) else _short(value)
    raise InputError(
        f"{place} is {what}; a label is a text, a whole number or a bool. For scores, "
        f"take SimilarityRegressor."
    )


def _score(value: Any, place: str) -> float:
    """Return a score as a float. Raises InputError if it is no finite number."""
    number = _item(value)
    sound = isinstance(number, int | float) and not isinstance(number, bool)
    if not sound or not math.isfinite(number):
        raise InputError(
            f"{place} is {_short(value)}; it must be a finite number. Correct it or leave the row "
            f"out."
        )
    return float(number)


def _item(value: Any) -> Any:
    """Return a numpy scalar as Python's, anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def _name(label: Any) -> str:
    """Return how the task calls a label, as `tasks.tables` does."""
    if isinstance(label, bool):
        return str(label).lower()
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label)


def _toml(text: str) -> str:
    """Return a quoted string of TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _conflicts(examples: Sequence[Example], kind: Kind) -> int:
    """Count texts that occur with different labels."""
    found: dict[tuple[str, ...], set[float]] = {}
    for example in examples:
        assert example.label is not None
        found.setdefault(identity(example, kind), set()).add(example.label)
    return sum(len(labels) > 1 for labels in found.values())


def _draw_seed(random_state: Any) -> int:
    """Return the seed of a run: the int itself, or one drawn. Raises ConfigError."""
    if random_state is None:  # from the system, so that no generator of the user's moves
        random_state = np.random.default_rng()
    if isinstance(random_state, numbers.Integral) and not isinstance(random_state, bool):
        return int(random_state)
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31))
    try:
        return int(check_random_state(random_state).randint(2**31 - 1))
    except ValueError:
        raise ConfigError(
            f"random_state is {_short(random_state)}; it must be None, a whole number from 0, a "
            f"RandomState or a Generator of numpy."
        ) from None


@contextlib.contextmanager
def _own_generators() -> Iterator[None]:
    """Leave torch's global generators as they were; numpy's are not used."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with torch.random.fork_rng(list(devices)):
        yield


@contextlib.contextmanager
def _interrupts(*, kept: bool) -> Iterator[None]:
    """Let Ctrl-C be KeyboardInterrupt again, so that a grid search stops too."""
    try:
        yield
    except Interrupted as error:
        if error.exit_code == 128 + signal.SIGINT:
            raise KeyboardInterrupt(str(error) if kept else "fit was stopped") from None
        raise


def _note(text: str) -> None:
    print(text, file=sys.stderr)
