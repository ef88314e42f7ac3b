"""Accounts for leases: made, renewed and removed, and what is left when something dies in between."""

import asyncio
from typing import Any

import pytest

from core.engine import Lease
from core.errors import InvalidRequestError, OperatorError, PermissionDeniedError
from dynamic.intents import PATIENCE, SETTLED
from dynamic.target import Renewal, TargetAwayError, TargetLoginError, TargetRefusedError
from tests.support.memory_target import MemoryTarget, Server
from tests.unit.dynamic.database_mount import Mount

URL = "memory://db"
CONFIG = {
    "plugin_name": "memory",
    "connection_url": URL,
    "username": "root",
    "password": "first",
    "allowed_roles": "web*",
}
ROLE = {"db_name": "db", "creation_statements": "ok"}


async def make_mount(**more: Any) -> Mount:
    mount = Mount(**more)
    await mount.call("update", "config/db", CONFIG)
    await mount.call("update", "roles/web", ROLE)
    return mount


def made_accounts(server: Server) -> set[str]:
    return set(server.accounts) - {"root"}


async def intents(mount: Mount) -> list[str]:
    return await mount.view.list("intent/")


async def test_an_account_with_a_lease(server: Server) -> None:
    mount = await make_mount()
    lease = await mount.lease("web")
    name = lease.internal["username"]
    assert name.startswith("v-web-")
    assert server.accounts[name] == mount.passwords[name]
    assert (lease.ttl, lease.max_ttl) == (3600, 86400)
    assert server.expiry[name] == int(mount.clock.now()) + 3600 + 5
    assert await intents(mount) == []


async def test_the_intent_is_there_before_the_account_and_until_the_lease(server: Server) -> None:
    mount = await make_mount()
    server.gate, server.visited = asyncio.Event(), asyncio.Event()
    making = asyncio.create_task(mount.lease("web", stored=False))
    await server.visited.wait()
    assert len(await intents(mount)) == 1
    assert made_accounts(server) == set()
    server.gate.set()
    lease = await making
    assert await intents(mount) == [lease.internal["username"]]


async def test_who_died_before_the_lease_leaves_an_account_that_is_removed(server: Server) -> None:
    mount = await make_mount()
    await mount.lease("web", stored=False)
    other = mount.other_worker()
    await other.engine.housekeep()
    assert len(made_accounts(server)) == 1  # whoever makes it may still be at it
    mount.clock.advance(PATIENCE + 1)
    await other.engine.housekeep()
    assert made_accounts(server) == set()
    assert await intents(mount) == []


async def test_who_comes_back_too_late_gets_no_lease(server: Server) -> None:
    mount = await make_mount()
    response = await mount.call("read", "creds/web")
    mount.clock.advance(PATIENCE + 1)
    await mount.other_worker().engine.housekeep()
    assert response.lease is not None
    assert response.lease.stored is not None
    with pytest.raises(OperatorError, match="so long that it was given up"):
        await mount.view.transact(response.lease.stored)


async def test_an_account_that_cannot_be_removed_yet_is_removed_later(server: Server) -> None:
    mount = await make_mount()
    await mount.lease("web", stored=False)
    mount.clock.advance(PATIENCE + 1)
    server.is_away = True
    await mount.engine.housekeep()
    assert len(await intents(mount)) == 1
    server.is_away = False
    await mount.other_worker().engine.housekeep()  # its breaker is closed
    assert await intents(mount) == []
    assert made_accounts(server) == set()


async def test_a_refused_creation_leaves_no_intent_and_says_where_the_text_is(server: Server) -> None:
    mount = await make_mount()
    server.refuses = {"create"}
    with pytest.raises(TargetRefusedError) as caught:
        await mount.lease("web")
    assert caught.value.sentence == "the database refused create; the log has the database's text under request id r"
    assert await intents(mount) == []


async def test_an_answer_that_never_came_is_cleared_away_when_nothing_can_come_of_it_any_more(server: Server) -> None:
    mount = await make_mount()
    server.fails_after = {"create"}
    with pytest.raises(TargetAwayError):
        await mount.lease("web")
    assert len(made_accounts(server)) == 1
    server.fails_after = set()
    await mount.other_worker().engine.housekeep()
    assert len(made_accounts(server)) == 1
    mount.clock.advance(SETTLED)
    await mount.other_worker().engine.housekeep()
    assert made_accounts(server) == set()
    assert await intents(mount) == []


async def test_what_was_begun_late_is_given_its_time_all_the_same(server: Server) -> None:
    """A call may be made twice, and waits before: what counts is when it was cut off."""
    mount = await make_mount()
    server.gate, server.visited = asyncio.Event(), asyncio.Event()
    making = asyncio.create_task(mount.lease("web"))
    await server.visited.wait()
    mount.clock.advance(SETTLED + 10)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    server.gate = None
    await mount.engine.housekeep()
    assert len(await intents(mount)) == 1
    mount.clock.advance(SETTLED)
    await mount.engine.housekeep()
    assert await intents(mount) == []


async def test_a_clock_that_is_set_back_keeps_no_account_alive(server: Server) -> None:
    mount = await make_mount()
    await mount.lease("web", stored=False)
    mount.clock.advance(-86400)
    await mount.other_worker().engine.housekeep()
    assert made_accounts(server) == set()


async def test_a_plugin_that_breaks_keeps_no_other_database_waiting(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the removal of accounts nor the rotation of root passwords nor the comparison."""
    mount = await make_mount()
    broken = Server("broken")
    times = {"reconcile_interval": 60, "root_rotation_ttl": 60}
    await mount.call("update", "config/a-db", CONFIG | times | {"connection_url": "memory://broken"})
    await mount.call("update", "config/db", times)
    await mount.call("update", "roles/web-a", {"db_name": "a-db", "creation_statements": "ok"})
    await mount.lease("web-a", stored=False)
    await mount.lease("web", stored=False)
    visit = Server.visit

    async def breaks(self: Server, *arguments: str) -> None:
        if self is broken:
            raise RuntimeError("a bug")
        await visit(self, *arguments)

    monkeypatch.setattr(Server, "visit", breaks)
    mount.clock.advance(PATIENCE + 1)
    await mount.engine.housekeep()
    assert made_accounts(server) == set()
    assert server.accounts["root"] != "first"
    assert await mount.parts.reconciler.last("db") is not None


async def test_a_request_that_is_cut_off_leaves_an_intent_for_the_housekeeper(server: Server) -> None:
    mount = await make_mount()
    server.gate, server.visited = asyncio.Event(), asyncio.Event()
    making = asyncio.create_task(mount.lease("web"))
    await server.visited.wait()
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    server.gate = None
    assert len(await intents(mount)) == 1
    mount.clock.advance(SETTLED)
    await mount.engine.housekeep()
    assert await intents(mount) == []


async def test_a_lease_that_was_not_stored_is_taken_back(server: Server) -> None:
    mount = await make_mount()
    lease = await mount.lease("web", stored=False)
    await mount.engine.revoke_lease(
        Lease(lease_id="", path=lease.path, internal=lease.internal, issued_at=0, ttl=1, max_ttl=1)
    )
    assert made_accounts(server) == set()
    assert await intents(mount) == []


async def test_a_renewal_moves_the_end(server: Server) -> None:
    mount = await make_mount()
    lease = await mount.lease("web")
    mount.clock.advance(600)
    grant = await mount.engine.renew_lease(lease, increment=1800)
    assert grant.ttl == 1800
    assert server.expiry[lease.internal["username"]] == int(mount.clock.now()) + 1800 + 5


async def test_a_renewal_ends_with_max_ttl_as_the_role_has_it_now(server: Server) -> None:
    mount = await make_mount()
    lease = await mount.lease("web")
    await mount.call("update", "roles/web", {"default_ttl": "20m", "max_ttl": "30m"})
    mount.clock.advance(1200)
    assert (await mount.engine.renew_lease(lease, increment=3600)).ttl == 600
    mount.clock.advance(700)
    with pytest.raises(InvalidRequestError, match="past the max TTL"):
        await mount.engine.renew_lease(lease, increment=3600)


async def test_a_lease_of_a_deleted_role_is_not_renewed_but_revoked(server: Server) -> None:
    mount = await make_mount()
    await mount.call("update", "roles/web", {"revocation_statements": ["ok"]})
    lease = await mount.lease("web")
    await mount.call("delete", "roles/web")
    with pytest.raises(InvalidRequestError, match="the role of this lease is gone"):
        await mount.engine.renew_lease(lease, increment=60)
    await mount.engine.revoke_lease(lease)
    assert server.removals[-1].statements == ("ok",)
    assert made_accounts(server) == set()


async def test_a_lease_is_revoked_by_the_statements_of_the_role_as_it_is_now(server: Server) -> None:
    mount = await make_mount()
    lease = await mount.lease("web")
    await mount.call("update", "roles/web", {"revocation_statements": ["ok"]})
    await mount.engine.revoke_lease(lease)
    assert server.removals[-1].statements == ("ok",)


async def test_a_role_that_moved_to_another_database_still_gives_up_its_accounts_on_this_one(server: Server) -> None:
    mount = await make_mount()
    lease = await mount.lease("web")
    await mount.call("update", "roles/web", {"db_name": "elsewhere", "revocation_statements": []})
    await mount.engine.revoke_lease(lease)
    assert made_accounts(server) == set()


async def test_statements_for_another_database_renew_no_account_on_this_one(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = await make_mount()
    lease = await mount.lease("web")
    await mount.call("update", "roles/web", {"db_name": "elsewhere", "renew_statements": ["ok"]})
    renewals: list[Renewal] = []

    async def renew(_self: MemoryTarget, renewal: Renewal) -> None:
        renewals.append(renewal)

    monkeypatch.setattr(MemoryTarget, "renew", renew)
    await mount.engine.renew_lease(lease, increment=60)
    assert [renewal.statements for renewal in renewals] == [()]


async def test_revoking_twice_is_as_good_as_once(server: Server) -> None:
    mount = await make_mount()
    lease = await mount.lease("web")
    await mount.engine.revoke_lease(lease)
    await mount.engine.revoke_lease(lease)
    assert made_accounts(server) == set()


async def test_a_lease_whose_connection_is_gone_says_so(server: Server) -> None:
    mount = await make_mount()
    lease = await mount.lease("web")
    await mount.call("delete", "config/db")
    with pytest.raises(InvalidRequestError, match='failed to find entry for connection with name: "db"'):
        await mount.engine.revoke_lease(lease)


async def test_thirty_two_at_once_over_two_workers_are_thirty_two_accounts(server: Server) -> None:
    mount = await make_mount()
    other = mount.other_worker()
    workers = (mount, other)
    leases = await asyncio.gather(*(workers[at % 2].call("read", "creds/web") for at in range(32)))
    names = {(answer.data or {})["username"] for answer in leases}
    assert len(names) == 32
    assert made_accounts(server) == names


async def test_a_mount_s_limit_cuts_the_ttl_and_the_account(server: Server) -> None:
    mount = await make_mount(max_lease_ttl=600)
    lease = await mount.lease("web")
    assert lease.ttl == 600
    assert server.expiry[lease.internal["username"]] == int(mount.clock.now()) + 605


async def test_a_role_that_the_connection_does_not_allow(server: Server) -> None:
    mount = await make_mount()
    await mount.call("update", "roles/other", ROLE)
    with pytest.raises(PermissionDeniedError):
        await mount.lease("other")
    assert server.calls == ["check"]


async def test_an_unknown_role(server: Server) -> None:
    mount = await make_mount()
    with pytest.raises(InvalidRequestError, match="unknown role: nobody"):
        await mount.lease("nobody")


async def test_a_password_policy_of_the_role_goes_before_the_connection_s(server: Server) -> None:
    mount = await make_mount()
    digits = 'length = 8\nrule "charset" {\n charset = "0123456789"\n min-chars = 1\n}\n'
    letters = digits.replace("0123456789", "abcdef")
    policies = mount.parts.passwords._policies  # type: ignore[attr-defined]  # of the appliance, behind the protocol
    await policies.put("digits", digits)
    await policies.put("letters", letters)
    await mount.call("update", "config/db", {"password_policy": "letters"})
    assert mount.passwords == {}
    first = await mount.lease("web")
    await mount.call("update", "roles/web", {"credential_config": {"password_policy": "digits"}})
    second = await mount.lease("web")
    assert mount.passwords[first.internal["username"]].isalpha()
    assert mount.passwords[second.internal["username"]].isdigit()


async def test_names_carry_a_tag_of_this_mount(server: Server) -> None:
    mount, elsewhere = await make_mount(), await make_mount()
    name = (await mount.lease("web")).internal["username"]
    assert await mount.other_worker().parts.usernames.is_own(name)
    assert not await elsewhere.parts.usernames.is_own(name)
    assert not await mount.parts.usernames.is_own(name[:-1] + ("a" if name[-1] != "a" else "b"))
    assert not await mount.parts.usernames.is_own("v-")
    assert len(name) <= 40


async def test_a_connection_whose_password_was_changed_behind_our_back(server: Server) -> None:
    mount = await make_mount()
    server.accounts["root"] = "changed"
    with pytest.raises(TargetLoginError):
        await mount.lease("web")
    assert await intents(mount) == []
