"""Alternates a pull from the origin alone and a pull from one peer, and compares what they cost.

Run by peer.sh. For the second kind the origin gives out metadata but no file data, so that all of it
comes from `zest serve`. Costs are measured as in pull.py, those of the server besides.
"""

import argparse
import os
import tempfile
from pathlib import Path

from pull import (
    REPO,
    check,
    check_same,
    describe,
    digests,
    download,
    environment,
    main_with_cleanup,
    measure,
    report,
    run,
)

from lab import Origin, Seeder


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ["--zest", "--generate", "--tmpfs"]:
        arguments.add_argument(name, required=True, type=Path)
    for name in ["--pairs", "--bytes", "--seed"]:
        arguments.add_argument(name, required=True, type=int)
    options = arguments.parse_args()
    check(options.pairs > 0, "PAIRS must be at least 1")

    with tempfile.TemporaryDirectory(prefix="zest-bench-", dir=options.tmpfs) as work:
        work = Path(work)
        generate = [options.generate, work / "repo"]
        generate += ["--bytes", options.bytes, "--seed", options.seed]
        print(run(generate, os.environ, timeout=600), end="", flush=True)
        with Origin(options.zest, work / "origin", work / "origin-home") as origin:
            address = origin.url.removeprefix("http://")
            publish = [options.zest, "publish", work / "repo", REPO, "--endpoint", origin.url]
            run(publish, environment(work / "publish-home"), timeout=900)
            run([options.zest, "pull", REPO], environment(work / "seed", origin.url), timeout=900)
        with Seeder(options.zest, work / "seed") as seeder:
            pairs, seeder_rss = bench(options, address, seeder, work)
        _, usage = measure([Path("true")], dict(os.environ), work / "output")
    names = ("origin", "peer")
    report(options, pairs, usage.ru_maxrss / 1024, names, "server", "peer.json")
    print(f"\npeak RSS of `zest serve`: {seeder_rss:.0f} MiB")


def bench(options, address, seeder, work):
    source = digests(work / "repo")
    argv = {
        "origin": [options.zest, "pull", REPO],
        "peer": [options.zest, "pull", REPO, "--peer", seeder.peer],
    }

    def one(name, inspect=lambda tree: None):
        more = ["--no-data"] if name == "peer" else []
        data = work / "origin"
        with Origin(options.zest, data, work / "origin-home", address, more) as origin:
            server = seeder if name == "peer" else origin
            cost = download(argv[name], server, work, inspect, endpoint=origin.url)
            if name == "peer":
                check(origin.data_bytes() == 0, "the origin sent file data")
            origin.stop()
        return cost

    for name in argv:
        one(name, lambda tree, name=name: check_same(source, tree, name))
    print("both trees are identical to the source", flush=True)
    pairs = []
    for number in range(options.pairs):
        order = ["origin", "peer"] if number % 2 == 0 else ["peer", "origin"]
        pair = {name: one(name) for name in order}
        print(f"pair {number + 1}: {describe(pair)}", flush=True)
        pairs.append(pair)
    return pairs, seeder.peak_rss_mib()


if __name__ == "__main__":
    main_with_cleanup(main)
