"""Fetch files of a repository on the Hugging Face hub into the hub's own cache.

huggingface_hub makes the requests (with its session, token and variables), and its other users
find the files. Whatever answers in the hub's place is not trusted: a name or a hash that is none is
refused before anything is written, SHA-256 is compared where the hub gives one, and nothing goes on
for ever.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import quote

from gpt1.errors import GPT1Error, HubError, counted, first_line

Chooser = Callable[[list[str]], Sequence[str]]
"""The names of a repository's files -> those to fetch. May raise GPT1Error."""

PATIENCE = 60.0
"""Seconds that a fetch may last, and one more for each `SLOWEST` bytes received."""
SLOWEST = 20_000
TIMEOUT = 10.0
"""Seconds without an answer."""
_LISTING = 1 << 24  # bytes of a repository's list of files
_UNSIZED = 1 << 26  # bytes of a file whose size the hub does not tell
_ATTEMPTS = 3
_PAUSE = 1.0  # seconds between them
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_HASH = re.compile(r"[0-9a-f]{32,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def fetch(repo: str, kind: Literal["model", "dataset"], choose: Chooser) -> list[Path]:
    """Return the files of `repo` that `choose` picks, fetched unless the cache has them.

    Where the hub cannot be reached, those of an earlier fetch. Raises HubError saying what to do,
    and what `choose` raises.
    """
    transfer = _Transfer(repo, kind, choose)
    thread = threading.Thread(target=transfer.run, daemon=True)
    started = time.monotonic()
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.05)
            seconds = time.monotonic() - started
            if seconds > PATIENCE + transfer.received / SLOWEST:
                transfer.error = TimeoutError(f"no end after {seconds:.0f} seconds")
                break
    finally:
        transfer.stopped = True
    if transfer.error is None:
        return [transfer.verify(path) for path in transfer.paths]
    if isinstance(transfer.error, GPT1Error):
        raise transfer.error
    if paths := transfer.fetched_before():
        return [transfer.verify(path) for path in paths]
    reason = _reason(transfer.error, transfer.what)
    raise HubError(f"could not fetch the {transfer.what} {repo}: {reason}.") from transfer.error


class _OddAnswer(Exception):
    """What answers is no hub."""


class _Transfer:
    """One fetch: runs in a thread of its own, so that it can be given up at any point."""

    def __init__(self, repo: str, kind: Literal["model", "dataset"], choose: Chooser) -> None:
        from huggingface_hub import constants

        self.repo, self.kind, self.choose = repo, kind, choose
        self.what = "model" if kind == "model" else "data set"
        name = f"{kind}s--{repo}".replace("/", "--")
        self.cache = Path(constants.HF_HUB_CACHE) / name
        self.endpoint = constants.ENDPOINT
        self.received = 0
        self.stopped = False
        self.paths: list[Path] = []
        self.error: Exception | None = None

    def run(self) -> None:
        """Fetch the files; set `paths`, or `error`."""
        try:
            names, commit = self._list()
            paths = [self._file(name, commit) for name in self.choose(names)]
            ref = self.cache / "refs" / "main"
            ref.parent.mkdir(parents=True, exist_ok=True)
            ref.write_text(commit)
            self.paths = paths
        except Exception as error:  # the client's errors come from several libraries
            self.error = self.error or error

    def fetched_before(self) -> list[Path]:
        """Return the files of the last fetch that `choose` picks, [] if they are not all there."""
        try:
            commit = (self.cache / "refs" / "main").read_text()
            if not _COMMIT.fullmatch(commit):
                return []
            folder = self.cache / "snapshots" / commit
            files = (p for p in folder.rglob("*") if p.is_file())
            return [
                folder / n for n in self.choose([p.relative_to(folder).as_posix() for p in files])
            ]
        except (OSError, ValueError, GPT1Error):
            return []

    def verify(self, path: Path) -> Path:
        """Return `path` if it holds what its blob's name says. Raises HubError, and removes it."""
        blob = path.resolve()
        if _SHA256.fullmatch(blob.name):
            with blob.open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
            if actual != blob.name:
                with contextlib.suppress(OSError):
                    path.unlink()
                    blob.unlink()
                raise HubError(
                    f"{path.name} of {self.repo} in the hub's cache is damaged (its SHA-256 is "
                    f"another) and was removed. Run the command again to fetch it anew."
                )
        return path

    def _list(self) -> tuple[list[str], str]:
        """Return the names of the files, and the commit they belong to."""
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

        validate_repo_id(self.repo)
        body = bytearray()
        url = f"{self.endpoint}/api/{self.kind}s/{self.repo}/revision/main"
        with self._get(url) as response:
            for chunk in response.iter_bytes():
                body += chunk
                self._count(chunk)
                if len(body) > _LISTING:
                    raise _OddAnswer("its list of files has no end")
        try:
            content = json.loads(bytes(body))
            commit = content["sha"]
            names = [entry["rfilename"] for entry in content["siblings"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise _OddAnswer("it sends no list of files") from None
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise self._refused(f"it names a commit {str(commit)[:60]!r}, which is none")
        return [name for name in names if isinstance(name, str) and _is_inside(name)], commit

    def _file(self, name: str, commit: str) -> Path:
        """Return a file in the cache, fetched if it is not there."""
        from huggingface_hub import get_hf_file_metadata

        repo = self.repo if self.kind == "model" else f"datasets/{self.repo}"
        address = f"{self.endpoint}/{repo}/resolve/{commit}/{quote(name)}"
        metadata = get_hf_file_metadata(address, timeout=TIMEOUT)
        if metadata.commit_hash is None or metadata.etag is None:
            raise _OddAnswer(f"it does not say which version of {name} it has")
        if not _HASH.fullmatch(metadata.etag) or metadata.commit_hash != commit:
            answer = f"{metadata.etag[:60]!r} of {metadata.commit_hash[:60]!r}"
            raise self._refused(f"it names {name} by {answer}, which is no hash of that commit")
        blob = self.cache / "blobs" / metadata.etag
        path = self.cache / "snapshots" / commit / name
        blob.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not blob.exists():
            self._download(address, name, metadata.size, blob)
        if not path.exists():
            _link(blob, path)
        return path

    def _download(self, address: str, name: str, size: int | None, blob: Path) -> None:
        from huggingface_hub import utils

        most = _UNSIZED if size is None else size
        handle, temporary = tempfile.mkstemp(prefix=f"{blob.name}.", dir=blob.parent)
        progress: Any = utils.tqdm  # type: ignore[attr-defined]
        bar = progress(total=size, unit="B", unit_scale=True, desc=name, disable=None, leave=False)
        try:
            with open(handle, "wb") as file, bar:
                for attempt in range(_ATTEMPTS):
                    try:
                        self._append(address, file, most, bar)
                        break
                    except (_OddAnswer, GPT1Error):
                        raise
                    except Exception:
                        if attempt + 1 == _ATTEMPTS or self.stopped:
                            raise
                        time.sleep(_PAUSE)
                file.flush()
                received = file.tell()
            if size is not None and received != size:
                raise _OddAnswer(
                    f"{name} has {counted(received, 'byte')} of the {size:,} announced"
                )
            with open(temporary, "rb") as written:
                actual = hashlib.file_digest(written, "sha256").hexdigest()
            if _SHA256.fullmatch(blob.name) and actual != blob.name:
                raise self._refused(f"{name} is not what it announced (its SHA-256 differs)")
            os.replace(temporary, blob)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)

    def _append(self, address: str, file: Any, most: int, bar: Any) -> None:
        """Receive a file's bytes from where `file` ends."""
        start = file.tell()
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        with self._get(address, headers) as response:
            if start and response.status_code != 206:
                file.seek(0)
                file.truncate()
                bar.reset()
            for chunk in response.iter_bytes():
                file.write(chunk)
                bar.update(len(chunk))
                self._count(chunk)
                if file.tell() > most:
                    raise _OddAnswer(f"it sends more than the {counted(most, 'byte')} it announced")

    @contextlib.contextmanager
    def _get(self, url: str, headers: dict[str, str] | None = None) -> Any:
        from huggingface_hub import get_session
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        sent = build_hf_headers() | (headers or {})
        session: Any = get_session()
        with session.stream(
            "GET", url, headers=sent, timeout=TIMEOUT, follow_redirects=True
        ) as response:
            if response.status_code >= 400:
                raise _Status(response.status_code, response.headers.get("X-Error-Code", ""))
            yield response

    def _count(self, chunk: bytes) -> None:
        self.received += len(chunk)
        if self.stopped:
            raise TimeoutError("given up")

    def _refused(self, why: str) -> HubError:
        return HubError(
            f"the {self.what} {self.repo} was not fetched from {self.endpoint}: {why}. Nothing of "
            f"it was kept. Try again; if it stays so, do not use this source."
        )


class _Status(Exception):
    """An answer of 400 or more."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"the hub answers {status}")
        self.status, self.code = status, code


def _is_inside(name: str) -> bool:
    """Return whether a file's name leads nowhere but into its repository."""
    parts = name.split("/")
    return (
        not PurePosixPath(name).is_absolute()
        and not any(part in ("", ".", "..") or len(part) > 200 for part in parts)
        and not any(c in "\\:" or not c.isprintable() for c in name)
    )


def _link(blob: Path, path: Path) -> None:
    """Make `path` a link to a blob, as the cache's other users do, or a copy of it."""
    try:
        os.symlink(os.path.relpath(blob, path.parent), path)
    except FileExistsError:
        pass  # another process was faster
    except OSError:  # Windows without the right to make links
        shutil.copyfile(blob, path)


def _reason(error: Exception, what: str) -> str:
    """Return why a fetch failed and what to do, in the user's words."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    if isinstance(error, HfHubHTTPError):
        response = error.response
        error = _Status(response.status_code, response.headers.get("X-Error-Code", ""))
    if isinstance(error, HFValidationError):
        return f"no {what} can have that name. Names look like owner/name"
    copy = f"copy the {what}'s files here and give their path"
    if isinstance(error, OfflineModeIsEnabled):
        return f"HF_HUB_OFFLINE is set, and it was not fetched before. Unset it, or {copy}"
    if isinstance(error, _Status):
        if error.code == "GatedRepo" or error.status == 403:
            return "its owner grants access to it. Ask for it on its page, then run: hf auth login"
        if error.status in (401, 404):
            return f"no {what} has that name, or it is private. Check it, or run: hf auth login"
        return f"the hub answers {error.status}. Try again later, or {copy}"
    if isinstance(error, _OddAnswer):
        return (
            f"what answers in the hub's place is not one: {error}. Check the connection (a login "
            f"page or a proxy?) and HF_ENDPOINT, or {copy}"
        )
    detail = first_line(error)
    return (
        f"the hub cannot be reached, and it was not fetched before. Check the connection and try "
        f"again, or {copy} ({type(error).__name__}: {detail[:120]})"
    )
