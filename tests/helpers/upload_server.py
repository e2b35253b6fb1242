"""The Hub's routes for making a repository and committing to it, on 127.0.0.1.

As huggingface_hub 2.4 uses them: ``/api/repos/create``, ``/api/validate-yaml``, ``preupload``, the LFS batch with its
uploads, and ``commit`` as lines of JSON. What was committed is then served like any other repository.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from tests.weights.hub_server import HubServer, Knobs, _Handler, _Repo

GOOD = "hf_good"
"""The one token that the server knows; it belongs to ``me``."""
LICENCES = ("apache-2.0", "mit", "cc-by-nc-4.0", "other")


class UploadServer(HubServer):
    """A Hub that can be written to."""

    def __init__(self) -> None:
        super().__init__()
        self.blobs: dict[str, bytes] = {}
        """Large files by sha256, committed or not."""
        self.commits: list[tuple[str, str, str]] = []
        """Repository, commit, message."""
        self.private: dict[str, bool] = {}
        self.uploads = 0
        self.break_uploads_after: int | None = None
        """Uploads of large files after which every other is cut off."""
        self.commit_status: int | None = None
        self.lose_answer = False
        """Whether the connection breaks after a commit was taken."""
        owner = self

        class Handler(_UploadHandler):
            server_data = owner

        self._server.RequestHandlerClass = Handler

    def head(self, repo: str) -> str | None:
        """The newest commit."""
        return next((commit for name, commit, _ in reversed(self.commits) if name == repo), None)

    def make(self, repo: str, files: dict[str, bytes], *, private: bool = False) -> None:
        """Puts a repository there as if somebody had published it."""
        self.private[repo] = private
        self.add_commit(repo, files, "by hand")

    def add_commit(self, repo: str, files: dict[str, bytes], message: str) -> str:
        """Adds a commit with these files on top of those that are there."""
        old = self.repos.setdefault(repo, _Repo()).revisions.get("main", {})
        kept = {**old, **files}
        commit = hashlib.sha1(repr(sorted(kept.items())).encode() + message.encode()).hexdigest()
        self.repos[repo].revisions[commit] = self.repos[repo].revisions["main"] = kept
        self.commits.append((repo, commit, message))
        return commit


class _UploadHandler(_Handler):
    server_data: UploadServer

    def do_GET(self) -> None:
        hub, repo = self.server_data, self.path.split("?")[0].removeprefix("/api/models/")
        if self.path.startswith("/api/models/") and repo.count("/") == 1:
            if self.headers.get("Authorization") not in (None, f"Bearer {GOOD}"):
                return self._refuse(401, "Invalid credentials in Authorization header")
            if repo not in hub.private:
                return self._plain(404, {"X-Error-Code": "RepoNotFound"})
            names = hub.repos[repo].revisions["main"] if repo in hub.repos else {}
            return self._json({
                "id": repo, "sha": hub.head(repo) or "0" * 40, "private": hub.private[repo],
                "siblings": [{"rfilename": n} for n in (".gitattributes", *names)],
            })  # fmt: skip
        return super().do_GET()

    def do_POST(self) -> None:
        body, path, hub = self._read(), self.path.split("?")[0], self.server_data
        if self.headers.get("Authorization") != f"Bearer {GOOD}":
            return self._refuse(401, "Invalid credentials in Authorization header")
        if path == "/api/validate-yaml":
            import yaml

            data = yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
            if data.get("license") not in LICENCES:
                return self._json({"errors": [{"message": '"license" must be one of [...]'}], "warnings": []}, 400)
            return self._json({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            asked = json.loads(body)
            if asked["organization"] != "me":
                return self._refuse(403, "You don't have the rights to create a model under this namespace")
            repo = f"me/{asked['name']}"
            if repo in hub.private:
                return self._refuse(409, "You already created this model repo")
            hub.private[repo] = asked.get("visibility") == "private"
            return self._json({"url": f"{hub.url}/{repo}"})
        repo, _, rest = path.removeprefix("/api/models/").partition("/preupload/")
        if rest:
            return self._preupload(repo, json.loads(body))
        if path.endswith(".git/info/lfs/objects/batch"):
            return self._batch(path[1:].removesuffix(".git/info/lfs/objects/batch"), json.loads(body))
        repo, _, rest = path.removeprefix("/api/models/").partition("/commit/")
        if rest:
            return self._commit(repo, [json.loads(line) for line in body.splitlines()])
        return self._plain(404, {})

    def do_PUT(self) -> None:
        hub = self.server_data
        with hub._lock:  # a client sends several at once: each must see how many came before it
            if hub.break_uploads_after is not None and hub.uploads >= hub.break_uploads_after:
                self.rfile.read(100)
                self.close_connection = True
                return self.connection.close()
            data = self._read()
            oid = self.path.rpartition("/")[2]
            if hashlib.sha256(data).hexdigest() != oid:
                return self._refuse(400, "not the file that was announced")
            hub.uploads += 1
            hub.blobs[oid] = data
        return self._plain(200, {})

    def _preupload(self, repo: str, asked: dict[str, Any]) -> None:
        if not repo.startswith("me/"):
            return self._refuse(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")
        large = (".onnx", ".safetensors")
        files = [
            {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(large) else "regular", "shouldIgnore": False}
            for f in asked["files"]
        ]
        return self._json({"files": files})

    def _batch(self, repo: str, asked: dict[str, Any]) -> None:
        hub, objects = self.server_data, []
        for one in asked["objects"]:
            address = f"{hub.url}/uploads/{repo}/{one['oid']}"
            objects.append(one if one["oid"] in hub.blobs else {**one, "actions": {"upload": {"href": address}}})
        self._json({"transfer": "basic", "objects": objects})

    def _commit(self, repo: str, lines: list[dict[str, Any]]) -> None:
        hub = self.server_data
        if hub.commit_status:
            return self._refuse(hub.commit_status, "not now")
        header, files = lines[0]["value"], {}
        if header.get("parentCommit", hub.head(repo)) not in (hub.head(repo), "0" * 40):
            return self._refuse(412, "A commit has happened since")
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif value["oid"] not in hub.blobs:
                return self._refuse(400, "an LFS file is missing")
            else:
                files[value["path"]] = hub.blobs[value["oid"]]
        commit = hub.add_commit(repo, files, header["summary"])
        if hub.lose_answer:
            self.close_connection = True
            return self.connection.close()
        url = f"{hub.url}/{repo}/commit/{commit}"
        return self._json({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _refuse(self, status: int, message: str) -> None:
        self._json({"error": message}, status)

    def _json(self, data: Any, status: int = 200) -> None:
        if status == 200:
            return self._body(json.dumps(data).encode(), Knobs(ranges=False), {"Content-Type": "application/json"})
        body = json.dumps(data).encode()
        self._note(status)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if "error" in data:
            self.send_header("X-Error-Message", data["error"])
        self.end_headers()
        self.wfile.write(body)
        return None
