"""A proxy that counts what clients upload."""

import threading
from http.client import HTTPConnection
from urllib.parse import urlsplit

from lab import LocalHandler, LocalServer

# What two hosts say of the connection between them.
NOT_PASSED_ON = {"connection", "keep-alive", "transfer-encoding"}
ANSWER_SECONDS_MAX = 300


class Meter(LocalServer):
    """Passes requests on under the name by which it was asked, so that URLs in answers lead through it too."""

    def __init__(self, upstream):
        self.upstream = urlsplit(upstream).netloc
        self.counting = threading.Lock()
        self.xorb_bytes = 0

    def handler(self):
        return type("Handler", (MeterHandler,), {"meter": self})

    def taken(self):
        """Bytes of xorbs that were sent since this was asked for last."""
        with self.counting:
            taken, self.xorb_bytes = self.xorb_bytes, 0
        return taken


class MeterHandler(LocalHandler):
    def pass_on(self):
        body = self.received()
        # The only PUT there is brings a xorb for which there is a grant.
        if self.command == "PUT" or "/v1/xorbs/" in self.path:
            with self.meter.counting:
                self.meter.xorb_bytes += len(body)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in NOT_PASSED_ON}
        connection = HTTPConnection(self.meter.upstream, timeout=ANSWER_SECONDS_MAX)
        try:
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        # One case for all, so that a length replaces the one that would be written.
        headers = {name.title(): value for name, value in answer.getheaders() if name.lower() not in NOT_PASSED_ON}
        self.answer(answer.status, content, headers)

    do_GET = do_HEAD = do_POST = do_PUT = pass_on
