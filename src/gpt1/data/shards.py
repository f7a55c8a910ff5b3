"""A corpus as ids on disk: text is tokenized once, and training maps the ids into memory.

The folder holds `shard-00000.bin`, ... (uint16, little-endian, one document after the other with
nothing between them, spec 3.3), `documents.bin` (uint64, the start of each document, and the end),
`data.json` (the counts), `dropped.jsonl` (the documents that filters dropped, if any), the
tokenizer's files, and storage's manifest with a SHA-256 of each. A folder is verified when it is
opened.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt1.callbacks import ProgressCallback
from gpt1.data.filters import Document, Screen
from gpt1.data.parallel import encode_texts
from gpt1.data.tables import Texts
from gpt1.errors import CorruptError, DataError, TokenizerError
from gpt1.storage import Folder, FolderWriter, json_bytes
from gpt1.text.tokenizer import DESCRIPTION, IdArray, Tokenizer

SHARD_TOKENS = 1 << 24
"""Tokens in a shard; the last one may have fewer."""
MAX_VOCABULARY = 1 << 16
_REPORT = 1 << 20  # bytes of text between two calls of progress
_DATA, _DOCUMENTS = "data.json", "documents.bin"
DROPPED = "dropped.jsonl"
"""The file with a line for each document that filters dropped."""

Encode = Callable[[Tokenizer, Iterable[str], int | None], Iterator[IdArray]]
"""(tokenizer, texts, workers) -> the ids of each text, in order: here, or on other machines."""


@dataclass(frozen=True)
class Summary:
    """The data.json of a folder of shards.

    `tokenizer` is a fingerprint; `bytes` are those of the documents' text in UTF-8; `rejected` and
    `dropped` (by filters) are reason -> rows, and rows == documents + sum(rejected) + sum(dropped).
    `quality` holds the shares of `gpt1.data.filters.Quality`, and `filters` what was asked for.
    """

    tokenizer: str
    vocab_size: int
    tokens: int
    documents: int
    bytes: int
    rows: int
    rejected: dict[str, int]
    shards: int
    format: int = 1
    dropped: dict[str, int] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)
    filters: dict[str, Any] = field(default_factory=dict)


def write_shards(
    out: Path | str,
    texts: Texts,
    tokenizer: Tokenizer,
    *,
    workers: int | None = None,
    encode: Encode = encode_texts,
    screen: Screen | None = None,
    progress: ProgressCallback | None = None,
) -> Summary:
    """Tokenize `texts` into a new folder of shards; memory does not grow with the corpus.

    `workers` is the number of processes (None: all processors, if there is much text); `progress`
    counts documents. `screen` measures the documents, and drops some. Texts without any token are
    rejected. Raises DataError, TokenizerError, StorageError.
    """
    if len(tokenizer) > MAX_VOCABULARY:
        raise TokenizerError(
            f"the vocabulary has {len(tokenizer):,} pieces; shards hold ids of 16 bits, so at most "
            f"{MAX_VOCABULARY:,}. Learn a smaller vocabulary."
        )
    screen = screen or Screen(tokenizer)
    size = reported = shards = 0
    ends = array("Q", [0])
    pending = bytearray()
    with FolderWriter(out) as folder:

        def flush(least: int) -> None:
            nonlocal shards
            while len(pending) >= least:
                folder.add(_shard(shards), bytes(pending[: 2 * SHARD_TOKENS]))
                del pending[: 2 * SHARD_TOKENS]
                shards += 1

        for document, ids in screen.kept(encode_documents(texts, tokenizer, workers, encode)):
            size += document.bytes
            ends.append(ends[-1] + len(ids))
            pending += ids.astype("<u2").tobytes()
            flush(2 * SHARD_TOKENS)
            if progress and size - reported >= _REPORT:
                reported = size
                progress(len(ends) - 1, 0)
        flush(1)
        counts = texts.counts
        dropped = Counter(row["reason"] for row in screen.dropped)
        for reason, count in dropped.items():
            counts.leave_out(reason, count)
        if not shards:
            raise DataError(f"no text gave a token; {counts}. Give other text.")
        quality = asdict(screen.quality)
        del quality["fewest_bytes"]  # names paths: the same text gives the same bytes anywhere
        summary = Summary(
            tokenizer=tokenizer.fingerprint,
            vocab_size=len(tokenizer),
            tokens=ends[-1],
            documents=len(ends) - 1,
            bytes=size,
            rows=counts.rows,
            rejected=dict(counts.rejected),
            shards=shards,
            dropped=dict(dropped),
            quality=quality,
            filters=asdict(screen.filters),
        )
        folder.add(_DOCUMENTS, np.array(ends, dtype="<u8").tobytes())
        folder.add(_DATA, json_bytes(asdict(summary)))
        if screen.dropped:
            rows = (json.dumps(row, ensure_ascii=False) + "\n" for row in screen.dropped)
            folder.add(DROPPED, (row.encode() for row in rows))
        folder.add(DESCRIPTION, json_bytes({"tokenizer": tokenizer.description()}))
        for name, data in tokenizer.files().items():
            folder.add(name, data)
    return summary


def encode_documents(
    texts: Texts, tokenizer: Tokenizer, workers: int | None, encode: Encode
) -> Iterator[tuple[Document, IdArray]]:
    """Yield each text that has a token, measured, with its ids; reject the others."""
    waiting: deque[Document] = deque()  # texts that are read and not yet tokenized

    def measured() -> Iterator[str]:
        for text in texts:
            waiting.append(Document.of(text, texts.location))
            yield text

    for ids in encode(tokenizer, measured(), workers):
        document = waiting.popleft()
        if len(ids):
            yield document, ids
        else:
            texts.counts.reject("no tokens")


def _shard(number: int) -> str:
    return f"shard-{number:05d}.bin"


class Shards:
    """A folder of shards, verified and mapped into memory.

    Raises CheckpointError if there is no such folder, DataError if it holds no shards, CorruptError
    if any of them has changed since it was written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if self.path.is_file():
            raise DataError(
                f"{path} is a file; this takes a folder of shards. Make one of it: "
                f"gpt1 prepare {path} --tokenizer FOLDER --out SHARDS"
            )
        self.folder = folder = Folder(path)
        if not folder.verified or _DATA not in folder:
            raise DataError(f"{path} holds no prepared text. Make it with gpt1 prepare.")
        data = folder.json(_DATA)
        version = data.get("format") if isinstance(data, dict) else None
        if version != 1:
            raise DataError(
                f"{path} is of format {version!r}; this version reads 1. Run gpt1 prepare again, "
                f"or install a newer gpt1."
            )
        try:
            self.summary = Summary(**data)
            names = [_shard(i) for i in range(self.summary.shards)]
            self._shards = [np.frombuffer(folder.map(name), dtype="<u2") for name in names]
            self._starts = np.cumsum([0, *map(len, self._shards)])
            self.offsets: NDArray[np.uint64] = np.frombuffer(folder.map(_DOCUMENTS), dtype="<u8")
            """Where each document starts, and the end, (documents + 1,)."""
            self.tokens, self.documents = self.summary.tokens, self.summary.documents
            sound = self._starts[-1] == self.offsets[-1] == self.tokens
        except (TypeError, ValueError, IndexError):  # not written by gpt1, though with a manifest
            sound = False
        if not sound:
            raise CorruptError(
                f"{path} does not hold what its {_DATA} says. Run gpt1 prepare again."
            )
        hashes = "".join(folder.sha256(name) for name in [*names, _DOCUMENTS])
        self.fingerprint = hashlib.sha256((hashes + self.summary.tokenizer).encode()).hexdigest()
        """The SHA-256 of the ids, the documents and the tokenizer."""

    def read(self, start: int, stop: int) -> NDArray[np.uint16]:
        """Return ids [start, stop) of the corpus, (stop - start,); read-only. Raises IndexError."""
        if not 0 <= start <= stop <= self.tokens:
            raise IndexError(f"ids [{start}, {stop}) of {self.tokens}")
        shard = int(np.searchsorted(self._starts, start, side="right")) - 1
        parts: list[NDArray[np.uint16]] = []
        while start < stop:
            first = int(self._starts[shard])
            parts.append(self._shards[shard][start - first : stop - first])
            start += len(parts[-1])
            shard += 1
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0, np.uint16)

    def document(self, i: int) -> NDArray[np.uint16]:
        """Return the ids of one document, (L,). Raises IndexError."""
        if not 0 <= i < self.documents:
            raise IndexError(f"document {i} of {self.documents}")
        return self.read(int(self.offsets[i]), int(self.offsets[i + 1]))

    def check(self, tokenizer: Tokenizer) -> None:
        """Raise TokenizerError if these ids were made with another tokenizer."""
        if tokenizer.fingerprint != self.summary.tokenizer:
            raise TokenizerError(
                f"{self.path} was prepared with another tokenizer ({self.summary.vocab_size:,} "
                f"pieces, fingerprint {self.summary.tokenizer[:12]}; the one given has "
                f"{len(tokenizer):,}, {tokenizer.fingerprint[:12]}). Prepare the text with it."
            )
