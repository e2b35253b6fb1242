"""A web server on 127.0.0.1: the Hugging Face Hub's routes, git hosting's raw and LFS routes, and plain files.

Its answers can be spoiled on purpose, a path at a time (:class:`Knobs`). Every request is written down.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import threading
import time
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


@dataclass
class Knobs:
    """How to spoil the answers for one path. Counters count down; at 0 the answers are good again."""

    cut_after: int | None = None
    """Bytes of the body after which the connection is closed."""
    cuts: int = 1_000_000
    wrong: bool = False
    """Sends other bytes of the same length."""
    commit: str | None = None
    """Answers with this commit instead of the one asked for."""
    status: int | None = None
    """Answers with this status."""
    error_code: str | None = None
    """Value of ``X-Error-Code``."""
    refusals: int = 1_000_000
    """Number of answers with ``status``."""
    retry_after: str | None = None
    slow: float = 0.0
    """Seconds to wait after every 64 KiB."""
    ranges: bool = True
    """Whether Range is understood."""
    redirect: str | None = None
    """Address that a 302 points to, as the Hub does for large files."""
    etag: str | None = None
    length: bool = True
    """Whether the answer has a Content-Length."""


@dataclass(frozen=True)
class Seen:
    """One request."""

    method: str
    path: str
    range: str | None
    authorization: str | None
    status: int = 0


@dataclass
class _Repo:
    revisions: dict[str, dict[str, bytes]] = field(default_factory=dict)


class HubServer:
    """The server; use it as a context manager.

    Example:
        with HubServer() as hub:
            hub.add_file("owner/name", "0" * 40, "model.onnx", b"...")
            hub.knobs("/owner/name/resolve/" + "0" * 40 + "/model.onnx").cut_after = 1000
            monkeypatch.setenv("HF_ENDPOINT", hub.url)
    """

    def __init__(self) -> None:
        self.repos: dict[str, _Repo] = {}
        self.files: dict[str, bytes] = {}
        self.seen: list[Seen] = []
        self.lfs_above = 100
        self.page_size = 1000
        self._knobs: dict[str, Knobs] = {}
        self._lock = threading.Lock()
        owner = self

        class Handler(_Handler):
            server_data = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> HubServer:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add_file(self, repo: str, revision: str, path: str, data: bytes) -> str:
        """Puts a file into a repository; returns its path on the server."""
        self.repos.setdefault(repo, _Repo()).revisions.setdefault(revision, {})[path] = data
        return f"/{repo}/resolve/{revision}/{path}"

    def add_dataset(self, repo: str, revision: str, files: dict[str, bytes], *, lfs_above: int = 100) -> str:
        """Puts files into a dataset repository; those of more bytes than ``lfs_above`` are in LFS.

        Returns:
            The repository's path on the server, before a file's path.
        """
        self.repos.setdefault(f"datasets/{repo}", _Repo()).revisions.setdefault(revision, {}).update(files)
        self.lfs_above = lfs_above
        return f"/datasets/{repo}/resolve/{revision}/"

    def add_url(self, path: str, data: bytes) -> str:
        """Serves plain bytes; returns the address."""
        self.files[path] = data
        return self.url + path

    def add_lfs(self, repo: str, commit: str, path: str, data: bytes, *, pointer_of: bytes | None = None) -> None:
        """Serves a Git LFS file: the pointer under ``/raw``, the bytes under ``/media``."""
        said = data if pointer_of is None else pointer_of
        self.add_url(f"/raw/{repo}/{commit}/{path}", lfs_pointer(said))
        self.add_url(f"/media/{repo}/{commit}/{path}", data)

    def knobs(self, path: str) -> Knobs:
        """Returns the knobs of a path (or address)."""
        return self._knobs.setdefault(path.removeprefix(self.url), Knobs())

    @property
    def gets(self) -> list[str]:
        """Paths of the GET requests so far."""
        return [seen.path for seen in self.seen if seen.method == "GET"]

    def take(self, knobs: Knobs, counter: str) -> bool:
        """Counts a knob's counter down; False when it is used up."""
        with self._lock:
            left = getattr(knobs, counter)
            setattr(knobs, counter, max(0, left - 1))
            return bool(left > 0)


def lfs_pointer(data: bytes) -> bytes:
    """Returns the Git LFS pointer of some bytes."""
    oid = hashlib.sha256(data).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n".encode()


def zip_of(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Returns a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


class _Handler(BaseHTTPRequestHandler):
    server_data: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub = self.server_data
        path = unquote(self.path.split("?")[0])
        knobs = hub._knobs.get(unquote(self.path)) or hub._knobs.get(path) or Knobs()
        if knobs.status is not None and hub.take(knobs, "refusals"):
            extra = {"X-Error-Code": knobs.error_code, "Retry-After": knobs.retry_after}
            return self._plain(knobs.status, {k: v for k, v in extra.items() if v is not None})
        if path in hub.files:
            return self._body(hub.files[path], knobs, {})
        if "/resolve/" in path:
            repo, _, rest = path[1:].partition("/resolve/")
            revision, _, name = rest.partition("/")
            return self._hub_file(repo, revision, name, knobs)
        if path.startswith("/api/datasets/"):
            repo, _, rest = path.removeprefix("/api/").partition("/tree/")
            if rest:
                return self._hub_tree(repo, rest.partition("/")[0])
            repo, _, rest = repo.partition("/revision/")
            return self._hub_api(repo, rest or next(iter(self.server_data.repos.get(repo, _Repo()).revisions), ""))
        if path.startswith("/api/models/"):
            repo, _, rest = path.removeprefix("/api/models/").partition("/revision/")
            return self._hub_api(repo, rest or "main")
        return self._plain(404, {})

    def _hub_file(self, repo: str, revision: str, name: str, knobs: Knobs) -> None:
        found = self._revision(repo, revision)
        if found is None:
            return None
        if name not in found:
            return self._plain(404, {"X-Error-Code": "EntryNotFound"})
        data = found[name]
        headers = {
            "X-Repo-Commit": knobs.commit or revision,
            "X-Linked-Size": str(len(data)),
            "X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"',
        }
        if knobs.redirect:
            return self._plain(302, {**headers, "Location": knobs.redirect})
        return self._body(data, knobs, headers)

    def _hub_api(self, repo: str, revision: str) -> None:
        import json

        found = self._revision(repo, revision)
        if found is None:
            return
        siblings = [{"rfilename": name} for name in found]
        body = json.dumps({"id": repo, "sha": revision, "siblings": siblings}).encode()
        self._body(body, Knobs(), {"Content-Type": "application/json"})

    def _hub_tree(self, repo: str, revision: str) -> None:
        """The list of files, in pages, as the Hub gives it."""
        import json
        from urllib.parse import parse_qs, urlsplit

        found = self._revision(repo, revision)
        if found is None:
            return
        hub = self.server_data
        start = int(parse_qs(urlsplit(self.path).query).get("cursor", ["0"])[0])
        page = sorted(found)[start : start + hub.page_size]
        headers = {"Content-Type": "application/json"}
        if start + hub.page_size < len(found):
            address = f"{hub.url}/api/{repo}/tree/{revision}?recursive=True&cursor={start + hub.page_size}"
            headers["Link"] = f'<{address}>; rel="next"'
        folders = {p.rpartition("/")[0] for p in page} - {""}
        items: list[dict[str, object]] = [{"type": "directory", "path": f, "oid": "0" * 40, "size": 0} for f in folders]
        for name in page:
            data = found[name]
            blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
            item: dict[str, object] = {"type": "file", "path": name, "size": len(data), "oid": blob}
            if len(data) > hub.lfs_above:
                item["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            items.append(item)
        self._body(json.dumps(items).encode(), Knobs(ranges=False), headers)

    def _revision(self, repo: str, revision: str) -> dict[str, bytes] | None:
        kept = self.server_data.repos.get(repo)
        if kept is None or revision not in kept.revisions:
            self._plain(404, {"X-Error-Code": "RepoNotFound" if kept is None else "RevisionNotFound"})
            return None
        return kept.revisions[revision]

    def _note(self, status: int) -> None:
        seen = Seen(self.command, self.path, self.headers.get("Range"), self.headers.get("Authorization"), status)
        self.server_data.seen.append(seen)

    def _plain(self, status: int, headers: dict[str, str]) -> None:
        self._note(status)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _body(self, data: bytes, knobs: Knobs, headers: dict[str, str]) -> None:
        if knobs.wrong:
            data = bytes(255 - b for b in data)
        etag = knobs.etag or f'"{hashlib.sha256(data).hexdigest()}"'
        start, asked = 0, self.headers.get("Range")
        if asked and knobs.ranges and self.headers.get("If-Range", etag) == etag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        if start >= len(data) > 0:
            return self._plain(416, {"Content-Range": f"bytes */{len(data)}"})
        status = 206 if start else 200
        self._note(status)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("ETag", etag)
        if knobs.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if knobs.length:
            self.send_header("Content-Length", str(len(data) - start))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD":
            return None
        body = memoryview(data)[start:]
        cut = knobs.cut_after is not None and self.server_data.take(knobs, "cuts")
        if cut:
            body = body[: knobs.cut_after]
        with contextlib.suppress(ConnectionError):
            for at in range(0, len(body), 1 << 16):
                self.wfile.write(body[at : at + (1 << 16)])
                if knobs.slow:
                    time.sleep(knobs.slow)
        if cut:
            self.close_connection = True
        return None
