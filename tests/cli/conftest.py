"""A recorder that stands for the appliance, and a way to run `mimir` against it.

It proves what the command sends and how it takes every kind of answer; what the real appliance does is proven
elsewhere.
"""

import io
import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from client.main import run


@dataclass
class Recorded:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Recorder:
    """Answers with `status` and `body` (bytes as they are, else JSON) and keeps what it was asked.

    A request that `on` was told of, as "GET /v1/sys/mounts", is answered by the script instead, each answer once and
    the last one for ever.
    """

    address: str = ""
    status: int = 200
    body: Any = field(default_factory=lambda: {"request_id": "r-1", "data": {}})
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[Recorded] = field(default_factory=list)
    script: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)

    @property
    def only(self) -> Recorded:
        assert len(self.requests) == 1, self.requests
        return self.requests[0]

    def answers(self, status: int, body: Any = b"", **headers: str) -> None:
        self.status, self.body, self.headers = status, body, headers

    def on(self, request: str, status: int = 200, body: Any = b"") -> None:
        self.script.setdefault(request, []).append((status, body))

    def next_answer(self, request: str) -> tuple[int, Any]:
        answers = self.script.get(request, [(self.status, self.body)])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def targets(self) -> list[str]:
        return [f"{request.method} {request.target.removeprefix('/v1/')}" for request in self.requests]

    def gives(self, **data: Any) -> None:
        self.answers(200, {"request_id": "r-1", "lease_id": "", "data": data})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    recorder: Recorder

    def log_message(self, *args: object) -> None:
        pass

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        recorder = self.recorder
        recorder.requests.append(Recorded(self.command, self.path, dict(self.headers.items()), body))
        status, answer = recorder.next_answer(f"{self.command} {self.path}")
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        if "Content_Length" not in recorder.headers:
            self.send_header("Content-Length", str(len(content)))
        for name, value in recorder.headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = True


for _method in ("GET", "PUT", "POST", "PATCH", "DELETE", "LIST"):
    setattr(_Handler, f"do_{_method}", _Handler._handle)


@pytest.fixture
def appliance() -> Iterator[Recorder]:
    recorder = Recorder()
    handler = type("Handler", (_Handler,), {"recorder": recorder})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    recorder.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield recorder
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Outcome:
    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()


Mimir = Callable[..., Outcome]


class _Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def mimir(
    appliance: Recorder, home: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> Mimir:
    """Run a command line; keyword arguments are the environment, `stdin` the input, a `terminal` or not."""

    def call(*arguments: str, stdin: bytes = b"", terminal: bool = False, **environ: str) -> Outcome:
        monkeypatch.setattr(sys, "stdin", (_Terminal if terminal else io.TextIOWrapper)(io.BytesIO(stdin)))
        settings = {"MIMIR_ADDR": appliance.address, "MIMIR_TOKEN": "s.test-token", "HOME": str(home)} | environ
        code = run(arguments, settings)
        captured = capsysbinary.readouterr()
        return Outcome(code=code, raw=captured.out, err=captured.err.decode())

    return call
