"""Publishes to an origin whose bytes are in a bucket, and holds the stock client against it.

Run by s3.sh. Prints a line for every promise kept and exits 1 at the first that is not.
"""

import argparse
import json
import random
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from lab import Origin, check, check_same, digests, environment, main_with_cleanup, passed, run, stock_download

REPO = "lab/bucket"
BUCKET = "models"
# More than one part of an upload in parts, and more than one xorb.
LARGE_BYTES = 40_000_000
SECONDS_MAX = 300
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ["--zest", "--python", "--s3"]:
        arguments.add_argument(name, required=True, type=Path)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="zest-s3-") as work:
        work = Path(work)
        with Bucket(options.s3, work) as bucket:
            interop(options, bucket, work)


class Bucket:
    """The server, and one bucket in it."""

    def __init__(self, program, work):
        self.program = program
        self.log = work / "s3.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        argv = [self.program, "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(argv, stdout=self.log.open("wb"), stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 60
        while True:
            try:
                request = urllib.request.Request(f"{self.url}/{BUCKET}", method="PUT")
                DIRECT.open(request, timeout=10).close()
                return self
            except OSError:
                ended = self.process.poll() is not None
                check(not ended and time.monotonic() < deadline, f"the S3 server does not answer: {self.log.read_text()}")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def names(self):
        """Names of all objects."""
        with DIRECT.open(f"{self.url}/{BUCKET}?list-type=2&max-keys=1000", timeout=30) as answer:
            root = ElementTree.fromstring(answer.read())
        return sorted(key.text for key in root.iter("{http://s3.amazonaws.com/doc/2006-03-01/}Key"))


def made(folder, seed):
    folder.mkdir(parents=True)
    (folder / "sub").mkdir()
    (folder / "model.safetensors").write_bytes(random.Random(seed).randbytes(LARGE_BYTES))
    (folder / "sub" / "ü b.txt").write_text("text\n" * 1000)
    (folder / "empty").write_bytes(b"")
    return folder


def interop(options, bucket, work):
    data = work / "origin"
    (work / "secret").write_text("secret\n")
    settings = work / "origin.toml"
    settings.write_text(
        f'[bucket]\nname = "{BUCKET}"\nprefix = "zest"\nendpoint = "{bucket.url}"\n'
        'access_key_id = "key"\nsecret_access_key_file = "secret"\n'
    )
    more = ["--config", settings]
    folder = made(work / "folder", 1)
    ours = environment(work / "ours")

    with Origin(options.zest, data, work / "home", more=more) as origin:
        run([options.zest, "publish", folder, REPO, "--endpoint", origin.url], ours, SECONDS_MAX)
        names = bucket.names()
        kinds = {name.split("/")[1] for name in names}
        check(kinds == {"xorbs", "objects"}, f"what is in the bucket: {names}")
        here = [str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()]
        check(sorted(here) == ["lock", "metadata.redb", "origin.json"], f"what is in the folder: {here}")
        passed(f"published: {len(names)} objects in the bucket, and no bytes in the folder")

        for way, env in [("Xet", {}), ("plain HTTP", {"HF_HUB_DISABLE_XET": "1"})]:
            answer = stock_download(options.python, REPO, environment(work / way, origin.url, **env))
            check("path" in answer, f"stock client by {way}: {answer}")
            check_same(digests(folder), answer["path"], f"stock client by {way}")
            passed(f"stock client by {way}: identical")

        target = work / "ours-files"
        run([options.zest, "pull", REPO, "--no-p2p", "--endpoint", origin.url, "--local-dir", target], ours, SECONDS_MAX)
        shutil.rmtree(target / ".cache")
        check_same(digests(folder), target, "zest pull")
        passed("zest pull: identical")
        origin.stop()

    check_args = [options.zest, "origin", "check", "--deep", "--format", "json", "--data", data, *more]
    report = json.loads(run(check_args, ours, SECONDS_MAX))
    check((report["damaged"], report["orphans"]) == (0, 0), f"check: {report}")
    check(report["xorbs"] + report["objects"] == len(names), f"check: {report}")
    passed(f"check: {report['bytes']} bytes, all as their names say")

    second = made(work / "second", 2)
    with Origin(options.zest, data, work / "home", more=more) as origin:
        request = urllib.request.Request(
            f"{origin.url}/api/repos/delete",
            data=json.dumps({"name": "bucket", "organization": "lab", "type": "model"}).encode(),
            headers={"content-type": "application/json"},
            method="DELETE",
        )
        DIRECT.open(request, timeout=30).close()
        run([options.zest, "publish", second, "lab/second", "--endpoint", origin.url], ours, SECONDS_MAX)
        origin.stop()
    collected = json.loads(
        run([options.zest, "origin", "collect", "--grace", "0", "--format", "json", "--data", data, *more], ours, SECONDS_MAX)
    )
    check(collected["xorbs"] > 0 and collected["bytes"] > LARGE_BYTES, f"collect: {collected}")
    left = set(bucket.names())
    check(not left & {name for name in names if "/xorbs/" in name}, f"collect: something stayed: {left}")
    report = json.loads(run(check_args, ours, SECONDS_MAX))
    check((report["damaged"], report["orphans"]) == (0, 0), f"check: {report}")
    passed(f"collect: {collected['xorbs']} xorbs of a deleted repository have left the bucket, the rest is whole")

    with Origin(options.zest, data, work / "home", more=more) as origin:
        bucket.__exit__()
        third = made(work / "third", 3)
        publish = [options.zest, "publish", third, "lab/third", "--endpoint", origin.url]
        ended = subprocess.run(
            [str(part) for part in publish],
            env={**ours, "ZEST_ATTEMPTS": "1"},
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
        )
        check(ended.returncode == 5, f"publish without a bucket: exit {ended.returncode}: {ended.stderr}")
        with DIRECT.open(f"{origin.url}/api/models/lab/second/tree/main?recursive=true", timeout=30) as answer:
            check(len(json.load(answer)) == 4, "the listing is not there any more")
        passed("without the bucket: uploads fail by name, listings are still there")
        origin.stop()


if __name__ == "__main__":
    main_with_cleanup(main)
