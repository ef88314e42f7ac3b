"""A receiver of webhooks on loopback, which verifies as the specification tells receivers to, without our code.

Standard Webhooks 1.0.0, "Signature scheme" and "Verifying signatures".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Delivery:
    headers: dict[str, str]  # names in lower case
    body: bytes
    path: str
    port: int  # of the sender: the same one for one connection

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        return dict(json.loads(self.body)["data"])

    @property
    def changed(self) -> str:
        return str(self.event["event"]["metadata"].get("path", ""))

    def matching(self, *keys: str) -> int:
        """How many of its signatures are by one of the keys (`whsec_…`)."""
        assert abs(time.time() - int(self.headers["webhook-timestamp"])) < 60
        content = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        found = 0
        for signature in self.headers["webhook-signature"].split(" "):
            version, _, text = signature.partition(",")
            for key in keys:
                mac = hmac.new(base64.b64decode(key.removeprefix("whsec_")), content, hashlib.sha256).digest()
                found += version == "v1" and hmac.compare_digest(mac, base64.b64decode(text))
        return found


Answer = tuple[int, dict[str, str], bytes]
OK: Answer = (204, {}, b"")


@dataclass
class Receiver:
    """`answer` decides, in the thread of the connection; what it sees was recorded already."""

    answer: Callable[[Delivery], Answer] = lambda _delivery: OK
    tls: ssl.SSLContext | None = None
    deliveries: list[Delivery] = field(default_factory=list)
    port: int = 0
    _server: http.server.ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/hook?for=mimir"

    def start(self) -> Receiver:
        """Listen; at the same port as before, if it did."""
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                delivery = Delivery(headers, body, self.path, self.client_address[1])
                receiver.deliveries.append(delivery)
                status, more, answer = receiver.answer(delivery)
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_: object) -> None:
                """Connections that a sender gives up are what some tests are about."""

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        if self.tls:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def wait(self, count: int, *, limit: float = 20.0) -> list[Delivery]:
        """Until so many were delivered."""
        deadline = time.monotonic() + limit
        while len(self.deliveries) < count:
            assert time.monotonic() < deadline, f"{len(self.deliveries)} of {count} came"
            time.sleep(0.01)
        return list(self.deliveries)
