"""A transit mount on in-memory storage and software keys, driven as the pipeline drives it."""

from collections import Counter
from typing import Any

from core.bodies import parse_body
from core.engine import EngineContext, MountInfo
from core.requests import Operation, Request, Response
from tests.support.clock import SettableClock
from tests.support.memory_storage import MemoryStorage, memory_storage
from tests.support.software_keys import SoftwareKeys
from transit.engine import TransitEngine
from transit.routes import TransitRoutes, create


class Counts(Counter[str]):
    """A meter that a test reads."""

    def count(self, event: str, number: int = 1) -> None:  # type: ignore[override]  # of Meter, not of a list
        self[event] += number


class Mount:
    """One worker's engine. Two of them over one storage are two workers."""

    def __init__(
        self,
        storage: MemoryStorage | None = None,
        keys: SoftwareKeys | None = None,
        clock: SettableClock | None = None,
    ) -> None:
        self.storage = storage or memory_storage()
        self.keys = keys or SoftwareKeys()
        self.clock = clock or SettableClock()
        self.meter = Counts()
        context = EngineContext(
            mount=MountInfo(uuid="u", accessor="transit_1", type="transit", path="transit/"),
            storage=self.storage.view("logical/u/"),
            keys=self.keys,
            clock=self.clock,
            meter=self.meter,
        )
        routes = create(context)
        assert isinstance(routes, TransitRoutes)
        self.routes = routes
        self.parts = routes.parts
        self.engine: TransitEngine = routes.parts.engine
        self.counters = routes.parts.counters

    def other_worker(self) -> "Mount":
        return Mount(self.storage, self.keys, self.clock)

    async def call(self, operation: Operation, path: str, data: dict[str, Any] | None = None, **query: str) -> Response:
        """One request; an UPDATE of what is absent becomes CREATE where the route asks for that."""
        route, params = self._find(path)
        request = Request(
            request_id="r",
            operation=operation,
            mount_path="transit/",
            path=path,
            params=params,
            query=query,
            data=data or {},
        )
        if operation is Operation.UPDATE and route.exists is not None and not await route.exists(request):
            request.operation = Operation.CREATE
        method = route.methods[request.operation]
        return await method.handler(request, parse_body(data or {}, method.body))

    def _find(self, path: str) -> tuple[Any, dict[str, str]]:
        parts = path.split("/")
        for route in self.routes.routes:
            wanted = route.pattern.split("/")
            if len(wanted) == len(parts) and all(w == p or w[:1] == "{" for w, p in zip(wanted, parts, strict=True)):
                return route, {w[1:-1]: p for w, p in zip(wanted, parts, strict=True) if w[:1] == "{"}
        raise AssertionError(f"no route for {path}")

    async def write(self, path: str, **data: Any) -> dict[str, Any]:
        response = await self.call(Operation.UPDATE, path, data)
        return response.data or {}

    async def read(self, path: str) -> dict[str, Any]:
        response = await self.call(Operation.READ, path)
        return response.data or {}
