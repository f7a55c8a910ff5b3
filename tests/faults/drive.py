"""The model of a disk that a power loss takes by surprise, and a recorder of the calls to it.

A file's bytes last once the file is flushed; a name (made, renamed, removed) once its folder is.
Whatever else was done may be kept, lost, or half done.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from disks import Hooked


@dataclass
class File:
    """Bytes: those that last, and what was done since (bytes written at the end, or a new size)."""

    durable: bytes = b""
    pending: list[bytes | int] = field(default_factory=list)

    def content(self, outcome: str) -> bytes:
        """Return what a power loss leaves."""
        if outcome == "lost":
            return self.durable
        data, zeroed = self.durable, len(self.durable)
        for each in self.pending:
            if isinstance(each, int):
                data = data[:each]
            else:
                data += each[: len(each) // 2] if outcome == "half" else each
            zeroed = min(zeroed, len(data))
        if outcome == "partly zeroed":
            zeroed += (len(data) - zeroed) // 2
        if outcome == "first page":
            zeroed = min(max(zeroed, 4096), len(data))
        if outcome in ("zeroed", "partly zeroed", "first page"):
            return data[:zeroed] + bytes(len(data) - zeroed)
        return data


@dataclass
class Change:
    """A change of names in a folder, one or (renaming) two; `number` tells which came first."""

    number: int
    names: dict[str, File | Place | None]


@dataclass
class Place:
    """A folder: the names that last, and the changes since."""

    durable: dict[str, File | Place] = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)

    def entries(self, lost: Container[int] = ()) -> dict[str, File | Place]:
        """Return the names that are there without the changes that are lost."""
        found: dict[str, Any] = dict(self.durable)
        for change in self.pending:
            if change.number not in lost:
                found.update(change.names)
        return {name: node for name, node in found.items() if node is not None}


DATA = ("kept", "lost", "zeroed", "partly zeroed", "half", "first page")
NAMES: dict[str, Callable[[list[Change]], list[Change]]] = {
    "kept": lambda pending: [],
    "lost": lambda pending: pending,
    "last lost": lambda pending: pending[-1:],
    "later half lost": lambda pending: pending[len(pending) // 2 :],
    "first lost": lambda pending: pending[:1],
    "renamings lost": lambda pending: [change for change in pending if len(change.names) > 1],
}


class Drive:
    """The model of a disk below one folder."""

    def __init__(self) -> None:
        self.root = Place()
        self._open: dict[int, File] = {}
        self._changes = 0

    def play(self, name: str, *arguments: Any) -> None:
        getattr(self, name)(*arguments)

    def _find(self, path: Path) -> Any:
        node: Any = self.root
        for part in path.parts:
            node = node.entries()[part]
        return node

    def _change(self, folder: Path, names: dict[str, File | Place | None]) -> None:
        self._changes += 1
        self._find(folder).pending.append(Change(self._changes, names))

    def make_folder(self, path: Path) -> None:
        self._change(path.parent, {path.name: Place()})

    def create(self, path: Path, fd: int) -> None:
        self._open[fd] = File()
        self._change(path.parent, {path.name: self._open[fd]})

    def open_append(self, path: Path, fd: int) -> None:
        if path.name in self._find(path.parent).entries():
            self._open[fd] = self._find(path)
        else:
            self.create(path, fd)

    def write(self, fd: int, data: bytes) -> None:
        self._open[fd].pending.append(data)

    def flush(self, fd: int) -> None:
        file = self._open[fd]
        file.durable, file.pending = file.content("kept"), []

    def rename(self, old: Path, new: Path) -> None:
        self._change(old.parent, {old.name: None, new.name: self._find(old)})

    rename_new = rename

    def exchange(self, new: Path, path: Path) -> None:
        self._change(new.parent, {new.name: self._find(path), path.name: self._find(new)})

    def truncate(self, path: Path, size: int) -> None:
        self._find(path).pending.append(size)

    def unlink(self, path: Path) -> None:
        self._change(path.parent, {path.name: None})

    def flush_folder(self, path: Path) -> None:
        folder = self._find(path)
        folder.durable, folder.pending = folder.entries(), []

    def after_loss(
        self, outcome: str, losing: Callable[[list[Change]], list[Change]]
    ) -> dict[str, bytes | None]:
        """Return what is there afterwards: path -> bytes, None for a folder."""
        nodes: dict[int, File | Place] = {}

        def gather(node: File | Place) -> None:
            if id(node) not in nodes:
                nodes[id(node)] = node
                if isinstance(node, Place):
                    later = (n for change in node.pending for n in change.names.values() if n)
                    for each in (*node.durable.values(), *later):
                        gather(each)

        gather(self.root)
        pending = [c for node in nodes.values() if isinstance(node, Place) for c in node.pending]
        lost = {change.number for change in losing(sorted(pending, key=lambda c: c.number))}
        found: dict[str, bytes | None] = {}

        def look(node: File | Place, path: str) -> None:
            if isinstance(node, File):
                found[path] = node.content(outcome)
                return
            found[path] = None
            for name, entry in node.entries(lost).items():
                look(entry, f"{path}/{name}")

        look(self.root, "")
        return found


class Recorder(Hooked):
    """A disk that remembers every call below `root` with its data, but for the calls it skips."""

    def __init__(self, root: Path, skips: Iterable[str] = ()) -> None:
        self.root, self.skips = root, set(skips)
        self.log: list[tuple[Any, ...]] = []

    def around(self, name: str, real: Callable[..., Any], *arguments: Any) -> Any:
        if name in self.skips:
            return None
        noted = [a.relative_to(self.root) if isinstance(a, Path) else a for a in arguments]
        if name == "write":
            written = real(*arguments)
            self.log.append((name, arguments[0], bytes(arguments[1])[:written]))
            return written
        if name == "remove":  # which is many calls
            path = arguments[0]
            inside = [item.relative_to(self.root) for item in path.rglob("*")]
            self.log += [("unlink", item) for item in [*inside[::-1], noted[0]]]
            return real(*arguments)
        result = real(*arguments)
        self.log.append((name, *noted, *([result] if name in ("create", "open_append") else ())))
        return result
