"""Two workers on one database of each engine: one entity for one login, one answer for one wrapping token."""

import asyncio

import pytest

from appliance.access.cubbyhole import cubbyhole_attachment
from appliance.access.tokens import TokenStore, bootstrap_tokens
from appliance.access.wrapping import Wrapping
from appliance.identity.groups import GroupChange, write_group
from appliance.identity.store import IdentityStore
from barrier.seal import Barrier
from core.errors import InvalidRequestError
from core.requests import LoginAlias
from tests.barrier.nodes import QUORUM, Node

WORKERS = 3


@pytest.fixture
async def workers(node: Node) -> list[Barrier]:
    first = await node.worker()

    async def bootstrap(txn):
        await bootstrap_tokens(txn, node.clock)

    await first.initialize(QUORUM, bootstrap)
    others = [await node.worker() for _ in range(WORKERS - 1)]
    for worker in others:
        await worker.refresh()
    return [first, *others]


def log_in(store: IdentityStore, name: str):
    return store.resolve_login(
        namespace="root", mount_accessor="auth_x_1", mount_path="auth/x/", alias=LoginAlias(name=name), group_aliases=()
    )


async def test_logins_at_once_make_one_entity(workers, node):
    stores = [IdentityStore(worker.storage, node.clock) for worker in workers]
    views = await asyncio.gather(*(log_in(store, name) for store in stores for name in ("bob", "BOB", "Bob")))
    assert len({view.id for view in views}) == 1
    assert [entity.name async for entity in stores[0].entities("root")] == [views[0].name]


async def test_a_change_reaches_the_views_of_every_worker(workers, node):
    stores = [IdentityStore(worker.storage, node.clock) for worker in workers]
    view = await log_in(stores[0], "bob")
    for worker, store in zip(workers, stores, strict=True):
        worker.storage.sync()
        assert (await store.view(view.id)).policies == ()
        assert store.peek(view.id) is not None
    change = GroupChange(name="ops", policies=["p"], member_entity_ids=[view.id])
    await stores[1].change("root", lambda ledger: write_group(ledger, change, former=None))
    for worker, store in zip(workers, stores, strict=True):
        worker.storage.sync()
        assert store.peek(view.id) is None
        assert (await store.view(view.id)).policies == ("p",)
        assert store.peek(view.id).policies == ("p",)


@pytest.mark.parametrize("second", ["unwrap", "rewrap"])
async def test_of_many_that_unwrap_at_once_one_gets_the_answer(workers, node, second):
    parts = []
    for worker in workers:
        tokens = TokenStore(worker.storage, node.clock, attachments=[cubbyhole_attachment])
        await tokens.open()
        parts.append(Wrapping(worker.storage, node.clock, tokens))
    for _ in range(3):
        info = await parts[0].wrap(b'{"data":{}}', ttl=60, creation_path="x", namespace="root")
        attempts = [part.unwrap(info.token) for part in parts]
        attempts += [getattr(part, second)(info.token) for part in parts]
        results = await asyncio.gather(*attempts, return_exceptions=True)
        refused = [result for result in results if isinstance(result, InvalidRequestError)]
        assert len(refused) == len(results) - 1, results
