"""The policy routes as the pipeline calls them: found by path, the body parsed, the caller's access list at hand."""

from dataclasses import dataclass, field
from typing import Any

from appliance.access.policies import PolicyStore
from appliance.access.policy_lint import MountView
from appliance.access.refusals import RefusalLog
from appliance.access.request import AccessRequest
from appliance.access.subject import Facts, Subject
from appliance.access.tokens import TokenEntry
from appliance.namespaces import ROOT, Namespace
from appliance.router import RouteTable
from appliance.system.policies import PolicyRoutes
from appliance.system.policies_history import PolicyHistoryRoutes
from appliance.system.policies_tools import PolicyToolRoutes
from core.bodies import parse_body
from core.requests import Operation
from tests.support.clock import SettableClock
from tests.support.memory_storage import MemoryStorage

TEAM_A = Namespace(id="aaaaaa", path="team-a/")
TEAM_B = Namespace(id="bbbbbb", path="team-b/")
_PATHS = {space.id: space.path for space in (TEAM_A, TEAM_B)}


@dataclass
class Desk:
    storage: MemoryStorage
    clock: SettableClock
    policies: PolicyStore
    refusals: RefusalLog
    routes: RouteTable
    identities: dict[tuple[str, str], Any] = field(default_factory=dict)

    async def call(self, operation, path, /, *names, within=ROOT, query=None, **data):
        """As a token with the policies `names` of the namespace; the root token without any."""
        acl = await self.policies.acl(Subject(namespace=within.id if names else "root", policies=names or ("root",)))
        found = self.routes.find(path)
        assert found is not None, path
        route, params = found
        entry = TokenEntry(
            record_id="r", accessor="acc-1", policies=names or ("root",), path="auth/token/create",
            display_name="anna", issue_time=1, entity_id="e-1",
        )  # fmt: skip
        request = AccessRequest(
            request_id="r", operation=operation, mount_path="sys/", path=path, params=params,
            data=data or dict(query or {}), token="t", entry=entry, acl=acl, within=within,
            facts=Facts(now=self.clock.now(), address="127.0.0.1", headers={}, data=data),
        )  # fmt: skip
        method = route.methods[operation]
        return await method.handler(request, parse_body(request.data, method.body))

    async def read(self, path, /, *names, **given):
        return (await self.call(Operation.READ, path, *names, **given)).data

    async def list(self, path, /, *names, **given):
        return (await self.call(Operation.LIST, path, *names, **given)).data

    async def write(self, path, /, *names, **given):
        return (await self.call(Operation.UPDATE, path, *names, **given)).data

    async def patch(self, path, /, *names, **given):
        return (await self.call(Operation.PATCH, path, *names, **given)).data

    async def delete(self, path, /, *names, **given):
        return (await self.call(Operation.DELETE, path, *names, **given)).data


def make_desk(storage, clock):
    policies = PolicyStore(storage, clock, namespace_path=_PATHS.get)
    refusals = RefusalLog.open()
    identities: dict[tuple[str, str], Any] = {}

    async def find_identity(namespace, name):
        return identities.get((namespace, name))

    def mounts_of(within):
        return [MountView(path="secret/", type="kv", version="2")] if within.is_root else []

    tools = PolicyToolRoutes(policies, clock, refusals, find_identity=find_identity, mounts_of=mounts_of)
    routes = RouteTable([
        *PolicyRoutes(policies, clock).routes(), *PolicyHistoryRoutes(policies).routes(), *tools.routes(),
    ])  # fmt: skip
    return Desk(storage, clock, policies, refusals, routes, identities)
