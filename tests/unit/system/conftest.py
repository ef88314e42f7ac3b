"""The operators' part of sys/ over a store in memory, called as the pipeline calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from appliance.access.acl import ROOT_ACL, Acl
from appliance.access.request import AccessRequest
from appliance.access.tokens import TokenEntry
from appliance.audited_headers import AuditedHeaders
from appliance.cors import CrossOrigin
from appliance.metrics import Metrics
from appliance.namespaces import ROOT, Namespace
from appliance.password_policies import PasswordPolicies
from appliance.quotas import Counts, Quotas
from appliance.router import RouteTable
from appliance.settings import SystemSettings
from appliance.system.host import InFlight
from appliance.system.node import NodeInfo
from appliance.system.operations import OperationsParts, operations_routes
from appliance.system.quotas import splitter
from appliance.system.versions import VersionHistory
from core.bodies import parse_body
from core.requests import Operation, Response
from tests.support.clock import SettableClock
from tests.support.memory_storage import MemoryStorage, memory_storage
from tests.support.software_keys import SoftwareKeys

TEAM = Namespace(id="aB3xYz", path="team-a/")
MOUNTS = ("secret/", "transit/", "auth/approle/", "auth/userpass/")


class Monotonic:
    """Moved by hand."""

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


@dataclass
class Desk:
    """One worker's part of sys/."""

    storage: MemoryStorage
    clock: SettableClock
    settings: SystemSettings
    quotas: Quotas
    cors: CrossOrigin
    audited: AuditedHeaders
    metrics: Metrics
    counts: Counts
    monotonic: Monotonic
    passwords: PasswordPolicies
    versions: VersionHistory
    routes: RouteTable = field(default_factory=lambda: RouteTable(()))
    flying: list[InFlight] = field(default_factory=list)

    async def call(
        self,
        operation: str,
        path: str,
        data: dict[str, Any] | None = None,
        *,
        query: dict[str, str] | None = None,
        within: Namespace = ROOT,
        acl: Acl = ROOT_ACL,
    ) -> Response:
        found = self.routes.find(path)
        assert found is not None, path
        route, params = found
        asked = Operation(operation)
        method = route.methods[asked]
        request = AccessRequest(
            request_id="r",
            operation=asked,
            mount_path="sys/",
            path=path,
            params=params,
            query=query or {},
            data=data or {},
            token="t",
            entry=TokenEntry(record_id="r", accessor="a", policies=("root",), path="auth/token/create", issue_time=0),
            acl=acl,
            within=within,
        )
        return await method.handler(request, parse_body(data or {}, method.body))

    async def read(self, path: str, **more: Any) -> dict[str, Any]:
        data = (await self.call("read", path, **more)).data
        assert data is not None
        return data


def make_desk(storage: MemoryStorage, directory: Path, clock: SettableClock, monotonic: Monotonic) -> Desk:
    from appliance.lanes import Lanes
    from appliance.quotas import LANE_WORDS

    settings = SystemSettings(storage)
    counts = Counts(Lanes.open(directory / "quotas", lane_words=LANE_WORDS), monotonic=monotonic)
    versions = VersionHistory(storage, clock, version="0.1.0")
    desk = Desk(
        storage,
        clock,
        settings,
        Quotas(counts),
        CrossOrigin(),
        AuditedHeaders(),
        Metrics.open(directory, ["transit", "system", "token"]),
        counts,
        monotonic,
        PasswordPolicies(storage),
        versions,
    )
    for watcher in (desk.quotas, desk.cors, desk.audited):
        settings.watch(watcher.apply)

    async def three() -> int:
        return 3

    async def namespaces(_request: object) -> list[str]:
        return ["team-b/", "team-a/"]

    desk.routes = RouteTable(
        operations_routes(
            OperationsParts(
                settings=settings,
                passwords=desk.passwords,
                versions=versions,
                metrics=desk.metrics,
                keys=SoftwareKeys(),
                node=NodeInfo(version="0.1.0", storage_type="sqlite"),
                clock=clock,
                split=splitter(lambda: ["team-a/", "team-a/b/"], lambda _namespace: MOUNTS),
                namespaces=namespaces,
                tokens=three,
                entities=three,
                in_flight=lambda: desk.flying,
                sanitized={"api_addr": "http://127.0.0.1:8200"},
            )
        )
    )
    return desk


@pytest.fixture
async def desks(tmp_path: Path) -> AsyncIterator[tuple[Desk, Desk]]:
    """Two workers of one node."""
    storage, clock, monotonic = memory_storage(), SettableClock(), Monotonic()
    made = tuple(make_desk(storage, tmp_path, clock, monotonic) for _ in range(2))
    for desk in made:
        await desk.settings.open()
        await desk.versions.open()
    yield made  # type: ignore[misc]
    for desk in made:
        desk.metrics.close()
        desk.counts.close()


@pytest.fixture
def desk(desks: tuple[Desk, Desk]) -> Desk:
    return desks[0]
