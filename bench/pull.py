"""Alternates `hf download` and `zest pull` of a generated repository and compares what they cost.

Run by pull.sh. Wall time, user + system CPU and peak resident memory of each process come from
wait4; the CPU time that the origin spends on a download from /proc. Every download begins with an
empty home, and the order is swapped from pair to pair. Raw figures go to bench/out/pull.json.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "interop"))

from lab import (  # noqa: E402
    Failure,
    Origin,
    check,
    check_same,
    digests,
    environment,
    main_with_cleanup,
    run,
)

REPO = "lab/bench"
DOWNLOAD_SECONDS_MAX = 900


@dataclass
class Cost:
    wall_seconds: float
    cpu_seconds: float
    peak_rss_mib: float
    server_cpu_seconds: float


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ["--zest", "--hf", "--generate", "--tmpfs"]:
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
            publish = [options.zest, "publish", work / "repo", REPO, "--endpoint", origin.url]
            run(publish, environment(work / "publish-home"), timeout=900)
            pairs = bench(options, origin, work)
        # A child counts what its parent had resident when it was started.
        _, usage = measure([Path("true")], dict(os.environ), work / "output")
    report(options, pairs, usage.ru_maxrss / 1024, ("hf", "zest"), "origin", "pull.json")


def bench(options, origin, work):
    clients = {
        "hf": [options.hf, "download", REPO],
        "zest": [options.zest, "pull", REPO],
    }

    # Unmeasured: programs and libraries into the page cache, and both trees against the source.
    source = digests(work / "repo")
    for name, argv in clients.items():
        download(argv, origin, work, lambda tree, name=name: check_same(source, tree, name))
    print("both trees are identical to the source", flush=True)

    pairs = []
    for number in range(options.pairs):
        order = ["hf", "zest"] if number % 2 == 0 else ["zest", "hf"]
        pair = {name: download(clients[name], origin, work) for name in order}
        print(f"pair {number + 1}: {describe(pair)}", flush=True)
        pairs.append(pair)
    return pairs


def download(argv, server, work, inspect=lambda tree: None, endpoint=None):
    """One download into an empty home, and what it cost here and at the server."""
    home = Path(tempfile.mkdtemp(prefix="home-", dir=work))
    try:
        server_cpu = server.cpu_seconds()
        wall, usage = measure(argv, environment(home, endpoint or server.url), home / "output")
        server_cpu = server.cpu_seconds() - server_cpu
        [tree] = (home / "hf/hub").glob("models--*/snapshots/*")
        inspect(tree)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    # ru_maxrss is in KiB on Linux.
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, server_cpu)


def measure(argv, env, output):
    with output.open("wb") as sink:
        begun = time.monotonic()
        process = subprocess.Popen(
            [str(part) for part in argv],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
        late = threading.Timer(DOWNLOAD_SECONDS_MAX, os.kill, [process.pid, signal.SIGKILL])
        late.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.monotonic() - begun
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            late.cancel()
            if process.returncode is None:
                process.kill()
                process.wait()
    if process.returncode != 0:
        text = output.read_text(errors="replace")[-3000:]
        raise Failure(f"{argv[0].name}: exit code {process.returncode}\n{text}")
    return wall, usage


def describe(pair):
    return ", ".join(
        f"{name} {cost.wall_seconds:.2f} s {cost.peak_rss_mib:.0f} MiB"
        for name, cost in sorted(pair.items())
    )


def report(options, pairs, rss_floor_mib, names, server, file):
    """Prints the table of two contenders, the first of which is the measure of the second."""
    base, ours = names
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}"
    print(f"\n{options.bytes} bytes, seed {options.seed}, {len(pairs)} pairs; {machine};")
    print(f"a process that does nothing counts as {rss_floor_mib:.0f} MiB\n")
    quantities = [
        ("wall, s", "wall_seconds", "{:.2f}"),
        ("CPU, s", "cpu_seconds", "{:.2f}"),
        ("peak RSS, MiB", "peak_rss_mib", "{:.0f}"),
        (f"{server} CPU, s", "server_cpu_seconds", "{:.2f}"),
    ]

    titles = [f"{title}: {base} | {ours} | ratio" for title, *_ in quantities]
    print("| pair | first |", " | ".join(titles), "|")
    print("|---|---|" + "---|---|---|" * len(quantities))

    def row(number, first, values):
        cells = []
        for (_, _, form), (theirs, our, ratio) in zip(quantities, values):
            cells += [form.format(theirs), form.format(our), f"{ratio:.3f}"]
        print("|", " | ".join([number, first, *cells]), "|")

    table = []
    for number, pair in enumerate(pairs, 1):
        values = []
        for _, field, _ in quantities:
            theirs, our = getattr(pair[base], field), getattr(pair[ours], field)
            values.append((theirs, our, our / theirs if theirs else float("nan")))
        table.append(values)
        row(str(number), next(iter(pair)), values)
    # The last column of each is the median of the ratios, not the ratio of the medians.
    row("**median**", "", [[median(column) for column in zip(*of)] for of in zip(*table)])

    out = ROOT / "bench/out" / file
    out.parent.mkdir(exist_ok=True)
    raw = [{name: asdict(cost) for name, cost in pair.items()} for pair in pairs]
    raw = {"bytes": options.bytes, "seed": options.seed, "pairs": raw}
    out.write_text(json.dumps(raw, indent=1) + "\n")


if __name__ == "__main__":
    main_with_cleanup(main)
