"""The same requests to a real OpenBao and to Mimir. They are in scripts of lines:

    [reason] NAME = member < (Header: value) METHOD path body

A reason in brackets tells why the two differ on purpose, and it is a fault if they do not. `NAME` keeps a member of
`data`, which later lines have as $NAME. A path that begins with a slash is one below v1, another one is below the
mount. The body, if any, is sent as it stands. Empty lines and those that begin with # say nothing to a server.
"""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.clients.bao import Bao

LINE = re.compile(
    r"(?:\[(?P<reason>[a-z0-9 ]+)\] )?(?:(?P<name>[A-Z]) = (?P<member>\w+) < )?"
    r"(?:\((?P<header>[A-Za-z-]+): (?P<value>[^)]+)\) )?(?P<request>[A-Z]+ .+)"
)
UPGRADING = re.compile("(Waiting for the primary to )?[Uu]pgrad(e|ing) from non-versioned to versioned data")


@dataclass
class Reply:
    """An answer as a client sees it."""

    status: int
    body: dict[str, Any]
    content_type: str = ""

    @property
    def data(self) -> Any:
        return self.body.get("data")

    @property
    def warnings(self) -> list[str]:
        return self.body.get("warnings") or []

    @property
    def errors(self) -> Any:
        return self.body.get("errors")


@dataclass
class Caller:
    """One client of one server's mount, and what it kept. In a line `vault:v` becomes `prefix`.

    `patch_type` is the content type of a PATCH whose line has no header.
    """

    server: Bao
    mount: str
    prefix: str = "vault:v"
    kept: dict[str, str] = field(default_factory=dict)
    patch_type: str = ""

    def ask(self, request: str, headers: dict[str, str] | None = None) -> Reply:
        """Send METHOD, path and body; again while OpenBao moves the secrets of an upgraded mount."""
        for _ in range(200):
            reply = self._sent(request, headers or {})
            if not any(UPGRADING.match(error) for error in reply.errors or ()):
                return reply
            time.sleep(0.05)
        raise AssertionError("OpenBao does not end its upgrade")

    def _sent(self, request: str, headers: dict[str, str]) -> Reply:
        method, path, *body = self._filled(request).split(" ", 2)
        path = path[1:] if path.startswith("/") else f"{self.mount}/{path}"
        connection = http.client.HTTPConnection(self.server.address.removeprefix("http://"), timeout=60)
        try:
            if method == "PATCH" and self.patch_type and not headers:
                headers = {"Content-Type": self.patch_type}
            sent = {"X-Vault-Token": self.server.token, **headers}
            connection.request(method, f"/v1/{path}", body=body[0].encode() if body else None, headers=sent)
            reply = connection.getresponse()
            text = reply.read()
        finally:
            connection.close()
        content_type = reply.headers.get("Content-Type", "")
        is_json = content_type.startswith("application/json") and text
        return Reply(reply.status, json.loads(text) if is_json else {}, content_type)

    def keep(self, name: str, member: str, reply: Reply) -> None:
        """Remember a member for later lines; one that is not there is remembered as such."""
        self.kept[name] = (reply.data or {}).get(member, "NONE")

    def _filled(self, request: str) -> str:
        filled = re.sub(r"\$([A-Z])", lambda found: _in_json(self.kept.get(found[1], "NONE")), request)
        return filled.replace("vault:v", self.prefix)


def _in_json(value: Any) -> str:
    """As it stands between the quotes of a JSON string: PEM has line breaks."""
    text = "".join(value) if isinstance(value, list) else str(value)
    return json.dumps(text)[1:-1] if "\n" in text else text


Compare = Callable[[Reply, Reply], list[str]]


def scripts(directory: Path) -> dict[str, Path]:
    """By their names."""
    return {path.stem: path for path in sorted(directory.glob("*.txt"))}


def faults_of(script: Path, theirs: Caller, ours: Caller, *, accepted: Collection[str], compare: Compare) -> list[str]:
    """Every line at both; what a client could notice, or that it could notice nothing where it should."""
    lines = [line for line in script.read_text().splitlines() if line and not line.startswith("#")]
    return [fault for line in lines for fault in _compared(line, theirs, ours, accepted, compare)]


def _compared(line: str, theirs: Caller, ours: Caller, accepted: Collection[str], compare: Compare) -> list[str]:
    parts = LINE.fullmatch(line)
    assert parts, line
    headers = {parts["header"]: parts["value"]} if parts["header"] else {}
    replies = [caller.ask(parts["request"], headers) for caller in (theirs, ours)]
    if parts["name"]:
        for caller, reply in zip((theirs, ours), replies, strict=True):
            caller.keep(parts["name"], parts["member"], reply)
    found = compare(*replies)
    if not parts["reason"]:
        return [f"{line}\n    {'; '.join(found)}\n    {replies[0].errors}\n    {replies[1].errors}"] if found else []
    assert parts["reason"] in accepted, line
    return [] if found else [f"{line}\n    does not differ"]
