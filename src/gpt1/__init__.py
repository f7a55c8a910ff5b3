"""GPT-1 as working software.

    import gpt1
    gpt = gpt1.load("folder")
    print(gpt.generate("Once upon a time").text)

The public names are imported on first use: `import gpt1` imports neither torch nor spaCy.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from gpt1._version import __version__

if TYPE_CHECKING:
    from gpt1.config import ModelConfig as ModelConfig
    from gpt1.data.tables import read_texts as read_texts
    from gpt1.errors import (
        CheckpointError as CheckpointError,
        ConfigError as ConfigError,
        ContextError as ContextError,
        CorruptError as CorruptError,
        DataError as DataError,
        GPT1Error as GPT1Error,
        HubError as HubError,
        InputError as InputError,
        StorageError as StorageError,
        TokenizerError as TokenizerError,
        TrainingError as TrainingError,
        UsageError as UsageError,
    )
    from gpt1.estimators import (
        EntailmentClassifier as EntailmentClassifier,
        MultiLabelClassifier as MultiLabelClassifier,
        MultipleChoiceClassifier as MultipleChoiceClassifier,
        SequenceLabeler as SequenceLabeler,
        SimilarityClassifier as SimilarityClassifier,
        SimilarityRegressor as SimilarityRegressor,
        TextClassifier as TextClassifier,
    )
    from gpt1.model.transformer import Transformer as Transformer
    from gpt1.pipeline import GPT1 as GPT1, load as load, pretrain as pretrain
    from gpt1.text.tokenizer import Tokenizer as Tokenizer

_NAMES = {  # the public names of each module; the imports above tell type checkers the same
    "gpt1.pipeline": "GPT1 load pretrain",
    "gpt1.config": "ModelConfig",
    "gpt1.data.tables": "read_texts",
    "gpt1.model.transformer": "Transformer",
    "gpt1.text.tokenizer": "Tokenizer",
    "gpt1.estimators": "TextClassifier EntailmentClassifier SimilarityClassifier "
    "SimilarityRegressor MultipleChoiceClassifier MultiLabelClassifier SequenceLabeler",
    "gpt1.errors": "GPT1Error UsageError ConfigError InputError ContextError DataError "
    "TokenizerError CheckpointError CorruptError StorageError HubError TrainingError",
}
# Read when torch is loaded. Its waiting threads would spin, which makes a training step several
# times as slow as soon as another program wants a core.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def _after_fork() -> None:
    """Let torch compute in one thread: a fork has none of the other threads and would wait."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


getattr(os, "register_at_fork", lambda **_: None)(after_in_child=_after_fork)  # Windows has none

_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'gpt1' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
