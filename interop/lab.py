"""Zest servers on this machine and clients of them: what hub.py and the benches share."""

import hashlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

STOCK_CLIENT = """
import json, sys
import hf_xet
from huggingface_hub import snapshot_download
try:
    answer = {"path": snapshot_download(sys.argv[1])}
except Exception as error:
    answer = {"error": type(error).__name__, "text": str(error)}
print(json.dumps(answer))
"""

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Failure(Exception):
    """A check that did not hold; the text is all that is printed."""


def check(holds, text):
    if not holds:
        raise Failure(text)


def main_with_cleanup(main):
    """Runs `main` so that SIGTERM unwinds like SIGINT: every `with` block ends what it began."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main()
    except Failure as failure:
        sys.exit(f"FAIL {failure}")
    except KeyboardInterrupt:
        sys.exit(130)


def environment(home, endpoint=None, **more):
    """The caller's environment without whatever steers a Hugging Face client, zest or a proxy."""
    ours = ("HF_", "HUGGING", "TRANSFORMERS_", "XDG_", "ZEST_")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(ours) and not name.lower().endswith("_proxy")
    }
    chosen = {
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "ZEST_HOME": str(home / "zest"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        # Nothing leaves this machine.
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_XET_TELEMETRY_ENABLED": "0",
        "NO_PROXY": "*",
    }
    if endpoint:
        chosen["HF_ENDPOINT"] = endpoint
    return kept | chosen | more


def run(argv, env, timeout):
    """Runs a command that must succeed and gives what it printed."""
    argv = [str(part) for part in argv]
    shown = " ".join(argv[:2])
    try:
        done = subprocess.run(
            argv, env=env, timeout=timeout, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired as late:
        raise Failure(f"{shown}: not done in {timeout} s\n{tail(late.stderr)}") from None
    check(done.returncode == 0, f"{shown}: exit code {done.returncode}\n{tail(done.stderr)}")
    return done.stdout


def stock_download(python, repo, env):
    """`snapshot_download` of the stock client: {"path"}, or {"error", "text"}."""
    return json.loads(run([python, "-c", STOCK_CLIENT, repo], env, timeout=300).splitlines()[-1])


def passed(text):
    print(f"PASS {text}", flush=True)


def tail(text, lines=30):
    text = text.decode(errors="replace") if isinstance(text, bytes) else text or ""
    return "\n".join(text.splitlines()[-lines:])


def digests(folder):
    """{relative path: (size, sha256)} of every file, links followed."""

    def digest(path):
        sha256 = hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                sha256.update(piece)
        return path.stat().st_size, sha256.hexdigest()

    folder = Path(folder)
    return {str(p.relative_to(folder)): digest(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def check_same(expected, folder, what):
    found = digests(folder)
    names = expected.keys() | found.keys()
    wrong = sorted(name for name in names if expected.get(name) != found.get(name))
    check(not wrong, f"{what}: differs from what was published: {', '.join(wrong)}")


class Program:
    """A process that tells what happens as a JSON object per line, from the `with` line to its end."""

    def __init__(self, name, argv, env):
        self.name = name
        self.argv = [str(part) for part in argv]
        self.env = env
        self.lines = queue.Queue()

    def __enter__(self):
        # Standard error goes where ours goes: it is empty unless something is wrong.
        self.process = subprocess.Popen(
            self.argv, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.started()
        except BaseException:
            self.__exit__()
            raise
        return self

    def started(self):
        """Waits until it can be used."""

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def event(self, name, timeout):
        """The next event of this name; others are passed over."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = self.lines.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise Failure(f"{self.name}: no event {name!r} in {timeout:.0f} s") from None
            check(line is not None, f"{self.name}: ended without the event {name!r}")
            event = json.loads(line)
            if event["event"] == name:
                return event
            self.passed_over(event)

    def passed_over(self, event):
        """Sees events that nobody waits for."""

    def ended(self, timeout):
        """Waits for its end, which must be a good one."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name}: did not end in {timeout} s") from None
        check(code == 0, f"{self.name}: exit {code}")


class Server(Program):
    """A process that listens, run by the command `within` if there is one."""

    def __init__(self, argv, env, within=()):
        argv = [str(part) for part in argv]
        super().__init__(" ".join([Path(argv[0]).name, argv[1]]), [*within, *argv], env)

    def started(self):
        self.listening = self.event("listening", timeout=30)

    def cpu_seconds(self):
        """User and system time so far, from /proc."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def peak_rss_mib(self):
        """Largest resident memory so far, from /proc."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) / 1024

    def reset_peak(self):
        """Begins anew to note the largest resident memory."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def stop(self):
        """Asks it to end, and gives its last event."""
        self.process.terminate()
        stopped = self.event("stopped", timeout=30)
        self.ended(timeout=30)
        return stopped


class Origin(Server):
    """`zest origin`, on a free port unless told otherwise."""

    def __init__(self, zest, data, home, listen="127.0.0.1:0", more=(), within=()):
        argv = [zest, "origin", "--data", data, "--listen", listen, *more, "--format", "json"]
        super().__init__(argv, environment(home), within)

    @property
    def url(self):
        return self.listening["url"]

    def data_bytes(self):
        """File data that it sent so far, in bytes."""
        with DIRECT.open(f"{self.url}/origin/stats", timeout=30) as answer:
            return json.load(answer)["data_bytes"]


class Seeder(Server):
    """`zest serve` of what was pulled into a home."""

    def __init__(self, zest, home, more=(), listen="127.0.0.1:0", within=()):
        argv = [zest, "serve", "--listen", listen, "--format", "json", *more]
        super().__init__(argv, environment(home), within)

    @property
    def peer(self):
        return self.listening["peer"]


class LocalServer:
    """An HTTP server of our own, on a free port and a thread of its own, from the `with` line to its end."""

    def handler(self):
        """The class of what answers requests."""
        raise NotImplementedError

    def __enter__(self):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class LocalHandler(BaseHTTPRequestHandler):
    """Takes bodies whole, and answers with a length."""

    protocol_version = "HTTP/1.1"
    # Answers are written in one go; waiting for more to send only delays them.
    disable_nagle_algorithm = True
    wbufsize = -1

    def received(self):
        """The body of the request."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(self.chunks())
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def chunks(self):
        while length := int(self.rfile.readline().partition(b";")[0], 16):
            yield self.rfile.read(length)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def answer(self, status, body, headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass
