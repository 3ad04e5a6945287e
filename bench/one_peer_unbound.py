"""A pull from the origin alone, one with a peer besides, and one from the peer alone, all on loopback.

Run by one_peer.sh. For the last the origin answers metadata but gives out no file data.
"""

from contextlib import ExitStack

from costs import check, download, in_turn, model, publish, pull, rss_floor_mib, seed, setting
from tables import Promise, each_round, heading, keep, medians, middle_of, promises, ratio

from lab import Origin, Seeder, digests, main_with_cleanup


def main():
    with setting(__doc__) as options:
        repo = model(options)
        source = digests(repo)
        with ExitStack() as running:
            origin = running.enter_context(origin_at(options))
            publish(options, repo, origin)
            home = seed(options, origin, "seed")
            # All answer at the same address: it is part of the names of swarms.
            address = origin.url.removeprefix("http://")
            origin.stop()
            seeder = running.enter_context(Seeder(options.zest, home))
            rounds = compare(options, address, seeder, source)
            seeder_rss = seeder.peak_rss_mib()
        floor = rss_floor_mib(options)
    report(options, rounds, floor, seeder_rss)


def origin_at(options, address="127.0.0.1:0", *more):
    return Origin(options.zest, options.work / "origin", options.work / "origin-home", address, more)


def compare(options, address, seeder, source):
    def contender(more, peers):
        argv = pull(options, *[word for peer in peers for word in ("--peer", peer.peer)])

        def once():
            with origin_at(options, address, *more) as origin:
                cost = download(argv, origin.url, options, [origin, *peers], expected=source)
                check(not more or origin.data_bytes() == 0, "the origin sent file data")
                origin.stop()
            return cost

        return once

    return in_turn(options, {
        "cdn_only": contender([], []),
        "one_peer": contender([], [seeder]),
        "peer alone": contender(["--no-data"], [seeder]),
    })


def report(options, rounds, floor, seeder_rss):
    heading(options, "one_peer, loopback")
    print(f"A process that does nothing counts as {floor:.0f} MiB; peak RSS of `zest serve`: {seeder_rss:.0f} MiB.\n")

    def row(name):
        return Promise(f"wall, {name} / cdn_only", ratio(rounds, "wall_seconds", name, "cdn_only"), most=1.0)

    rss = middle_of(rounds, "peak_rss_mib", "one_peer")
    promises([row("one_peer"), row("peer alone"), Promise("peak RSS, one_peer, MiB", rss, most=96)])
    medians(rounds, "cdn_only", options.bytes)
    each_round(rounds, "cdn_only")
    keep(options, "one_peer_unbound", {"loopback": rounds})


if __name__ == "__main__":
    main_with_cleanup(main)
