"""The application of the server tests: answers with what it got, and misbehaves when asked to."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from appliance.config import Config
from appliance.wire import StreamMessage, WireReply, WireRequest
from core.errors import ConfigError, StoreUnavailableError


class EchoApplication:
    def __init__(self, config: Config, role: str) -> None:
        self.notes = Path(config.server.data_dir) / "notes"
        self.role = role

    def note(self, text: str) -> None:
        with self.notes.open("a") as out:
            out.write(f"{self.role} {text}\n")

    async def start(self) -> None:
        match os.environ.get("ECHO_START"):
            case "config":
                raise ConfigError("the token label is wrong")
            case "store":
                raise StoreUnavailableError("the database is away")
            case "crash":
                raise ValueError("hvs.secret")
        self.note("start")

    async def handle(self, request: WireRequest) -> WireReply:
        match request.path:
            case "/v1/slow":
                await asyncio.sleep(float(request.query))
                self.note("slow done")
            case "/v1/fail":
                raise ValueError(f"secret {request.body!r}")
            case "/v1/exit":
                os.kill(os.getpid(), signal.SIGKILL)
            case "/v1/empty":
                return WireReply(204)
            case "/v1/split":
                return WireReply(200, b"{}", headers=(("X-Bad", "a\r\nX-Evil: b"),))
            case "/v1/pem":
                return WireReply(200, b"PEM", content_type="application/pem", headers=(("X-More", "1"),))
            case "/v1/large":
                return WireReply(200, b"x" * 20_000_000)
            case "/v1/stream":
                return WireReply(200, stream=TickingStream(self.note))
            case "/v1/block":
                time.sleep(float(request.query))  # noqa: ASYNC251 - the event loop is meant to hang
        return WireReply(200, json.dumps(_seen(request)).encode())

    async def drain(self) -> None:
        self.note("drain")

    async def close(self) -> None:
        self.note("close")

    def status_line(self) -> str:
        return "echoing"


class TickingStream:
    """One message, and nothing more."""

    end_reason = ""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._messages = [StreamMessage(b'"tick"', "1", "tick")]

    async def receive(self) -> StreamMessage | None:
        if self._messages:
            return self._messages.pop()
        await asyncio.sleep(3600)
        return None

    def close(self) -> None:
        self._note("stream closed")


def _seen(request: WireRequest) -> dict[str, object]:
    return {
        "method": request.method,
        "path": request.path,
        "raw_path": request.raw_path,
        "query": request.query,
        "token": request.headers.get("x-vault-token"),
        "body": request.body.decode("latin-1") if len(request.body) < 10_000 else len(request.body),
        "address": request.client_address,
        "certificate": None if request.tls_peer is None else len(request.tls_peer),
        "secure": request.secure,
        "pid": os.getpid(),
    }


def compose(config: Config, *, role: str, ring_path: Path) -> EchoApplication:
    assert ring_path.exists()
    return EchoApplication(config, role)


class FileRing:
    """What the supervisor needs of the change ring, written down."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_text("")

    def publish_all(self) -> None:
        with self.path.open("a") as out:
            out.write("all\n")


def no_steps(config: Config) -> list[str]:
    return []


def refusing_step(config: Config) -> None:
    raise StoreUnavailableError("the database is newer than this program")


def crashing_step(config: Config) -> None:
    raise ValueError("hvs.secret")
