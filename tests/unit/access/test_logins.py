"""A login becomes a token: policies, lifetime, type, entity and what its owner is told."""

from dataclasses import dataclass
from typing import Any

import pytest

from appliance.access.logins import (
    Logins,
    clipped_login,
    display_name,
    login_policies,
    resolved_type,
)
from appliance.access.subject import EntityView
from appliance.access.tokens import TokenStore, bootstrap_tokens
from appliance.namespaces import ROOT, Namespace
from core.errors import InvalidRequestError, PermissionDeniedError
from core.requests import AuthGrant, Login, LoginAlias
from tests.support.clock import SettableClock
from tests.support.memory_storage import MemoryStorage, memory_storage

HOUR = 3600
SYSTEM = 2764800


@dataclass(frozen=True, kw_only=True)
class Mount:
    uuid: str = "u-1"
    accessor: str = "userpass_1"
    path: str = "auth/userpass/"
    default_lease_ttl: int = 0
    max_lease_ttl: int = 0
    token_type: str = ""


class Identities:
    """Stands for the identity store: one entity, and what was asked of it."""

    def __init__(self) -> None:
        self.entity = EntityView(id="e-1", name="bob", policies=("from-entity",))
        self.asked: dict[str, Any] = {}

    async def resolve_login(self, **asked: Any) -> EntityView:
        self.asked = asked
        return self.entity


class Rig:
    def __init__(self, storage: MemoryStorage, tokens: TokenStore) -> None:
        self.storage = storage
        self.tokens = tokens
        self.identities = Identities()
        self.logins = Logins(tokens, self.identities)

    async def grant(
        self, mount: Mount | None = None, namespace: Namespace = ROOT, name: str = "bob", **fields: Any
    ) -> AuthGrant:
        login = Login(display_name=name, **({"alias": LoginAlias(name=name)} | fields))
        path = "auth/userpass/login/bob"
        return await self.logins.grant(login, mount=mount or Mount(), namespace=namespace, path=path)


@pytest.fixture
async def rig() -> Rig:
    storage, clock = memory_storage(), SettableClock()
    await storage.transact(lambda txn: bootstrap_tokens(txn, clock))
    tokens = TokenStore(storage, clock)
    await tokens.open()
    return Rig(storage, tokens)


async def test_a_login_gives_a_token_that_says_who_came_by_which_way(rig: Rig) -> None:
    grant = await rig.grant(policies=("ops",), metadata={"username": "bob"}, renewal={"username": "bob"})
    entry = await rig.tokens.find(grant.client_token)
    assert entry is not None
    assert (entry.display_name, entry.path, entry.mount) == ("userpass-bob", "auth/userpass/login/bob", "u-1")
    assert (entry.policies, entry.metadata, entry.entity_id) == (("default", "ops"), {"username": "bob"}, "e-1")
    assert (entry.renewal, entry.orphan, entry.namespace) == ({"username": "bob"}, True, "root")
    assert grant.policies == ["default", "from-entity", "ops"]
    assert (grant.token_policies, grant.identity_policies) == (["default", "ops"], ["from-entity"])
    assert (grant.renewable, grant.token_type, grant.orphan) == (True, "service", True)


async def test_the_identity_store_learns_mount_alias_and_groups(rig: Rig) -> None:
    alias = LoginAlias(name="bob")
    namespace = Namespace(id="a1B2c3", path="team-a/")
    grant = await rig.grant(namespace=namespace, alias=alias, group_aliases=("ops",))
    assert rig.identities.asked == {
        "namespace": "a1B2c3",
        "mount_accessor": "userpass_1",
        "mount_path": "auth/userpass/",
        "alias": alias,
        "group_aliases": ("ops",),
    }
    entry = await rig.tokens.find(grant.client_token)
    assert entry is not None
    assert entry.namespace == "a1B2c3"


async def test_without_an_alias_nobody_stands_behind_the_token(rig: Rig) -> None:
    grant = await rig.grant(alias=None)
    assert (grant.entity_id, rig.identities.asked) == ("", {})


async def test_a_disabled_entity_gets_nothing(rig: Rig) -> None:
    rig.identities.entity = EntityView(id="e-1", name="bob", disabled=True)
    before = rig.storage._state.commits
    with pytest.raises(PermissionDeniedError):
        await rig.grant()
    assert rig.storage._state.commits == before


@pytest.mark.parametrize("name", ["root", " Root ", "ROOT"])
async def test_no_login_gives_root(rig: Rig, name: str) -> None:
    before = rig.storage._state.commits
    with pytest.raises(InvalidRequestError, match="auth methods cannot create root tokens"):
        await rig.grant(policies=("ops", name))
    assert rig.storage._state.commits == before


def test_policies_are_sorted_and_lower_case_with_default_unless_unwanted() -> None:
    assert login_policies((" B", "a", "", "a"), without_default=False) == ("a", "b", "default")
    assert login_policies(("b",), without_default=True) == ("b",)
    assert login_policies((), without_default=True) == ()


@pytest.mark.parametrize(
    ("mount", "login", "seconds"),
    [
        ({}, {}, SYSTEM),
        ({"default_lease_ttl": HOUR}, {}, HOUR),
        ({"default_lease_ttl": HOUR}, {"ttl": 60}, 60),
        ({"max_lease_ttl": HOUR}, {}, HOUR),
        ({"max_lease_ttl": HOUR}, {"ttl": 2 * HOUR}, HOUR),
        ({"max_lease_ttl": HOUR}, {"ttl": 2 * HOUR, "max_ttl": 3 * HOUR}, HOUR),
        ({}, {"max_ttl": 60}, 60),
        ({}, {"explicit_max_ttl": 60}, 60),
        ({}, {"ttl": 90, "explicit_max_ttl": 60}, 60),
        ({}, {"period": 300, "ttl": 10}, 300),
        ({"max_lease_ttl": HOUR}, {"period": 2 * HOUR}, HOUR),
    ],
)
async def test_a_token_lives_as_long_as_login_and_mount_allow(
    rig: Rig, mount: dict[str, int], login: dict[str, int], seconds: int
) -> None:
    assert (await rig.grant(Mount(**mount), **login)).lease_duration == seconds


TYPES = [
    ("", "default", "service"),
    ("", "batch", "batch"),
    ("default-service", "default", "service"),
    ("default-service", "batch", "batch"),
    ("default-service", "default-batch", "batch"),
    ("default-batch", "default", "batch"),
    ("default-batch", "service", "service"),
    ("default-batch", "batch", "batch"),
    ("service", "batch", "service"),
    ("service", "default", "service"),
    ("batch", "service", "batch"),
    ("batch", "default", "batch"),
]


@pytest.mark.parametrize(("mount", "login", "found"), TYPES)
def test_mount_and_role_settle_the_type(mount: str, login: str, found: str) -> None:
    assert resolved_type(login, mount) == found


async def test_a_batch_token_is_made_without_a_write(rig: Rig) -> None:
    await rig.grant(Mount(token_type="batch"))  # the first may make the key
    before = rig.storage._state.commits
    grant = await rig.grant(
        Mount(token_type="batch"), policies=("ops",), bound_cidrs=("10.0.0.0/8",), renewal={"a": "b"}
    )
    assert rig.storage._state.commits == before
    assert (grant.token_type, grant.renewable, grant.accessor) == ("batch", False, "")
    assert grant.token_policies == ["default", "ops"]
    entry = await rig.tokens.find(grant.client_token)
    assert entry is not None
    assert (entry.entity_id, entry.mount, entry.bound_cidrs, entry.renewal) == ("e-1", "u-1", ("10.0.0.0/8",), {})


@pytest.mark.parametrize(("field", "sentence"), [("period", "token_period"), ("num_uses", "token_num_uses")])
async def test_what_a_batch_token_cannot_be_is_refused(rig: Rig, field: str, sentence: str) -> None:
    with pytest.raises(InvalidRequestError, match=sentence):
        await rig.grant(Mount(token_type="batch"), **{field: 5})


async def test_uses_and_networks_reach_the_token(rig: Rig) -> None:
    grant = await rig.grant(num_uses=3, bound_cidrs=("10.0.0.0/8",))
    entry = await rig.tokens.find(grant.client_token)
    assert entry is not None
    assert (grant.num_uses, entry.num_uses, entry.bound_cidrs) == (3, 3, ("10.0.0.0/8",))


@pytest.mark.parametrize(
    ("path", "name", "shown"),
    [
        ("auth/userpass/", "bob", "userpass-bob"),
        ("auth/team/people/", "bob", "team-people-bob"),
        ("auth/approle/", "", "approle"),
    ],
)
def test_display_names_are_vaults(path: str, name: str, shown: str) -> None:
    assert display_name(path, name) == shown


def test_a_renewal_stays_within_the_mount() -> None:
    login = Login(display_name="", ttl=5 * HOUR, max_ttl=9 * HOUR, period=7 * HOUR)
    clipped = clipped_login(login, Mount(max_lease_ttl=HOUR))
    assert (clipped.ttl, clipped.max_ttl, clipped.period) == (HOUR, HOUR, HOUR)
    assert clipped_login(Login(display_name=""), Mount(default_lease_ttl=60)).ttl == 60
