"""Compares what `zest origin` and the reference CAS server need for the same uploads and downloads.

Run by origin.sh. Processor time and memory are those of the server processes, from /proc; the Hub before the reference
CAS is a stand-in of ours and not counted.
"""

import random
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

import lean
from costs import PUBLISH_SECONDS_MAX, REPO, Cost, check, download, environment, in_turn, measure, model, run, setting
from tables import GB, Promise, each_round, heading, keep, middle_of, promises, ratio, table

from lab import Origin, digests, main_with_cleanup
from standin import Hub, ReferenceCas

WALL_MOST = 0.8
SERVER_CPU_MOST = 0.7
MANY_RSS_MIB_MOST = 128
OPTIONS = ["--clients", "--file-bytes", "--requests"]
# Connections over which metadata are asked for.
ASKING = 4
ASKED_AT_ONCE = 100
ASKING_SECONDS_MAX = 15
PIECE_BYTES = 1 << 20


def main():
    with setting(__doc__, OPTIONS) as options:
        check(options.hf and options.reference_cas, "--hf and --reference-cas are needed")
        repo = model(options)
        compared = {"upload, hf-xet": in_turn(options, contenders(stock_upload, options, repo))}
        with ExitStack() as running:
            servers = {name: running.enter_context(filled(server, options, repo)) for name, server in SERVERS.items()}
            expected = digests(repo)

            def stock_download(endpoint, process):
                process.reset_peak()
                cost = download([options.hf, "download", REPO], endpoint, options, [process], expected=expected)
                cost.server_peak_rss_mib = process.peak_rss_mib()
                return cost

            compared["download, hf-xet"] = in_turn(options, bound(stock_download, servers))
            compared["download, lean"] = in_turn(options, bound(lean_download, servers))
            asked = metadata(options, servers)
        xorbs = stored_xorbs(options.work / "zest")
        compared["upload, lean"] = in_turn(options, contenders(lean_upload, options, xorbs))
        del xorbs
        shutil.rmtree(repo)
        many = many_downloads(options)
        floors = {name: rss_of_an_empty(server, options) for name, server in SERVERS.items()}
    report(options, compared, asked, many, floors)


@contextmanager
def zest(options, work):
    with Origin(options.zest, work / "zest", work / "zest-home") as origin:
        yield origin.url, origin


@contextmanager
def reference(options, work):
    with ReferenceCas(options.reference_cas, work / "cas", work / "cas-home") as cas, Hub(cas.url, cas.shards) as hub:
        yield hub.url, cas


SERVERS = {"reference": reference, "zest": zest}


def contenders(work, options, given):
    """Functions by name, each of which does `work` at a server that has nothing."""

    def contender(server):
        def once():
            with folder(options) as place, server(options, place) as (endpoint, process):
                before = process.cpu_seconds()
                cost = work(options, endpoint, given, place)
                cost.server_cpu_seconds = process.cpu_seconds() - before
                cost.server_peak_rss_mib = process.peak_rss_mib()
                return cost

        return once

    return {name: contender(server) for name, server in SERVERS.items()}


def bound(work, servers):
    return {name: lambda server=server: work(*server) for name, server in servers.items()}


@contextmanager
def folder(options):
    work = Path(tempfile.mkdtemp(prefix="server-", dir=options.work))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def stock_upload(options, endpoint, repo, work):
    return measure([options.hf, "upload", REPO, repo], environment(work / "home", endpoint), work / "output")


@contextmanager
def filled(server, options, repo):
    """A server to which the stock client has uploaded, so that both hold what it makes of the files."""
    with server(options, options.work) as (endpoint, process):
        argv = [options.hf, "upload", REPO, repo]
        run(argv, environment(options.work / "upload-home", endpoint), timeout=PUBLISH_SECONDS_MAX)
        yield endpoint, process


def lean_download(endpoint, process):
    process.reset_peak()
    before = process.cpu_seconds()
    wall, _ = lean.download(endpoint, REPO)
    return Cost(wall, 0, 0, process.cpu_seconds() - before, server_peak_rss_mib=process.peak_rss_mib())


def lean_upload(_options, endpoint, xorbs, _work):
    wall, _ = lean.upload(endpoint, REPO, xorbs)
    return Cost(wall, 0, 0)


def stored_xorbs(data):
    """{hash: records} of an origin's folder. Behind the records stands a footer, and its length."""

    def records(stored):
        return stored[:len(stored) - 4 - int.from_bytes(stored[-4:], "little")]

    return {path.name: records(path.read_bytes()) for path in data.glob("xorbs/??/*")}


def metadata(options, servers):
    """Processor time of the servers for 1,000 answers, in seconds: {call: {server: seconds}}."""
    asked = {}
    for name, (endpoint, process) in servers.items():
        access = lean.Access(endpoint, REPO, "read")
        path, (xet_hash, _) = max(lean.large_files(endpoint, REPO).items())
        calls = {f"reconstruction of {path}": ("GET", f"{access.cas}/v2/reconstructions/{xet_hash}", access.headers)}
        if name == "zest":
            # The other has no Hub of its own.
            api = f"{endpoint}/api/models/{REPO}"
            calls |= {
                "repo info": ("GET", f"{api}/revision/main", {}),
                "tree": ("GET", f"{api}/tree/main?recursive=true", {}),
                "HEAD resolve": ("HEAD", f"{endpoint}/{REPO}/resolve/main/{path}", {}),
                "xet-read-token": ("GET", f"{api}/xet-read-token/main", {}),
            }
        for call, request in calls.items():
            asked.setdefault(call, {})[name] = 1000 * cpu_of_one(options, process, request)
    return asked


def cpu_of_one(options, process, request):
    """Asks again and again, but not for long: an answer of the reference CAS may take a tenth of a second."""
    lean.each([request], lambda client, request: client.taken(*request), 1)
    before, answers, seconds = process.cpu_seconds(), 0, 0
    while answers < options.requests and seconds < ASKING_SECONDS_MAX:
        some = min(ASKED_AT_ONCE, options.requests - answers)
        seconds += lean.each([request] * some, lambda client, request: client.taken(*request), ASKING)
        answers += some
    return (process.cpu_seconds() - before) / answers


def many_downloads(options):
    """Many downloads of one file at once, as plain bytes and as the ranges of xorbs that it is made of.

    Each way from a fresh process, in which nothing of the upload is left: {way: (seconds, server's CPU s, RSS in MiB
    at its start and at most, bytes that each received)}.
    """
    found = {}
    with folder(options) as work:
        source = work / "source"
        source.mkdir()
        noise_file(options, source / "model.safetensors")
        with zest(options, work) as (endpoint, _):
            argv = [options.zest, "publish", source, REPO, "--endpoint", endpoint]
            run(argv, environment(work / "publish-home"), timeout=PUBLISH_SECONDS_MAX)
        for way, requests in [("plain bytes", plain_request), ("ranges of xorbs", range_requests)]:
            with zest(options, work) as (endpoint, process):
                floor = process.peak_rss_mib()
                [(path, (xet_hash, sha256))] = lean.large_files(endpoint, REPO).items()
                wanted, length, expected = requests(endpoint, path, xet_hash, sha256)
                process.reset_peak()
                before = process.cpu_seconds()
                digests_seen = []

                def one(client, _number):
                    digests_seen.append(lean.digest_of(client, wanted))

                seconds = lean.each(range(options.clients), one, options.clients)
                check(len(digests_seen) == options.clients, f"{way}: {len(digests_seen)} downloads")
                check(set(digests_seen) == {expected}, f"{way}: downloads that differ")
                found[way] = seconds, process.cpu_seconds() - before, floor, process.peak_rss_mib(), length
    return found


def noise_file(options, path):
    """What neither compresses nor repeats: as many bytes in xorbs as in the file."""
    source, left = random.Random(options.seed), options.file_bytes
    with path.open("wb") as file:
        while left > 0:
            file.write(source.randbytes(min(left, PIECE_BYTES)))
            left -= PIECE_BYTES


def plain_request(endpoint, path, _xet_hash, sha256):
    """Where clients without hf-xet are sent to; what they get is the file."""
    client = lean.Client()
    answer = client.ask("HEAD", f"{endpoint}/{REPO}/resolve/main/{path}")
    size = int(answer.headers["X-Linked-Size"])
    client.close()
    return [(answer.headers["Location"], {})], size, sha256


def range_requests(endpoint, _path, xet_hash, _sha256):
    """What hf-xet would fetch. Whether it is right, the first tells: it is compared with the stored xorbs."""
    client = lean.Client()
    found = lean.ranges(client, lean.Access(endpoint, REPO, "read"), xet_hash)
    wanted = [(url, headers) for url, headers, _ in found]
    expected = lean.digest_of(client, wanted)
    client.close()
    return wanted, sum(length for *_, length in found), expected


def report(options, compared, asked, many, floors):
    for what, rounds in compared.items():
        heading(options, f"origin, {what}")
        bounds = [
            Promise("wall, zest / reference", ratio(rounds, "wall_seconds", "zest", "reference"), most=WALL_MOST),
            Promise(
                "CPU of the server, zest / reference",
                ratio(rounds, "server_cpu_seconds", "zest", "reference"),
                most=SERVER_CPU_MOST,
            ),
        ]
        promises(bounds)
        costs(rounds, options.bytes)
        each_round(rounds, "reference")
    heading(options, f"origin, {options.clients} downloads of one file of {options.file_bytes} bytes at once")
    promises([
        Promise(f"peak RSS, {way}, MiB", peak, most=MANY_RSS_MIB_MOST) for way, (_, _, _, peak, _) in many.items()
    ])
    rows = [
        [way, f"{seconds:.1f}", f"{options.clients * length / seconds / GB:.2f}",
         f"{cpu / (options.clients * length) * GB:.2f}", f"{floor:.0f}", f"{peak:.0f}"]
        for way, (seconds, cpu, floor, peak, length) in many.items()
    ]
    table(["", "wall, s", "GB/s, all", "server's CPU, s a GB", "RSS at its start, MiB", "peak RSS, MiB"], rows)
    heading(options, f"origin, metadata: server's CPU for 1,000 answers, up to {options.requests} asked for")
    print("With nothing stored, " + ", ".join(f"{name} has {mib:.0f} MiB" for name, mib in floors.items()) + ".\n")
    rows = [
        [call, *(f"{seconds[name]:.3f} s" if name in seconds else "" for name in SERVERS)] for call, seconds in asked.items()
    ]
    table(["", *SERVERS], rows)
    keep(options, "origin", compared, metadata=asked, many=many, rss_of_an_empty=floors)


def rss_of_an_empty(server, options):
    with folder(options) as work, server(options, work) as (_, process):
        return process.peak_rss_mib()


def costs(rounds, size):
    """What each server needs. Ratios are medians of the rounds' ratios."""

    def row(name):
        def over(quantity):
            return "" if name == "reference" else f"**{ratio(rounds, quantity, name, 'reference'):.3f}**"

        wall, cpu = (middle_of(rounds, quantity, name) for quantity in ("wall_seconds", "server_cpu_seconds"))
        client = middle_of(rounds, "cpu_seconds", name)
        return [
            name,
            f"{wall:.2f}",
            over("wall_seconds"),
            f"{cpu * GB / size:.2f}",
            over("server_cpu_seconds"),
            f"{middle_of(rounds, 'server_peak_rss_mib', name):.0f}",
            f"{client:.2f}" if client else "",
        ]

    titles = ["median", "wall, s", "/ reference", "server's CPU, s a GB", "/ reference", "server's peak RSS, MiB"]
    table([*titles, "client's CPU, s"], [row(name) for name in SERVERS])


main_with_cleanup(main)
