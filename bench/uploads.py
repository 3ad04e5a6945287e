"""How `zest serve` shares what it may send among many peers, and what compressing for them costs and saves.

Run by uploads.sh. Peers fetch everything from `zest serve`, as the origin gives out no file data. Just
below 200 MB/s a limit makes the server compress, just above it does not, so two such runs differ in
nothing else.
"""

import argparse
import json
import random
import struct
import tempfile
import threading
from pathlib import Path

from pull import REPO, check, digests, download, environment, main_with_cleanup, run

from lab import Origin, Seeder, check_same

SHARED_LIMIT_PER_PEER = 5_000_000
RAW, COMPRESSED = "201MB/s", "199MB/s"


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ["--zest", "--tmpfs"]:
        arguments.add_argument(name, required=True, type=Path)
    for name in ["--bytes", "--peers"]:
        arguments.add_argument(name, required=True, type=int)
    options = arguments.parse_args()
    check(options.peers > 1 and options.bytes > 0, "PEERS must be at least 2, BYTES at least 1")

    with tempfile.TemporaryDirectory(prefix="zest-bench-", dir=options.tmpfs) as work:
        work = Path(work)
        (work / "repo").mkdir()
        for name, content in kinds(options.bytes):
            (work / "repo" / name).write_bytes(content)
        with Origin(options.zest, work / "origin", work / "origin-home") as origin:
            address = origin.url.removeprefix("http://")
            publish = [options.zest, "publish", work / "repo", REPO, "--endpoint", origin.url]
            run(publish, environment(work / "publish-home"), timeout=900)
            run([options.zest, "pull", REPO], environment(work / "seed", origin.url), timeout=900)
        where = (work / "origin", work / "origin-home", address, ["--no-data"])
        with Origin(options.zest, *where) as origin:
            shares(options, origin, work)
            packing(options, origin, work)


def kinds(size):
    """Name and content: as weights are spread, and what is around them."""
    dice = random.Random(1)
    normal = [dice.gauss(0, 0.02) for _ in range(size // 4)]
    single = struct.pack(f"<{len(normal)}f", *normal)
    half = bytearray(len(single) // 2)
    half[0::2], half[1::2] = single[2::4], single[3::4]
    words = (f'    "token{dice.randrange(1 << 24):x}": {n},\n' for n in range(size // 24))
    yield "f32.bin", single
    yield "bf16.bin", bytes(half)
    yield "random.bin", dice.randbytes(size)
    yield "tokenizer.json", "".join(words).encode()


def pull(options, origin, seeder, work, file, name="output"):
    """One pull of a file from the seeder; what it cost, and its summary."""
    argv = [options.zest, "pull", REPO, "--include", file, "--peer", seeder.peer, "--format", "json"]
    summary = {}

    def inspect(tree):
        source = {path: digest for path, digest in digests(work / "repo").items() if path == file}
        check_same(source, tree, name)
        output = tree.parents[4] / "output"
        summary.update(json.loads(output.read_text().splitlines()[-1]))

    cost = download(argv, seeder, work, inspect, endpoint=origin.url)
    check(origin.data_bytes() == 0, "the origin sent file data")
    return cost, summary


def shares(options, origin, work):
    limit = SHARED_LIMIT_PER_PEER * options.peers
    costs = []
    with Seeder(options.zest, work / "seed", ["--limit-up", str(limit)]) as seeder:

        def one():
            costs.append(pull(options, origin, seeder, work, "random.bin")[0].wall_seconds)

        threads = [threading.Thread(target=one) for _ in range(options.peers)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    check(len(costs) == options.peers, "a pull failed")
    rate = options.bytes * options.peers / max(costs)
    print(f"\n{options.peers} peers at once, {options.bytes} random bytes each, --limit-up {limit}\n")
    print("| first done, s | last done, s | first / last | all together / limit |")
    print("|---|---|---|---|")
    print(f"| {min(costs):.2f} | {max(costs):.2f} | {min(costs) / max(costs):.3f} | {rate / limit:.3f} |")


def packing(options, origin, work):
    print(f"\nOne peer, --limit-up {COMPRESSED} (compressed) beside {RAW} (raw)\n")
    print("| content | bytes that travel | wall | CPU of the server | CPU of the puller |")
    print("|---|---|---|---|---|")
    for path in sorted((work / "repo").iterdir()):
        found = {}
        for limit in [RAW, COMPRESSED]:
            with Seeder(options.zest, work / "seed", ["--limit-up", limit]) as seeder:
                # The first one proves publicness and hashes the chunks.
                pull(options, origin, seeder, work, path.name)
                cost, summary = pull(options, origin, seeder, work, path.name)
                wire = summary["wire_bytes"]["lan"]
                found[limit] = (wire, cost.wall_seconds, cost.server_cpu_seconds, cost.cpu_seconds)
        cells = [f"{ours / raw:.2f}" for raw, ours in zip(found[RAW], found[COMPRESSED])]
        shown = [f"{found[COMPRESSED][n]:.2f} s ({cells[n]})" for n in (1, 2, 3)]
        print(f"| {path.name} | {cells[0]} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main_with_cleanup(main)
