"""Hugging Face's own reference CAS server, and a Hub before it that knows one repository.

The server is `local_cas_server` of crate xet-client, which is a CAS alone. The stock client uploads to it, so that
what is stored is cut, compressed and grouped as Hugging Face's is; the Hub answers what clients ask before they come to
the CAS.
"""

import hashlib
import json
import threading
import time
import urllib.error
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from costs import REPO

from lab import DIRECT, Server, check, digests, environment, run

# In a network of its own nobody else has it.
CAS_PORT = 8090
CAS_URL = f"http://127.0.0.1:{CAS_PORT}"
START_SECONDS_MAX = 30
UPLOAD_SECONDS_MAX = 900
# Files from this size on go to the CAS, smaller ones are in the commit.
LARGE_BYTES = 1_000_000
# No token is renewed within a measurement.
TOKEN_SECONDS = 86_400
COMMIT = hashlib.sha1(b"the only commit").hexdigest()

UPLOAD = """
import json, sys, hf_xet
cas, expires, *paths = sys.argv[1:]
uploads = hf_xet.upload_files(paths, cas, ("writer", int(expires)), None, None, "model")
print(json.dumps([upload.hash for upload in uploads]))
"""


class ReferenceCas(Server):
    """`local_cas_server` over a folder."""

    url = CAS_URL

    def __init__(self, program, data, home):
        argv = [program, "--data-directory", data, "--port", str(CAS_PORT)]
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


def upload(python, paths, home):
    """Uploads files with the stock client. Gives their hashes, in this order."""
    expires = int(time.time()) + TOKEN_SECONDS
    argv = [python, "-c", UPLOAD, CAS_URL, str(expires), *paths]
    return json.loads(run(argv, environment(home), timeout=UPLOAD_SECONDS_MAX).splitlines()[-1])


@contextmanager
def hub(python, folder, home):
    """Uploads a folder, and runs a Hub whose only repository it is. Gives its URL."""
    files = digests(folder)
    large = [path for path, (size, _) in files.items() if size >= LARGE_BYTES]
    hashes = dict(zip(large, upload(python, [folder / path for path in large], home), strict=True))
    regular = {path: (folder / path).read_bytes() for path in files if path not in hashes}
    tree = [large_entry(path, *files[path], xet_hash) for path, xet_hash in hashes.items()]
    tree += [regular_entry(path, content) for path, content in regular.items()]

    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(tree, regular))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def regular_entry(path, content):
    return {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}


def large_entry(path, size, sha256, xet_hash):
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    lfs = {"oid": sha256, "size": size, "pointerSize": len(pointer)}
    return {"type": "file", "path": path, "size": size, "oid": git_oid(pointer), "lfs": lfs, "xetHash": xet_hash}


def git_oid(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def handler(tree, regular):
    api, expires = f"/api/models/{REPO}", int(time.time()) + TOKEN_SECONDS
    token = {"casUrl": CAS_URL, "exp": expires, "accessToken": "reader"}
    # The same for hf-xet and zest, which read the body, and for huggingface_hub, which reads these.
    token_headers = {"X-Xet-Cas-Url": CAS_URL, "X-Xet-Access-Token": "reader", "X-Xet-Token-Expiration": str(expires)}
    answers = {
        f"{api}/revision/main": ({"id": REPO, "sha": COMMIT}, {}),
        f"{api}/tree/{COMMIT}": (tree, {}),
        f"{api}/xet-read-token/{COMMIT}": (token, token_headers),
    }
    files = {f"/{REPO}/resolve/{COMMIT}/{path}": content for path, content in regular.items()}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            path = unquote(urlsplit(self.path).path)
            if path in answers:
                answer, headers = answers[path]
                self.answer(200, json.dumps(answer).encode(), headers)
            elif path in files:
                content = files[path]
                self.answer(200, content, {"ETag": f'"{git_oid(content)}"', "X-Repo-Commit": COMMIT})
            else:
                self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})

        do_HEAD = do_GET

        def answer(self, status, body, headers):
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


