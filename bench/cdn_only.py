"""Alternates `hf download` and `zest pull` of a generated repository and compares what they cost.

Run by cdn_only.sh. Both without peers: first from a zest origin, then from the reference CAS server.
"""

from contextlib import ExitStack
from statistics import median

from costs import (
    PUBLISH_SECONDS_MAX,
    REPO,
    check,
    download,
    environment,
    in_turn,
    measure,
    model,
    publish,
    pull,
    rss_floor_mib,
    run,
    setting,
)
from tables import Promise, each_round, heading, keep, medians, middle_of, promises, ratio

from lab import Origin, digests, main_with_cleanup
from standin import Hub, ReferenceCas

WALL_MOST = 0.7
CPU_MOST = 0.7
RSS_MIB_MOST = 64


def main():
    with setting(__doc__) as options:
        check(options.hf and options.reference_cas, "--hf and --reference-cas are needed")
        repo = model(options)
        source = digests(repo)
        compared = {}
        with Origin(options.zest, options.work / "origin", options.work / "origin-home") as origin:
            publish(options, repo, origin)
            compared["zest origin"] = compare(options, origin.url, origin, source)
        with ExitStack() as running:
            home = options.work / "reference-home"
            data = options.work / "reference"
            cas = running.enter_context(ReferenceCas(options.reference_cas, data, home))
            hub = running.enter_context(Hub(cas.url, cas.shards))
            # The stock client uploads, so that what is stored is cut, compressed and grouped as Hugging Face's is.
            run([options.hf, "upload", REPO, repo], environment(home, hub.url), timeout=PUBLISH_SECONDS_MAX)
            compared["reference CAS"] = compare(options, hub.url, cas, source)
        start = starting(options)
        floor = rss_floor_mib(options)
    report(options, compared, start, floor)


def compare(options, endpoint, server, source):
    clients = {"hf": [options.hf, "download", REPO], "zest": pull(options)}

    def contender(argv):
        return lambda: download(argv, endpoint, options, [server], expected=source)

    return in_turn(options, {name: contender(argv) for name, argv in clients.items()})


def starting(options):
    """Median wall and processor time of starting the stock client, seconds."""
    argv, env = [options.hf, "version"], environment(options.work)
    costs = [measure(argv, env, options.work / "output") for _ in range(options.pairs)]
    return median(cost.wall_seconds for cost in costs), median(cost.cpu_seconds for cost in costs)


def report(options, compared, start, floor):
    for server, rounds in compared.items():
        heading(options, f"cdn_only, {server}")
        print(f"A process that does nothing counts as {floor:.0f} MiB. To start, `hf version`, takes `hf` "
              f"{start[0]:.2f} s and {start[1]:.2f} s of CPU.\n")
        promises([
            Promise("wall, zest / hf", ratio(rounds, "wall_seconds", "zest", "hf"), most=WALL_MOST),
            Promise("CPU, zest / hf", ratio(rounds, "cpu_seconds", "zest", "hf"), most=CPU_MOST),
            Promise("peak RSS of zest, MiB", middle_of(rounds, "peak_rss_mib", "zest"), most=RSS_MIB_MOST),
        ])
        medians(rounds, "hf", options.bytes)
        each_round(rounds, "hf")
    keep(options, "cdn_only", compared)


if __name__ == "__main__":
    main_with_cleanup(main)
