"""A model folder -> a repository on the Hugging Face hub."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

from gpt1.checkpoint import folder, hub
from gpt1.errors import CheckpointError, ConfigError, HubError, first_line
from gpt1.storage import MANIFEST, Folder, json_bytes

CARD = "README.md"
_PLACEHOLDER = "THIS_FOLDER"  # in the cards that gpt1 writes into folders


@dataclass(frozen=True)
class Upload:
    """The files of a model as its repository will hold them.

    `kept` are files of the folder as they are; `card` and `manifest` are made for the repository.
    The manifest leaves out the card, so that its owner may edit it on the hub.
    """

    path: Path
    kept: dict[str, int]
    """Name -> bytes."""
    card: bytes
    manifest: bytes

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each file, by name."""
        made = {CARD: len(self.card), MANIFEST: len(self.manifest)}
        return dict(sorted({**self.kept, **made}.items()))


def find(name: Path | str) -> Path:
    """Return the model folder that `name` is to be uploaded from.

    Raises CheckpointError if there is none, or it is a run without a result.
    """
    path = hub.packaged_models().get(str(name)) or hub.of_run(Path(name).expanduser())
    if not path.is_dir():
        raise CheckpointError(f"there is no folder {path}. Give a model folder or a run.")
    if (path / "run.json").is_file():
        saved = sorted((path / "checkpoints").glob("step-*"))
        instead = f", or push its newest checkpoint, {saved[-1]}" if saved else ""
        raise CheckpointError(
            f"{path} is a run that is not finished, so it has no model yet. Finish it with "
            f"gpt1 resume {path}{instead}."
        )
    if (path / folder.OWN).is_file() and not (path / MANIFEST).is_file():
        raise CheckpointError(
            f"{path} has no {MANIFEST}, so nobody can tell whether it is whole. Copy the folder "
            f"again with all of its files, or write it anew with gpt1.load(FOLDER).save(NEW)."
        )
    return path


def own_card(path: Path) -> bytes | None:
    """Return the folder's card if a person wrote it, None if gpt1 did or there is none."""
    opened = Folder(path)
    card = opened.read(CARD) if CARD in opened else b""
    return card if card and _PLACEHOLDER.encode() not in card else None


def prepare(path: Path, card: bytes) -> Upload:
    """Return what is uploaded of a folder, every byte verified: what gpt1 reads, and pictures.

    Optimizer states and whatever else lies there stay behind. Raises CorruptError.
    """
    opened = Folder(path)
    opened.verify()
    kept, entries = {}, {}
    for name in opened.names():
        is_read = any(Path(name).match(pattern) for pattern in hub.PATTERNS)
        if name in (CARD, MANIFEST) or not (is_read or name.endswith(".png")):
            continue
        with (path / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            kept[name] = file.tell()
        if is_read:  # what `resolve` fetches
            entries[name] = {"bytes": kept[name], "sha256": digest}
    return Upload(path, kept, card, json_bytes({"files": entries}))


def check_name(name: str) -> None:
    """Raise ConfigError unless `name` can be that of a repository."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
        if hub.REPOSITORY.fullmatch(name):
            return
    except HFValidationError:
        pass
    raise ConfigError(
        f"the repository is {name!r}; its name must be owner/name, where each part has letters, "
        f"digits, - _ and . only, and at most 96 characters in all."
    )


def push(upload: Upload, name: str, *, private: bool) -> str:
    """Create the repository `name` if need be, commit the files to it, and return its address.

    Files of an earlier model there that this one lacks are removed in the same commit. Raises
    HubError saying what to do.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token

    if get_token() is None:
        raise HubError(
            "there is no token for the hub. Run hf auth login, or set HF_TOKEN to a token with "
            "write access."
        )
    api = HfApi(library_name="gpt1")
    try:
        address = api.create_repo(name, private=private or None, exist_ok=True)
        info = api.model_info(name)
        if private and not info.private:
            raise HubError(
                f"{name} exists and is public, so nothing was uploaded. Make it private in its "
                f"settings on the hub, choose another name, or leave out --private."
            )
        there = [entry.rfilename for entry in info.siblings or ()]
        sizes = upload.sizes()
        stale = [
            file
            for file in there
            if file not in sizes and any(Path(file).match(p) for p in hub.PATTERNS)
        ]
        made = {CARD: upload.card, MANIFEST: upload.manifest}
        additions = [
            CommitOperationAdd(file, io.BytesIO(made[file]) if file in made else upload.path / file)
            for file in sizes
        ]
        api.create_commit(
            name,
            [*additions, *map(CommitOperationDelete, stale)],
            commit_message="Upload a model with gpt1",
            parent_commit=info.sha,
        )
    except HubError:
        raise
    except Exception as error:  # the client's errors come from several libraries
        raise HubError(f"could not upload to {name}: {_reason(error)}.") from error
    return str(address)


def _reason(error: Exception) -> str:
    """Return why an upload failed and what to do, in the user's words."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set. Unset it"
    if isinstance(error, HfHubHTTPError):
        told = f"the hub answers {error.response.status_code}"
        what = {
            401: "the token is not valid any more. Run hf auth login",
            403: "the token may not write there. Take one with write access, or a name of your own",
            404: "there is no such owner, or the token may not see it. Check the name",
            409: "something else was committed there meanwhile. Look at it, and push again",
            412: "something else was committed there meanwhile. Look at it, and push again",
            413: "a file is too large for it",
            429: "there were too many requests. Wait some minutes and push again",
        }.get(error.response.status_code, "try again later")
        return f"{told}; {what}"
    if isinstance(error, ValueError):  # the card, or an answer that is none
        return first_line(error)
    return (
        f"the hub cannot be reached. Check the connection and HF_ENDPOINT, and push again "
        f"({type(error).__name__}: {first_line(error)[:120]})"
    )
