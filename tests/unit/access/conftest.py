"""A store with a root token in it, as after sys/init and unseal."""

from dataclasses import dataclass

import pytest

from appliance.access.policies import PolicyStore, bootstrap_policies
from appliance.access.tokens import TokenSpec, TokenStore, bootstrap_tokens
from tests.support.clock import SettableClock
from tests.support.memory_storage import MemoryStorage, memory_storage


@dataclass
class Access:
    storage: MemoryStorage
    clock: SettableClock
    tokens: TokenStore
    policies: PolicyStore
    root_token: str

    async def root(self):
        return await self.tokens.authenticate(self.root_token)

    async def child(self, parent=None, *, orphan=False, **changes):
        """(token, entry) below `parent`, by default the root token."""
        spec = TokenSpec(**{"policies": ("default",), "path": "auth/token/create"} | changes)
        return await self.tokens.create(spec, parent=parent or await self.root(), orphan=orphan)

    def worker(self):
        """What another process of the appliance has on the same store."""
        return TokenStore(self.storage, self.clock)


@pytest.fixture
async def access():
    storage, clock = memory_storage(), SettableClock()

    async def bootstrap(txn):
        await bootstrap_policies(txn)
        return await bootstrap_tokens(txn, clock)

    root_token = await storage.transact(bootstrap)
    tokens = TokenStore(storage, clock)
    await tokens.open()
    return Access(storage, clock, tokens, PolicyStore(storage, clock), root_token)
