"""GPT-1 as working software.

    import gpt1
    gpt = gpt1.load("folder")
    print(gpt.generate("Once upon a time").text)

The names below are loaded when first used: `import gpt1` itself imports neither torch nor spaCy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gpt1._version import __version__

if TYPE_CHECKING:
    from gpt1.config import ModelConfig
    from gpt1.data.tables import read_texts
    from gpt1.errors import (
        CheckpointError,
        ConfigError,
        ContextError,
        CorruptError,
        DataError,
        GPT1Error,
        HubError,
        InputError,
        StorageError,
        TokenizerError,
        TrainingError,
        UsageError,
    )
    from gpt1.estimators import (
        EntailmentClassifier,
        MultipleChoiceClassifier,
        SimilarityClassifier,
        SimilarityRegressor,
        TextClassifier,
    )
    from gpt1.model.transformer import Transformer
    from gpt1.pipeline import GPT1, load, pretrain
    from gpt1.text.tokenizer import Tokenizer

_HOME = {
    "GPT1": "gpt1.pipeline",
    "ModelConfig": "gpt1.config",
    "Tokenizer": "gpt1.text.tokenizer",
    "Transformer": "gpt1.model.transformer",
    "load": "gpt1.pipeline",
    "pretrain": "gpt1.pipeline",
    "read_texts": "gpt1.data.tables",
    **dict.fromkeys(
        (
            "EntailmentClassifier",
            "MultipleChoiceClassifier",
            "SimilarityClassifier",
            "SimilarityRegressor",
            "TextClassifier",
        ),
        "gpt1.estimators",
    ),
    **dict.fromkeys(
        (
            "CheckpointError",
            "ConfigError",
            "ContextError",
            "CorruptError",
            "DataError",
            "GPT1Error",
            "HubError",
            "InputError",
            "StorageError",
            "TokenizerError",
            "TrainingError",
            "UsageError",
        ),
        "gpt1.errors",
    ),
}

__all__ = [  # noqa: RUF022 - the names people use first come first
    "load", "pretrain", "read_texts", "GPT1", "ModelConfig", "Tokenizer", "Transformer",
    "TextClassifier", "EntailmentClassifier", "SimilarityClassifier", "SimilarityRegressor",
    "MultipleChoiceClassifier",
    "CheckpointError", "ConfigError", "ContextError", "CorruptError", "DataError", "GPT1Error",
    "HubError", "InputError", "StorageError", "TokenizerError", "TrainingError", "UsageError",
    "__version__",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gpt1' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
