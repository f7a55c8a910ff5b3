"""A small Hugging Face hub on loopback, for the real client to talk to."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_loopback"

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""


class LoopbackHub:
    """Serve folders as repositories, read-only unless `store` is a folder for new ones.

    with LoopbackHub(models={"me/tiny": folder}, datasets={"me/jokes": folder}) as hub:
        subprocess.run(..., env=hub.env(tmp_path))

    Writing needs the token `TOKEN`, and a repository whose owner is "me".

    `change`, if set, makes another of every answer.

    `requests` lists what was asked for: ("GET", "/api/models/me/tiny/revision/main"). A repository
    in `gated` answers 401 with the hub's error code. The client reads its variables when it is
    imported, so it runs in a process of its own.
    """

    def __init__(
        self,
        *,
        models: Mapping[str, Path] | None = None,
        datasets: Mapping[str, Path] | None = None,
        gated: tuple[str, ...] = (),
        store: Path | None = None,
    ) -> None:
        self.repositories = {"models": dict(models or {}), "datasets": dict(datasets or {})}
        self.gated = gated
        self.store = store
        self.private: set[str] = set()
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.change: Callable[[Answer], Answer] | None = None

    def __enter__(self) -> Self:
        hub = self

        class Handler(_Handler):
            served = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def env(self, home: Path) -> dict[str, str]:
        """Return an environment in which the client asks this hub and keeps its cache in `home`."""
        ours = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        cleared = ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE", "HF_DATASETS_CACHE")
        return {n: v for n, v in os.environ.items() if n not in cleared} | ours


class QuietHandler(BaseHTTPRequestHandler):
    """Answer HEAD and GET by `answer`, and print nothing."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_PUT(self) -> None:
        self.answer()

    def log_message(self, *_: Any) -> None:
        pass

    @abstractmethod
    def answer(self) -> None: ...


class _Handler(QuietHandler):
    served: LoopbackHub

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.served.requests.append((self.command, path))
        if self.command in ("POST", "PUT"):
            self._write(path, self.rfile.read(int(self.headers.get("Content-Length", 0))))
            return
        parts = path.strip("/").split("/")
        if parts[0] == "api":
            kind, parts = parts[1], parts[2:]
        else:
            kind = "datasets" if parts[0] == "datasets" else "models"
            parts = parts[1:] if kind == "datasets" else parts
        name, rest = "/".join(parts[:2]), parts[2:]
        folder = self.served.repositories.get(kind, {}).get(name)
        if name in self.served.gated:
            self._refuse(401, "GatedRepo")
        elif folder is None:
            self._refuse(404, "RepoNotFound")
        elif path.startswith("/api/"):
            self._describe(name, folder, rest)
        elif rest[:1] == ["resolve"]:
            self._file(folder, "/".join(rest[2:]))
        else:
            self._refuse(404, "EntryNotFound")

    def _describe(self, name: str, folder: Path, rest: list[str]) -> None:
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        sha = _commit(folder, files)
        if rest[:1] == ["tree"]:
            inside = "/".join(rest[2:])
            entries = []
            for file in files:
                relative = file.relative_to(folder).as_posix()
                if relative.startswith(f"{inside}/" if inside else ""):
                    oid = hashlib.sha1(file.read_bytes()).hexdigest()
                    size = file.stat().st_size
                    entries.append({"type": "file", "path": relative, "size": size, "oid": oid})
            self._send(json.dumps(entries).encode(), {"Content-Type": "application/json"})
            return
        names = [{"rfilename": file.relative_to(folder).as_posix()} for file in files]
        flags = dict.fromkeys(("private", "gated", "disabled"), False)
        flags["private"] = name in self.served.private
        info = {"_id": "0", "id": name, "sha": sha, "siblings": names, "tags": [], **flags}
        self._send(json.dumps(info).encode(), {"Content-Type": "application/json"})

    def _file(self, folder: Path, relative: str) -> None:
        file = folder / relative
        if not file.is_file():
            self._refuse(404, "EntryNotFound")
            return
        data = file.read_bytes()
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        headers = {
            "X-Repo-Commit": _commit(folder, files),
            "ETag": f'"{hashlib.sha1(data).hexdigest()}"',
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        span = self.headers.get("Range", "")
        if span.startswith("bytes="):
            first, _, last = span.removeprefix("bytes=").partition("-")
            start, stop = int(first or 0), min(int(last or len(data) - 1), len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{stop}/{len(data)}"
            self._send(data[start : stop + 1], headers, status=206)
        else:
            self._send(data, headers)

    def _write(self, path: str, body: bytes) -> None:
        """Answer what the client asks for while it creates a repository and commits to it."""
        hub, parts = self.served, path.strip("/").split("/")
        if parts[0] == "lfs":  # such an address needs no token, as on the hub
            assert hashlib.sha256(body).hexdigest() == parts[1]
            hub.objects[parts[1]] = body
            self._send(b"", {})
            return
        if hub.store is None or self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._refuse(401, "")
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            header = json.loads(body)["content"].split("---\n")[1]
            assert isinstance(yaml.safe_load(header), dict)
            self._json({"errors": [], "warnings": []})
        elif path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**o, "actions": {"upload": {"href": f"{hub.url}/lfs/{o['oid']}"}}}
                for o in json.loads(body)["objects"]
            ]
            self._json({"transfer": "basic", "objects": objects})
        elif parts[4:] == ["preupload", "main"] or parts[4:] == ["commit", "main"]:
            name = "/".join(parts[2:4])
            if name not in hub.repositories["models"]:
                self._refuse(404, "RepoNotFound")
            elif parts[4] == "commit":
                self._commit(name, [json.loads(line) for line in body.splitlines()])
            else:
                files = [
                    {
                        "path": file["path"],
                        "uploadMode": ["regular", "lfs"][file["path"].endswith(".safetensors")],
                        "shouldIgnore": False,
                    }
                    for file in json.loads(body)["files"]
                ]
                self._json({"files": files})
        else:
            self._refuse(404, "EntryNotFound")

    def _create(self, wanted: dict[str, Any]) -> None:
        hub, name = self.served, f"{wanted['organization']}/{wanted['name']}"
        assert hub.store is not None
        if wanted["organization"] != "me":
            self._refuse(403, "")
        elif name in hub.repositories["models"]:
            self._json({"url": f"{hub.url}/{name}"}, 409)
        else:
            folder = hub.store / name
            folder.mkdir(parents=True)
            (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n")
            hub.repositories["models"][name] = folder
            if wanted.get("visibility") == "private":
                hub.private.add(name)
            self._json({"url": f"{hub.url}/{name}"})

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        hub, folder = self.served, self.served.repositories["models"][name]
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        (head,) = (line["value"] for line in lines if line["key"] == "header")
        if head["parentCommit"] != _commit(folder, files):
            self._refuse(412, "")
            return
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                (folder / value["path"]).write_bytes(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                (folder / value["path"]).write_bytes(hub.objects[value["oid"]])
            elif line["key"] == "deletedFile":
                (folder / value["path"]).unlink()
        commit = _commit(folder, sorted(p for p in folder.rglob("*") if p.is_file()))
        self._json({"commitUrl": f"{hub.url}/{name}/commit/{commit}", "commitOid": commit})

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(json.dumps(value).encode(), {"Content-Type": "application/json"}, status)

    def _refuse(self, status: int, code: str) -> None:
        self._send(b"{}", {"X-Error-Code": code, "Content-Type": "application/json"}, status)

    def _send(self, body: bytes, headers: dict[str, str], status: int = 200) -> None:
        headers = {"Content-Length": str(len(body)), **headers}
        if self.served.change is not None:
            status, headers, body = self.served.change((status, headers, body))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _commit(folder: Path, files: list[Path]) -> str:
    """Return a commit's name that changes with any file."""
    digest = hashlib.sha1()
    for file in files:
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
