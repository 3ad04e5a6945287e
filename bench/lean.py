"""A client that does next to nothing with what it sends and receives, so that the server's share shows.

Blocking sockets on a few threads; the system calls release Python's lock. Nothing is decoded, cut or stored.
"""

import hashlib
import json
import threading
import time
from http.client import HTTPConnection
from queue import Empty, SimpleQueue
from urllib.parse import urlsplit

from costs import Failure, check

# Connections at once, each on a thread.
CONNECTIONS = 8
BUFFER_BYTES = 256 << 10
ANSWER_SECONDS_MAX = 300


class Client:
    """One connection at a time to each host that it is sent to."""

    def __init__(self):
        self.connections = {}
        self.buffer = memoryview(bytearray(BUFFER_BYTES))

    def close(self):
        for connection in self.connections.values():
            connection.close()

    def ask(self, method, url, headers=None, body=None):
        parts = urlsplit(url)
        if parts.netloc not in self.connections:
            self.connections[parts.netloc] = HTTPConnection(parts.netloc, timeout=ANSWER_SECONDS_MAX)
        connection = self.connections[parts.netloc]
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        if answer.status >= 400:
            raise Failure(f"{method} {parts.path}: {answer.status} {answer.read(1000).decode(errors='replace')}")
        return answer

    def taken(self, method, url, headers=None, body=None, see=None):
        """Takes an answer, shows it to `see` piece by piece, and gives its length."""
        answer = self.ask(method, url, headers, body)
        length = 0
        while count := answer.readinto(self.buffer):
            length += count
            if see:
                see(self.buffer[:count])
        return length

    def json(self, url, headers=None):
        return json.loads(self.ask("GET", url, headers).read())


class Access:
    """What the Hub says a client may do at its CAS."""

    def __init__(self, endpoint, repo, scope):
        client = Client()
        token = client.json(f"{endpoint}/api/models/{repo}/xet-{scope}-token/main")
        client.close()
        self.cas = token["casUrl"]
        self.headers = {"Authorization": f"Bearer {token['accessToken']}"}


def each(jobs, work, connections=CONNECTIONS):
    """Does `work(client, job)` for all, so many at once; gives what they took, in seconds."""
    waiting, wrong = SimpleQueue(), []
    for job in jobs:
        waiting.put(job)

    def worker():
        client = Client()
        try:
            while not wrong:
                work(client, waiting.get_nowait())
        except Empty:
            pass
        except BaseException as error:
            wrong.append(error)
        finally:
            client.close()

    threads = [threading.Thread(target=worker) for _ in range(connections)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise wrong[0]
    return time.monotonic() - begun


def large_files(endpoint, repo):
    """{path: (xet hash, sha256)} of the files that are in the CAS."""
    client = Client()
    entries = client.json(f"{endpoint}/api/models/{repo}/tree/main?recursive=true")
    client.close()
    return {entry["path"]: (entry["xetHash"], entry["lfs"]["oid"]) for entry in entries if "xetHash" in entry}


def ranges(client, access, xet_hash):
    """[(url, headers, bytes)] of all that a file is put together from."""
    answer = client.json(f"{access.cas}/v1/reconstructions/{xet_hash}", access.headers)
    found = []
    for entries in answer["fetch_info"].values():
        for entry in entries:
            first, last = entry["url_range"]["start"], entry["url_range"]["end"]
            found.append((entry["url"], {"Range": f"bytes={first}-{last}"}, last - first + 1))
    return found


def download(endpoint, repo):
    """Fetches what all files are put together from, each range once a file. Gives seconds and bytes."""
    access = Access(endpoint, repo, "read")
    files = [xet_hash for xet_hash, _ in large_files(endpoint, repo).values()]
    # Appending to a list is one step.
    wanted, received = [], []
    seconds = each(files, lambda client, file: wanted.extend(ranges(client, access, file)))

    def fetch(client, wanted):
        url, headers, length = wanted
        received.append(client.taken("GET", url, headers))
        check(received[-1] == length, f"{received[-1]} bytes of a range of {length}")

    return seconds + each(wanted, fetch), sum(received)


def upload(endpoint, repo, xorbs):
    """Sends xorbs, {hash: records}. Gives seconds and bytes."""
    client = Client()
    organization, name = repo.split("/")
    body = json.dumps({"name": name, "organization": organization, "type": "model"})
    client.ask("POST", f"{endpoint}/api/repos/create", {"Content-Type": "application/json"}, body).read()
    client.close()
    access = Access(endpoint, repo, "write")

    def send(client, xorb):
        client.taken("POST", f"{access.cas}/v1/xorbs/default/{xorb}", access.headers, xorbs[xorb])

    return each(xorbs, send), sum(len(records) for records in xorbs.values())


def digest_of(client, requests):
    """SHA-256 of the answers to these requests, [(url, headers)], in a row."""
    sha256 = hashlib.sha256()
    for url, headers in requests:
        client.taken("GET", url, headers, see=sha256.update)
    return sha256.hexdigest()
