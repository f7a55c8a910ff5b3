"""The fenced blocks of a document: code to run, and files that it tells the reader to save."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Block:
    kind: str
    line: int
    text: str


def blocks_of(document: Path) -> list[Block]:
    """Return the fenced blocks of a document; `line` is the fence's, from 1."""
    text = document.read_text("utf-8")
    found = re.finditer(r"^```(\w*)[^\n]*\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [Block(m[1], text.count("\n", 0, m.start()) + 1, m[2]) for m in found]


def commands_of(block: Block) -> list[list[str]]:
    """Return the gpt1 commands of a shell block, as lists of arguments."""
    text = block.text.replace("\\\n", " ")  # a command may go on in the next line
    lines = (line.strip().removeprefix("$ ") for line in text.splitlines())
    return [shlex.split(line, comments=True) for line in lines if line.startswith("gpt1 ")]


def files_of(document: Path) -> dict[str, str]:
    """Return the csv files that a document shows: a block below a line with the file's name."""
    text = document.read_text("utf-8")
    files = re.findall(r"`([\w.-]+)`[^\n`]*:\n\n```csv\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(files) == text.count("```csv"), document
    return dict(files)
