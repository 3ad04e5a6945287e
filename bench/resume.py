"""Kills a download when the origin has sent nine tenths of it, runs it again, and says how much was sent again.

Run by resume.sh, with `zest pull` and with the stock client. The origin's own counter of data bytes is the
measure; its rate is limited, so that the kill falls where it should.
"""

import argparse
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from costs import REPO, check, check_same, environment, run

from lab import Origin, digests, main_with_cleanup

KILL_AT = 0.9
RATE = 250_000_000
PROCESS_SECONDS_MAX = 600


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ["--zest", "--hf", "--generate", "--tmpfs"]:
        arguments.add_argument(name, required=True, type=Path)
    for name in ["--rounds", "--bytes", "--seed"]:
        arguments.add_argument(name, required=True, type=int)
    options = arguments.parse_args()

    with tempfile.TemporaryDirectory(prefix="zest-bench-", dir=options.tmpfs) as work:
        work = Path(work)
        generate = [options.generate, work / "repo"]
        generate += ["--bytes", options.bytes, "--seed", options.seed]
        print(run(generate, os.environ, timeout=600), end="", flush=True)
        rate = ["--limit-rate", str(RATE)]
        with Origin(options.zest, work / "origin", work / "origin-home", more=rate) as origin:
            publish = [options.zest, "publish", work / "repo", REPO, "--endpoint", origin.url]
            run(publish, environment(work / "publish-home"), timeout=900)
            clients = {
                "hf": [options.hf, "download", REPO],
                "zest": [options.zest, "pull", REPO],
            }
            source = digests(work / "repo")
            whole = one(clients["zest"], origin, work, source, None)[1]
            print(f"a whole pull is {whole} bytes of data\n")
            print("| round | client | sent before the kill | sent after it | again, of the whole |")
            print("|---|---|---|---|---|")
            for number in range(options.rounds):
                for name, argv in clients.items():
                    before, after = one(argv, origin, work, source, KILL_AT * whole)
                    print(f"| {number + 1} | {name} | {before / whole:.3f} | {after / whole:.3f} "
                          f"| {(before + after) / whole - 1:.3f} |", flush=True)


def one(argv, origin, work, source, kill_at):
    """Data bytes sent before and after a kill, in one home."""
    home = Path(tempfile.mkdtemp(prefix="home-", dir=work))
    try:
        begun = origin.data_bytes()
        if kill_at is not None:
            killed(argv, origin, home, begun + kill_at)
        between = origin.data_bytes()
        run(argv, environment(home, origin.url), timeout=PROCESS_SECONDS_MAX)
        [tree] = (home / "hf/hub").glob("models--*/snapshots/*")
        check_same(source, tree, argv[0].name)
        return between - begun, origin.data_bytes() - between
    finally:
        shutil.rmtree(home, ignore_errors=True)


def killed(argv, origin, home, until):
    argv = [str(part) for part in argv]
    process = subprocess.Popen(
        argv, env=environment(home, origin.url), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + PROCESS_SECONDS_MAX
        while origin.data_bytes() < until:
            check(process.poll() is None, f"{argv[0]} ended before it was killed")
            check(time.monotonic() < deadline, f"{argv[0]} does not get there")
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    # What the origin still had in hand when its client went counts as sent before.
    settled, last = 0, -1
    while settled < 10:
        count = origin.data_bytes()
        settled, last = (settled + 1, last) if count == last else (0, count)
        time.sleep(0.02)


if __name__ == "__main__":
    main_with_cleanup(main)
