"""The whole way of a machine's login: approle, lockouts, identity, token. Known machines write nothing."""

import pytest

from appliance.access.lockouts import DEFAULT_RULES, Lockouts, LoginName
from appliance.access.logins import Logins
from appliance.access.tokens import TokenStore, bootstrap_tokens
from appliance.identity.store import IdentityStore
from appliance.namespaces import ROOT
from core.errors import LoginFailedError
from core.requests import AuthGrant, Login
from tests.support.clock import SettableClock
from tests.support.memory_storage import memory_storage
from tests.unit.access.test_logins import Mount
from tests.unit.auth.login_mount import ApproleMount

MOUNT = Mount(uuid="u", accessor="approle_1", path="auth/approle/", token_type="batch")


class Way:
    def __init__(self) -> None:
        self.storage, self.clock = memory_storage(), SettableClock()
        self.approle = ApproleMount(self.storage, self.clock)
        self.lockouts = Lockouts(self.storage, self.clock)
        self.tokens = TokenStore(self.storage, self.clock)
        self.logins = Logins(self.tokens, IdentityStore(self.storage, self.clock))

    async def login(self, role_id: str, secret_id: str) -> AuthGrant:
        who = LoginName(namespace=ROOT.id, mount=MOUNT.accessor, name=role_id)

        async def attempt() -> Login:
            return await self.approle.login(role_id, secret_id)

        login = await self.lockouts.guard(who, DEFAULT_RULES, attempt)
        return await self.logins.grant(login, mount=MOUNT, namespace=ROOT, path="auth/approle/login")


@pytest.fixture
async def way() -> Way:
    way = Way()
    await way.storage.transact(lambda txn: bootstrap_tokens(txn, way.clock))
    await way.tokens.open()
    return way


async def test_a_known_machine_logs_in_from_memory(way: Way) -> None:
    role_id = await way.approle.role(token_policies="web")
    secret_id = await way.approle.secret_id()
    first = await way.login(role_id, secret_id)
    await way.login(role_id, secret_id)  # what the first one wrote is in no cache yet
    commits = way.storage._state.commits
    way.storage._state.sealed = True  # whatever asks the store now, fails
    again = await way.login(role_id, secret_id)
    way.storage._state.sealed = False
    assert way.storage._state.commits == commits
    assert (again.entity_id, again.token_type, again.token_policies) == (first.entity_id, "batch", ["default", "web"])
    assert again.client_token != first.client_token


async def test_two_secret_ids_of_a_role_are_one_entity_and_do_not_rewrite_it(way: Way) -> None:
    role_id = await way.approle.role()
    one, two = await way.approle.secret_id(metadata="pod=1"), await way.approle.secret_id(metadata="pod=2")
    first = await way.login(role_id, one)
    await way.login(role_id, two)
    commits = way.storage._state.commits
    grants = [await way.login(role_id, secret_id) for secret_id in (one, two, one)]
    assert way.storage._state.commits == commits
    assert {grant.entity_id for grant in grants} == {first.entity_id}
    assert [(grant.metadata or {})["pod"] for grant in grants] == ["1", "2", "1"]


async def test_a_failed_login_makes_no_entity(way: Way) -> None:
    await way.approle.role()
    with pytest.raises(LoginFailedError):
        await way.login("nobody", "wrong")
    assert await way.storage.list("core/identity/") == []
