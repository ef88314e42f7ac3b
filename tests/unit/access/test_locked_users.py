"""sys/locked-users: who is locked, as Vault shows it, and out again."""

from typing import Any

import pytest

from appliance.access.acl import ROOT_ACL
from appliance.access.lockouts import DEFAULT_RULES, Lockouts, LoginName
from appliance.access.request import AccessRequest
from appliance.access.tokens import TokenEntry
from appliance.namespaces import ROOT, Namespace
from appliance.router import RouteTable
from appliance.system.locked_users import LockedUserRoutes
from core.bodies import parse_body
from core.requests import NO_CONTENT, Operation, Response
from tests.support.clock import SettableClock
from tests.support.memory_storage import memory_storage

TEAM = Namespace(id="a1B2c3", path="team-a/")


class Rig:
    def __init__(self) -> None:
        self.lockouts = Lockouts(memory_storage(), SettableClock())
        routes = LockedUserRoutes(self.lockouts, lambda within: [TEAM] if within.is_root else [])
        self.table = RouteTable(routes.routes())

    async def lock(self, name: str, mount: str = "userpass_1", namespace: str = "root") -> None:
        for _ in range(5):
            await self.lockouts.note_failure(LoginName(namespace=namespace, mount=mount, name=name), DEFAULT_RULES)

    async def call(self, operation: Operation, path: str, within: Namespace = ROOT, **data: Any) -> Response:
        found = self.table.find(path)
        assert found is not None
        route, params = found
        entry = TokenEntry(record_id="r", accessor="a", policies=("root",), path="auth/token/root", issue_time=0)
        request = AccessRequest(
            request_id="r",
            operation=operation,
            mount_path="sys/",
            path=path,
            params=params,
            data=data,
            token="t",
            entry=entry,
            acl=ROOT_ACL,
            within=within,
        )
        method = route.methods[operation]
        return await method.handler(request, parse_body(data, method.body))


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_locked_names_are_shown_by_namespace_and_mount(rig: Rig) -> None:
    await rig.lock("bob")
    for name in ("eve", "mallory"):
        await rig.lock(name, "userpass_2", TEAM.id)
    assert (await rig.call(Operation.READ, "locked-users")).data == {
        "by_namespace": [
            {
                "namespace_id": "a1B2c3",
                "namespace_path": "team-a/",
                "counts": 2,
                "mount_accessors": [
                    {"mount_accessor": "userpass_2", "counts": 2, "alias_identifiers": ["eve", "mallory"]}
                ],
            },
            {
                "namespace_id": "root",
                "namespace_path": "",
                "counts": 1,
                "mount_accessors": [{"mount_accessor": "userpass_1", "counts": 1, "alias_identifiers": ["bob"]}],
            },
        ],
        "total": 3,
    }


async def test_nobody_locked_is_an_empty_list(rig: Rig) -> None:
    assert (await rig.call(Operation.READ, "locked-users")).data == {"by_namespace": [], "total": 0}


async def test_one_mount_can_be_asked_for(rig: Rig) -> None:
    await rig.lock("bob")
    await rig.lock("role-id", "approle_1")
    shown = (await rig.call(Operation.READ, "locked-users", mount_accessor="approle_1")).data
    assert shown is not None
    assert [mount["mount_accessor"] for mount in shown["by_namespace"][0]["mount_accessors"]] == ["approle_1"]


async def test_a_namespace_sees_nothing_of_its_parent(rig: Rig) -> None:
    await rig.lock("bob")
    assert (await rig.call(Operation.READ, "locked-users", TEAM)).data == {"by_namespace": [], "total": 0}


@pytest.mark.parametrize("name", ["bob", "a/b"])
async def test_unlocking_lets_a_name_in_and_is_as_good_when_it_is_not_locked(rig: Rig, name: str) -> None:
    await rig.lock(name)
    who = LoginName(namespace="root", mount="userpass_1", name=name)
    for _ in range(2):
        assert await rig.call(Operation.UPDATE, f"locked-users/userpass_1/unlock/{name}") == NO_CONTENT
        assert not await rig.lockouts.is_locked(who)


async def test_a_namespace_unlocks_its_own_names_alone(rig: Rig) -> None:
    await rig.lock("bob")
    await rig.call(Operation.UPDATE, "locked-users/userpass_1/unlock/bob", TEAM)
    assert await rig.lockouts.is_locked(LoginName(namespace="root", mount="userpass_1", name="bob"))
