"""Stored policies: text byte for byte, access lists true in every worker from the acknowledgement on."""

import subprocess
import sys

import msgspec
import pytest

from appliance.access.acl import ROOT_ACL
from appliance.access.default_policy import DEFAULT_TEXT
from appliance.access.policies import PolicyStore, bootstrap_policies
from appliance.access.subject import EntityView, Subject
from core.errors import CasMismatchError, InvalidRequestError

READ_A = 'path "a" { capabilities = ["read"] }'
DENY_A = 'path "a" { capabilities = ["deny"] }'
PATHS = {"aaaaaa": "team-a/", "bbbbbb": "team-b/"}


def of(*names, namespace="root", entity=None):
    return Subject(namespace=namespace, policies=names, entity=entity)


def entity(name="web", **changes):
    return EntityView(**{"id": f"id-{name}", "name": name} | changes)


@pytest.fixture
def policies(access):
    return PolicyStore(access.storage, access.clock, namespace_path=PATHS.get)


@pytest.mark.parametrize(
    "text",
    [
        '# ü\r\n\tpath   "a"{capabilities=["read"]}\n\n',
        READ_A,
        READ_A + "\n",
        "\n\n  " + READ_A + "   \t ",
        READ_A.replace("\n", "\r\n") + "\r\n",
        "# \U0001f511 ☃ \u2028 \u00a0\n" + READ_A,
        '{"path": {"a": {"capabilities": ["read"]}}}',
        '  {"path":\r\n {"a": {"capabilities": ["read"]}}}\n\n',
    ],
)
async def test_text_comes_back_byte_for_byte(policies, text):
    await policies.put("P1", text)
    policy = await policies.get("p1")
    assert (policy.name, policy.text, policy.version) == ("p1", text, 1)
    assert await policies.put("p1", READ_A) == await policies.get("P1")
    assert (await policies.get("p1")).version == 2
    assert (await policies.version("p1", 1)).text == text


async def test_half_a_surrogate_pair_is_refused(policies):
    with pytest.raises(InvalidRequestError, match="Unicode"):
        await policies.put("p1", "# \ud800\n" + READ_A)


async def test_names_are_sorted_with_the_implied_root(policies):
    for name in ("zebra", "team-a", "team-b"):
        await policies.put(name, READ_A)
    assert await policies.names() == ["default", "root", "team-a", "team-b", "zebra"]
    assert await policies.names(prefix="team-") == ["team-a", "team-b"]
    assert await policies.names(after="default", limit=2) == ["root", "team-a"]
    assert await policies.names(limit=-1) == await policies.names()


async def test_a_new_appliance_has_the_default_policy(policies):
    assert (await policies.get("default")).text == DEFAULT_TEXT
    acl = await policies.acl(of("default"))
    assert acl.allows("auth/token/lookup-self", "read")
    assert acl.allows("cubbyhole/x/y", "delete")
    assert not acl.allows("auth/token/create", "update")
    assert not acl.allows("sys/mounts", "read")


@pytest.mark.parametrize("name", ["root", "ROOT", " root ", "response-wrapping"])
async def test_what_is_built_in_is_not_written_or_deleted(policies, name):
    for deed in (policies.put(name, READ_A), policies.delete(name), policies.put(name, READ_A, namespace="aaaaaa")):
        with pytest.raises(InvalidRequestError, match=name.strip().lower()):
            await deed


async def test_default_can_be_written_but_not_deleted(policies):
    await policies.put("default", READ_A)
    with pytest.raises(InvalidRequestError, match="cannot be deleted"):
        await policies.delete("default")
    assert (await policies.get("default")).text == READ_A


async def test_deleting_says_whether_there_was_one(policies):
    await policies.put("p1", READ_A)
    assert await policies.delete("P1") is True
    assert await policies.delete("p1") is False
    assert await policies.get("p1") is None


@pytest.mark.parametrize("name", ["absent", "../default", "a/b", ""])
async def test_what_is_not_there_is_none(policies, name):
    assert await policies.get(name) is None


async def test_a_refused_text_leaves_the_former_one(policies):
    await policies.put("p1", READ_A)
    for wrong in ("", "path {", 'path "a" { capabilities = ["root"] }'):
        with pytest.raises(InvalidRequestError):
            await policies.put("p1", wrong)
    assert (await policies.get("p1")).text == READ_A
    assert len(await policies.versions("p1")) == 1


# --- check and set ------------------------------------------------------------------------------------------------


async def test_cas_is_the_version_in_force(policies):
    await policies.put("p1", READ_A, cas=-1)
    await policies.put("p1", READ_A, cas=1)
    for wrong in (-1, 0, 1, 3):
        with pytest.raises(CasMismatchError):
            await policies.put("p1", READ_A, cas=wrong)
    await policies.put("p2", READ_A, cas=0)
    with pytest.raises(CasMismatchError):
        await policies.put("absent", READ_A, cas=1)


async def test_cas_can_be_demanded_of_this_write_and_the_next(policies):
    with pytest.raises(InvalidRequestError, match="check-and-set"):
        await policies.put("p1", READ_A, cas_required=True)
    await policies.put("p1", READ_A, cas_required=True, cas=0)
    with pytest.raises(InvalidRequestError, match="check-and-set"):
        await policies.put("p1", READ_A)
    await policies.put("p1", READ_A, cas=1)
    await policies.put("p1", READ_A)


# --- namespaces ---------------------------------------------------------------------------------------------------


async def test_policies_of_a_namespace_reach_its_paths_only(policies):
    await policies.put("p1", READ_A, namespace="aaaaaa")
    acl = await policies.acl(of("p1", namespace="aaaaaa"))
    assert acl.allows("team-a/a", "read")
    assert not acl.allows("a", "read")
    assert not acl.allows("team-b/a", "read")
    for other in ("root", "bbbbbb"):
        assert await policies.get("p1", namespace=other) is None
        assert not (await policies.acl(of("p1", namespace=other))).allows("team-a/a", "read")


async def test_a_namespace_has_no_root_policy(policies):
    assert await policies.get("root", namespace="aaaaaa") is None
    assert await policies.names(namespace="aaaaaa") == []
    assert not (await policies.acl(of("root", namespace="aaaaaa"))).allows("team-a/a", "read")


async def test_a_new_namespace_gets_its_own_default_policy(access, policies):
    await access.storage.transact(lambda txn: bootstrap_policies(txn, namespace="aaaaaa", now=5.0))
    assert await policies.names(namespace="aaaaaa") == ["default"]
    assert (await policies.record("default", namespace="aaaaaa")).modified_at == 5.0
    acl = await policies.acl(of("default", namespace="aaaaaa"))
    assert acl.allows("team-a/auth/token/lookup-self", "read")
    assert not acl.allows("auth/token/lookup-self", "read")


async def test_a_deleted_namespace_grants_nothing(access):
    paths = dict(PATHS)
    policies = PolicyStore(access.storage, access.clock, namespace_path=paths.get)
    await policies.put("p1", READ_A, namespace="aaaaaa")
    assert (await policies.acl(of("p1", namespace="aaaaaa"))).allows("team-a/a", "read")
    del paths["aaaaaa"]
    assert policies.peek_acl(of("p1", namespace="aaaaaa")) is None
    assert not (await policies.acl(of("p1", namespace="aaaaaa"))).allows("team-a/a", "read")


# --- entities -----------------------------------------------------------------------------------------------------


async def test_the_entitys_policies_are_of_its_own_namespace(policies):
    await policies.put("p1", READ_A)
    await policies.put("p1", READ_A, namespace="aaaaaa")
    who = of(namespace="aaaaaa", entity=entity(policies=("p1",)))
    acl = await policies.acl(who)
    assert acl.allows("a", "read")
    assert not acl.allows("team-a/a", "read")


async def test_root_among_the_entitys_policies_grants_nothing(policies):
    acl = await policies.acl(of("default", entity=entity(policies=("root",))))
    assert not acl.is_root
    assert not acl.allows("a", "read")


async def test_a_disabled_entity_may_do_nothing(policies):
    await policies.put("p1", READ_A)
    who = of("p1", "root", entity=entity(policies=("p1",), disabled=True))
    assert not (await policies.acl(who)).allows("a", "read")


async def test_plain_lists_are_shared_and_templated_ones_are_not(policies):
    await policies.put("p1", READ_A)
    first, second = [await policies.acl(of("p1", entity=entity(name))) for name in ("web", "db")]
    assert first is second
    await policies.put("own", 'path "users/{{identity.entity.name}}" { capabilities = ["read"] }')
    web, db = (of("own", entity=entity(name)) for name in ("web", "db"))
    assert (await policies.acl(web)).allows("users/web", "read")
    assert not (await policies.acl(db)).allows("users/web", "read")
    assert policies.peek_acl(web) is await policies.acl(web)
    assert not (await policies.acl(of("own"))).allows("users/web", "read")


async def test_a_changed_entity_gets_a_list_of_its_own(policies):
    await policies.put("own", 'path "users/{{identity.entity.metadata.team}}" { capabilities = ["read"] }')
    before, after = (entity(metadata={"team": team}) for team in ("core", "web"))
    assert (await policies.acl(of("own", entity=before))).allows("users/core", "read")
    assert policies.peek_acl(of("own", entity=after)) is None
    acl = await policies.acl(of("own", entity=after))
    assert acl.allows("users/web", "read")
    assert not acl.allows("users/core", "read")
    same = msgspec.structs.replace(after, metadata=dict(after.metadata))
    assert policies.peek_acl(of("own", entity=same)) is acl


# --- expiry -------------------------------------------------------------------------------------------------------


async def test_an_expired_policy_grants_nothing_and_is_still_there(access, policies):
    await policies.put("p1", READ_A, expires_at=access.clock.now() + 60)
    assert (await policies.acl(of("p1"))).allows("a", "read")
    access.clock.advance(60)
    assert policies.peek_acl(of("p1")) is None
    assert not (await policies.acl(of("p1"))).allows("a", "read")
    assert (await policies.get("p1")).expires_at == access.clock.now()


async def test_an_expiry_in_the_past_is_refused(access, policies):
    with pytest.raises(InvalidRequestError, match="past"):
        await policies.put("p1", READ_A, expires_at=access.clock.now())


# --- in memory ----------------------------------------------------------------------------------------------------


async def test_a_list_is_in_memory_after_its_first_use(policies):
    await policies.put("p1", READ_A)
    assert policies.peek_acl(of("default", "p1")) is None
    acl = await policies.acl(of("default", "p1"))
    assert policies.peek_acl(of("default", "p1")) is acl
    assert policies.peek_acl(of("p1")) is None
    policies.forget()
    assert policies.peek_acl(of("default", "p1")) is None


async def test_a_narrowed_policy_holds_in_every_worker_at_once(access, policies):
    other = PolicyStore(access.storage, access.clock)
    await policies.put("p1", READ_A)
    for store in (policies, other):
        assert (await store.acl(of("p1"))).allows("a", "read")
    await policies.put("p1", DENY_A)
    for store in (policies, other):
        assert store.peek_acl(of("p1")) is None
        assert not (await store.acl(of("p1"))).allows("a", "read")


async def test_a_list_with_an_absent_policy_is_kept_until_that_is_written(policies):
    acl = await policies.acl(of("default", "later"))
    assert policies.peek_acl(of("default", "later")) is acl
    assert not acl.allows("a", "read")
    await policies.put("later", READ_A)
    assert policies.peek_acl(of("default", "later")) is None
    assert (await policies.acl(of("default", "later"))).allows("a", "read")
    await policies.delete("later")
    assert not (await policies.acl(of("default", "later"))).allows("a", "read")


async def test_a_policy_written_while_a_list_is_built_makes_it_stale(access, policies, monkeypatch):
    await policies.put("p1", READ_A)
    record = policies.record

    async def slow_record(name, *, namespace):
        found = await record(name, namespace=namespace)
        await PolicyStore(access.storage, access.clock).put("p1", 'path "b" { capabilities = ["read"] }')
        return found

    monkeypatch.setattr(policies, "record", slow_record)
    assert (await policies.acl(of("p1"))).allows("a", "read")
    assert policies.peek_acl(of("p1")) is None


async def test_root_needs_no_store(policies):
    assert policies.peek_acl(of("root")) is ROOT_ACL
    assert await policies.acl(of("root")) is ROOT_ACL


async def test_lists_in_memory_are_bounded(policies):
    for i in range(1100):
        await policies.acl(of(f"p{i}"))
    assert len(policies._lists._shared) <= 512


async def test_the_built_in_policy_of_wrapping_tokens(policies):
    acl = await policies.acl(of("response-wrapping"))
    assert acl.allows("cubbyhole/response", "read")
    assert acl.allows("sys/wrapping/unwrap", "update")
    assert not acl.allows("cubbyhole/other", "read")
    assert "response-wrapping" not in await policies.names()


def test_starting_and_initialising_build_no_grammar():
    """The grammar of python-hcl2 takes a second: nothing but writing a policy may import it."""
    program = (
        "import sys, appliance.access.token_routes, appliance.system.policies_tools, appliance.system.policies_history;"
        "assert not {'hcl2', 'lark'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
