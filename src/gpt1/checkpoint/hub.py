"""A model's name -> a local folder: a path, a packaged model, or a repository of the hub.

huggingface_hub fetches, with its cache and its variables (HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE,
HF_TOKEN); only files that gpt1 reads are fetched, never a pickle.
"""

from __future__ import annotations

import functools
import re
from importlib import resources
from pathlib import Path

from gpt1.errors import HubError, StorageError
from gpt1.storage import MANIFEST, Folder, check_free, existing, wrap_os_errors, write_folder

PATTERNS = (
    *("config.json", "generation_config.json", "head.safetensors"),
    *("model*.safetensors", "model.safetensors.index.json"),
    *("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "added_tokens.json"),
    *("special_tokens_map.json", "gpt1.json", "README.md", MANIFEST),
    *("params_*.npy", "params_shapes.json", "encoder_bpe_40000.json", "vocab_40000.bpe"),
)
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_PICKLE = re.compile(r"[^/]+\.(bin|pt|pth|ckpt)")


def is_packaged(name: Path | str) -> bool:
    """Return whether `name` is that of a packaged model."""
    return isinstance(name, str) and name in packaged_models()


def packaged_models() -> dict[str, Path]:
    """Return the packaged models' folders by name."""
    assets = Path(str(resources.files("gpt1"))) / "assets"
    return {config.parent.name: config.parent for config in sorted(assets.glob("*/config.json"))}


def resolve(name: Path | str) -> Path:
    """Return the folder of the model `name`, fetching it if it is not on this machine.

    A path that exists comes first, then a packaged model, then `owner/name` on the hub.
    Raises HubError, and StorageError if the path may not be read.
    """
    packaged = Path(str(resources.files("gpt1"))) / "assets"
    try:
        path = existing(Path(name).expanduser())
        if str(name) and path.exists():
            return of_run(path)
        if (packaged / str(name) / "config.json").is_file():
            return packaged / str(name)
    except PermissionError as error:
        raise StorageError(
            f"could not read {name}: {error.strerror}. Check the path, and who may read it."
        ) from error
    except (OSError, RuntimeError):
        pass  # not a path: too long for one, or in the home of an unknown user
    if isinstance(name, Path) or not _REPOSITORY.fullmatch(name):
        known = sorted(config.parent.name for config in packaged.glob("*/config.json"))
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
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        folder = Path(snapshot_download(name, allow_patterns=list(PATTERNS)))
        names = [item.name for item in folder.iterdir()] if folder.is_dir() else []
        if not any(item.endswith((".safetensors", ".npy")) for item in names):
            raise HubError(_why_nothing(name, HfApi().list_repo_files(name)))
        return folder
    except GatedRepoError:
        reason = "its owner grants access to it. Ask for it on its page, then run: hf auth login"
    except RepositoryNotFoundError:
        reason = "no model has that name, or it is private. Check it, or run: hf auth login"
    except OfflineModeIsEnabled:
        reason = _OFFLINE
    except LocalEntryNotFoundError as error:
        offline = isinstance(error.__cause__, OfflineModeIsEnabled)
        reason = _OFFLINE if offline else (
            "the hub cannot be reached, and it was not fetched before. Check the connection, or "
            "copy the model's folder here and give its path"
        )  # fmt: skip
    except HFValidationError:
        reason = "no repository can have that name. Names look like owner/name"
    except HfHubHTTPError as error:
        reason = f"the hub answers {error.response.status_code}. Try again later"
    raise HubError(f"the model {name} could not be fetched: {reason}.")


_OFFLINE = (
    "HF_HUB_OFFLINE is set, and it was not fetched before. Unset it, or copy the model's folder "
    "here and give its path"
)


def _why_nothing(name: str, files: list[str]) -> str:
    pickle = next((file for file in sorted(files) if _PICKLE.fullmatch(file)), None)
    if pickle is None:
        return (
            f"{name} holds no weights that gpt1 reads; it has {', '.join(sorted(files)[:8])}. "
            f"Look for a repository with model.safetensors."
        )
    short = name.partition("/")[2]
    return (
        f"{name} holds its weights only as a pickle, {pickle}, and opening one can run any "
        f"program. Fetch and convert it safely:\n"
        f"  hf download {name} --local-dir {short}\n"
        f"  gpt1 convert {short}/{pickle} --out {short}-gpt1"
    )
