"""Hugging Face's own reference CAS server, and a stand-in for the Hub before it: reference.py and the benches use them.

The server is `local_cas_server` of crate xet-client, which is a CAS alone. The stand-in has repositories with one
branch, and answers what clients ask for around a download or an upload; anything else is a 404. What a commit names by
SHA-256 it finds where the real Hub does: in the shards that the CAS has accepted.
"""

import base64
import binascii
import hashlib
import json
import re
import socket
import struct
import threading
import time
import urllib.error
from urllib.parse import quote, unquote, urlsplit

from lab import DIRECT, LocalHandler, LocalServer, Server, check, environment

START_SECONDS_MAX = 30
# Larger files, and those with a zero byte in their first 512, go to the CAS; the others are in the commit. As on the Hub.
REGULAR_BYTES_MAX = 10 * 1024 * 1024
# No token is renewed within a test or measurement.
TOKEN_SECONDS = 86_400
# The parts of a shard: header, then entries of which the first of a file says how many follow.
SHARD_HEADER_BYTES = 48
SHARD_ENTRY_BYTES = 48
SHARD_BOOKEND = b"\xff" * 32
FILE_HAS_VERIFICATION = 1 << 31
FILE_HAS_METADATA = 1 << 30


class ReferenceCas(Server):
    """`local_cas_server` over a folder, on a free port."""

    def __init__(self, program, data, home):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.shards = data / "shards"
        argv = [program, "--data-directory", data, "--port", str(port)]
        super().__init__(argv, environment(home))

    def started(self):
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                return DIRECT.open(f"{self.url}/health", timeout=1).close()
            except urllib.error.URLError:
                check(time.monotonic() < deadline, f"{self.name} does not listen")
                check(self.process.poll() is None, f"{self.name} has ended")
                time.sleep(0.02)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Repo:
    """Commits of one branch, each a listing of all files: {path: entry of the tree}."""

    def __init__(self):
        self.commits = {}
        self.contents = {}
        self.commit({})

    def commit(self, files):
        # What changes nothing is no commit.
        if not self.commits or files != self.files(self.head):
            text = json.dumps([len(self.commits), files], sort_keys=True)
            self.head = hashlib.sha1(text.encode()).hexdigest()
            self.commits[self.head] = files
        return self.head

    def files(self, sha):
        return self.commits[sha]

    def sha(self, revision):
        if revision in ("main", "refs/heads/main"):
            return self.head
        return revision if revision in self.commits else None


class Hub(LocalServer):
    """A Hub whose large files are in a CAS. `shards` is the folder where that keeps what it has accepted."""

    def __init__(self, cas_url, shards):
        self.cas_url = cas_url
        self.shards = shards
        self.repos = {}
        self.uploaded = {}
        self.read = set()
        # One change at a time.
        self.changing = threading.Lock()

    def handler(self):
        return type("Handler", (HubHandler,), {"hub": self})

    def file(self, sha256):
        """(xet hash, size) of a file that was uploaded, or None."""
        for path in set(self.shards.glob("*.mdb")) - self.read:
            self.uploaded |= files_of(path.read_bytes())
            self.read.add(path)
        return self.uploaded.get(sha256)


class Refused(Exception):
    def __init__(self, status, code, text):
        super().__init__(text)
        self.status = status
        self.code = code


class HubHandler(LocalHandler):
    API = re.compile(r"/api/(models|datasets|spaces)/((?:[^/]+/)?[^/]+)/"
                     r"(revision|tree|preupload|commit|xet-read-token|xet-write-token)/([^/]+)")
    RESOLVE = re.compile(r"/(?:(datasets|spaces)/)?((?:[^/]+/)?[^/]+)/resolve/([^/]+)/(.+)")

    def do_GET(self):
        self.respond(self.get)

    def do_HEAD(self):
        self.respond(self.get)

    def do_POST(self):
        self.respond(self.post)

    def respond(self, answer):
        self.body = self.received()
        try:
            answer(urlsplit(self.path).path)
        except Refused as refused:
            headers = {"X-Error-Code": refused.code, "X-Error-Message": str(refused)}
            self.answer(refused.status, json.dumps({"error": str(refused)}).encode(), headers)

    def get(self, path):
        if found := self.API.fullmatch(path):
            kind, name, call, revision = found.groups()
            if call in ("revision", "tree", "xet-read-token", "xet-write-token"):
                repo = self.repo(kind, name)
                return getattr(self, call.replace("-", "_"))(kind, name, repo, self.sha(repo, revision))
        elif found := self.RESOLVE.fullmatch(path):
            kind, name, revision, file = found.groups()
            return self.resolve(kind or "models", name, revision, unquote(file))
        raise Refused(404, "NotFound", f"there is no {path}")

    def post(self, path):
        if path == "/api/repos/create":
            return self.create()
        if path == "/api/validate-yaml":
            return self.json({"errors": [], "warnings": []})
        if found := self.API.fullmatch(path):
            kind, name, call, revision = found.groups()
            if call in ("preupload", "commit"):
                repo = self.repo(kind, name)
                return getattr(self, call)(kind, name, repo, self.sha(repo, revision))
        raise Refused(404, "NotFound", f"there is no {path}")

    def repo(self, kind, name):
        if repo := self.hub.repos.get((kind, name)):
            return repo
        raise Refused(404, "RepoNotFound", f"there is no repository {name}")

    def sha(self, repo, revision):
        if sha := repo.sha(unquote(revision)):
            return sha
        raise Refused(404, "RevisionNotFound", f"there is no revision {revision}")

    def create(self):
        wanted = json.loads(self.body)
        name = "/".join(part for part in (wanted.get("organization"), wanted["name"]) if part)
        key = (wanted.get("type") or "model") + "s", name
        with self.hub.changing:
            is_new = key not in self.hub.repos
            self.hub.repos.setdefault(key, Repo())
        self.json({"url": f"{self.hub.url}/{name}"}, 200 if is_new else 409)

    def revision(self, _kind, name, repo, sha):
        siblings = [{"rfilename": path} for path in repo.files(sha)]
        self.json({"id": name, "sha": sha, "private": False, "tags": [], "siblings": siblings})

    def tree(self, _kind, _name, repo, sha):
        self.json(list(repo.files(sha).values()))

    def token(self, scope):
        expires = int(time.time()) + TOKEN_SECONDS
        token = {"casUrl": self.hub.cas_url, "exp": expires, "accessToken": scope}
        # The same for hf-xet and zest, which read the body, and for huggingface_hub, which reads these.
        headers = {"X-Xet-Cas-Url": token["casUrl"], "X-Xet-Access-Token": scope, "X-Xet-Token-Expiration": str(expires)}
        self.json(token, headers=headers)

    def xet_read_token(self, *_):
        self.token("reader")

    def xet_write_token(self, *_):
        self.token("writer")

    def resolve(self, kind, name, revision, path):
        repo = self.repo(kind, name)
        sha = self.sha(repo, revision)
        entry = repo.files(sha).get(path)
        if entry is None:
            raise Refused(404, "EntryNotFound", f"there is no entry {path}")
        if "xetHash" not in entry:
            content = repo.contents[entry["oid"]]
            return self.answer(200, content, {"ETag": f'"{entry["oid"]}"', "X-Repo-Commit": sha})
        oid = entry["lfs"]["oid"]
        token = f"{self.hub.url}/api/{kind}/{name}/xet-read-token/{sha}"
        self.answer(302, b"", {
            "ETag": f'"{oid}"',
            "X-Repo-Commit": sha,
            "X-Linked-Etag": f'"{oid}"',
            "X-Linked-Size": str(entry["size"]),
            "X-Xet-Hash": entry["xetHash"],
            "Link": f'<{token}>; rel="xet-auth"',
            # Where there is nothing: this Hub has large files through Xet alone.
            "Location": f"{self.hub.cas_url}/plain/{quote(path)}",
        })

    def preupload(self, _kind, _name, repo, sha):
        files = repo.files(sha)

        def mode(file):
            is_large = file["size"] > REGULAR_BYTES_MAX or 0 in base64.b64decode(file["sample"])
            there = files.get(file["path"])
            known = {"oid": there.get("lfs", there)["oid"]} if there else {}
            return {"path": file["path"], "uploadMode": "lfs" if is_large else "regular", "shouldIgnore": False} | known

        self.json({"files": [mode(file) for file in json.loads(self.body)["files"]]})

    def commit(self, _kind, name, repo, sha):
        lines = [json.loads(line) for line in self.body.splitlines() if line.strip()]
        if not lines:
            raise Refused(400, "BadRequest", "a commit has a header")
        with self.hub.changing:
            if sha != repo.head:
                raise Refused(412, "PreconditionFailed", "only the newest commit can be built on")
            files = dict(repo.files(sha))
            for line in lines:
                self.apply(line["key"], line["value"], repo, files)
            sha = repo.commit(dict(sorted(files.items())))
        self.json({"success": True, "commitOid": sha, "commitUrl": f"{self.hub.url}/{name}/commit/{sha}"})

    def apply(self, key, value, repo, files):
        path = value.get("path")
        if key == "header":
            if value.get("parentCommit") not in (None, repo.head):
                raise Refused(412, "PreconditionFailed", "the branch has moved")
        elif key == "file":
            try:
                content = base64.b64decode(value["content"], validate=True)
            except binascii.Error as error:
                raise Refused(400, "BadRequest", f"{path} is not base64: {error}") from None
            files[path] = regular_entry(path, content)
            repo.contents[files[path]["oid"]] = content
        elif key == "lfsFile":
            uploaded = self.hub.file(value["oid"])
            if uploaded is None:
                raise Refused(400, "BadRequest", f"no upload has announced {path}")
            xet_hash, size = uploaded
            if value.get("size") not in (None, size):
                raise Refused(400, "BadRequest", f"{path} has {size} bytes, not {value['size']}")
            files[path] = large_entry(path, size, value["oid"], xet_hash)
        elif key == "deletedFile" and path in files:
            del files[path]
        else:
            raise Refused(400, "BadRequest", f"{key} {path} is not understood")

    def json(self, value, status=200, headers=None):
        self.answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"} | (headers or {}))


def regular_entry(path, content):
    return {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}


def large_entry(path, size, sha256, xet_hash):
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    lfs = {"oid": sha256, "size": size, "pointerSize": len(pointer)}
    return {"type": "file", "path": path, "size": size, "oid": git_oid(pointer), "lfs": lfs, "xetHash": xet_hash}


def git_oid(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def files_of(shard):
    """{sha256: (xet hash, size)} of the files that a shard describes."""
    files, at = {}, SHARD_HEADER_BYTES
    while (name := shard[at:at + 32]) != SHARD_BOOKEND:
        flags, count = struct.unpack_from("<II", shard, at + 32)
        at += SHARD_ENTRY_BYTES
        size = sum(struct.unpack_from("<I", shard, at + number * SHARD_ENTRY_BYTES + 36)[0] for number in range(count))
        at += count * SHARD_ENTRY_BYTES * (2 if flags & FILE_HAS_VERIFICATION else 1)
        if flags & FILE_HAS_METADATA:
            files[hex_words(shard[at:at + 32])] = hex_words(name), size
            at += SHARD_ENTRY_BYTES
    return files


def hex_words(digest):
    """The text form of a hash; a shard keeps SHA-256 so that this gives the usual text of it."""
    return "".join(f"{word:016x}" for word in struct.unpack("<4Q", digest))
