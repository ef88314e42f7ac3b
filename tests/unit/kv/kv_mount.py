"""A kv mount on in-memory storage, driven as the pipeline drives it."""

from collections.abc import Mapping
from typing import Any

import msgspec

from appliance.router import RouteTable
from core.bodies import parse_body
from core.engine import EngineContext, MountInfo
from core.requests import Caller, Operation, Request, Response
from kv.routes import create
from tests.support.clock import SettableClock
from tests.support.memory_storage import MemoryStorage, memory_storage
from tests.support.software_keys import SoftwareKeys

_WORDS = {operation.word: operation for operation in Operation}


class Granted:
    """An Access that grants what a table says: capabilities by path prefix."""

    def __init__(self, table: Mapping[str, set[str]]) -> None:
        self._table = table

    def allows(self, path: str, *capabilities: str) -> bool:
        return any(
            path.startswith(prefix) and not granted.isdisjoint(capabilities) for prefix, granted in self._table.items()
        )


EVERYTHING = Granted({"": {"read", "list", "scan", "update", "create", "delete", "patch"}})


class Mount:
    """One worker's engine. Two of them over one storage are two workers."""

    def __init__(
        self, storage: MemoryStorage | None = None, clock: SettableClock | None = None, *, version: str = "2"
    ) -> None:
        self.storage = storage or memory_storage()
        self.clock = clock or SettableClock()
        self.version = version
        self.view = self.storage.view("logical/u/")
        self.engine = create(
            EngineContext(
                mount=MountInfo(uuid="u", accessor="kv_1", type="kv", path="secret/", options={"version": version}),
                storage=self.view,
                keys=SoftwareKeys(),
                clock=self.clock,
            )
        )
        self.routes = RouteTable(self.engine.routes)
        self.caller = Caller(accessor="a", display_name="userpass-ann", policies=("p",), entity_id="ann-id")
        self.access: Granted = EVERYTHING
        self.headers: dict[str, str] = {}

    def other_worker(self, *, version: str = "") -> "Mount":
        return Mount(self.storage, self.clock, version=version or self.version)

    async def call(self, operation: str, path: str, data: Any = None, *, body: bytes = b"", **query: str) -> Response:
        """One request; `body` is sent as it stands, `data` as JSON."""
        found = self.routes.find(path)
        assert found is not None, f"no route for {path}"
        route, params = found
        sent = body or (msgspec.json.encode(data) if data is not None else b"")
        request = Request(
            request_id="r",
            operation=_WORDS[operation],
            mount_path="secret/",
            path=path,
            params=params,
            query=query,
            data=msgspec.json.decode(sent) if sent else dict(query),
            body=sent,
            caller=self.caller,
            client_address="10.0.0.7",
            headers=self.headers,
        )
        method = route.methods[request.operation]
        if method.asks_access:
            request.access = self.access
        return await method.handler(request, parse_body(request.data, method.body))

    async def put(self, name: str, data: dict[str, Any], **options: Any) -> dict[str, Any]:
        """A version; its metadata."""
        response = await self.call("update", f"data/{name}", {"data": data, "options": options})
        return response.data or {}

    async def get(self, name: str, **query: str) -> dict[str, Any]:
        """`data` of the current version or the one that is chosen."""
        response = await self.call("read", f"data/{name}", **query)
        assert response.status is None, response.data
        return dict((response.data or {})["data"])
