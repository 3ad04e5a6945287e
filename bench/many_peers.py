"""Pulls from an origin and 1, 2 and 4 peers, each on a link of the same rate, beside the sum of those rates.

Run by many_peers.sh. The repository is noise, so that its bytes are those on the links.
"""

from contextlib import ExitStack
from statistics import median

from costs import download, in_turn, noise, origin_on, publish, pull, seed, setting
from links import PAYLOAD, Network, mbit
from tables import Promise, each_round, heading, keep, medians, promises

from lab import Seeder, digests, main_with_cleanup

LINK_MBIT = 200
PEERS = [1, 2, 4]


def main():
    with setting(__doc__) as options, ExitStack() as running:
        network = running.enter_context(Network())
        repo = noise(options)
        source = digests(repo)
        origin_host, puller = network.host("origin"), network.host("puller")
        origin = running.enter_context(origin_on(origin_host, options))
        publish(options, repo, origin)
        peers = []
        for number in range(max(PEERS)):
            host = network.host(f"peer-{number + 1}")
            home = seed(options, origin, host.name)
            peers.append(running.enter_context(
                Seeder(options.zest, home, listen=host.listen(), within=host.within)
            ))
            host.limit(up=LINK_MBIT)
        origin_host.limit(up=LINK_MBIT)

        def contender(count):
            argv = pull(options, [peer.peer for peer in peers[:count]])
            servers = [origin, *peers]
            return lambda: download(argv, origin.url, options, servers, puller.within, source)

        rounds = in_turn(options, {name(count): contender(count) for count in [0, *PEERS]})
    report(options, rounds)


def name(count):
    return {0: "cdn_only", 1: "1 peer"}.get(count, f"{count} peers")


def report(options, rounds):
    links = {name(count): (count + 1) * mbit(LINK_MBIT) for count in [0, *PEERS]}

    def filled(name):
        return median(options.bytes / costs[name].wall_seconds / links[name] for costs in rounds)

    heading(options, f"many_peers, every link {LINK_MBIT:g} Mbit/s")
    print(f"TCP's headers leave at most {PAYLOAD:.3f} of a link; without a peer {filled('cdn_only'):.3f} is filled.\n")
    promises([
        Promise(f"file bytes a second / sum of the links, {name(count)}", filled(name(count)), least=0.9)
        for count in PEERS
    ])
    medians(rounds, "cdn_only", options.bytes)
    each_round(rounds, "cdn_only")
    keep(options, "many_peers", {"links": rounds}, links=links, payload=PAYLOAD)


if __name__ == "__main__":
    main_with_cleanup(main)
