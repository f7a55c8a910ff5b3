"""A model's name -> a local folder: a path, a packaged model, or a repository of the hub.

huggingface_hub fetches, with its cache and its variables (HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE,
HF_TOKEN); only files that gpt1 reads are fetched, never a pickle.
"""

from __future__ import annotations

import functools
import re
import warnings
from importlib import resources
from pathlib import Path

from gpt1.checkpoint import parts
from gpt1.errors import HubError, Note, StorageError
from gpt1.storage import MANIFEST, Folder, check_free, existing, wrap_os_errors, write_folder
from gpt1.storage.transfer import fetch

PATTERNS = (
    *("config.json", "generation_config.json", "head.safetensors"),
    *("model*.safetensors", "model.safetensors.index.json"),
    *("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "added_tokens.json"),
    *("special_tokens_map.json", "gpt1.json", "README.md", MANIFEST),
    *("params_*.npy", "params_shapes.json", "encoder_bpe_40000.json", "vocab_40000.bpe"),
)
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_packaged(name: Path | str) -> bool:
    """Return whether `name` is that of a packaged model."""
    return isinstance(name, str) and name in packaged_models()


def from_anywhere(name: str) -> str:
    """Return what names the same model in a process with another working folder."""
    path = Path(name).expanduser()
    return name if is_packaged(name) or not path.exists() else str(path.resolve())


def packaged_models() -> dict[str, Path]:
    """Return the packaged models' folders by name."""
    assets = Path(str(resources.files("gpt1"))) / "assets"
    return {config.parent.name: config.parent for config in sorted(assets.glob("*/config.json"))}


def resolve(name: Path | str) -> Path:
    """Return the folder of the model `name`, fetching it if it is not on this machine.

    A packaged model's name comes first, with a Note if a folder has it too; then a path that exists
    (a Path is always one), then `owner/name` on the hub. Raises HubError, and StorageError if the
    path may not be read.
    """
    packaged = packaged_models()
    try:
        path = existing(Path(name).expanduser())
        if isinstance(name, str) and name in packaged:
            if path.exists():
                warnings.warn(
                    f"{name} is the packaged model; for the folder of that name say ./{name}",
                    Note,
                    stacklevel=2,
                )
            return packaged[name]
        if str(name) and path.exists():
            return of_run(path)
        if str(name) in packaged:
            return packaged[str(name)]
    except PermissionError as error:
        raise StorageError(
            f"could not read {name}: {error.strerror}. Check the path, and who may read it."
        ) from error
    except (OSError, RuntimeError):
        pass  # not a path: too long for one, or in the home of an unknown user
    if isinstance(name, Path) or not REPOSITORY.fullmatch(name):
        known = list(packaged)
        raise HubError(
            f"the model is {str(name)!r}; there is no such folder"
            + (f", and the packaged models are {', '.join(known)}. " if known else ". ")
            + "Give a folder, or owner/name of a model on the hub, "
            "e.g. openai-community/openai-gpt."
        )
    return _fetch(name)


def of_run(path: Path) -> Path:
    """Return the final model of a training run's folder, and any other path as it is."""
    with wrap_os_errors("read", path):
        model = existing(path / "model")
        is_run = (path / "run.json").is_file() and model.is_dir()
    return model if is_run else path


def pull(name: str, out: Path | str) -> Path:
    """Fetch a model and write its files to the folder `out`, atomically.

    Raises HubError, StorageError.
    """
    check_free(out)
    source = Folder(resolve(name))
    files = {
        file: map(source.read, [file])  # read when it is written, one in memory at a time
        for file in source.names()
        if file != MANIFEST and any(Path(file).match(pattern) for pattern in PATTERNS)
    }
    write_folder(out, files)
    return Path(out)


@functools.cache  # the hub is asked once in a process
def _fetch(name: str) -> Path:
    return fetch(name, "model", functools.partial(_choose, name))[0].parent


def _choose(name: str, files: list[str]) -> list[str]:
    """Return the files of a repository that gpt1 reads. Raises HubError if no weights are there."""
    chosen = [f for f in files if "/" not in f and any(Path(f).match(p) for p in PATTERNS)]
    if not any(file.endswith((".safetensors", ".npy")) for file in chosen):
        raise HubError(_why_nothing(name, files))
    return chosen


def _why_nothing(name: str, files: list[str]) -> str:
    pickle = parts.find_pickle([file for file in files if "/" not in file])
    if pickle is None:
        return (
            f"{name} holds no weights that gpt1 reads; it has {', '.join(sorted(files)[:8])}. "
            f"Look for a repository with model.safetensors."
        )
    short = name.partition("/")[2]
    source = short if parts.whole_name(pickle) != pickle else f"{short}/{pickle}"
    return (
        f"{name} holds its weights only as a pickle, {pickle}, and opening one can run any "
        f"program. Fetch and convert it safely:\n"
        f"  hf download {name} --local-dir {short}\n"
        f"  gpt1 convert {source} --out {short}-gpt1"
    )
