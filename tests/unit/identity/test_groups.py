"""identity/group: members, cycles, external groups; and what policies follow."""

import pytest

from core.errors import InvalidRequestError, NotFoundError
from core.requests import NO_CONTENT, Operation

NOBODY = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


async def policies(world, entity_id):
    return (await world.store.view(entity_id)).policies


async def test_a_new_group_is_answered_and_an_old_one_is_changed_silently(world):
    made = (await world.call("group", name="Ops", policies="p")).data
    assert made.keys() == {"id", "name"}
    assert await world.call("group/name/ops", metadata={"a": "b"}) is NO_CONTENT
    shown = await world.read(f"group/id/{made['id']}")
    assert (shown["name"], shown["type"], shown["policies"], shown["metadata"]) == (
        "ops",
        "internal",
        ["p"],
        {"a": "b"},
    )
    assert (shown["alias"], shown["modify_index"]) == ({}, 2)


async def test_unset_lists_are_null(world):
    shown = await world.read(f"group/id/{await world.group('ops')}")
    for name in ("member_entity_ids", "member_group_ids", "parent_group_ids", "policies", "metadata"):
        assert shown[name] is None


async def test_policies_follow_from_groups_at_every_depth(world):
    entity_id = await world.entity("bob", policies=["own"])
    inner = await world.group("inner", policies=["in"], member_entity_ids=[entity_id])
    middle = await world.group("middle", policies=["mid"], member_group_ids=[inner])
    outer = await world.group("outer", policies=["out", "own"], member_group_ids=[middle])
    assert await policies(world, entity_id) == ("in", "mid", "out", "own")
    shown = await world.read(f"entity/id/{entity_id}")
    assert shown["direct_group_ids"] == [inner]
    assert set(shown["inherited_group_ids"]) == {middle, outer}
    assert (await world.read(f"group/id/{middle}"))["parent_group_ids"] == [outer]


async def test_each_change_of_a_group_changes_the_view(world):
    entity_id = await world.entity("bob")
    inner = await world.group("inner", member_entity_ids=[entity_id])
    outer = await world.group("outer", policies=["out"])
    assert await policies(world, entity_id) == ()
    await world.call(f"group/id/{outer}", member_group_ids=[inner])
    assert await policies(world, entity_id) == ("out",)
    await world.call(f"group/id/{outer}", policies=["new"])
    assert await policies(world, entity_id) == ("new",)
    await world.call(f"group/id/{outer}", member_group_ids=[])
    assert await policies(world, entity_id) == ()
    await world.call(f"group/id/{inner}", policies=["in"])
    assert await policies(world, entity_id) == ("in",)
    await world.call(f"group/id/{inner}", member_entity_ids=[])
    assert await policies(world, entity_id) == ()


async def test_another_worker_sees_a_change_at_once(world):
    entity_id = await world.entity("bob")
    group_id = await world.group("ops", member_entity_ids=[entity_id])
    other = world.worker()
    assert (await other.store.view(entity_id)).policies == ()
    assert other.store.peek(entity_id) is not None
    await world.call(f"group/id/{group_id}", policies=["p"])
    assert other.store.peek(entity_id) is None
    assert (await other.store.view(entity_id)).policies == ("p",)


async def test_a_deleted_group_is_forgotten_by_its_neighbours(world):
    entity_id = await world.entity("bob")
    inner = await world.group("inner", policies=["in"], member_entity_ids=[entity_id])
    middle = await world.group("middle", policies=["mid"], member_group_ids=[inner])
    outer = await world.group("outer", policies=["out"], member_group_ids=[middle])
    await world.call(f"group/id/{middle}", Operation.DELETE)
    assert await policies(world, entity_id) == ("in",)
    assert (await world.read(f"group/id/{outer}"))["member_group_ids"] is None
    assert (await world.read(f"group/id/{inner}"))["parent_group_ids"] is None
    await world.call("group/name/inner", Operation.DELETE)
    assert await policies(world, entity_id) == ()


@pytest.mark.parametrize("depth", [0, 1, 2])
async def test_a_cycle_is_refused(world, depth):
    chain = [await world.group("g0")]
    for number in range(1, depth + 1):
        chain.append(await world.group(f"g{number}", member_group_ids=[chain[-1]]))
    with pytest.raises(InvalidRequestError, match=f"cyclic relationship detected for member group ID.*{chain[-1]}"):
        await world.call(f"group/id/{chain[0]}", member_group_ids=[chain[-1]])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"policies": ["Root"]}, "policies cannot contain root"),
        ({"type": "odd"}, "internal"),
        ({"name": "a\rb"}, "control characters"),
        ({"metadata": {"k": "\x7f"}}, "control characters"),
        ({"member_entity_ids": [NOBODY]}, "invalid entity ID"),
        ({"member_entity_ids": ["../x"]}, "invalid entity ID"),
        ({"member_group_ids": [NOBODY]}, "invalid group ID"),
        ({"id": NOBODY}, "invalid group ID"),
        ({"type": "external", "member_entity_ids": [NOBODY]}, "can't be set manually for external groups"),
        ({"type": "external", "member_group_ids": [NOBODY]}, "can't be set for external groups"),
        ({"member_entity_ids": [str(n) for n in range(2001)]}, "at most 2000 members"),
        ({"member_group_ids": [str(n) for n in range(1001)]}, "at most 1000 groups"),
    ],
)
async def test_refused_groups(world, data, says):
    with pytest.raises(InvalidRequestError, match=says):
        await world.call("group", **{"name": "g"} | data)
    with pytest.raises(NotFoundError):
        await world.call("group/id", Operation.LIST)


async def test_the_type_cannot_be_changed(world):
    group_id = await world.group("g")
    with pytest.raises(InvalidRequestError, match=r"^group type cannot be changed$"):
        await world.call(f"group/id/{group_id}", type="external")


async def test_a_name_in_use_is_refused(world):
    await world.group("a")
    other = await world.group("b")
    with pytest.raises(InvalidRequestError, match=r"^group name is already in use$"):
        await world.call(f"group/id/{other}", name="A")


async def test_lists_count_members(world):
    entity_id = await world.entity("bob")
    group_id = await world.group("ops", member_entity_ids=[entity_id])
    listed = (await world.call("group/id", Operation.LIST)).data
    assert listed["key_info"] == {group_id: {"name": "ops", "num_member_entities": 1, "num_parent_groups": 0}}
    assert (await world.call("group/name", Operation.LIST)).data == {"keys": ["ops"]}


async def test_lookup_of_groups(world):
    group_id = await world.external("ops", "cn=ops")
    alias_id = (await world.read(f"group/id/{group_id}"))["alias"]["id"]
    for data in (
        {"id": group_id}, {"name": "OPS"}, {"alias_id": alias_id},
        {"alias_name": "CN=ops", "alias_mount_accessor": "auth_ldap_2"},
    ):  # fmt: skip
        assert (await world.call("lookup/group", **data)).data["id"] == group_id
    assert await world.call("lookup/group", name="nope") is NO_CONTENT


# --- external groups ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"name": "x"}, "canonical_id must be"),
        ({"name": "x", "mount_accessor": "auth_ldap_2", "canonical_id": NOBODY}, "canonical_id must be"),
        ({"name": "x", "mount_accessor": "auth_nope_2"}, "invalid mount accessor"),
        ({"id": "nope", "name": "x"}, "invalid group alias ID"),
    ],
)
async def test_refused_group_aliases(world, data, says):
    with pytest.raises(InvalidRequestError, match=says):
        await world.call("group-alias", **data)


async def test_an_internal_group_has_no_alias(world):
    group_id = await world.group("g")
    with pytest.raises(InvalidRequestError, match="internal"):
        await world.call("group-alias", name="x", mount_accessor="auth_ldap_2", canonical_id=group_id)


async def test_two_groups_cannot_have_the_same_alias(world):
    await world.external("a", "x")
    other = await world.group("b", type="external")
    with pytest.raises(InvalidRequestError, match="already in use"):
        await world.call("group-alias", name="X", mount_accessor="auth_ldap_2", canonical_id=other)


@pytest.mark.parametrize("change", ["rename", "delete", "move"])
async def test_members_end_with_the_alias_that_vouched_for_them(world, change):
    group_id = await world.external("admins", "admins", policies=["admin"])
    view = await world.log_in("bob", "admins")
    assert view.policies == ("admin",)
    alias_id = (await world.read(f"group/id/{group_id}"))["alias"]["id"]
    if change == "rename":
        await world.call(f"group-alias/id/{alias_id}", name="others")
    elif change == "delete":
        await world.call(f"group-alias/id/{alias_id}", Operation.DELETE)
    else:
        other = await world.group("other", type="external", policies=["other"])
        await world.call(f"group-alias/id/{alias_id}", canonical_id=other)
    assert await policies(world, view.id) == ()
    assert (await world.read(f"group/id/{group_id}"))["member_entity_ids"] is None
    assert (await world.read(f"entity/id/{view.id}"))["group_ids"] == []


async def test_group_aliases_are_read_and_listed(world):
    group_id = await world.external("admins", "admins")
    listed = (await world.call("group-alias/id", Operation.LIST)).data
    (alias_id,) = listed["keys"]
    assert listed["key_info"][alias_id]["canonical_id"] == group_id
    assert (await world.read(f"group-alias/id/{alias_id}"))["mount_path"] == "auth/ldap/"


async def test_the_same_alias_again_ends_no_membership(world):
    group_id = await world.external("admins", "admins", policies=["admin"])
    view = await world.log_in("bob", "admins")
    await world.call("group-alias", name="admins", mount_accessor="auth_ldap_2", canonical_id=group_id)
    assert await policies(world, view.id) == ("admin",)
    assert (await world.read(f"group/id/{group_id}"))["member_entity_ids"] == [view.id]


async def test_a_membership_is_not_revived_by_a_later_alias(world):
    group_id = await world.external("admins", "admins", policies=["admin"])
    view = await world.log_in("bob", "admins")
    alias_id = (await world.read(f"group/id/{group_id}"))["alias"]["id"]
    await world.call(f"group-alias/id/{alias_id}", Operation.DELETE)
    await world.call("group-alias", name="admins", mount_accessor="auth_ldap_2", canonical_id=group_id)
    assert await policies(world, view.id) == ()
    assert (await world.log_in("bob", "admins")).policies == ("admin",)
