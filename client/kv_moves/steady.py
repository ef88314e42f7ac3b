"""A client for many requests: it keeps its connections, one a thread, and waits where it is asked to."""

import contextlib
import threading
import time
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from client.api import Answer, Client
from client.errors import CliError, LocalError, UnavailableError
from client.transport import KeptConnection, RawAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from client.api import JsonObject

_WAITS = (0.5, 1.0, 2.0, 4.0)  # seconds before each further attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadyClient(Client):
    """Every request it makes may be repeated. It takes the names of secrets as they are, blanks at their ends too."""

    label: str = ""  # stands before its errors, where there is another server, too
    own: threading.local = field(default_factory=threading.local)
    opened: list[KeptConnection] = field(default_factory=list)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: "JsonObject | None" = None,
        query: dict[str, str] | None = None,
        authenticated: bool = True,
        partial: bool = False,
        denied: "Callable[[], str] | None" = None,
    ) -> Answer:
        """As Client's; where the other side is over its limits or away for a moment, it is asked again."""
        for wait in (*_WAITS, None):
            try:
                return Client.request(
                    self,
                    method,
                    path,
                    body=body,
                    query=query,
                    authenticated=authenticated,
                    partial=partial,
                    denied=denied,
                )
            except CliError as exc:
                if wait is None or not isinstance(exc, UnavailableError):
                    exc.args = (f"{self.label}{exc.sentence}",)
                    raise
                time.sleep(wait)
        raise RuntimeError("the last attempt answers or raises")

    def _cleaned(self, path: str) -> str:
        if any(part in {".", ".."} for part in path.split("/")):
            raise LocalError("the name holds `.` or `..` as a part, which proxies on the way would resolve")
        return path

    def _exchange(self, method: str, target: str, *, headers: dict[str, str], body: bytes | None) -> RawAnswer:
        kept: KeptConnection | None = getattr(self.own, "kept", None)
        if kept is None:
            kept = self.own.kept = KeptConnection(self.endpoint, self.tls, timeout=self.timeout)
            self.opened.append(kept)
        return kept.exchange(method, target, headers=headers, body=body)


@contextlib.contextmanager
def steady(client: Client, *, label: str = "") -> "Iterator[SteadyClient]":
    """The same appliance, token and headers; answers are never wrapped. Its connections are closed behind the block."""
    members = {one.name: getattr(client, one.name) for one in fields(client)}
    token = client.load_token()  # once: threads do not ask at the terminal, or read a file that changes
    made = SteadyClient(**members | {"wrap_ttl": "", "load_token": lambda: token, "label": label})
    try:
        yield made
    finally:
        for connection in made.opened:
            connection.close()
