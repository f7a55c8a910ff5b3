"""The tokenizer: text to ids and back, exactly as each of the three GPT-1s does it."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from gpt1.errors import InputError, Note, TokenizerError, counted
from gpt1.storage import Folder, json_bytes, write_folder
from gpt1.text.bpe import BPE, END, NEWLINE
from gpt1.text.chunks import ChunkCache
from gpt1.text.detokenize import join
from gpt1.text.offsets import Encoding, locate
from gpt1.text.pre_tokenizers import (
    NEWLINE_CHUNK,
    UNKNOWN,
    UNKNOWN_CHUNK,
    OriginalPreTokenizer,
    check_text,
    check_texts,
    check_words,
    make_pre_tokenizer,
)
from gpt1.text.truecase import truecase as with_capitals
from gpt1.text.vocabulary import (
    END_OF_TEXT,
    Vocabulary,
    hugging_face_added,
    hugging_face_files,
    token_fault,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer as LibraryTokenizer

    from gpt1.callbacks import ProgressCallback

IdArray = npt.NDArray[np.integer[Any]]
"""Ids of any integer type, (N,)."""

DESCRIPTION = "gpt1.json"
"""The file whose section `tokenizer` holds how words are split, and the added tokens."""


_NOT_IN_TEXTS = re.compile(
    r"\W*_?(pad|bos|eos|cls|sep|mask|s|endoftext|start|delimiter|classify)_?\W*", re.IGNORECASE
)


class Tokenizer:
    """Text to ids and back.

    tok = Tokenizer.load("folder")
    tok.decode(tok.encode("Hello, my dog is cute"))  # 'hello, my dog is cute'

    `words` is how text is split into words: "original" (as GPT-1 was trained), "slow" or "fast" (as
    in transformers, see `gpt1.text.pre_tokenizers`). Added tokens have ids after the vocabulary's;
    `encode` never produces them.
    """

    def __init__(
        self, vocabulary: Vocabulary, words: str = "original", added: Iterable[str] = ()
    ) -> None:
        self._set_up(vocabulary, words, BPE(vocabulary.ids, vocabulary.merges))
        self.add_tokens(added)

    def _set_up(self, vocabulary: Vocabulary, words: str, bpe: BPE) -> None:
        self.vocabulary = vocabulary
        self.words = check_words(words)
        self.added: dict[str, int] = {}
        self._bpe = bpe
        self._tokens = list(vocabulary.tokens)
        self._pre_tokenizer = make_pre_tokenizer(self.words)
        self.unknown_id = vocabulary.ids[UNKNOWN]
        self.newline_id = vocabulary.ids.get(NEWLINE, self.unknown_id)
        marks = {NEWLINE_CHUNK: (self.newline_id,), UNKNOWN_CHUNK: (self.unknown_id,)}
        self._ids_of: ChunkCache[int] = ChunkCache(self._pre_tokenizer, bpe, marks)

    # --- making

    @classmethod
    def load(
        cls, folder: str | Path | Folder, words: str | None = None, *, rows: int | None = None
    ) -> Self:
        """Load the vocabulary of a folder: vocab.json and merges.txt, or the release's two files.

        `words` defaults to what the folder's gpt1.json records, else to "original". Tokens that
        another tool added are left out, with a Note, where the model's `rows` do not reach. Raises
        TokenizerError, CheckpointError (no folder), CorruptError, InputError (unknown `words`).
        """
        check_words("original" if words is None else words)
        folder = folder if isinstance(folder, Folder) else Folder(folder)
        vocabulary = Vocabulary.read(folder)
        described = folder.json(DESCRIPTION) if DESCRIPTION in folder else {}
        section = described.get("tokenizer", {}) if isinstance(described, dict) else {}
        if not section:
            added = hugging_face_added(folder, vocabulary)
            if ended := [token for token in added if END in token]:
                raise TokenizerError(
                    f"{folder.path} adds the token {ended[0]!r}, which ends words."
                )
            return cls(vocabulary, words or "original", _usable(folder, added, vocabulary, rows))
        try:
            tokenizer = cls(vocabulary, section["words"], section["added"])
        except (KeyError, TypeError, InputError) as error:
            raise TokenizerError(
                f"the section tokenizer of {folder.path / DESCRIPTION} was not written by gpt1 "
                f"({error}). Restore the folder from a copy."
            ) from None
        if section.get("sha256") != tokenizer.fingerprint:
            raise TokenizerError(
                f"the vocabulary in {folder.path} is not the one it was saved with (its SHA-256 "
                f"differs from {DESCRIPTION}'s). Restore the folder from a copy."
            )
        return tokenizer if words is None else tokenizer.with_words(words)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int = 8192,
        words: str = "original",
        min_count: int = 2,
        *,
        progress: ProgressCallback | None = None,
    ) -> Self:
        """Learn a vocabulary of `vocab_size` tokens from `texts` (spec 2.8).

        Warns if it has fewer because no further pair of tokens occurs `min_count` times. Raises
        InputError if there are no words, or more characters than `vocab_size` has room for.
        """
        from gpt1.text.learn import count_words, learn

        mode = check_words(words)
        counts = count_words(texts, mode)
        vocabulary = learn(counts, vocab_size, min_count=min_count, progress=progress)
        if len(vocabulary.tokens) < vocab_size:
            warnings.warn(
                f"the vocabulary has {len(vocabulary.tokens):,} tokens, not {vocab_size:,}: no "
                f"further pair occurs {counted(min_count, 'time')} in these texts",
                stacklevel=2,
            )
        return cls(vocabulary, mode)

    def with_words(self, words: str) -> Self:
        """Return this tokenizer with another way to split words."""
        other = object.__new__(type(self))
        other._set_up(self.vocabulary, words, self._bpe)
        other.add_tokens(self.added)
        return other

    def state(self) -> dict[str, Any]:
        """Return everything that defines this tokenizer, as JSON values."""
        merges = [list(merge) for merge in self.vocabulary.merges]
        vocab = {token: self.vocabulary.ids[token] for token in self.vocabulary.tokens}
        return {"vocab": vocab, "merges": merges, "words": self.words, "added": list(self.added)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild a tokenizer from its `state`. Raises TokenizerError, InputError."""
        merges = [(left, right) for left, right in state["merges"]]
        return cls(Vocabulary.of(state["vocab"], merges), state["words"], state["added"])

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_state, (self.state(),)

    # --- text to ids

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`.

        They are never added tokens: "<|endoftext|>" becomes eight ordinary ones. Raises InputError
        if `text` is not a str or, in fast mode, holds half of a surrogate pair.
        """
        return self._ids_of(check_text(text))

    def encode_array(self, text: str) -> IdArray:
        """Return the ids of `text` as uint16, or uint32 for large vocabularies."""
        ids = self.encode(text)
        return np.fromiter(ids, self.dtype, len(ids))

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]:
        """Return the ids of each of `texts`; `gpt1.data.parallel` uses all processors."""
        return [self._ids_of(text) for text in check_texts(texts)]

    def encode_with_offsets(self, text: str) -> Encoding:
        """Return the ids, the tokens, their offsets, and the text that the offsets refer to."""
        ids = self.encode(text)
        if isinstance(self._pre_tokenizer, OriginalPreTokenizer):
            marks = {"newline": self.newline_id, "unknown": self.unknown_id}
            cleaned, located = locate(self._pre_tokenizer, text, self._bpe, **marks)
            offsets = [span for _, span in located]
        else:
            cleaned, offsets = text, self._library.encode(text).offsets
        return Encoding(ids, self.tokens(ids), offsets, cleaned)

    # --- ids to text

    def decode(
        self,
        ids: Iterable[int],
        *,
        clean_up: bool = True,
        skip_special: bool = False,
        truecase: bool = False,
    ) -> str:
        """Return the text of `ids`: raw, or with the ten clean-ups of spec 2.6.1.

        `skip_special` omits `<unk>` and added tokens; `truecase` restores capitals and spaces where
        that is safe (see `gpt1.text.truecase`). Raises InputError for an id out of range.
        """
        tokens = self.tokens(ids, skip_special=skip_special)
        text = join(tokens, slow=self.words == "slow", clean_up=clean_up)
        return with_capitals(text) if truecase else text

    def tokens(self, ids: Iterable[int], *, skip_special: bool = False) -> list[str]:
        """Return the vocabulary strings of `ids`. Raises InputError for an id out of range."""
        base = len(self.vocabulary.tokens)
        tokens: list[str] = []
        for id in map(int, ids):
            if not 0 <= id < len(self):
                raise InputError(
                    f"id is {id}; this tokenizer has ids 0 to {len(self) - 1}. "
                    f"Decode with the tokenizer that made it."
                )
            if not (skip_special and (id == self.unknown_id or id >= base)):
                tokens.append(self._tokens[id])
        return tokens

    # --- the vocabulary

    def __len__(self) -> int:
        return len(self._tokens)

    def add_tokens(self, tokens: Iterable[str]) -> list[int]:
        """Add tokens after the vocabulary, in order, and return their ids.

        A token added before keeps its id. Raises InputError for a token of the vocabulary.
        """
        if isinstance(tokens, str):
            raise InputError(f"tokens is the single str {tokens!r}; put it into a list.")
        tokens = list(tokens)
        for token in tokens:
            if not isinstance(token, str) or not token or END in token or token_fault(token):
                raise InputError(
                    f"an added token is {str(token)[:40]!r}; it must be a str of at most 1,000 "
                    f"characters, without {END}."
                )
            if token in self.vocabulary.ids:
                raise InputError(
                    f"{token!r} is a token of the vocabulary, so text may contain it. "
                    f"Choose another name for the special token."
                )
        for token in tokens:
            if token not in self.added:
                self.added[token] = len(self._tokens)
                self._tokens.append(token)
        return [self.added[token] for token in tokens]

    def id_to_token(self, id: int) -> str:
        """Return the vocabulary string of an id. Raises InputError if out of range."""
        return self.tokens([id])[0]

    @property
    def eos_id(self) -> int | None:
        """The id of `<|endoftext|>`, if it has been added."""
        return self.added.get(END_OF_TEXT)

    @property
    def dtype(self) -> type[np.uint16] | type[np.uint32]:
        """The smaller of uint16 and uint32 that holds all ids."""
        return np.uint16 if len(self) <= 1 << 16 else np.uint32

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of all that determines ids: vocabulary, merges, words, added tokens."""
        return hashlib.sha256(json.dumps(self.state(), ensure_ascii=True).encode()).hexdigest()

    # --- files

    def description(self) -> dict[str, Any]:
        """Return the section `tokenizer` of gpt1.json."""
        return {"words": self.words, "added": list(self.added), "sha256": self.fingerprint}

    def files(self, row: Sequence[str] = (), longest: int | None = None) -> dict[str, bytes]:
        """Return the files of the vocabulary, and those of transformers.

        The latter are words="fast" whatever `words` is, since transformers has no other. row: the
        added tokens that it puts around texts, which stand there as "A" and "B".
        """
        return self.vocabulary.files() | hugging_face_files(
            self.vocabulary, self.added, row, longest
        )

    def save(self, folder: str | Path, *, replace: bool = True) -> None:
        """Write a folder for `load` and for transformers (as "fast"). Raises StorageError.

        `replace` lets it take the place of an earlier one.
        """
        described = {DESCRIPTION: json_bytes({"tokenizer": self.description()})}
        write_folder(folder, self.files() | described, replace=replace)

    @cached_property
    def _library(self) -> LibraryTokenizer:
        from tokenizers import Tokenizer as LibraryTokenizer

        files = hugging_face_files(self.vocabulary, {})
        return LibraryTokenizer.from_str(files["tokenizer.json"].decode())

    def __repr__(self) -> str:
        return f"Tokenizer({len(self)} tokens, words={self.words!r}, {len(self.added)} added)"


def _usable(
    folder: Folder, added: Sequence[str], vocabulary: Vocabulary, rows: int | None
) -> Sequence[str]:
    """Return the tokens that another tool added and the model has rows for."""
    room = len(added) if rows is None else max(0, rows - len(vocabulary.tokens))
    if without := ", ".join(added[room:][:8]):
        note = f"{folder.path}: the model has no row for the added tokens {without}; left out"
        warnings.warn(note, Note, stacklevel=3)
    if read := ", ".join([t for t in added[:room] if not _NOT_IN_TEXTS.fullmatch(t)][:8]):
        note = (
            f"{folder.path}: transformers reads the added tokens {read} out of a text; gpt1 reads "
            f"their letters. Leave them out of prompts"
        )
        warnings.warn(note, Note, stacklevel=3)
    return added[:room]
