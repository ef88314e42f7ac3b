"""Secret ids of limited uses and counts of failed logins, on real stores, by two workers at once."""

import asyncio

from appliance.access.lockouts import DEFAULT_RULES, Lockouts, LoginName
from auth.approle.engine import AppRoleEngine
from auth.approle.roles import RoleBody
from auth.approle.secret_ids import SecretIdBody
from barrier.seal import Barrier
from core.engine import MountInfo
from core.errors import LoginFailedError
from tests.barrier.nodes import Node

MOUNT = MountInfo(uuid="u", accessor="approle_1", type="approle", path="auth/approle/")


def engine(worker: Barrier, node: Node) -> AppRoleEngine:
    return AppRoleEngine(worker.storage.view("logical/u/"), node.clock, MOUNT)


async def second(node: Node) -> Barrier:
    worker = await node.worker()
    await worker.unseal_from_hsm()
    return worker


async def test_of_n_uses_exactly_n_succeed(node: Node, barrier: Barrier) -> None:
    other = await second(node)
    one, two = engine(barrier, node), engine(other, node)
    await one.put_role("web", RoleBody(role_id="web"))
    secret_id, _ = await one.add_secret_id("web", SecretIdBody(num_uses=5))
    other.storage.sync()
    tries = [(one, two)[i % 2].login("web", secret_id, address="") for i in range(14)]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    failures = [answer for answer in answers if isinstance(answer, BaseException)]
    assert {type(failure) for failure in failures} == {LoginFailedError}
    assert len(failures) == 9
    barrier.storage.sync()
    role = await one.known_role("web")
    assert await one.store.accessors(role.uid, after="", limit=0) == []


async def test_failures_of_two_workers_add_up_and_none_is_lost(node: Node, barrier: Barrier) -> None:
    other = await second(node)
    workers = [Lockouts(worker.storage, node.clock) for worker in (barrier, other)]
    who = LoginName(namespace="root", mount="userpass_1", name="bob")
    locked = await asyncio.gather(*(workers[i % 2].note_failure(who, DEFAULT_RULES) for i in range(5)))
    assert sorted(locked) == [False, False, False, False, True]
    for worker, lockouts in zip((barrier, other), workers, strict=True):
        worker.storage.sync()
        assert await lockouts.is_locked(who)


async def test_a_destroyed_secret_id_is_refused_by_the_other_worker_at_once(node: Node, barrier: Barrier) -> None:
    other = await second(node)
    one, two = engine(barrier, node), engine(other, node)
    await one.put_role("web", RoleBody(role_id="web"))
    for _ in range(20):
        secret_id, _ = await one.add_secret_id("web", SecretIdBody())
        other.storage.sync()
        await two.login("web", secret_id, address="")
        role = await one.known_role("web")
        found = await one.find_secret_id(role, secret_id)
        assert found is not None
        await one.destroy_secret_id(role, found[1])
        other.storage.sync()
        try:
            await two.login("web", secret_id, address="")
        except LoginFailedError:
            continue
        raise AssertionError("a destroyed secret id was accepted")


async def test_the_first_roles_of_two_workers_are_hashed_under_one_key(node: Node, barrier: Barrier) -> None:
    other = await second(node)
    one, two = engine(barrier, node), engine(other, node)
    names = [f"role-{i}" for i in range(6)]
    await asyncio.gather(*((one, two)[i % 2].put_role(name, RoleBody(role_id=name)) for i, name in enumerate(names)))
    barrier.storage.sync()
    for name in names:
        secret_id, _ = await one.add_secret_id(name, SecretIdBody())
        assert (await one.login(name, secret_id, address="")).metadata == {"role_name": name}


async def test_of_two_workers_that_choose_one_role_id_one_gets_it(node: Node, barrier: Barrier) -> None:
    other = await second(node)
    one, two = engine(barrier, node), engine(other, node)
    wanted = RoleBody(role_id="the-one")
    answers = await asyncio.gather(one.put_role("a", wanted), two.put_role("b", wanted), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["InvalidRequestError", "list"]
