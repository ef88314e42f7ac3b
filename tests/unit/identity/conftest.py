"""An identity store in memory, with the engine in front of it, as the pipeline calls it."""

from dataclasses import dataclass, field

import pytest

from appliance.access.acl import ROOT_ACL
from appliance.access.request import AccessRequest
from appliance.access.tokens import TokenEntry
from appliance.identity.routes import identity_engine
from appliance.identity.store import IdentityStore
from appliance.identity.wire import MountNote
from appliance.namespaces import ROOT, Namespace
from appliance.router import RouteTable
from core.bodies import parse_body
from core.requests import LoginAlias, Operation
from tests.support.clock import SettableClock
from tests.support.memory_storage import MemoryStorage, memory_storage

TEAM = Namespace(id="a1B2c3", path="team-a/")
MOUNTS = {
    ("root", "auth_userpass_1"): MountNote(type="userpass", path="auth/userpass/"),
    ("root", "auth_ldap_2"): MountNote(type="ldap", path="auth/ldap/"),
    (TEAM.id, "auth_userpass_t"): MountNote(type="userpass", path="auth/userpass/"),
}


@dataclass
class World:
    storage: MemoryStorage
    clock: SettableClock
    store: IdentityStore
    routes: RouteTable = field(init=False)

    def __post_init__(self):
        self.routes = RouteTable(
            identity_engine(self.store, lambda space, accessor: MOUNTS.get((space, accessor))).routes
        )

    def worker(self):
        """What another process of the appliance has on the same store."""
        return World(self.storage, self.clock, IdentityStore(self.storage, self.clock))

    async def call(self, path, operation=Operation.UPDATE, /, within=ROOT, acl=ROOT_ACL, **data):
        route, params = self.routes.find(path)
        method = route.methods[operation]
        request = AccessRequest(
            request_id="r", operation=operation, mount_path="identity/", path=path, params=params, data=data,
            token="t", entry=TokenEntry(record_id="r", accessor="a", policies=("root",), path="p", issue_time=0),
            acl=acl, within=within,
        )  # fmt: skip
        return await method.handler(request, parse_body(data, method.body))

    async def read(self, path, /, within=ROOT):
        return (await self.call(path, Operation.READ, within=within)).data

    async def entity(self, name, /, within=ROOT, **data):
        """A new entity's id."""
        return (await self.call("entity", within=within, name=name, **data)).data["id"]

    async def group(self, name, /, within=ROOT, **data):
        """A new group's id."""
        return (await self.call("group", within=within, name=name, **data)).data["id"]

    async def external(self, name, alias, accessor="auth_ldap_2", **data):
        """A new external group's id, with its alias."""
        group_id = await self.group(name, type="external", **data)
        await self.call("group-alias", name=alias, mount_accessor=accessor, canonical_id=group_id)
        return group_id

    async def log_in(self, name, *groups, accessor="auth_ldap_2", metadata=None, namespace="root"):
        return await self.store.resolve_login(
            namespace=namespace, mount_accessor=accessor, mount_path="auth/x/",
            alias=LoginAlias(name=name, metadata=metadata), group_aliases=groups,
        )  # fmt: skip


@pytest.fixture
def world():
    storage, clock = memory_storage(), SettableClock()
    return World(storage, clock, IdentityStore(storage, clock))


@pytest.fixture
def team():
    return TEAM
