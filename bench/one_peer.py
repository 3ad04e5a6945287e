"""A pull from the origin alone beside a pull with one peer, on links and on loopback.

Run by one_peer.sh. On links the peer's is four times as wide as the origin's, and the repository is noise, so that its
bytes are those on the links. On loopback a third contender pulls from the peer alone: the origin answers metadata then,
but gives out no file data.
"""

from contextlib import ExitStack
from copy import copy

from costs import check, download, in_turn, model, noise, origin_on, publish, pull, rss_floor_mib, seed, setting
from links import Network
from tables import Promise, each_round, heading, keep, medians, middle_of, promises, ratio

from lab import Origin, Seeder, digests, main_with_cleanup

PEER_MBIT = 800
ORIGIN_MBIT = PEER_MBIT / 4
# Loopback is faster than the links are.
LOOPBACK_BYTES_FACTOR = 5
RSS_MIB_MOST = 96


def main():
    with setting(__doc__) as options:
        rounds = on_links(options)
        loopback = copy(options)
        loopback.work = options.work / "loopback"
        loopback.bytes = LOOPBACK_BYTES_FACTOR * options.bytes
        rounds_on_loopback, seeder_rss_mib = on_loopback(loopback)
        floor_mib = rss_floor_mib(options)
    report_links(options, rounds)
    report_loopback(loopback, rounds_on_loopback, floor_mib, seeder_rss_mib)
    sections = {"links": rounds, "loopback": rounds_on_loopback}
    mbit = {"origin": ORIGIN_MBIT, "peer": PEER_MBIT}
    keep(options, "one_peer", sections, mbit=mbit, loopback_bytes=loopback.bytes)


def on_links(options):
    with ExitStack() as running:
        network = running.enter_context(Network())
        repo = noise(options)
        source = digests(repo)
        origin_host, peer_host = network.host("origin"), network.host("peer")
        puller = network.host("puller")
        origin = running.enter_context(origin_on(origin_host, options))
        publish(options, repo, origin)
        home = seed(options, origin, "seed")
        peer = Seeder(options.zest, home, listen=peer_host.listen(), within=peer_host.within)
        running.enter_context(peer)
        origin_host.limit(up=ORIGIN_MBIT)
        peer_host.limit(up=PEER_MBIT)

        def contender(*peers):
            argv = pull(options, peers)
            return lambda: download(argv, origin.url, options, [origin, peer], puller.within, source)

        return in_turn(options, {"cdn_only": contender(), "one_peer": contender(peer.peer)})


def on_loopback(options):
    """The rounds, and peak memory of the one that serves."""

    def origin_at(address="127.0.0.1:0", more=()):
        return Origin(options.zest, options.work / "origin", options.work / "origin-home", address, more)

    repo = model(options)
    source = digests(repo)
    with origin_at() as origin:
        publish(options, repo, origin)
        home = seed(options, origin, "seed")
        # Those to come answer at the same address: it is part of the names of swarms.
        address = origin.url.removeprefix("http://")

    with Seeder(options.zest, home) as seeder:

        def contender(peers, more=()):
            argv = pull(options, [peer.peer for peer in peers])

            def once():
                with origin_at(address, more) as origin:
                    cost = download(argv, origin.url, options, [origin, *peers], expected=source)
                    check(not more or origin.data_bytes() == 0, "the origin sent file data")
                    origin.stop()
                return cost

            return once

        rounds = in_turn(options, {
            "cdn_only": contender([]),
            "one_peer": contender([seeder]),
            "peer alone": contender([seeder], ["--no-data"]),
        })
        return rounds, seeder.peak_rss_mib()


def report_links(options, rounds):
    heading(options, f"one_peer, origin's link {ORIGIN_MBIT:g} Mbit/s, the peer's {PEER_MBIT:g} Mbit/s")
    wall = ratio(rounds, "wall_seconds", "one_peer", "cdn_only")
    promises([Promise("wall, one_peer / cdn_only", wall, most=0.6)])
    medians(rounds, "cdn_only", options.bytes)
    each_round(rounds, "cdn_only")


def report_loopback(options, rounds, floor_mib, seeder_rss_mib):
    heading(options, "one_peer, loopback")
    print(f"A process that does nothing counts as {floor_mib:.0f} MiB.\n")

    def wall(name):
        return Promise(f"wall, {name} / cdn_only", ratio(rounds, "wall_seconds", name, "cdn_only"), most=1.0)

    promises([
        wall("one_peer"),
        wall("peer alone"),
        Promise("peak RSS, one_peer, MiB", middle_of(rounds, "peak_rss_mib", "one_peer"), most=RSS_MIB_MOST),
        Promise("peak RSS, `zest serve`, MiB", seeder_rss_mib, most=RSS_MIB_MOST),
    ])
    medians(rounds, "cdn_only", options.bytes)
    each_round(rounds, "cdn_only")


if __name__ == "__main__":
    main_with_cleanup(main)
