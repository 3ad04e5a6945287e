"""Holds bt-wire against libtorrent and Transmission: handshakes, ut_metadata, ut_pex and content, both ways.

Run by bittorrent.sh in a network of its own. Prints a line for every promise kept and exits 1 at the first that
is not.
"""

import argparse
import contextlib
import errno
import hashlib
import json
import random
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import libtorrent as lt

from lab import DIRECT, Failure, Program, check, digests, environment, main_with_cleanup, passed, run

# For what takes a program a few seconds at most.
SOON = 60
# Transmission sends its first message of peer exchange after 90 seconds.
PEX_WITHIN = 180
PIECE_BYTES = 64 * 1024
# In the name of every file: metadata of several pieces without much content.
LONG_NAME = "a-name-that-makes-the-metadata-longer"

# One for every participant: Transmission knows peers by their address alone. All of 10.77.0.0/16 is ours. They end
# in 0 because allowed-fast sets are made without the last byte (BEP 6), and by libtorrent with it.
addresses = (f"10.77.{n}.0" for n in range(1, 255))


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--peer", required=True, type=Path)
    options = arguments.parse_args()
    check_isolated()

    with tempfile.TemporaryDirectory(prefix="zest-interop-") as work, contextlib.ExitStack() as stack:
        work = Path(work)
        content = Torrent(work / "content", seed=1, files=400)
        # Nobody has it, so that nobody is done and leaves.
        talk = Torrent(work / "talk", seed=2, files=1)
        programs = [
            stack.enter_context(Libtorrent(work / "libtorrent")),
            stack.enter_context(Transmission(work / "transmission")),
        ]
        for program in programs:
            passed(f"{program.name} {program.version}")
        exchanges = exchange(options, talk, programs, stack, work)
        for program in programs:
            fetch(options, content, program)
            # A program that has the torrent cannot learn it.
            program.remove(content)
            serve(options, content, program, work)
        for heard in exchanges:
            heard()


def fetch(options, torrent, program):
    """We have an info hash, the program has everything."""
    program.add(torrent, torrent.content)
    wait_until(f"{program.name} seeds", lambda: program.is_complete(torrent))
    argv = ["fetch", "--info-hash", torrent.info_hash, "--dial", program.peer]
    with Peer(options, *argv) as peer:
        connected = peer.event("connected", SOON)
        check(connected["client"].startswith(program.client), f"{program.name}: its peer id is {connected['client']!r}")
        needed = {"ExtensionProtocol", "Fast"}
        check(needed <= set(connected["reserved"]), f"{program.name}: reserved bits: {connected['reserved']}")
        passed(f"{program.name}: handshake of {connected['client']}, {', '.join(connected['reserved'])}")

        says = peer.event("extensions", SOON)
        check({"ut_metadata", "ut_pex"} <= set(says["m"]), f"{program.name}: extensions: {says}")
        check(says["metadata_size"] == torrent.metadata_bytes, f"{program.name}: {says}")
        check(says["yourip"] in (None, peer.address), f"{program.name}: yourip: {says}")
        passed(f"{program.name}: extension handshake, {says['v']!r}: {', '.join(says['m'])}")

        metadata = peer.event("metadata", SOON)
        check(metadata["bytes"] == torrent.metadata_bytes, f"{program.name}: {metadata}")
        passed(f"{program.name}: ut_metadata, {metadata['bytes']} bytes that have the info hash")

        fast = peer.event("allowed_fast", SOON)
        check(fast["as_computed"], f"{program.name}: not the set that we compute: {fast}")
        check(len(fast["pieces"]) == program.allowed_fast, f"{program.name}: {fast}")
        fetched = peer.event("fetched", SOON)
        check(fetched["bytes"] == torrent.content_bytes, f"{program.name}: {fetched}")
        peer.ended(SOON)
        passed(f"{program.name}: {fetched['bytes']} bytes in {metadata['pieces']} pieces that have their hashes")
        if fast["pieces"]:
            passed(f"{program.name}: allowed fast are the pieces that we compute: {fast['pieces']}")


def serve(options, torrent, program, work):
    """We have everything, the program has a magnet link."""
    downloads = work / f"{program.name}-downloads"
    downloads.mkdir()
    program.add_magnet(torrent, downloads)
    argv = ["seed", "--torrent", torrent.metainfo, "--content", torrent.content / torrent.name]
    with Peer(options, *argv, *([] if program.dials else ["--dial", program.peer])) as peer:
        if program.dials:
            program.dial(torrent, peer.listening)
        way = "it called us" if program.dials else "we called it"
        connected = peer.event("connected", SOON)
        check(connected["client"].startswith(program.client), f"{program.name}: {connected}")
        for _ in range(-(-torrent.metadata_bytes // (16 * 1024))):
            asked = peer.event("metadata_asked", SOON)
            check(asked["is_sent"], f"{program.name}: {asked}")
        wait_until(f"{program.name} has the metadata", lambda: program.has_metadata(torrent))
        passed(f"{program.name}: ut_metadata from us to a magnet link, {way}")

        peer.event("seeded", SOON)
        wait_until(f"{program.name} has the content", lambda: program.is_complete(torrent))
        # libtorrent is done before the last bytes are in the files.
        published = digests(torrent.content)
        wait_until(f"{program.name} has the same files as we", lambda: digests(downloads) == published)
        passed(f"{program.name}: {torrent.content_bytes} bytes from us, identical")


def exchange(options, torrent, programs, stack, work):
    """The programs are connected to each other. Of each we want to hear of the other one, and tell it of a peer.

    Gives what remains to be waited for.
    """
    for program in programs:
        program.add(torrent, work / f"{program.name}-nothing")
    caller, called = programs
    wait_until("both programs have the torrent", lambda: all(program.has_metadata(torrent) for program in programs))
    caller.dial(torrent, called.peer)
    wait_until("the programs are connected", lambda: all(program.peers(torrent) for program in programs))

    def begin(program, other):
        has = ["exchange", "--info-hash", torrent.info_hash]
        stranger = stack.enter_context(Peer(options, *has))
        friend = stack.enter_context(Peer(options, *has, "--dial", program.peer, "--tell", stranger.listening))
        friend.event("told", SOON)

        def heard():
            is_program = lambda event: event["peer"].startswith(f"{program.address}:")
            stranger.event_where("connected", is_program, SOON)
            wait_until(f"{program.name} names PEX", lambda: program.peers(torrent).get(stranger.listening) == "pex")
            passed(f"{program.name}: ut_pex from us: it has connected to the peer that we told it of")

            friend.event_where("learned", lambda event: other.peer in event["added"], PEX_WITHIN)
            passed(f"{program.name}: ut_pex to us: it told of {other.name}")

        return heard

    return [begin(caller, called), begin(called, caller)]


class Torrent:
    """Files, and a metainfo file of version 1."""

    def __init__(self, home, seed, files):
        generator = random.Random(seed)
        self.name = home.name
        self.content = home / "data"
        folder = self.content / self.name
        folder.mkdir(parents=True)
        data = [generator.randbytes(generator.randrange(1, 20_000)) for _ in range(files)]
        names = [f"{at:04}-{LONG_NAME}.bin" for at in range(files)]
        for name, bytes_ in zip(names, data):
            (folder / name).write_bytes(bytes_)
        stream = b"".join(data)
        pieces = [stream[at : at + PIECE_BYTES] for at in range(0, len(stream), PIECE_BYTES)]
        info = {
            b"files": [{b"length": len(bytes_), b"path": [name.encode()]} for name, bytes_ in zip(names, data)],
            b"name": self.name.encode(),
            b"piece length": PIECE_BYTES,
            b"pieces": b"".join(hashlib.sha1(piece).digest() for piece in pieces),
        }
        metadata = lt.bencode(info)
        self.metainfo = home / "metainfo.torrent"
        self.metainfo.write_bytes(lt.bencode({b"info": info}))
        self.info_hash = hashlib.sha1(metadata).hexdigest()
        self.metadata_bytes = len(metadata)
        self.content_bytes = len(stream)

    @property
    def magnet(self):
        return f"magnet:?xt=urn:btih:{self.info_hash}"


class Peer(Program):
    """A peer of bt-wire's, at an address of its own."""

    def __init__(self, options, role, *more):
        self.address = next(addresses)
        self.listens = role == "seed" or "--dial" not in more
        argv = [options.peer, role, "--address", self.address, *more]
        super().__init__(f"our peer, {role}", argv, environment(options.peer.parent))

    def started(self):
        if self.listens:
            self.listening = self.event("listening", SOON)["peer"]

    def __exit__(self, kind, *_):
        super().__exit__()
        while kind is None and (line := self.lines.get(timeout=SOON)) is not None:
            self.passed_over(json.loads(line))

    def passed_over(self, event):
        """No program may break the protocol, as we know it."""
        is_closed = event["event"] == "closed" and event["is_peer_fault"]
        check(not is_closed and event["event"] != "unsent", f"{self.name}, {self.address}: {event}")

    def event_where(self, name, holds, timeout):
        deadline = time.monotonic() + timeout
        while not holds(event := self.event(name, deadline - time.monotonic())):
            pass
        return event


class Libtorrent:
    """A session in this process."""

    name = "libtorrent"
    client = "libtorrent (rasterbar)"
    allowed_fast = 5
    version = lt.__version__
    dials = True

    def __init__(self, home):
        self.address = next(addresses)
        self.handles = {}

    def __enter__(self):
        plaintext = int(lt.enc_policy.pe_disabled)
        self.session = lt.session(
            {
                "listen_interfaces": f"{self.address}:0",
                "outgoing_interfaces": self.address,
                "enable_dht": False,
                "enable_lsd": False,
                "enable_natpmp": False,
                "enable_upnp": False,
                "enable_incoming_utp": False,
                "enable_outgoing_utp": False,
                "in_enc_policy": plaintext,
                "out_enc_policy": plaintext,
            }
        )
        wait_until("libtorrent listens", self.session.listen_port)
        return self

    def __exit__(self, *_):
        self.session.pause()
        del self.session

    @property
    def peer(self):
        return f"{self.address}:{self.session.listen_port()}"

    def add(self, torrent, folder):
        parameters = lt.add_torrent_params()
        parameters.ti = lt.torrent_info(str(torrent.metainfo))
        self._add(torrent, parameters, folder)

    def add_magnet(self, torrent, folder):
        self._add(torrent, lt.parse_magnet_uri(torrent.magnet), folder)

    def _add(self, torrent, parameters, folder):
        parameters.save_path = str(folder)
        # Not auto-managed: it starts at once.
        parameters.flags = lt.torrent_flags.default_flags & ~(
            lt.torrent_flags.auto_managed | lt.torrent_flags.paused
        )
        self.handles[torrent.info_hash] = self.session.add_torrent(parameters)

    def remove(self, torrent):
        self.session.remove_torrent(self.handles.pop(torrent.info_hash))
        gone = lt.sha1_hash(bytes.fromhex(torrent.info_hash))
        wait_until("libtorrent has removed it", lambda: not self.session.find_torrent(gone).is_valid())

    def dial(self, torrent, peer):
        ip, port = peer.rsplit(":", 1)
        self.handles[torrent.info_hash].connect_peer((ip, int(port)))

    def has_metadata(self, torrent):
        return self.handles[torrent.info_hash].status().has_metadata

    def is_complete(self, torrent):
        return self.handles[torrent.info_hash].status().is_seeding

    def peers(self, torrent):
        """Those that it is connected to: {address: how it came to know it}."""
        peers = self.handles[torrent.info_hash].get_peer_info()
        source = lambda peer: "pex" if peer.source & lt.peer_info.pex else "other"
        pending = lt.peer_info.connecting | lt.peer_info.handshake
        return {f"{peer.ip[0]}:{peer.ip[1]}": source(peer) for peer in peers if not peer.flags & pending}


class Transmission:
    """A daemon, spoken to by its RPC."""

    name = "transmission"
    client = "Transmission"
    allowed_fast = 0
    # Version 3 takes no peers from magnet links, nor from its RPC. With metadata it hangs up, looks at the disk, and
    # calls again those of whom it knows the port.
    dials = False

    def __init__(self, home):
        self.address = next(addresses)
        self.home = home
        self.rpc = f"http://127.0.0.1:{free_port('127.0.0.1')}/transmission/rpc"
        self.peer = f"{self.address}:{free_port(self.address)}"
        self.session_id = ""

    def __enter__(self):
        self.home.mkdir()
        port = lambda address: int(address.split("/")[2 if "/" in address else 0].rsplit(":", 1)[1])
        settings = {
            "bind-address-ipv4": self.address,
            "bind-address-ipv6": "::1",
            "dht-enabled": False,
            "download-dir": str(self.home),
            # 0: unencrypted is preferred.
            "encryption": 0,
            "lpd-enabled": False,
            "peer-port": port(self.peer),
            "pex-enabled": True,
            "port-forwarding-enabled": False,
            "rpc-authentication-required": False,
            "rpc-bind-address": "127.0.0.1",
            "rpc-port": port(self.rpc),
            "rpc-whitelist": "127.0.0.1",
            "rpc-whitelist-enabled": True,
            "utp-enabled": False,
        }
        (self.home / "settings.json").write_text(json.dumps(settings))
        self.log = (self.home / "log").open("w+")
        argv = ["transmission-daemon", "--foreground", "--config-dir", str(self.home)]
        self.process = subprocess.Popen(
            argv, env=environment(self.home), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        try:
            wait_until("transmission answers", self._answers)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def _answers(self):
        try:
            self.version = self.call("session-get")["version"]
            return True
        except OSError:
            check(self.process.poll() is None, f"transmission-daemon: exit {self.process.returncode}")
            return False

    def call(self, method, **arguments):
        body = json.dumps({"method": method, "arguments": arguments}).encode()
        request = urllib.request.Request(self.rpc, body, {"X-Transmission-Session-Id": self.session_id})
        try:
            with DIRECT.open(request, timeout=SOON) as answer:
                answer = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise
            self.session_id = error.headers["X-Transmission-Session-Id"]
            return self.call(method, **arguments)
        check(answer["result"] == "success", f"transmission: {method}: {answer['result']}")
        return answer["arguments"]

    def add(self, torrent, folder):
        folder.mkdir(exist_ok=True)
        self.call("torrent-add", filename=str(torrent.metainfo), **{"download-dir": str(folder)})

    def add_magnet(self, torrent, folder):
        self.call("torrent-add", filename=torrent.magnet, **{"download-dir": str(folder)})

    def remove(self, torrent):
        self.call("torrent-remove", ids=[torrent.info_hash])
        wait_until("transmission has removed it", lambda: not self._torrents(torrent, ["id"]))

    def _torrents(self, torrent, fields):
        return self.call("torrent-get", ids=[torrent.info_hash], fields=fields)["torrents"]

    def _get(self, torrent, field):
        [found] = self._torrents(torrent, [field])
        return found[field]

    def has_metadata(self, torrent):
        return self._get(torrent, "metadataPercentComplete") == 1

    def is_complete(self, torrent):
        # 6: seeding.
        return self._get(torrent, "status") == 6 and self._get(torrent, "percentDone") == 1

    def peers(self, torrent):
        """Those that it is connected to: {address: how it came to know it}."""
        # X: through peer exchange.
        source = lambda peer: "pex" if "X" in peer["flagStr"] else "other"
        return {f"{peer['address']}:{peer['port']}": source(peer) for peer in self._get(torrent, "peers")}


def check_isolated():
    """Nothing here may reach another machine, and all of 10.77.0.0/16 must be this one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        reached = stranger.connect_ex(("192.0.2.1", 9))
    check(reached == errno.ENETUNREACH, "this network leads somewhere: run bittorrent.sh")


def free_port(address):
    """Nobody else is in this network to take it."""
    with socket.create_server((address, 0)) as server:
        return server.getsockname()[1]


def wait_until(what, holds, timeout=SOON):
    """Asks over and over: the programs do not tell by themselves."""
    deadline = time.monotonic() + timeout
    while not holds():
        check(time.monotonic() < deadline, f"not in {timeout} s: {what}")
        time.sleep(0.05)


if __name__ == "__main__":
    main_with_cleanup(main)
