"""Every route of the appliance's own engines, with values of the wrong kind: an answer below 500, with a sentence."""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from core.engine import NoBody, Route
from core.requests import Operation
from tests.unit.pipeline.rig import Headers, Reply, Rig, wire

_VERBS = {
    Operation.READ: "GET",
    Operation.LIST: "LIST",
    Operation.SCAN: "SCAN",
    Operation.UPDATE: "POST",
    Operation.CREATE: "POST",
    Operation.PATCH: "PATCH",
    Operation.DELETE: "DELETE",
}
_PATCH = "application/merge-patch+json"
# what ends the service for all that follow
_LEFT_OUT = {"sys/seal", "sys/step-down", "auth/token/revoke-self", "sys/rotate", "sys/rotate/keyring"}
_CAPTURE = re.compile(r"\{(\w+)(\.\.\.)?\}")
_ODD_PATHS = ["x", "..x", "%00", "ä" * 200, "9" * 5000, "٣", "*", "-1"]
_DEEP: Any = []
for _ in range(60):
    _DEEP = [_DEEP]
_ODD: list[Any] = [
    None, "", "\0", "\ud800", "9" * 5000, "٣", "x" * 70_000, True, -1, 2**64 + 1, 10**400, 1e308, [None], [{}], _DEEP,
    {"x": {}},
]  # fmt: skip
# so that the others are looked at, too
_PLAUSIBLE = {
    "type": "irrevocable", "path": "shelf/keys/x", "action": "read", "policies": ["default"], "config": {}, "rate": 1,
    "policy": 'path "x" { capabilities = ["read"] }', "accessor": "x", "token": "x", "name": "x", "entity_id": "x",
    "mount_accessor": "token_auth-token",
}  # fmt: skip
_MOUNT_SETTINGS = ("default_lease_ttl", "max_lease_ttl", "token_type", "listing_visibility", "user_lockout_config")


def routes_of(rig: Rig) -> list[tuple[str, Route]]:
    """With the full pattern of each."""
    return [
        (mounted.entry.path + route.pattern, route)
        for mounted in rig.made.mounts.all()
        if mounted.is_built_in
        for route in mounted.routes
    ]


def bodies_of(body: type[msgspec.Struct]) -> Iterator[dict[str, Any]]:
    """Each member with each odd value, beside the others left out or made up."""
    fields = [] if body is NoBody else msgspec.structs.fields(body)
    names = [field.encode_name for field in fields] or ["x"]
    needed = {field.encode_name: "x" for field in fields if field.required}
    needed |= {name: value for name, value in _PLAUSIBLE.items() if name in names}
    for name in names:
        for value in _ODD:
            yield {**needed, name: value}
    if "config" in names:
        for name in _MOUNT_SETTINGS:
            for value in _ODD:
                yield {"type": "shelf", "config": {name: value}}
    for value in _ODD:
        yield dict.fromkeys(names, value)


def encoded(body: dict[str, Any]) -> bytes:
    """Also what msgspec would not write: lone surrogates, numbers without end."""
    return json.dumps(body).encode()


async def ask(rig: Rig, verb: str, path: str, body: bytes) -> Reply:
    headers = Headers({"X-Vault-Token": rig.root_token, "Content-Type": _PATCH})
    path, _, query = path.partition("?")
    request = msgspec.structs.replace(wire(verb, path), body=body, headers=headers, query=query)
    return Reply.of(await rig.made.pipeline.handle(request))


def wrong(reply: Reply, what: object) -> list[object]:
    """What is wrong with the answer."""
    if reply.status >= 500:
        return [(what, reply.status)]
    if reply.status in (400, 403, 405, 415) and not all(error.strip() for error in reply.errors or [""]):
        return [(what, reply.errors)]
    return []


async def test_members_of_the_wrong_kind(rig: Rig) -> None:
    found: list[object] = []
    for pattern, route in routes_of(rig):
        if pattern in _LEFT_OUT:
            continue
        path = _CAPTURE.sub("x", pattern)
        asked = {_VERBS[operation]: (operation, method) for operation, method in route.methods.items()}
        for operation, method in asked.values():  # one of update and create: both are POST
            for body in bodies_of(method.body):
                reply = await ask(rig, _VERBS[operation], path, encoded(body))
                found += wrong(reply, (operation.word, path, str(body)[:120]))
    assert not found
    assert (await rig.call("GET", "auth/token/lookup-self")).status == 200


async def test_parts_of_paths_that_are_odd(rig: Rig) -> None:
    found: list[object] = []
    for pattern, route in routes_of(rig):
        if pattern in _LEFT_OUT or "{" not in pattern:
            continue
        for odd in _ODD_PATHS:
            path = _CAPTURE.sub(odd.replace("\\", ""), pattern)
            for operation in route.methods:
                for query in ("", "?limit=" + "9" * 5000, "?limit=-1&after=%00"):
                    reply = await ask(rig, _VERBS[operation], path + query, b"")
                    found += wrong(reply, (operation.word, path[:120], query[:30]))
    assert not found
    assert (await rig.call("GET", "auth/token/lookup-self")).status == 200
