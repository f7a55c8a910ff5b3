"""The estimators: what a row and a label of each are, and what it predicts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gpt1.data.rows import column_of, short
from gpt1.errors import ConfigError, DataError, InputError, counted
from gpt1.estimators.base import Estimator, Learned
from gpt1.estimators.rows import (
    Row,
    choices_of,
    item,
    read_choice,
    read_column,
    read_index,
    read_label_sets,
    read_labels,
    read_score,
    read_tags,
    read_text,
    read_words,
    sentences_of,
)
from gpt1.estimators.scikit import ClassifierMixin, RegressorMixin
from gpt1.tasks.entities import entity_f1
from gpt1.tasks.kinds import KINDS, Choice, MultiLabel, Regression, SequenceLabelling
from gpt1.tasks.kinds.classes import ClassTask, classes_fault
from gpt1.tasks.spec import label_name


class _Chooser(ClassifierMixin, Estimator):  # type: ignore[misc]
    """An estimator that predicts the likeliest of several labels."""

    classes_: NDArray[Any]
    """(n_classes,): the labels, sorted, in the dtype that y had."""

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the likeliest of `classes_` for each row, (n,), in their dtype.

        Raises InputError for a row that cannot be used, NotFittedError before fit.
        """
        probabilities = self.predict_proba(X)
        labels: NDArray[Any] = self.classes_[probabilities.argmax(1)]
        return labels

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class, (n, n_classes), in the order of `classes_`."""
        return self._probabilities(X)

    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithms of `predict_proba`, in the same form."""
        probabilities = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            if isinstance(probabilities, list):
                return [np.log(p) for p in probabilities]
            return np.log(probabilities)


@dataclass(eq=False, repr=False)
class _Classifier(_Chooser):
    """An estimator whose labels are the classes of its task, with a weight each."""

    _: KW_ONLY
    class_weight: Literal["balanced"] | Mapping[Any, float] | None = None

    def _learn_labels(self, rows: list[Row], y: Any) -> Learned:
        labels = read_labels(y, len(rows))
        classes = self._with_known(np.unique(labels))
        if len(classes) < 2:
            raise InputError(
                f"y has one class, {classes[0]!s}, in {counted(len(rows), 'row')}; a classifier "
                f"needs at least two. Add rows of another one."
            )
        if fault := classes_fault(len(classes), len(rows)):
            raise InputError(
                f"y[0] is {short(item(labels[0]))}, and {fault}. Give classes, each in some rows."
            )
        kind = KINDS[self._kind]
        assert issubclass(kind, ClassTask)
        task = kind(tuple(map(label_name, classes.tolist())))
        return task, np.searchsorted(classes, labels).tolist(), classes

    def _with_known(self, classes: NDArray[Any]) -> NDArray[Any]:
        """Return sorted classes with those of a fit that a warm start goes on from, as a task does.

        See `ClassTask.going_on`.
        """
        trained = self._trained()
        known = None if trained is None else self.classes_
        if known is None or (known.dtype.kind in "UOT") != (classes.dtype.kind in "UOT"):
            return classes
        goes_on = len(classes) == 1 or np.isin(classes, known).any()
        return np.union1d(classes, known) if goes_on else classes

    def _task_settings(self) -> dict[str, Any]:
        weights = self.class_weight
        if isinstance(weights, Mapping):
            weights = {label_name(item(label)): item(weight) for label, weight in weights.items()}
            for name, weight in weights.items():
                if not isinstance(weight, int | float) or not 0 < weight < math.inf:
                    what = f"class_weight of {name!r} is {weight!r}"
                    raise ConfigError(f"{what}; it must be a number above 0.")
        elif weights not in (None, "balanced"):
            raise ConfigError(
                f'class_weight is {short(weights)}; it must be None, "balanced" or a dict from '
                f"label to weight."
            )
        return super()._task_settings() | {"class_weight": weights}


class TextClassifier(_Classifier):
    """Classify texts (paper, sections 3.3 and 4.2): X is n texts, y their labels.

    X may be a list, a numpy array (n,) or (n, 1), a column or one-column table of pandas or
    pyarrow, or the path of a file of texts.

    All parameters but `model` are given by keyword; None leaves them to the recipe.

    * `model`: a name, a folder, or a loaded GPT1, of which a copy is trained.
    * `recipe`: "supervised" (the paper), "small", "release" or a .toml; None: by the model's width.
    * `epochs`, `learning_rate`, `batch_size`; `lm_coef`: the weight of the auxiliary LM loss.
    * `class_weight`: None, "balanced", or a dict from label to weight.
    * `early_stopping`: hold out `validation_fraction` of the rows, stop after `n_iter_no_change`
      epochs without a better figure (counted from the end of the warm-up, and never before an epoch
      is over), and keep the best model. Without it, or where the part is less than 20 different
      texts, all rows are trained on and the last model is kept.
    * `random_state`: None, an int, a RandomState or a Generator.
    * `device`: "auto", "cpu", "cuda".
    * `dtype`: "float32", or "bfloat16", which predicts several times faster and rounds.
    * `warm_start`: a further fit goes on from the fitted model, also with its head. There is no
      `partial_fit`.
    * `allow_unknown`: fit although the vocabulary lacks over half of what the texts hold.
    * `verbose`: progress on stderr. `run`: a new folder that keeps the run, with its report.
    * `settings`: more of the configuration, e.g. `("task.clf_pdrop=0.2",)`.

    A text without a word is an error in fit; a prediction for one comes with a warning.

    After `fit` it has these attributes.

    * `classes_`; `predictor_` and `model_`; `seed_`.
    * `n_cut_`: how many rows are longer than the window (truncated as `tasks.transforms` says).
    * `conflicts_`: how many texts have different labels.
    * `history_`: the evaluations on the rows held out, each
      `{"step": ..., "loss": ..., "accuracy": ...}`.
    * `feature_names_in_` and `n_features_in_`, if X was a table.

    Examples:
        >>> TextClassifier("mini", epochs=2).set_params(random_state=0)
        TextClassifier(epochs=2, random_state=0)
    """

    _kind = "classification"
    _row = staticmethod(read_text)
    _rows = staticmethod(column_of)


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


class MultiLabelClassifier(_Classifier):
    """Give texts any number of labels, each decided on its own: X is n texts.

    y is a list of labels for each text, or an indicator matrix (n, n_classes) of 0 and 1 as
    scikit-learn's MultiLabelBinarizer makes it. `predict` returns the indicator matrix, its columns
    in the order of `classes_`: the labels, sorted, or 0, 1, ... for a matrix. For lists of labels
    again: [list(model.classes_[row == 1]) for row in model.predict(X)]. `score` is the subset
    accuracy, as scikit-learn's is; the best model is chosen by micro F1. class_weight is what a
    text that has the label counts in that label's part of the loss. The other parameters and
    attributes are TextClassifier's.
    """

    _kind = "multi-label"
    _row = staticmethod(read_text)
    _rows = staticmethod(column_of)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return (n, n_classes): 1 where a label's probability is at least 0.5.

        Raises InputError for a row that cannot be used, NotFittedError before fit.
        """
        probabilities = self.predict_proba(X)
        return self.predictor_.decide(probabilities).astype(np.int64)

    def _learn_labels(self, rows: list[Row], y: Any) -> Learned:
        named, gold = read_label_sets(y, len(rows))
        classes = self._with_known(named)
        place = np.searchsorted(classes, named).tolist()
        task = MultiLabel(tuple(map(label_name, classes.tolist())))
        return task, [tuple(place[i] for i in row) for row in gold], classes


class SequenceLabeler(_Classifier):
    """Tag each word of a sentence, such as names of persons and places (B-PER, I-PER, O).

    X is n lists of words, y n lists of as many tags, in IOB1, IOB2 or IOBES. `classes_` are the
    tags, O first. `predict` returns lists of tags and `score` is the F1 of whole entities, as
    seqeval counts it, by which the best model is chosen too. Words behind the model's window get O.
    The other parameters and attributes are TextClassifier's.
    """

    _kind = "sequence-labelling"
    _row = staticmethod(read_words)
    _rows = staticmethod(sentences_of)

    def predict(self, X: Any) -> list[list[str]]:  # type: ignore[override]
        """Return the tags of each sentence, n lists of as many tags as words.

        Raises InputError for a row that cannot be used, NotFittedError before fit.
        """
        return [self.classes_[p.argmax(1)].tolist() for p in self.predict_proba(X)]

    def predict_proba(self, X: Any) -> list[NDArray[np.float64]]:  # type: ignore[override]
        """Return the probability of each tag, n arrays (words, n_classes)."""
        probabilities = self._probabilities(X)
        ends = np.cumsum([len(row) for row in self._read(X)])
        return np.split(probabilities, ends[:-1])

    def score(self, X: Any, y: Any, sample_weight: None = None) -> float:
        """Return the F1 of the entities in y, a list of tags for each sentence of X."""
        gold = read_tags(y, self._read(X))
        return entity_f1(gold, self.predict(X))

    def _learn_labels(self, rows: list[Row], y: Any) -> Learned:
        gold = read_tags(y, rows)
        try:
            places = [f"y[{i}]" for i in range(len(gold))]
            task = SequenceLabelling.learn([], gold, places, self._trained())
        except DataError as error:
            raise InputError(str(error)) from None
        return task, gold, np.array(task.classes)


class MultipleChoiceClassifier(_Chooser):
    """Choose the right one of several answers (paper, section 3.3).

    X is n pairs (context, [answer, ...]) with the same number of answers, an array (n, 1 + answers)
    or a table with the columns context and answers (lists), or context, answer_0, answer_1, ...; y
    is the index of the right answer, from 0. Parameters (but class_weight) and attributes are
    TextClassifier's; `classes_` is 0, 1, ..., answers - 1, and rows to predict must have as many
    answers as those of fit.
    """

    _kind = "choice"
    _dtype = int
    _row = staticmethod(read_choice)
    _rows = staticmethod(choices_of)

    def _read(self, X: Any, *, blank: bool = False) -> list[Row]:
        rows = super()._read(X, blank=blank)
        for i, row in enumerate(rows):
            if len(row) != len(rows[0]):
                raise InputError(
                    f"X[{i}] has {len(row) - 1} answers and X[0] {len(rows[0]) - 1}; all rows must "
                    f"have the same number. Give the others to an estimator of their own."
                )
        return rows

    def _read_new(self, X: Any) -> list[Row]:
        rows, answers = self._read(X, blank=True), len(self.classes_)
        if len(rows[0]) != answers + 1:
            raise InputError(
                f"X[0] has {len(rows[0]) - 1} answers; this estimator was fitted to {answers}. "
                f"Give rows of {answers} answers, or fit another one."
            )
        return rows

    def _learn_labels(self, rows: list[Row], y: Any) -> Learned:
        answers = len(rows[0]) - 1
        labels = read_column(y, len(rows))
        gold = [read_index(label, f"y[{i}]", answers) for i, label in enumerate(labels)]
        return Choice(answers), gold, np.arange(answers)


@dataclass(eq=False, repr=False)
class SimilarityRegressor(RegressorMixin, Estimator):  # type: ignore[misc]
    """Score how similar two texts are, in no order (paper, section 4.2, STS-B).

    X is n pairs or an (n, 2) array of texts, y their scores. The head gives probabilities to six
    points of the scale and the prediction is the expected one. `low` and `high`, the ends of the
    scale, are the least and the greatest of y where they are None. `score` is R^2; the best model
    is chosen by Pearson's correlation. The other parameters (but class_weight) and the attributes
    (but classes_) are TextClassifier's.
    """

    _kind = "regression"

    _: KW_ONLY
    low: float | None = None
    high: float | None = None

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the expected score of each pair, (n,).

        Raises InputError for a row that cannot be used, NotFittedError before fit.
        """
        probabilities = self._probabilities(X)
        return self.predictor_.decide(probabilities)

    def _learn_labels(self, rows: list[Row], y: Any) -> Learned:
        scores = [read_score(value, f"y[{i}]") for i, value in enumerate(read_column(y, len(rows)))]
        known = getattr(self._trained(), "scale", ())
        if len({*scores, *known}) == 1:
            count = "one sample" if len(scores) == 1 else f"{len(scores):,} equal scores"
            raise InputError(
                f"y has {count}, {scores[0]:g}; a regression needs scores that differ. Add others."
            )
        low = min(*scores, *known) if self.low is None else read_score(self.low, "low")
        high = max(*scores, *known) if self.high is None else read_score(self.high, "high")
        for i, score in enumerate(scores):
            if not low <= score <= high:
                raise InputError(
                    f"y[{i}] is {score:g}; the scale goes from {low:g} to {high:g}. Correct it, or "
                    f"give another low and high."
                )
        return Regression(scale=(low, high)), scores, None
