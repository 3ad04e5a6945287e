"""A pull from the origin alone, and one with a peer whose link is four times as wide.

Run by one_peer.sh. The repository is noise, so that its bytes are those on the links.
"""

from contextlib import ExitStack

from costs import download, in_turn, noise, publish, pull, seed, setting
from links import Network
from tables import Promise, each_round, heading, keep, medians, promises, ratio

from lab import Origin, Seeder, digests, main_with_cleanup

PEER_MBIT = 800
ORIGIN_MBIT = PEER_MBIT / 4


def main():
    with setting(__doc__) as options, ExitStack() as running:
        network = running.enter_context(Network())
        repo = noise(options)
        source = digests(repo)
        origin_host, peer_host = network.host("origin"), network.host("peer")
        puller = network.host("puller")
        origin = running.enter_context(origin_on(origin_host, options))
        publish(options, repo, origin)
        home = seed(options, origin, "seed")
        peer = running.enter_context(
            Seeder(options.zest, home, peer_host.listen(), within=peer_host.within)
        )
        origin_host.limit(up=ORIGIN_MBIT)
        peer_host.limit(up=PEER_MBIT)

        def contender(*more):
            argv = pull(options, *more)
            return lambda: download(argv, origin.url, options, [origin, peer], puller.within, source)

        rounds = in_turn(options, {"cdn_only": contender(), "one_peer": contender("--peer", peer.peer)})
    report(options, rounds)


def origin_on(host, options):
    data, home = options.work / "origin", options.work / "origin-home"
    return Origin(options.zest, data, home, host.listen(), within=host.within)


def report(options, rounds):
    heading(options, f"one_peer, origin's link {ORIGIN_MBIT:g} Mbit/s, the peer's {PEER_MBIT:g} Mbit/s")
    wall = ratio(rounds, "wall_seconds", "one_peer", "cdn_only")
    promises([Promise("wall, one_peer / cdn_only", wall, most=0.6)])
    medians(rounds, "cdn_only", options.bytes)
    each_round(rounds, "cdn_only")
    keep(options, "one_peer", {"links": rounds}, mbit={"origin": ORIGIN_MBIT, "peer": PEER_MBIT})


if __name__ == "__main__":
    main_with_cleanup(main)
