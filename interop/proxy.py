"""Uploads to an origin behind nginx and downloads again, with the stock client over TLS, as docs/origin.md says.

Run by proxy.sh. Prints a line for every promise kept and exits 1 at the first that is not.
"""

import argparse
import contextlib
import random
import re
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from lab import Origin, check, check_same, digests, environment, main_with_cleanup, passed, run, stock_download

REPO = "lab/model"
TOKEN = "hf_" + "a" * 40

UPLOAD = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo(sys.argv[1], private=True)
api.upload_folder(repo_id=sys.argv[1], folder_path=sys.argv[2])
api.upload_folder(repo_id=sys.argv[1], folder_path=sys.argv[2], create_pr=True, path_in_repo="again")
"""


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ["--zest", "--python", "--docs"]:
        arguments.add_argument(name, required=True, type=Path)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="zest-proxy-") as work:
        interop(options, Path(work))


def interop(options, work):
    model = work / "model"
    generate(model)
    certificate(work)
    port = free_port()
    url = f"https://localhost:{port}"
    (work / "token").write_text(TOKEN)
    more = ["--token-file", work / "token", "--public-url", url]
    with Origin(options.zest, work / "origin", work / "origin-home", more=more) as origin:
        check(origin.url == url, f"origin: its URL is {origin.url}")
        upstream = origin.listening["addresses"][0]
        with nginx(options.docs, work, port, upstream):
            trusted = {"SSL_CERT_FILE": str(work / "ca.pem"), "HF_TOKEN": TOKEN}
            env = environment(work / "uploader", url, **trusted)
            run([options.python, "-c", UPLOAD, REPO, model], env, timeout=300)
            passed("upload_folder through nginx: a xorb of 60 MB, regular files, unusual names")

            answer = stock_download(options.python, REPO, environment(work / "downloader", url, **trusted))
            check("path" in answer, f"stock client: {answer}")
            check_same(digests(model), answer["path"], "stock client through nginx")
            passed("snapshot_download through nginx: identical")

            without_xet = environment(work / "plain", url, HF_HUB_DISABLE_XET="1", **trusted)
            answer = stock_download(options.python, REPO, without_xet)
            check("path" in answer, f"stock client without Xet: {answer}")
            check_same(digests(model), answer["path"], "stock client without Xet through nginx")
            passed("snapshot_download without Xet through nginx: identical")

            anonymous = environment(work / "anonymous", url, SSL_CERT_FILE=str(work / "ca.pem"))
            answer = stock_download(options.python, REPO, anonymous)
            check(answer.get("error") == "RepositoryNotFoundError", f"without a token: {answer}")
            passed("snapshot_download without a token: RepositoryNotFoundError")

            check(status(f"{url}/metrics", work) == 403, "nginx lets strangers read the metrics")
            check(status(f"http://{upstream}/metrics", work) == 401, "the origin takes a proxy for this machine")
            check(status(f"{url}/health", work) == 200, "no health through nginx")
            passed("metrics are not for strangers, health is")


def generate(folder):
    """Enough for a xorb near the largest, and names that have to be escaped."""
    noise = random.Random(7)
    files = {
        "model.safetensors": noise.randbytes(62_000_000),
        "config.json": b"{}",
        "sub/a b/ü%2F.txt": b"text",
        "empty": b"",
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def certificate(work):
    """A root in ca.pem and a certificate by it: rustls takes no root for that of a server."""
    env = environment(work)
    key = ["-newkey", "rsa:2048", "-nodes"]
    root = ["-subj", "/CN=proxy.py", "-days", "2", "-keyout", work / "ca.key", "-out", work / "ca.pem"]
    run(["openssl", "req", "-x509", *key, *root], env, timeout=60)
    request = ["-subj", "/CN=localhost", "-keyout", work / "key.pem", "-out", work / "request.pem"]
    run(["openssl", "req", *key, *request], env, timeout=60)
    (work / "extensions").write_text("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
    signing = ["-in", work / "request.pem", "-CA", work / "ca.pem", "-CAkey", work / "ca.key", "-CAcreateserial"]
    signing += ["-days", "2", "-extfile", work / "extensions", "-out", work / "cert.pem"]
    run(["openssl", "x509", "-req", *signing], env, timeout=60)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextlib.contextmanager
def nginx(docs, work, port, upstream):
    """nginx with the server of the documentation, its names and ports replaced."""
    [server] = re.findall(r"```nginx\n(.*?)```", docs.read_text(), re.DOTALL)
    for documented, here in {
        "127.0.0.1:8080": upstream,
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "hub.example;": "localhost;",
        "/etc/ssl/hub.example.pem": str(work / "cert.pem"),
        "/etc/ssl/hub.example.key": str(work / "key.pem"),
    }.items():
        check(documented in server, f"{docs}: no `{documented}` in the nginx example")
        server = server.replace(documented, here)
    paths = "".join(
        f"{name}_temp_path {work}/nginx-{name};\n" for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    )
    config = work / "nginx.conf"
    config.write_text(
        f"daemon off;\npid {work}/nginx.pid;\nerror_log stderr error;\nworker_processes 2;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{paths}{server}\n}}\n"
    )
    process = subprocess.Popen(["nginx", "-p", str(work), "-c", str(config)], stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
            check(process.poll() is None, "nginx has ended")
            check(time.monotonic() < deadline, "nginx does not listen")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def status(url, work):
    context = ssl.create_default_context(cafile=work / "ca.pem")
    handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)]
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code


if __name__ == "__main__":
    main_with_cleanup(main)
