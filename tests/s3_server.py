"""An S3 server on this machine, whose answers go wrong where a test says so."""

from __future__ import annotations

import http.client
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote

import pytest

obstore = pytest.importorskip("obstore", reason="install imgreg[stores] to test object stores")
moto = pytest.importorskip("moto.server", reason="install moto[server] for an S3 server on this machine")

Fault = Callable[[str, str, int], str]  # (method, key, how many times before) -> "", "500", "cut" or "slow"


class Server:
    """An S3 server behind a proxy that counts requests for objects and makes faults."""

    def __init__(self, port: int) -> None:
        self.asked: Counter[str] = Counter()
        self.fault: Fault = lambda *_: ""
        server = self

        class Proxy(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                key = unquote(self.path.partition("?")[0]).strip("/")
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fault = server.fault(self.command, key, server.asked[key])
                server.asked[key] += 1
                if fault == "slow":
                    time.sleep(1)
                if fault == "500":
                    self.send_error(500)
                    return
                upstream = http.client.HTTPConnection("127.0.0.1", port)
                upstream.request(self.command, self.path, body, dict(self.headers))
                answer = upstream.getresponse()
                data = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                        self.send_header(name, value)
                length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
                self.send_header("Content-Length", length or "0")
                self.end_headers()
                self.wfile.write(data[: len(data) // 2] if fault == "cut" else data)
                if fault == "cut":
                    self.close_connection = True

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
        Thread(target=self.http.serve_forever, daemon=True).start()

    def put(self, bucket: str, files: dict[str, bytes]) -> None:
        store = obstore.store.from_url(f"s3://{bucket}")
        for key, data in files.items():
            obstore.put(store, key, data)

    def make_bucket(self, name: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.http.server_address[1])
        connection.request("PUT", f"/{name}")
        connection.getresponse().read()

    def fetched(self) -> int:
        """How many requests there were for objects that are files by their names."""
        return sum(n for key, n in self.asked.items() if "." in key)


@contextmanager
def running_server() -> Iterator[Server]:
    """The server, to which this process and its children are pointed until the block ends."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    backend = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    backend.start()
    _, port = backend.get_host_and_port()
    server = Server(port)
    before = dict(os.environ)
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.http.server_address[1]}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_REGION": "us-east-1",
    }
    yield server
    os.environ.clear()
    os.environ.update(before)
    server.http.shutdown()
    backend.stop()
