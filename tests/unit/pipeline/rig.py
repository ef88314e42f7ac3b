"""A whole appliance in this process: real barrier, tokens, policies and audit trail on SQLite; the HSM is software."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from appliance.node_shared import Shared
from appliance.pipeline.assembly import BUILT_IN_TYPES, Assembled, Assembly, assemble
from appliance.pipeline.catalog import AUTH_METHODS, EngineCatalog
from appliance.system.node import NodeInfo
from appliance.wire import WireReply, WireRequest
from audit.trail import AuditTrail
from barrier.changes import ChangeRing
from barrier.seal import Barrier
from core.bodies import Base64Bytes
from core.engine import EngineContext, Method, Route
from core.errors import NotFoundError
from core.requests import NO_CONTENT, Operation, RawBody, Request, Response
from tests.support.clock import SettableClock
from tests.support.leasing_distribution.leasing_accounts import create as create_accounts
from tests.unit.barrier.software_hsm import SoftwareHsm

NODE = NodeInfo(version="0.1.0", storage_type="sqlite", started_at=1_800_000_000)
INIT = {"recovery_shares": 3, "recovery_threshold": 2, "escrow_shares": 0}


class EchoBody(msgspec.Struct):
    payload: Base64Bytes = Base64Bytes()
    count: int = 0


class ShelfEngine:
    """Keeps values under names; what it is told to raise or to wait for, it does."""

    def __init__(self, context: EngineContext) -> None:
        self._storage = context.storage
        self.context = context
        self.closed = False
        self.trouble: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.entered = asyncio.Event()
        write = Method(handler=self.write)
        self.routes = [
            Route(
                pattern="keys/{name}",
                methods={
                    Operation.READ: Method(handler=self.read, mutates=False, summary="Read it."),
                    Operation.UPDATE: write,
                    Operation.PATCH: write,
                    Operation.DELETE: Method(handler=self.delete),
                },
                exists=self.exists,
                help="One value.",
            ),
            Route(pattern="keys", methods={Operation.LIST: Method(handler=self.list_names, mutates=False)}),
            Route(pattern="echo", methods={Operation.UPDATE: Method(handler=self.echo, body=EchoBody, mutates=False)}),
            Route(
                pattern="raw", methods={Operation.READ: Method(handler=self.raw, mutates=False)}, unauthenticated=True
            ),
            Route(pattern="careful", methods={Operation.READ: Method(handler=self.echo, mutates=False)}, sudo=True),
        ]

    async def close(self) -> None:
        self.closed = True

    async def _pause(self) -> None:
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.trouble is not None:
            raise self.trouble

    async def read(self, request: Request, _body: object) -> Response:
        await self._pause()
        entry = await self._storage.get("k/" + request.params["name"])
        if entry is None:
            raise NotFoundError("")
        return Response(data=json.loads(entry.value))

    async def exists(self, request: Request) -> bool:
        return await self._storage.get("k/" + request.params["name"]) is not None

    async def write(self, request: Request, _body: object) -> Response:
        await self._pause()
        await self._storage.put("k/" + request.params["name"], json.dumps(request.data).encode())
        return NO_CONTENT

    async def delete(self, request: Request, _body: object) -> Response:
        await self._storage.delete("k/" + request.params["name"])
        return NO_CONTENT

    async def list_names(self, _request: Request, _body: object) -> Response:
        names = await self._storage.list("k/")
        if not names:
            raise NotFoundError("")
        return Response(data={"keys": names})

    async def echo(self, request: Request, body: object) -> Response:
        await self._pause()
        return Response(data={"count": getattr(body, "count", 0), "query": dict(request.query)})

    async def raw(self, _request: Request, _body: object) -> Response:
        return Response(raw=RawBody(body=b"-----BEGIN", content_type="application/pem"))


@dataclass
class Reply:
    status: int
    json: Any
    body: bytes
    content_type: str

    @property
    def errors(self) -> list[str]:
        return self.json["errors"]

    @classmethod
    def of(cls, reply: WireReply) -> Reply:
        is_json = reply.content_type == "application/json" and reply.body
        return cls(reply.status, json.loads(reply.body) if is_json else None, reply.body, reply.content_type)


class Headers(dict[str, str]):
    """Case-insensitive, as the listener's."""

    def __init__(self, given: Mapping[str, str]) -> None:
        super().__init__({name.lower(): value for name, value in given.items()})

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


def wire(
    method: str, path: str, body: object = None, *, token: str = "", headers: Mapping[str, str] | None = None
) -> WireRequest:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    path, _, query = path.partition("?")
    sent = Headers({**({"X-Vault-Token": token} if token else {}), **(headers or {})})
    return WireRequest(method, "/v1/" + path, "/v1/" + path, query, sent, raw, "127.0.0.1", None, secure=True)


@dataclass
class Rig:
    """One worker. A second one of the same node is made by `rig.sibling()`."""

    barrier: Barrier
    hsm: SoftwareHsm
    clock: SettableClock
    made: Assembled
    trail: AuditTrail
    directory: Path
    shelves: list[ShelfEngine]
    url: str
    shared: Shared
    root_token: str = ""
    init: dict[str, Any] = field(default_factory=dict)
    workers: Sequence[Rig] = ()

    async def call(
        self, method: str, path: str, body: object = None, *, token: str | None = None, headers: Any = None
    ) -> Reply:
        used = self.root_token if token is None else token
        return Reply.of(await self.made.pipeline.handle(wire(method, path, body, token=used, headers=headers)))

    async def initialize(self) -> None:
        reply = await self.call("PUT", "sys/init", INIT, token="")
        assert reply.status == 200, reply.body
        self.init = reply.json
        self.root_token = reply.json["root_token"]

    async def child(self, policy: str, *, name: str = "child") -> str:
        """A token under a policy of that text."""
        assert (await self.call("PUT", f"sys/policies/acl/{name}", {"policy": policy})).status == 204
        reply = await self.call("POST", "auth/token/create", {"policies": [name]})
        assert reply.status == 200, reply.body
        return str(reply.json["auth"]["client_token"])

    async def audited(self) -> None:
        options = {"file_path": str(self.directory / "audit.log")}
        reply = await self.call("PUT", "sys/audit/file", {"type": "file", "options": options})
        assert reply.status == 204, reply.body

    def records(self) -> list[dict[str, Any]]:
        lines = (self.directory / "audit.log").read_text().splitlines()
        return [json.loads(line) for line in lines]

    async def stop(self) -> None:
        await self.made.pipeline.drain()
        await self.made.lifecycle.close()
        await self.barrier.close()
        self.shared.close()


async def make_rig(
    url: str, directory: Path, clock: SettableClock, *, hsm: SoftwareHsm | None = None, node: NodeInfo = NODE
) -> Rig:
    ring = ChangeRing.open(directory / "ring")
    hsm = hsm or SoftwareHsm()
    barrier = await Barrier.open(url, ring, hsm, clock=clock)
    trail = AuditTrail(barrier.storage.view("core/audit/"), clock, process="worker-0")
    shelves: list[ShelfEngine] = []

    def shelf(context: EngineContext) -> ShelfEngine:
        shelves.append(ShelfEngine(context))
        return shelves[-1]

    async def hsm_status() -> dict[str, Any]:
        return {"state": "ready", "objects": 2}

    shared = Shared.open(directory, mount_types=("shelf", *BUILT_IN_TYPES), serves=True)
    made = assemble(
        Assembly(
            barrier=barrier,
            storage=barrier.storage,
            sync=barrier.storage.sync,
            keys=hsm,
            trail=trail,
            clock=clock,
            node=node,
            hsm_status=hsm_status,
            escrow_id=lambda: hsm.escrow_id,
            catalog=EngineCatalog({"shelf": shelf, "accounts": create_accounts}),
            methods=EngineCatalog(group=AUTH_METHODS),
            shared=shared,
            sanitized={},
        )
    )
    return Rig(barrier, hsm, clock, made, trail, directory, shelves, url, shared)


MakeRig = Callable[..., Awaitable[Rig]]
