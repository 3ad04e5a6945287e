"""Hosts on this machine, each in a network namespace of its own, on links with a rate.

A veth pair joins every host to one bridge. The bridge is in the namespace that the script itself runs in (see apart.sh),
so the script reaches all of them, and nothing reaches the machine's own network.
"""

import subprocess
from dataclasses import dataclass
from ipaddress import IPv4Address

from lab import Failure

NETWORK = IPv4Address("10.77.0.0")
PREFIX_BITS = 16
SCRIPT = NETWORK + 254
# Of an address where nobody is, not even to say so.
NOBODY = IPv4Address("10.77.255.1")
NOBODY_MAC = "02:00:00:00:00:01"

# What a link may send at once, as time at its rate. Short beside a round of TCP, long beside the kernel's ticks.
BURST_SECONDS = 0.005
BURST_BYTES_MIN = 16 << 10
# How long a packet waits before a link before it is dropped.
QUEUE_MS = 50

# TCP over IPv4 with timestamps: bytes of data in a full packet, and what tbf counts for it.
PAYLOAD = 1448 / 1514


def mbit(rate):
    """Bytes a second of a rate in Mbit/s, headers included."""
    return rate * 1_000_000 / 8


class Network:
    """A bridge and the hosts on it. Leaving the `with` block removes them."""

    def __init__(self):
        self.hosts = []

    def __enter__(self):
        ip("link", "add", "name", "bridge", "type", "bridge")
        ip("address", "add", f"{SCRIPT}/{PREFIX_BITS}", "dev", "bridge")
        ip("link", "set", "bridge", "up")
        return self

    def __exit__(self, *_):
        for host in self.hosts:
            ip("netns", "delete", host.name)
        ip("link", "delete", "bridge")

    def host(self, name, up=None, down=None, more_addresses=0):
        """Adds a host. Rates are in Mbit/s; without one, as fast as the machine."""
        number = len(self.hosts) + 1
        host = Host(name, NETWORK + number, f"port-{number}")
        ip("netns", "add", name)
        self.hosts.append(host)
        ip("link", "add", "name", host.port, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", host.port, "master", "bridge", "up")
        for address in [host.address, *host.others(more_addresses)]:
            host.ip("address", "add", f"{address}/{PREFIX_BITS}", "dev", "eth0")
        host.ip("link", "set", "lo", "up")
        host.ip("link", "set", "eth0", "up")
        # Packets to NOBODY get lost on their way. Without this the host itself would soon know that they do.
        host.ip("neighbour", "add", str(NOBODY), "lladdr", NOBODY_MAC, "dev", "eth0")
        host.limit(up, down)
        return host


@dataclass
class Host:
    name: str
    address: IPv4Address
    port: str

    @property
    def within(self):
        """What to put before a command, so that it runs on this host. The process is the command's own."""
        return ["nsenter", f"--net=/run/netns/{self.name}", "--"]

    def others(self, count):
        """Further addresses of a host that was made with as many."""
        first = self.address + 256
        return [first + 256 * number for number in range(count)]

    def listen(self, port=0):
        return f"{self.address}:{port}"

    def ip(self, *arguments):
        ip("-netns", self.name, *arguments)

    def limit(self, up=None, down=None):
        """Sets the rates of its link, Mbit/s, as of now."""
        for rate, device in [(up, ["-netns", self.name, "qdisc", "replace", "dev", "eth0"]),
                             (down, ["qdisc", "replace", "dev", self.port])]:
            if rate is not None:
                burst = max(BURST_BYTES_MIN, int(mbit(rate) * BURST_SECONDS))
                tbf = ["tbf", "rate", f"{int(rate * 1_000_000)}bit", "burst", str(burst)]
                command("tc", *device, "root", *tbf, "latency", f"{QUEUE_MS}ms")


def ip(*arguments):
    command("ip", *arguments)


def command(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise Failure(f"{' '.join(argv)}: {done.stderr.strip()}")
