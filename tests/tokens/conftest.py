"""Tokens on the real store of each engine."""

import pytest

from appliance.access.tokens import TokenStore, bootstrap_tokens
from barrier.seal import Barrier
from tests.barrier.conftest import barrier, node, postgres, postgres_template, shared_database, sqlite_template, url
from tests.barrier.nodes import Node

__all__ = ["barrier", "node", "postgres", "postgres_template", "shared_database", "sqlite_template", "url"]


class Desk:
    """One process's tokens on the store."""

    def __init__(self, node: Node, barrier: Barrier) -> None:
        self.node = node
        self.storage = barrier.storage
        self.tokens = TokenStore(barrier.storage, node.clock)
        self.root_token = ""

    async def count(self) -> int:
        return await self.storage.count_records("token")


@pytest.fixture
async def desk(node, barrier):
    found = Desk(node, barrier)
    found.root_token = await barrier.storage.transact(lambda txn: bootstrap_tokens(txn, node.clock))
    await found.tokens.open()
    return found


@pytest.fixture
async def second(node, desk):
    """Another worker; `sync` is what each request begins with."""
    other = await node.worker()
    await other.unseal_from_hsm()
    found = Desk(node, other)
    await found.tokens.open()
    return found
