"""Several pulls at once, each on a host that also serves what it has, and one narrow origin that nobody seeds for.

Run by fan_out.sh. Every host is told of all the others by `--peer`. What the links allow: the origin must send everything
once, every host must receive it, and all that is received is sent by the origin or by a host.
"""

import json
import shutil
from contextlib import ExitStack
from statistics import median

from costs import Measured, check_same, environment, noise, origin_on, publish, pull, seed, setting, snapshot
from links import Network, mbit
from tables import OUT, heading, table

from lab import Seeder, digests, main_with_cleanup

ORIGIN_MBIT = 200
UP_MBIT = 200
DOWN_MBIT = 400
PULLERS = [2, 4, 8]
PORT = 6881


def main():
    with setting(__doc__) as options, ExitStack() as running:
        network = running.enter_context(Network())
        repo = noise(options)
        source = digests(repo)
        origin_host = network.host("origin")
        origin = running.enter_context(origin_on(origin_host, options))
        publish(options, repo, origin)
        sent = origin.data_bytes()
        seed(options, origin, "whole")
        whole = origin.data_bytes() - sent
        origin_host.limit(up=ORIGIN_MBIT)
        hosts = [network.host(f"puller-{number + 1}", UP_MBIT, DOWN_MBIT) for number in range(max(PULLERS))]

        rounds = []
        for number in range(options.pairs):
            first = number % len(PULLERS)
            results = {}
            for count in PULLERS[first:] + PULLERS[:first]:
                results[count] = at_once(options, origin, hosts[:count], whole, source)
                seconds, copies = results[count]["last_seconds"], results[count]["origin_copies"]
                print(f"round {number + 1}, {count} pulls: {seconds:.2f} s, {copies:.2f} copies", flush=True)
            rounds.append(results)
    report(options, rounds)


def at_once(options, origin, hosts, whole, source):
    """Time until the last of the pulls is done, and how often the origin sent the whole."""
    homes = [options.work / host.name for host in hosts]
    sent = origin.data_bytes()
    with ExitStack() as running:
        for host, home in zip(hosts, homes):
            home.mkdir()
            serve = Seeder(options.zest, home, listen=host.listen(PORT), within=host.within)
            running.enter_context(serve)

        pulls = []
        for host, home in zip(hosts, homes):
            others = [other.listen(PORT) for other in hosts if other is not host]
            argv = [*host.within, *pull(options, others)]
            pulls.append(running.enter_context(Measured(argv, environment(home, origin.url), home / "output")))
        # Waited for in turn, so that only the time of the last is what it took.
        last = max(process.cost().wall_seconds for process in pulls)
    copies = (origin.data_bytes() - sent) / whole
    for home in homes:
        check_same(source, snapshot(home), f"what {home.name} pulled")
        shutil.rmtree(home)
    return {"last_seconds": last, "origin_copies": copies}


def bound_seconds(count, size):
    """The least time in which the links bring everything to all: headers not counted."""
    up = mbit(ORIGIN_MBIT) + count * mbit(UP_MBIT)
    return max(size / mbit(ORIGIN_MBIT), size / mbit(DOWN_MBIT), count * size / up)


def report(options, rounds):
    links = f"origin {ORIGIN_MBIT:g} Mbit/s, every host {UP_MBIT:g} up and {DOWN_MBIT:g} down"
    heading(options, f"fan_out, {links}")
    rows, results = [], {}
    for count in PULLERS:
        bound = bound_seconds(count, options.bytes)
        middle = {key: median(result[count][key] for result in rounds) for key in rounds[0][count]}
        results[count] = {**middle, "bound_seconds": bound}
        last, copies = middle["last_seconds"], middle["origin_copies"]
        alone = count * options.bytes / mbit(ORIGIN_MBIT)
        rows.append([
            str(count), f"{copies:.2f}", f"{bound:.2f}", f"{last:.2f}", f"**{last / bound:.2f}**", f"{last / alone:.2f}"
        ])
    table(["pulls", "copies sent by the origin", "bound, s", "last done, s", "last / bound", "last / (N F / u_s)"], rows)
    titles = ["round", *[f"{count} pulls: last, s | copies" for count in PULLERS]]
    table([cell for title in titles for cell in title.split(" | ")], [
        [str(number), *[cell for count in PULLERS for cell in
                        (f"{result[count]['last_seconds']:.2f}", f"{result[count]['origin_copies']:.2f}")]]
        for number, result in enumerate(rounds, 1)
    ])
    OUT.mkdir(exist_ok=True)
    whole = {"bytes": options.bytes, "seed": options.seed, "medians": results, "rounds": rounds}
    (OUT / "fan_out.json").write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main_with_cleanup(main)
