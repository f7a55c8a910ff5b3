"""The task types as scikit-learn estimators: fit, predict, score, clone, grid search.

| estimator | a row of X | y |
| --- | --- | --- |
| TextClassifier | text | label: a str, a whole number or a bool |
| EntailmentClassifier | (premise, hypothesis) | label |
| SimilarityClassifier | (text_a, text_b), in no order | label |
| SimilarityRegressor | (text_a, text_b), in no order | score |
| MultipleChoiceClassifier | (context, [answer, ...]) | index of the right answer |
| MultiLabelClassifier | text | a list of labels, or a row of an indicator matrix |
| SequenceLabeler | a list of words | a list of tags |

X and y are lists, tuples, numpy arrays or pandas columns. Fitting is `training.supervised`, the one
that `gpt1 finetune --task` runs, and predicting is `tasks.predictor`. Parameters that are None are
left to the recipe. scikit-learn is imported in `scikit` alone (extra gpt1[sklearn]).
"""

from gpt1.estimators.classes import (
    EntailmentClassifier,
    MultiLabelClassifier,
    MultipleChoiceClassifier,
    SequenceLabeler,
    SimilarityClassifier,
    SimilarityRegressor,
    TextClassifier,
)

__all__ = [
    "EntailmentClassifier",
    "MultiLabelClassifier",
    "MultipleChoiceClassifier",
    "SequenceLabeler",
    "SimilarityClassifier",
    "SimilarityRegressor",
    "TextClassifier",
]
