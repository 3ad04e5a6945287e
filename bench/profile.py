"""Samples pulls with `perf` and adds up where they spend their processor time.

Run by profile.sh. A sample counts for what the thread was doing: in the kernel for the system call that it is in,
else for the function. The samples stay in bench/out/, for `perf report -i`.
"""

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from pull import REPO, ROOT, check, environment, main_with_cleanup, run

from lab import Origin, Seeder

SAMPLES_PER_SECOND = 3999
# Addresses of the kernel are in the upper half.
KERNEL = 1 << 63
# The first that matches the function decides.
GROUPS = [
    ("BLAKE3", r"blake3"),
    ("SHA-256", r"sha2"),
    ("LZ4, byte grouping", r"lz4|bg4"),
    ("copying in memory", r"^_*mem(move|cpy|set)"),
    ("allocation", r"malloc|_int_free|cfree|realloc|calloc|unlink_chunk"),
    ("ledger, journal", r"ledger|journal|btree"),
    ("HTTP (hyper, reqwest)", r"hyper|reqwest|http"),
    ("peer protocol", r"bep_xet|bt_wire|peer|tokio_util"),
    ("tokio", r"tokio|mio::"),
]
# The first that matches any function of the kernel's part of the chain.
CALLS = [
    ("kernel: page faults", r"page_fault"),
    ("kernel: receiving", r"tcp_recvmsg|sys_recv"),
    ("kernel: sending", r"tcp_sendmsg|sys_send"),
    ("kernel: writing files", r"file_write_iter|sys_pwrite|sys_fadvise"),
    ("kernel: reading files", r"file_read_iter|sys_pread"),
    ("kernel: waiting and waking", r"futex|epoll|eventfd"),
    ("kernel: memory", r"mmap|munmap|madvise|mprotect|_brk"),
    ("kernel: network, scheduling", r"net_rx|softirq|schedule|sysvec"),
]


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ["--zest", "--generate", "--tmpfs"]:
        arguments.add_argument(name, required=True, type=Path)
    for name in ["--rounds", "--bytes", "--seed"]:
        arguments.add_argument(name, required=True, type=int)
    options = arguments.parse_args()
    check(shutil.which("perf"), "perf is not installed")
    out = ROOT / "bench/out"
    out.mkdir(exist_ok=True)

    with tempfile.TemporaryDirectory(prefix="zest-profile-", dir=options.tmpfs) as work:
        work = Path(work)
        generate = [options.generate, work / "repo"]
        generate += ["--bytes", options.bytes, "--seed", options.seed]
        print(run(generate, os.environ, timeout=600), end="", flush=True)
        with Origin(options.zest, work / "origin", work / "origin-home") as origin:
            address = origin.url.removeprefix("http://")
            publish = [options.zest, "publish", work / "repo", REPO, "--endpoint", origin.url]
            run(publish, environment(work / "publish-home"), timeout=900)
            run([options.zest, "pull", REPO], environment(work / "seed", origin.url), timeout=900)
        counts = {"origin": Counter(), "peer": Counter(), "serve": Counter()}
        for number in range(options.rounds):
            profile(options, work, address, out, number, counts)
    report(options, counts)


def profile(options, work, address, out, number, counts):
    pull = [options.zest, "pull", REPO]
    data, home = work / "origin", work / "origin-home"
    samples = {name: out / f"perf-{name}-{number}.data" for name in counts}
    with Origin(options.zest, data, home, address) as origin:
        record(samples["origin"], pull, work, origin.url)
        origin.stop()
    with (
        Seeder(options.zest, work / "seed") as seeder,
        Origin(options.zest, data, home, address, ["--no-data"]) as origin,
    ):
        with attached(samples["serve"], seeder.process.pid):
            record(samples["peer"], [*pull, "--peer", seeder.peer], work, origin.url)
        origin.stop()
    for name, path in samples.items():
        counts[name].update(group(chain) for chain in chains(path))


def perf(output):
    return ["perf", "record", "-q", "-g", "-F", str(SAMPLES_PER_SECOND), "-o", str(output)]


def record(output, argv, work, endpoint):
    home = Path(tempfile.mkdtemp(prefix="home-", dir=work))
    try:
        run([*perf(output), "--", *argv], environment(home, endpoint), timeout=900)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def attached(output, pid):
    sampler = subprocess.Popen([*perf(output), "-p", str(pid)])
    try:
        yield
    finally:
        sampler.terminate()
        sampler.wait()


def chains(path):
    """The call chain of each sample, innermost first: [(address, function)]."""
    script = ["perf", "script", "-i", str(path), "-F", "ip,sym"]
    with subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        chain = []
        for line in process.stdout:
            address, _, function = line.strip().partition(" ")
            if address:
                chain.append((int(address, 16), function))
            elif chain:
                yield chain
                chain = []
        if chain:
            yield chain


def group(chain):
    address, function = chain[0]
    if address < KERNEL:
        return next((name for name, pattern in GROUPS if re.search(pattern, function)), "the rest of the program")
    kernel = " ".join(function for address, function in chain if address >= KERNEL)
    return next((name for name, pattern in CALLS if re.search(pattern, kernel)), "kernel: the rest")


def report(options, counts):
    print(f"\n{options.bytes} bytes, seed {options.seed}, {options.rounds} rounds; CPU s a GB\n")
    gigabytes = options.bytes * options.rounds / 1e9

    def seconds(name, what):
        return counts[name][what] / SAMPLES_PER_SECOND / gigabytes

    print("| | pull from the origin | pull from a peer | `zest serve` |")
    print("|---|---|---|---|")
    everything = sum(counts.values(), Counter())
    for what, _ in everything.most_common():
        cells = [f"{seconds(name, what):.3f}" for name in counts]
        print("|", " | ".join([what, *cells]), "|")
    cells = [f"{sum(seconds(name, what) for what in counts[name]):.3f}" for name in counts]
    print("|", " | ".join(["**all**", *cells]), "|")


if __name__ == "__main__":
    main_with_cleanup(main)
