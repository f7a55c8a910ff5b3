"""Read, check and write the two files of a vocabulary.

vocab.json (in the release encoder_bpe_40000.json) maps tokens to ids; merges.txt (vocab_40000.bpe)
lists the merges, the highest rank first (spec 2.1). A folder with only tokenizer.json, as saved by
transformers 5, is read too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from gpt1.errors import TokenizerError
from gpt1.storage import Folder, json_bytes, wrap_os_errors
from gpt1.text.pre_tokenizers import UNKNOWN

VOCAB, MERGES = "vocab.json", "merges.txt"
RELEASE_VOCAB, RELEASE_MERGES = "encoder_bpe_40000.json", "vocab_40000.bpe"
HUGGING_FACE, HUGGING_FACE_ADDED = "tokenizer.json", "added_tokens.json"

_INPUTS = ("input_ids", "attention_mask")  # token types would be read as tokens

END_OF_TEXT = "<|endoftext|>"
"""The end token, once added."""

Merge = tuple[str, str]

MOST = 2**20
"""Tokens, and merges, that a vocabulary may have, as many as a model has rows."""
_LONGEST = 1_000  # characters of a token
_LARGEST = 1 << 27  # bytes of a file


@dataclass(frozen=True)
class Vocabulary:
    """Tokens with their ids, and the merges that fit them.

    >>> vocabulary = Vocabulary.of({"<unk>": 0, "a": 1, "b</w>": 2, "ab</w>": 3}, [("a", "b</w>")])
    >>> vocabulary.tokens[3]
    'ab</w>'
    """

    ids: Mapping[str, int]
    merges: Sequence[Merge]
    tokens: Sequence[str]

    @classmethod
    def of(cls, ids: Mapping[str, int], merges: Iterable[Merge]) -> Self:
        """Check that ids and merges fit each other, or raise TokenizerError."""
        merges = tuple(merges)
        _check_ids(ids)
        _check_merges(ids, merges)
        return cls(ids, merges, tuple(sorted(ids, key=ids.__getitem__)))

    @classmethod
    def read(cls, folder: Folder) -> Self:
        """Read the vocabulary of a folder. Raises TokenizerError, CheckpointError, CorruptError."""
        for vocab, merges in ((VOCAB, MERGES), (RELEASE_VOCAB, RELEASE_MERGES)):
            if vocab in folder and merges in folder:
                _check_size(folder, vocab, merges)
                return cls.of(folder.json(vocab), _parse_merges(folder.read(merges), merges))
        if HUGGING_FACE in folder:
            _check_size(folder, HUGGING_FACE)
            return cls._of_hugging_face(folder.json(HUGGING_FACE))
        names = ", ".join(folder.names()[:8]) or "nothing"
        raise TokenizerError(
            f"{folder.path} has no vocabulary; it holds {names}. A vocabulary is {VOCAB} with "
            f"{MERGES}, or {RELEASE_VOCAB} with {RELEASE_MERGES}; gpt1 learn-bpe makes one."
        )

    @classmethod
    def _of_hugging_face(cls, content: Any) -> Self:
        try:
            model = content["model"]
            if model["type"] != "BPE" or model["end_of_word_suffix"] != "</w>":
                raise TypeError
            pairs = (m.split(" ") if isinstance(m, str) else m for m in model["merges"])
            merges = [(left, right) for left, right in pairs]
            return cls.of(model["vocab"], merges)
        except (KeyError, TypeError, ValueError):
            raise TokenizerError(
                f"{HUGGING_FACE} is not a GPT-1's (a BPE with the end mark </w>). Take the folder "
                f"of a GPT-1, or one that gpt1 has saved."
            ) from None

    def files(self) -> dict[str, bytes]:
        """Return the two files, as transformers names them."""
        lines = ["#version: 0.2", *(f"{left} {right}" for left, right in self.merges), ""]
        return {
            VOCAB: json_bytes({token: id for id, token in enumerate(self.tokens)}),
            MERGES: "\n".join(lines).encode(),
        }


def hugging_face_files(
    vocabulary: Vocabulary,
    added: Mapping[str, int],
    row: Sequence[str] = (),
    longest: int | None = None,
) -> dict[str, bytes]:
    """Return tokenizer.json and tokenizer_config.json, so that transformers can load the folder.

    They hold words="fast" (spec 2.5), the only mode of transformers 5, and are labelled as
    approximate. row: the added tokens around texts "A" and "B"; longest: ids of a row at most.
    """
    marks = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    normalizer = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": id, "content": token, **marks, "special": True}
            for token, id in ({UNKNOWN: vocabulary.ids[UNKNOWN]} | dict(added)).items()
        ],
        "normalizer": {"type": "BertNormalizer", **normalizer, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": _row_template(row, added) if row else None,
        "decoder": {"type": "BPEDecoder", "suffix": "</w>"},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": UNKNOWN,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: id for id, token in enumerate(vocabulary.tokens)},
            "merges": [list(merge) for merge in vocabulary.merges],
        },
    }
    config: dict[str, Any] = {
        "tokenizer_class": "OpenAIGPTTokenizer",
        "unk_token": UNKNOWN,
        "gpt1_note": 'approximate: this is words="fast"; GPT-1 was trained on words="original"',
    }
    if row:  # OpenAIGPTTokenizer would not put its tokens there
        config |= {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": UNKNOWN}
        config |= {"model_max_length": longest, "model_input_names": list(_INPUTS)}
    if END_OF_TEXT in added:
        config["eos_token"] = END_OF_TEXT
    return {HUGGING_FACE: json_bytes(tokenizer), "tokenizer_config.json": json_bytes(config)}


def _row_template(row: Sequence[str], added: Mapping[str, int]) -> dict[str, Any]:
    """Return the post-processor of tokenizer.json that makes a task's rows."""
    pieces = [
        {"SpecialToken" if name in added else "Sequence": {"id": name, "type_id": 0}}
        for name in row
    ]
    single = [
        piece
        for piece, name in zip(pieces, row, strict=True)
        if name in ("A", *row[:: len(row) - 1])
    ]
    pair = pieces
    if "B" not in row:  # the library asks for both
        pair = [*pieces[:-1], {"Sequence": {"id": "B", "type_id": 0}}, pieces[-1]]
    special = {
        name: {"id": name, "ids": [added[name]], "tokens": [name]} for name in row if name in added
    }
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}


def hugging_face_added(folder: Folder, vocabulary: Vocabulary) -> list[str]:
    """Return the tokens that transformers' files add to the vocabulary. Raises TokenizerError."""
    listed: dict[int, str] = {}
    try:
        if HUGGING_FACE in folder:
            tokens = folder.json(HUGGING_FACE)["added_tokens"]
            listed |= {item["id"]: item["content"] for item in tokens}
        if HUGGING_FACE_ADDED in folder:
            listed |= {id: token for token, id in folder.json(HUGGING_FACE_ADDED).items()}
        if not all(type(i) is int and _is_token(token) for i, token in listed.items()):
            raise TypeError
    except (KeyError, TypeError, AttributeError):
        raise TokenizerError(
            f"the added tokens of {folder.path} cannot be read: {HUGGING_FACE} or "
            f"{HUGGING_FACE_ADDED} is damaged. Save the folder again."
        ) from None
    base = len(vocabulary.tokens)
    behind = {id: token for id, token in listed.items() if id >= base}
    if sorted(behind) != list(range(base, base + len(behind))):
        raise TokenizerError(
            f"the added tokens of {folder.path} have the ids {str(sorted(behind))[:60]}; they "
            f"follow the vocabulary's {base} tokens. Save the folder again."
        )
    return [behind[id] for id in sorted(behind)]


def _check_size(folder: Folder, *names: str) -> None:
    for name in names:
        with wrap_os_errors("read", folder.path / name):
            path = folder.path / name
            size = path.stat().st_size if path.exists() else 0  # a missing one is told when read
        if size > _LARGEST:
            raise TokenizerError(
                f"{folder.path / name} has {size:,} bytes; a vocabulary's file has {_LARGEST:,} at "
                f"most. Take the folder of a GPT-1."
            )


def _parse_merges(data: bytes, name: str) -> list[Merge]:
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{name} is not UTF-8: {error}") from None
    if lines and lines[0].startswith("#version"):
        del lines[0]
    merges: list[Merge] = []
    for n, line in enumerate(filter(None, (line.rstrip("\r") for line in lines)), start=1):
        left, _, right = line.partition(" ")
        if not left or not right or " " in right:
            raise TokenizerError(
                f"merge {n} of {name} is {line!r}; a line must be two tokens with one space "
                f"between. Fetch the file again."
            )
        merges.append((left, right))
    return merges


def _check_ids(ids: Mapping[str, int]) -> None:
    if not isinstance(ids, dict):
        raise TokenizerError("the vocabulary is not a JSON object of tokens and whole-number ids.")
    if len(ids) > MOST:
        raise TokenizerError(f"the vocabulary has {len(ids):,} tokens; {MOST:,} are the most.")
    for token, id in ids.items():
        if type(id) is not int:
            raise TokenizerError(
                f"the token {token[:40]!r} has the id {str(id)[:40]!r}; tokens have whole-number "
                f"ids. Fetch the file again."
            )
        if fault := token_fault(token):
            raise TokenizerError(f"the token {token[:40]!r} {fault}. Fetch the file again.")
    if UNKNOWN not in ids:
        raise TokenizerError(f"the vocabulary has no {UNKNOWN}, the token of unknown characters.")
    if missing := set(range(len(ids))) - set(ids.values()):
        raise TokenizerError(
            f"the vocabulary has {len(ids)} tokens but no id {min(missing)}; ids run from 0 to "
            f"{len(ids) - 1}, one for each token. Fetch the file again."
        )


def _is_token(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and not token_fault(value)


def token_fault(token: str) -> str:
    """Return why a str cannot be a token, "" if it can."""
    if len(token) > _LONGEST:
        return f"has {len(token):,} characters, {_LONGEST:,} are the most"
    if not token.isascii() and any("\ud800" <= c <= "\udfff" for c in token):
        return "holds half of a surrogate pair, which is not a character"
    return ""


def _check_merges(ids: Mapping[str, int], merges: Sequence[Merge]) -> None:
    if len(merges) > MOST:
        raise TokenizerError(f"there are {len(merges):,} merges; {MOST:,} are the most.")
    seen: set[Merge] = set()
    for n, merge in enumerate(merges):
        if not all(isinstance(token, str) for token in merge):
            raise TokenizerError(f"merge {n} is {str(merge)[:60]}, not two tokens.")
        if merge in seen:
            raise TokenizerError(
                f"the merge {' '.join(merge)[:80]!r} is listed twice; ranks must be unique."
            )
        seen.add(merge)
        left, right = merge
        for token in (left, right, left + right):
            if token not in ids:
                raise TokenizerError(
                    f"merge {n} ({left[:40]} {right[:40]}) needs the token {token[:80]!r}, which "
                    f"the vocabulary lacks; the two files do not belong together. Take both from "
                    f"one source."
                )
