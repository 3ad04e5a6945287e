"""What a download costs, how rounds of downloads are run, and what they are run on: what the measurements share.

Wall time, user + system CPU and peak resident memory of a process come from wait4; the CPU time that servers spend on a
download from /proc. Every download begins with an empty home.
"""

import argparse
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "interop"))

from lab import Failure, Origin, check, check_same, environment, run  # noqa: E402

REPO = "lab/bench"
DOWNLOAD_SECONDS_MAX = 900
PUBLISH_SECONDS_MAX = 900
# Files of a repository of noise, as many as a model of some size has.
NOISE_FILES = 8
PIECE_BYTES = 1 << 20


@dataclass
class Cost:
    wall_seconds: float
    cpu_seconds: float
    peak_rss_mib: float
    server_cpu_seconds: float = 0.0
    server_peak_rss_mib: float = 0.0
    # {"local", "lan", "wan", "cdn"}, as far as the program tells where the bytes of the files came from.
    file_bytes: dict = field(default_factory=dict)
    # Peers that were proved to be at fault.
    banned: int = 0


@contextmanager
def setting(description, more=()):
    """The options that all measurements have, `more` that are numbers, and a folder that is gone afterwards:
    `options.work`."""
    arguments = argparse.ArgumentParser(description=description)
    for name in ["--programs", "--tmpfs"]:
        arguments.add_argument(name, required=True, type=Path)
    for name in ["--seed", "--pairs", "--bytes", *more]:
        arguments.add_argument(name, required=True, type=int)
    for name in ["--hf", "--reference-cas"]:
        arguments.add_argument(name, type=Path)
    arguments.add_argument("--with-peers", default="")
    options = arguments.parse_args()
    check(options.pairs > 0, "PAIRS must be at least 1")
    options.zest = options.programs / "zest"
    with tempfile.TemporaryDirectory(prefix="zest-bench-", dir=options.tmpfs) as work:
        options.work = Path(work)
        yield options


def model(options):
    """A repository as models are: about half of it random, a third repeated, the rest zeros."""
    folder = options.work / "repo"
    generate = [options.programs / "zest-testkit-generate", folder]
    generate += ["--bytes", options.bytes, "--seed", options.seed]
    print(run(generate, os.environ, timeout=600), end="", flush=True)
    return folder


def noise(options):
    """A repository that neither compresses nor repeats, so that a byte of it is a byte on a link."""
    folder = options.work / "repo"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}\n")
    source = random.Random(options.seed)
    for number in range(NOISE_FILES):
        left = options.bytes // NOISE_FILES
        with (folder / f"model-{number + 1:05}-of-{NOISE_FILES:05}.safetensors").open("wb") as file:
            while left > 0:
                file.write(source.randbytes(min(left, PIECE_BYTES)))
                left -= PIECE_BYTES
    return folder


def origin_on(host, options):
    """`zest origin` on one of the hosts of links.py."""
    data, home = options.work / "origin", options.work / "origin-home"
    return Origin(options.zest, data, home, host.listen(), within=host.within)


def publish(options, folder, origin):
    argv = [options.zest, "publish", folder, REPO, "--endpoint", origin.url]
    run(argv, environment(options.work / "publish-home"), timeout=PUBLISH_SECONDS_MAX)


def pull(options, peers=()):
    """`zest pull` that is told of these peers, `host:port`, and then has the options of `--with-peers` too."""
    argv = [options.zest, "pull", REPO, "--format", "json"]
    for peer in peers:
        argv += ["--peer", peer]
    return [*argv, *shlex.split(options.with_peers)] if peers else argv


def seed(options, origin, name):
    """A home into which everything was pulled, for `zest serve` to serve."""
    home = options.work / name
    run(pull(options), environment(home, origin.url), timeout=DOWNLOAD_SECONDS_MAX)
    return home


def download(argv, endpoint, options, servers=(), within=(), expected=None):
    """One download into an empty home: what it cost here and at the servers.

    The tree is compared with `expected`, if that is given.
    """
    home = Path(tempfile.mkdtemp(prefix="home-", dir=options.work))
    try:
        before = sum(server.cpu_seconds() for server in servers)
        cost = measure([*within, *argv], environment(home, endpoint), home / "output")
        cost.server_cpu_seconds = sum(server.cpu_seconds() for server in servers) - before
        if expected is not None:
            check_same(expected, snapshot(home), f"what {Path(argv[0]).name} downloaded")
        return cost
    finally:
        shutil.rmtree(home, ignore_errors=True)


def snapshot(home):
    """The only tree that was downloaded into a home."""
    [tree] = (home / "hf/hub").glob("models--*/snapshots/*")
    return tree


def measure(argv, env, output):
    """Runs a process that must succeed, with what it prints going to the file `output`."""
    with Measured(argv, env, output) as process:
        return process.cost()


class Measured:
    """A process from the `with` line on. Leaving the block ends it."""

    def __init__(self, argv, env, output):
        self.argv = [str(part) for part in argv]
        self.env = env
        self.output = output

    def __enter__(self):
        with self.output.open("wb") as sink:
            self.begun = time.monotonic()
            self.process = subprocess.Popen(
                self.argv, env=self.env, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT
            )
        self.late = threading.Timer(DOWNLOAD_SECONDS_MAX, os.kill, [self.process.pid, signal.SIGKILL])
        self.late.start()
        return self

    def __exit__(self, *_):
        self.late.cancel()
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()

    def cost(self):
        """Waits for its end, which must be a good one."""
        _, status, usage = os.wait4(self.process.pid, 0)
        wall = time.monotonic() - self.begun
        self.late.cancel()
        self.process.returncode = os.waitstatus_to_exitcode(status)
        text = self.output.read_text(errors="replace")
        if self.process.returncode != 0:
            raise Failure(f"{' '.join(self.argv)}: exit code {self.process.returncode}\n{text[-3000:]}")
        told = summary(text)
        return Cost(
            wall,
            usage.ru_utime + usage.ru_stime,
            # In KiB on Linux.
            usage.ru_maxrss / 1024,
            file_bytes=told.get("file_bytes", {}),
            banned=len(told.get("banned", [])),
        )


def summary(text):
    """The last event of a program that tells what happens in JSON; else nothing."""
    lines = text.splitlines()
    if lines and lines[-1].startswith("{"):
        return json.loads(lines[-1])
    return {}


def rss_floor_mib(options):
    """A child counts what its parent had resident when it was started."""
    return measure(["true"], dict(os.environ), options.work / "output").peak_rss_mib


def in_turn(options, contenders):
    """Runs every contender once unmeasured, then all of them `--pairs` times, each round beginning with another.

    `contenders` are functions by name. Gives a list of {name: Cost} in the order of their runs. The unmeasured runs
    bring programs and libraries into the page cache.
    """
    names = list(contenders)
    for run_once in contenders.values():
        run_once()
    rounds = []
    for number in range(options.pairs):
        first = number % len(names)
        order = names[first:] + names[:first]
        costs = {name: contenders[name]() for name in order}
        print(f"round {number + 1}: {describe(costs)}", flush=True)
        rounds.append(costs)
    return rounds


def describe(costs):
    return ", ".join(f"{name} {cost.wall_seconds:.2f} s" for name, cost in sorted(costs.items()))
