"""The engines of this worker, one for each mount, kept in step with the mount table."""

import asyncio
import contextlib
from collections.abc import Callable

import msgspec
import structlog

from appliance.events.record import Announcer
from appliance.mount_table import EMPTY_TABLE, MountEntry, MountTable
from appliance.mounts import MountStore
from appliance.namespaces import ROOT, Namespace
from appliance.pipeline.catalog import EngineCatalog
from appliance.pipeline.mount_view import MountView
from appliance.router import RouteTable
from core.clock import Clock
from core.engine import (
    Deposits,
    Engine,
    EngineContext,
    LeaseBook,
    LeasingEngine,
    Meter,
    NoMeter,
    Nothing,
    Passwords,
    TendedEngine,
)
from core.errors import ConfigError, MimirError, UnsupportedPathError
from core.protocols import CoreStorage, CoreTransaction, KeyCustodian, Transaction
from core.requests import Operation

_log = structlog.get_logger("mimir.mounts")

BuiltIn = Callable[[EngineContext], Engine]

_TEND_PATIENCE = 2.0  # seconds


class Mounted:
    """One mounted engine in this worker."""

    __slots__ = ("_takes_bytes", "engine", "entry", "fault", "is_built_in", "part_of", "retired", "routes", "users")

    def __init__(
        self,
        entry: MountEntry,
        engine: Engine | None,
        *,
        fault: str = "",
        is_built_in: bool = False,
        part_of: Callable[[CoreTransaction], Transaction] | None = None,
    ) -> None:
        self.entry = entry
        self.part_of = part_of  # of a transaction of the appliance, what the engine may write; None: nothing
        self.engine = engine
        self.is_built_in = is_built_in  # part of the appliance, and the same in every namespace
        self.fault = fault  # why there is no engine
        routes = engine.routes if engine else ()
        self.routes = RouteTable(routes)
        self._takes_bytes = any(method.takes_bytes for route in routes for method in route.methods.values())
        self.users = 0  # requests inside the engine now
        self.retired = False

    def takes_bytes(self, path: str, operation: Operation) -> bool:
        """Whether the body of such a request is no JSON; `path` begins with that of the mount."""
        if not self._takes_bytes:
            return False
        found = self.routes.find(path[len(self.entry.path) :])
        method = found[0].methods.get(operation) if found is not None else None
        return method is not None and method.takes_bytes

    def left(self) -> bool:
        """One user less; True for the last one of a retired engine, who closes it."""
        self.users -= 1
        return self.retired and self.users == 0

    def check_usable(self) -> None:
        """Raise when the engine could not be made on this node, or is being disabled or moved."""
        if self.entry.tainted:
            raise UnsupportedPathError(f"the mount {self.entry.path} is being disabled or moved")
        if self.fault:
            raise ConfigError(self.fault)


class MountedEngines:
    """Finds the engine for a path. `refresh` and `close` are the only ones to change the set, one at a time."""

    def __init__(
        self,
        store: MountStore,
        *,
        storage: CoreStorage,
        keys: KeyCustodian,
        clock: Clock,
        catalog: EngineCatalog,
        methods: EngineCatalog,
        meter: Meter | None = None,
    ) -> None:
        self._store = store
        self._storage = storage
        self._keys = keys
        self._clock = clock
        self._catalog = catalog
        self._methods = methods
        self._meter = NoMeter() if meter is None else meter
        self._passwords: Callable[[str], Passwords] = lambda _namespace: Nothing()
        self._leases: Callable[[MountEntry], LeaseBook] = lambda _entry: Nothing()
        self._deposits: Callable[[str], Deposits] = lambda _namespace: Nothing()
        self._built_in: list[tuple[MountEntry, BuiltIn]] = []
        self._shared: dict[str, Mounted] = {}  # built in: the same in every namespace, by path
        self._by_path: dict[str, Mounted] = {}  # by full path
        self._table: MountTable | None = None
        self._changing = asyncio.Lock()

    @property
    def table(self) -> MountTable:
        """Mounts and namespaces as this worker serves them."""
        return self._table or EMPTY_TABLE

    def entries(self, namespace: Namespace = ROOT) -> list[MountEntry]:
        """Every mount of a namespace, built in or not, by path."""
        return [mounted.entry for mounted in self.all(namespace)]

    def lend(
        self,
        *,
        passwords: Callable[[str], Passwords],
        leases: Callable[[MountEntry], LeaseBook],
        deposits: Callable[[str], Deposits],
    ) -> None:
        """What engines are given besides, by the id of a namespace or by mount. Before `open`."""
        self._passwords = passwords
        self._leases = leases
        self._deposits = deposits

    def add_built_in(self, entry: MountEntry, make: BuiltIn) -> None:
        """A mount that is part of the appliance and stands in no table; before `open`."""
        self._built_in.append((entry, make))

    def all(self, namespace: Namespace = ROOT) -> list[Mounted]:
        """Every mount of a namespace, built in or not, by path."""
        own = [mounted for mounted in self._by_path.values() if mounted.entry.namespace == namespace.id]
        return sorted([*self._shared.values(), *own], key=lambda mounted: mounted.entry.path)

    def in_service(self) -> list[Mounted]:
        """Every stored mount of all namespaces that has an engine and is not being disabled or moved."""
        return [
            mounted
            for mounted in self._by_path.values()
            if mounted.engine is not None and self.is_live(mounted.entry.namespace, mounted.entry.uuid)
        ]

    def is_built_in(self, path: str) -> bool:
        """Whether the system itself stands there."""
        return any(entry.path == path for entry, _ in self._built_in)

    def find(self, path: str, namespace: Namespace = ROOT) -> Mounted | None:
        """The mount that the full path `path`, which is in `namespace`, is at or below.

        No mount is below another, so the first one is the only one.
        """
        inside = path[len(namespace.path) :]
        return _first(self._shared, inside, 0) or _first(self._by_path, path, len(namespace.path))

    def by_uuid(self, uuid: str) -> Mounted | None:
        """The stored mount of that uuid."""
        return next((mounted for mounted in self._by_path.values() if mounted.entry.uuid == uuid), None)

    def is_live(self, namespace_id: str, mount_uuid: str) -> bool:
        """Whether a token of that namespace, granted by that login mount ("": by none), may still be used."""
        table = self._table
        if table is None:
            return False
        namespace = table.namespaces_by_id.get(namespace_id)
        if namespace is None or namespace.tainted:
            return False
        return not mount_uuid or mount_uuid in table.mount_uuids

    def leasing(self, namespace_id: str, path: str) -> tuple[MountEntry, LeasingEngine] | None:
        """The engine that granted the lease `path` ("database/creds/…") in that namespace, tainted or not."""
        namespace = self.table.namespaces_by_id.get(namespace_id)
        mounted = self.find(namespace.path + path, namespace) if namespace is not None else None
        engine: object = mounted.engine if mounted is not None else None
        if mounted is None or not isinstance(engine, LeasingEngine):
            return None
        return mounted.entry, engine

    def is_current(self) -> bool:
        """Whether no worker has changed the table since the last `refresh`; no I/O."""
        return self._table is not None and self._store.peek() is self._table

    async def open(self) -> None:
        """Make every engine; after unsealing."""
        for entry, make in self._built_in:
            self._shared[entry.path] = Mounted(entry, make(self._context(entry, self._view(entry))), is_built_in=True)
        await self.refresh()

    async def refresh(self) -> None:
        """Make and close engines until they are those of the table."""
        async with self._changing:
            table = await self._store.table()
            if table is self._table:
                return
            gone = [path for path, mounted in self._by_path.items() if self._is_outdated(mounted, table)]
            retired = [self._by_path.pop(path) for path in gone]
            for path, entry in table.entries.items():
                if path in self._by_path:
                    self._by_path[path].entry = entry
                else:
                    self._by_path[path] = self._make(entry)
            for mounted in retired:
                await _retire(mounted)
            self._table = table

    @staticmethod
    def _is_outdated(mounted: Mounted, table: MountTable) -> bool:
        """Whether the engine must be made anew; being tainted is nothing to the engine."""
        entry = table.entries.get(mounted.entry.full_path)
        return entry is None or msgspec.structs.replace(entry, tainted=mounted.entry.tainted) != mounted.entry

    async def close(self) -> None:
        """Close every engine; before the keys go away."""
        async with self._changing:
            self._table = None
            retired = [*self._by_path.values(), *self._shared.values()]
            self._by_path.clear()
            self._shared.clear()
            for mounted in retired:
                await _retire(mounted)

    async def leave(self, mounted: Mounted) -> None:
        """The last request inside a retired engine is done."""
        await _close(mounted)

    def _make(self, entry: MountEntry) -> Mounted:
        try:
            catalog = self._methods if entry.is_auth else self._catalog
            view = self._view(entry)
            return Mounted(entry, catalog.factory(entry.type)(self._context(entry, view)), part_of=view.within)
        except ConfigError as exc:
            fault = exc.sentence
        except Exception as exc:  # noqa: BLE001 - the engine may be anybody's; the other mounts must work
            fault = f"the engine {entry.type} fails to start on this node ({type(exc).__name__})"
        _log.error("engine not available", mount=entry.path, reason=fault)
        return Mounted(entry, None, fault=fault)

    def _view(self, entry: MountEntry) -> MountView:
        announcer = Announcer(entry, self._clock)
        return MountView(self._storage, prefix=entry.data_prefix, row=entry.row, announcer=announcer)

    def _context(self, entry: MountEntry, view: MountView) -> EngineContext:
        return EngineContext(
            mount=entry.info(),
            storage=view,
            keys=self._keys,
            clock=self._clock,
            meter=self._meter,
            passwords=self._passwords(entry.namespace),
            leases=self._leases(entry),
            deposits=self._deposits(entry.namespace),
        )


def _first(mounts: dict[str, Mounted], path: str, start: int) -> Mounted | None:
    end = path.find("/", start)
    while end >= 0:
        mounted = mounts.get(path[: end + 1])
        if mounted is not None:
            return mounted
        end = path.find("/", end + 1)
    return mounts.get(path + "/")


async def _retire(mounted: Mounted) -> None:
    """No new request finds it; it is closed now, or by the last request that is still inside."""
    mounted.retired = True
    if mounted.users == 0:
        await _close(mounted)


async def _close(mounted: Mounted) -> None:
    """Close the engine. After an unmount it may find its storage gone: there is nothing left to write back to."""
    engine = mounted.engine
    if engine is None:
        return
    try:
        try:
            await _tend_last(engine)
        finally:
            await engine.close()
    except MimirError as exc:
        _log.warning("engine closed with an error", mount=mounted.entry.path, reason=exc.sentence)
    except Exception as exc:  # noqa: BLE001 - the engine may be anybody's; the others must be closed, too
        _log.error("engine failed to close", mount=mounted.entry.path, kind=type(exc).__name__)


async def _tend_last(engine: object) -> None:
    """What is still in memory is written, if that is quick: a seal must not wait for it."""
    if isinstance(engine, TendedEngine):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TEND_PATIENCE):
                await engine.tend()
