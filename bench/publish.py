"""Alternates `hf upload` and `zest publish` of a generated repository and compares what they cost.

Run by publish.sh. Every upload goes to a server that has nothing, from a home that is empty.
"""

import json
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

from costs import PUBLISH_SECONDS_MAX, REPO, check, environment, in_turn, measure, model, noise, rss_floor_mib, run, setting
from tables import Promise, each_round, heading, keep, medians, middle_of, promises, ratio

from lab import Origin, main_with_cleanup
from standin import Hub, ReferenceCas

WALL_MOST = 0.8
LARGE_RSS_MIB_MOST = 96
# How much larger than the others the repository is whose memory is measured.
LARGE_TIMES = 4
CHANGED = 0.01
SENT_MOST = 0.03


def main():
    with setting(__doc__) as options:
        check(options.hf and options.reference_cas, "--hf and --reference-cas are needed")
        repo = model(options)
        compared = {
            "zest origin": compare(options, repo, zest_origin),
            "reference CAS": compare(options, repo, reference_cas),
        }
        sent = second_publication(options, repo)
        shutil.rmtree(repo)
        large = large_repository(options)
        floor = rss_floor_mib(options)
    report(options, compared, sent, large, floor)


@contextmanager
def zest_origin(options, work):
    with Origin(options.zest, work / "origin", work / "origin-home") as origin:
        yield origin.url, origin


@contextmanager
def reference_cas(options, work):
    with ReferenceCas(options.reference_cas, work / "cas", work / "cas-home") as cas, Hub(cas.url, cas.shards) as hub:
        yield hub.url, cas


def compare(options, repo, server):
    clients = {"hf": [options.hf, "upload", REPO, repo], "zest": [options.zest, "publish", repo, REPO]}

    def contender(argv):
        return lambda: upload(argv, options, server)

    return in_turn(options, {name: contender(argv) for name, argv in clients.items()})


def upload(argv, options, server):
    with folder(options) as work, server(options, work) as (endpoint, process):
        before = process.cpu_seconds()
        cost = measure(argv, environment(work / "home", endpoint), work / "output")
        cost.server_cpu_seconds = process.cpu_seconds() - before
        return cost


@contextmanager
def folder(options):
    work = Path(tempfile.mkdtemp(prefix="upload-", dir=options.work))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def second_publication(options, repo):
    """The part of the bytes that is sent after a hundredth of each large file was changed."""
    with folder(options) as work, zest_origin(options, work) as (endpoint, _):
        argv = [options.zest, "publish", repo, REPO, "--format", "json"]
        env = environment(work / "home", endpoint)
        run(argv, env, timeout=PUBLISH_SECONDS_MAX)
        for path in repo.rglob("*.safetensors"):
            size = path.stat().st_size
            with path.open("r+b") as file:
                file.seek(size // 3)
                changed = bytes(byte ^ 0x5A for byte in file.read(int(size * CHANGED)))
                file.seek(size // 3)
                file.write(changed)
        published = json.loads(run(argv, env, timeout=PUBLISH_SECONDS_MAX).splitlines()[-1])
        return published["sent_bytes"] / published["file_bytes"]


def large_repository(options):
    """What publishing one costs that neither compresses nor repeats."""
    options.bytes *= LARGE_TIMES
    repo = noise(options)
    options.bytes //= LARGE_TIMES
    return upload([options.zest, "publish", repo, REPO], options, zest_origin)


def report(options, compared, sent, large, floor):
    for server, rounds in compared.items():
        heading(options, f"publish, {server}")
        promises([Promise("wall, zest / hf", ratio(rounds, "wall_seconds", "zest", "hf"), most=WALL_MOST)])
        medians(rounds, "hf", options.bytes)
        each_round(rounds, "hf")
    heading(options, "publish, memory and what is sent")
    print(f"A process that does nothing counts as {floor:.0f} MiB.\n")
    promises([
        Promise(f"peak RSS of zest, {LARGE_TIMES} times the bytes, MiB", large.peak_rss_mib, most=LARGE_RSS_MIB_MOST),
        Promise(f"sent of a repository with {CHANGED:.0%} changed", sent, most=SENT_MOST),
    ])
    print(f"The large one took {large.wall_seconds:.1f} s.")
    keep(options, "publish", compared, sent=sent, large_rss_mib=large.peak_rss_mib)


main_with_cleanup(main)
