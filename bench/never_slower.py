"""Pulls through a narrow origin with peers that are of no use, beside a pull that was told of none.

Run by never_slower.sh. Of the peers' links only the slow one's binds.
"""

from contextlib import ExitStack
from statistics import median

from costs import check, download, environment, in_turn, noise, origin_on, publish, pull, seed, setting
from links import NOBODY, Network
from tables import Promise, each_round, heading, keep, medians, middle_of, promises, table

from lab import Seeder, Server, digests, main_with_cleanup

ORIGIN_MBIT = 300
OTHERS_MBIT = 4 * ORIGIN_MBIT
SLOW_MBIT = ORIGIN_MBIT / 100
LIARS = 25
PORT = 6881

RATIO_MOST = 1.05
EXTRA_SECONDS = 0.5


def main():
    with setting(__doc__) as options, ExitStack() as running:
        network = running.enter_context(Network())
        repo = noise(options)
        source = digests(repo)
        origin_host, puller = network.host("origin"), network.host("puller")
        origin = running.enter_context(origin_on(origin_host, options))
        publish(options, repo, origin)

        slow_host = network.host("slow")
        home = seed(options, origin, "seed")
        slow = running.enter_context(
            Seeder(options.zest, home, listen=slow_host.listen(), within=slow_host.within)
        )
        faulty = {fault: network.host(fault) for fault in ["silent", "silent-mid-chunk"]}
        faulty["lies"] = network.host("lies", more_addresses=LIARS - 1)
        servers = {}
        for fault, host in faulty.items():
            servers[fault] = running.enter_context(FaultyPeer(options, repo, fault, host))
            host.limit(up=OTHERS_MBIT)
        slow_host.limit(up=SLOW_MBIT)
        origin_host.limit(up=ORIGIN_MBIT)

        liars = [faulty["lies"].address, *faulty["lies"].others(LIARS - 1)]
        peers = {
            "no peer": [],
            "refuses": [f"{puller.address}:{PORT}"],
            "dead": [f"{NOBODY}:{PORT}"],
            "silent": [faulty["silent"].listen(PORT)],
            "silent in a chunk": [faulty["silent-mid-chunk"].listen(PORT)],
            "at 1 %": [slow.peer],
            "lies": [f"{liars[0]}:{PORT}"],
            f"{LIARS} lie": [f"{liar}:{PORT}" for liar in liars],
        }

        def contender(addresses):
            argv = pull(options, addresses)
            return lambda: download(argv, origin.url, options, [origin], puller.within, source)

        rounds = in_turn(options, {name: contender(peers[name]) for name in peers})
        asked = {fault: server.stop() for fault, server in servers.items()}
    report(options, rounds, asked)
    check_asked(rounds, asked)


class FaultyPeer(Server):
    """A peer that has the files of a folder and a fault, on all addresses of a host."""

    def __init__(self, options, folder, fault, host):
        argv = [options.programs / "zest-testkit-faulty-peer", folder, "--fault", fault]
        argv += ["--listen", f"0.0.0.0:{PORT}"]
        super().__init__(argv, environment(options.work), host.within)


def check_asked(rounds, asked):
    """A peer that nobody talked to would measure nothing."""
    for fault, counts in asked.items():
        check(counts["handshakes"] >= len(rounds), f"nobody talked to the peer that is {fault!r}")
    for costs in rounds:
        for name, cost in costs.items():
            check((cost.banned > 0) == ("lie" in name), f"{name}: {cost.banned} peers were banned")


def report(options, rounds, asked):
    def allowed(costs):
        return RATIO_MOST * costs["no peer"].wall_seconds + EXTRA_SECONDS

    def promise(name):
        most = round(median(allowed(costs) for costs in rounds), 2)
        return Promise(f"wall, {name}, s", middle_of(rounds, "wall_seconds", name), most=most)

    heading(options, f"never_slower, the origin's link {ORIGIN_MBIT:g} Mbit/s")
    print(f"Asked is {RATIO_MOST:g} times the pull without a peer, and {EXTRA_SECONDS:g} s.\n")
    promises([promise(name) for name in rounds[0] if name != "no peer"])
    medians(rounds, "no peer", options.bytes)
    each_round(rounds, "no peer")
    columns = ["connections", "handshakes", "ranges", "chunks_sent"]
    table(["in all", "connections", "handshakes", "requests for chunks", "chunks sent"], [
        [fault, *[str(counts[column]) for column in columns]] for fault, counts in asked.items()
    ])
    keep(options, "never_slower", {"links": rounds}, ratio_most=RATIO_MOST, extra_seconds=EXTRA_SECONDS)


if __name__ == "__main__":
    main_with_cleanup(main)
