"""Stored policies: text byte for byte, access lists true in every worker from the acknowledgement on."""

import subprocess
import sys

import pytest

from appliance.access.acl import ROOT_ACL
from appliance.access.default_policy import DEFAULT_TEXT
from appliance.access.policies import PolicyStore
from core.errors import InvalidRequestError

READ_A = 'path "a" { capabilities = ["read"] }'


async def test_text_comes_back_byte_for_byte(access):
    text = '# ü\r\n\tpath   "a"{capabilities=["read"]}\n\n'
    await access.policies.put("P1", text)
    policy = await access.policies.get("p1")
    assert (policy.name, policy.text, policy.version) == ("p1", text, 1)
    assert await access.policies.put("p1", READ_A) == await access.policies.get("P1")
    assert (await access.policies.get("p1")).version == 2


async def test_names_are_sorted_with_the_implied_root(access):
    await access.policies.put("zebra", READ_A)
    assert await access.policies.names() == ["default", "root", "zebra"]


async def test_a_new_appliance_has_the_default_policy(access):
    assert (await access.policies.get("default")).text == DEFAULT_TEXT
    acl = await access.policies.acl(("default",))
    assert acl.allows("auth/token/lookup-self", "read")
    assert acl.allows("cubbyhole/x/y", "delete")
    assert not acl.allows("auth/token/create", "update")
    assert not acl.allows("sys/mounts", "read")


@pytest.mark.parametrize("name", ["root", "ROOT", " root "])
async def test_root_is_not_written_or_deleted(access, name):
    with pytest.raises(InvalidRequestError, match='"root"'):
        await access.policies.put(name, READ_A)
    with pytest.raises(InvalidRequestError, match='"root"'):
        await access.policies.delete(name)


async def test_default_can_be_written_but_not_deleted(access):
    await access.policies.put("default", READ_A)
    with pytest.raises(InvalidRequestError, match="cannot be deleted"):
        await access.policies.delete("default")
    assert (await access.policies.get("default")).text == READ_A


async def test_deleting_says_whether_there_was_one(access):
    await access.policies.put("p1", READ_A)
    assert await access.policies.delete("P1") is True
    assert await access.policies.delete("p1") is False
    assert await access.policies.get("p1") is None


@pytest.mark.parametrize("name", ["absent", "../default", "a/b", ""])
async def test_what_is_not_there_is_none(access, name):
    assert await access.policies.get(name) is None


async def test_a_refused_text_leaves_the_former_one(access):
    await access.policies.put("p1", READ_A)
    for wrong in ("", "path {", 'path "a" { capabilities = ["root"] }'):
        with pytest.raises(InvalidRequestError):
            await access.policies.put("p1", wrong)
    assert (await access.policies.get("p1")).text == READ_A


async def test_a_list_is_in_memory_after_its_first_use(access):
    await access.policies.put("p1", READ_A)
    assert access.policies.peek_acl(("default", "p1")) is None
    acl = await access.policies.acl(("default", "p1"))
    assert access.policies.peek_acl(("default", "p1")) is acl
    assert access.policies.peek_acl(("p1",)) is None
    access.policies.forget()
    assert access.policies.peek_acl(("default", "p1")) is None


async def test_a_narrowed_policy_holds_in_every_worker_at_once(access):
    other = PolicyStore(access.storage)
    await access.policies.put("p1", READ_A)
    for store in (access.policies, other):
        assert (await store.acl(("p1",))).allows("a", "read")
    await access.policies.put("p1", 'path "a" { capabilities = ["deny"] }')
    for store in (access.policies, other):
        assert store.peek_acl(("p1",)) is None
        assert not (await store.acl(("p1",))).allows("a", "read")


async def test_a_list_with_an_absent_policy_is_kept_until_that_is_written(access):
    acl = await access.policies.acl(("default", "later"))
    assert access.policies.peek_acl(("default", "later")) is acl
    assert not acl.allows("a", "read")
    await access.policies.put("later", READ_A)
    assert access.policies.peek_acl(("default", "later")) is None
    assert (await access.policies.acl(("default", "later"))).allows("a", "read")
    await access.policies.delete("later")
    assert not (await access.policies.acl(("default", "later"))).allows("a", "read")


async def test_a_policy_written_while_a_list_is_built_makes_it_stale(access, monkeypatch):
    await access.policies.put("p1", READ_A)
    get = access.policies.get

    async def slow_get(name):
        policy = await get(name)
        await PolicyStore(access.storage).put("p1", 'path "b" { capabilities = ["read"] }')
        return policy

    monkeypatch.setattr(access.policies, "get", slow_get)
    assert (await access.policies.acl(("p1",))).allows("a", "read")
    assert access.policies.peek_acl(("p1",)) is None


async def test_root_needs_no_store(access):
    assert access.policies.peek_acl(("root",)) is ROOT_ACL
    assert await access.policies.acl(("root",)) is ROOT_ACL


async def test_lists_in_memory_are_bounded(access):
    for i in range(1100):
        await access.policies.acl((f"p{i}",))
    assert len(access.policies._acls) <= 512


def test_starting_and_initialising_build_no_grammar():
    """The grammar of python-hcl2 takes a second: nothing but writing a policy may import it."""
    program = "import sys, appliance.access.token_routes; assert not {'hcl2', 'lark'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
