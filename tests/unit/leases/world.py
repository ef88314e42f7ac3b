"""A lease store over memory, with an engine that can be told to fail and a token store of four methods."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import msgspec

from appliance.access.tokens import TokenEntry
from appliance.leases.attachment import lease_attachment
from appliance.leases.counts import LeaseCounts
from appliance.leases.entries import decode_lease, record_id_of
from appliance.leases.operations import LeaseOperations
from appliance.leases.store import LeaseStore
from appliance.mount_table import MountEntry
from appliance.namespaces import ROOT, Namespace
from core.engine import Lease
from core.protocols import Record
from core.requests import LeaseGrant
from tests.support.clock import SettableClock
from tests.support.memory_storage import MemoryStorage, memory_storage

TEAM = Namespace(id="teamA1", path="team-a/")
INNER = Namespace(id="inner1", path="team-a/payments/")
OTHER = Namespace(id="teamB1", path="team-b/")
NAMESPACES = {place.id: place for place in (ROOT, TEAM, INNER, OTHER)}


@dataclass
class Accounts:
    """An engine that leases; it remembers what it was asked."""

    revoked: list[str] = field(default_factory=list)
    renewed: list[tuple[str, int]] = field(default_factory=list)
    trouble: Exception | None = None
    answer: LeaseGrant = field(default_factory=lambda: LeaseGrant(renewable=True))
    gate: asyncio.Event | None = None
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    most_at_once: int = 0
    inside: int = 0

    async def renew_lease(self, lease: Lease, *, increment: int) -> LeaseGrant:
        self.renewed.append((lease.lease_id, increment))
        if self.trouble is not None:
            raise self.trouble
        return self.answer

    async def revoke_lease(self, lease: Lease) -> None:
        self.inside += 1
        self.entered.set()
        self.most_at_once = max(self.most_at_once, self.inside)
        try:
            await (self.gate.wait() if self.gate is not None else asyncio.sleep(0))
            if self.trouble is not None:
                raise self.trouble
            self.revoked.append(lease.lease_id)
        finally:
            self.inside -= 1


@dataclass
class Engines:
    """What is mounted, by namespace and path."""

    mounted: dict[tuple[str, str], tuple[MountEntry, Accounts]] = field(default_factory=dict)

    def leasing(self, namespace_id: str, path: str) -> tuple[MountEntry, Accounts] | None:
        for (namespace, top), found in self.mounted.items():
            if namespace == namespace_id and (path + "/").startswith(top):
                return found
        return None

    def mount(self, path: str, *, namespace: str = "root", **settings: object) -> Accounts:
        entry = MountEntry(uuid=f"u-{namespace}-{path}", accessor=f"acc_{path[:-1]}", type="x", path=path)
        accounts = Accounts()
        self.mounted[namespace, path] = (msgspec.structs.replace(entry, **settings), accounts)
        return accounts


class Tokens:
    """Tokens as records, with what leases need of their store."""

    def __init__(self, storage: MemoryStorage, clock: SettableClock) -> None:
        self.storage = storage
        self.attachment = lease_attachment(clock)

    async def add(self, name: str, *, path: str = "auth/token/create", namespace: str = "root", **more) -> TokenEntry:
        entry = TokenEntry(record_id=name, accessor=f"a-{name}", policies=(), path=path, issue_time=1, **more)
        if entry.type != "batch":
            await self.put(entry, namespace)
        return entry

    async def put(self, entry: TokenEntry, namespace: str = "root") -> None:
        place = f"{namespace}/{entry.path}/{entry.record_id}"
        record = Record(record_id=entry.record_id, body=msgspec.json.encode(entry), path=place)

        async def body(txn):
            await txn.put_record("token", record)

        await self.storage.transact(body)

    async def find_accessor(self, accessor: str) -> TokenEntry | None:
        record = await self.storage.get_record("token", accessor.removeprefix("a-"))
        return msgspec.json.decode(record.body, type=TokenEntry) if record else None

    async def revoke(self, record_id: str) -> bool:
        async def body(txn):
            if not await self.attachment(txn, record_id):
                return None
            return await txn.delete_record("token", record_id)

        while (done := await self.storage.transact(body)) is None:
            pass
        return done

    async def revoke_below(self, prefix: str, limit: int) -> int:
        page = await self.storage.records_below("token", prefix, limit=limit)
        for record in page:
            await self.revoke(record.record_id)
        return len(page)


@dataclass
class World:
    clock: SettableClock
    storage: MemoryStorage
    engines: Engines
    tokens: Tokens
    leases: LeaseStore
    operations: LeaseOperations
    counts: LeaseCounts

    def another(self) -> World:
        """A second process over the same store."""
        return build(self.clock, self.storage, self.engines)

    async def grant(self, token, path="creds/app", *, mount="database/", namespace="root", **wishes) -> LeaseGrant:
        found = self.engines.mounted[namespace, mount]
        if await self.storage.get(found[0].row) is None:
            await self.storage.put(found[0].row, msgspec.json.encode(found[0]))  # as the mount table has it
        grant = LeaseGrant(**{"ttl": 3600, "max_ttl": 86400, "renewable": True, "internal": {"n": 1}} | wishes)
        return await self.leases.register(grant, namespace=namespace, mount=found[0], path=path, token=token)

    async def entry(self, lease_id: str):
        record = await self.storage.get_record("lease", record_id_of(lease_id))
        return decode_lease(record) if record else None


def build(clock: SettableClock, storage: MemoryStorage, engines: Engines) -> World:
    tokens = Tokens(storage, clock)

    def namespace_path(name: str) -> str | None:
        found = NAMESPACES.get(name)
        return found.path if found else None

    leases = LeaseStore(storage, clock, engines, tokens=tokens, namespace_path=namespace_path)
    return World(
        clock=clock,
        storage=storage,
        engines=engines,
        tokens=tokens,
        leases=leases,
        operations=LeaseOperations(storage, leases, tokens),
        counts=LeaseCounts(storage, engines, namespace_path=namespace_path),
    )


def new_world() -> World:
    """Empty, with an engine at database/."""
    made = build(SettableClock(), memory_storage(), Engines())
    made.engines.mount("database/")
    return made
