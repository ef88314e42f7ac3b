"""What a login does to identity: one entity for each alias, groups in step, nothing written when nothing changes."""

import pytest

from core.errors import InvalidRequestError
from core.requests import LoginAlias, Operation


async def test_a_first_login_makes_entity_and_alias_and_a_second_writes_nothing(world):
    first = await world.log_in("bob", metadata={"dept": "a"})
    assert [(held.name, held.metadata) for held in first.aliases] == [("bob", {"dept": "a"})]
    commits = world.storage._state.commits
    assert await world.log_in("BOB", metadata={"dept": "a"}) == first
    assert world.storage._state.commits == commits


async def test_a_login_that_was_recognised_follows_every_change(world):
    """The third of the same kind is answered from memory; what came in between is not forgotten."""
    await world.external("a", "A", policies=["pa"])
    for _ in range(3):
        first = await world.log_in("bob", metadata={"dept": "a"})
    assert (await world.log_in("bob", metadata={"dept": "b"})).aliases[0].metadata == {"dept": "b"}
    assert (await world.log_in("bob", metadata={"dept": "a"})).aliases[0].metadata == {"dept": "a"}
    assert (await world.log_in("bob", "a", metadata={"dept": "a"})).policies == ("pa",)
    assert (await world.log_in("bob", metadata={"dept": "a"})).policies == ()
    await world.call(f"entity/id/{first.id}", disabled=True)
    assert (await world.log_in("bob", metadata={"dept": "a"})).disabled
    await world.call(f"entity/id/{first.id}", Operation.DELETE)
    assert (await world.log_in("bob", metadata={"dept": "a"})).id != first.id


async def test_metadata_follows_the_login_and_leaves_custom_metadata(world):
    first = await world.log_in("bob", metadata={"dept": "a"})
    await world.call(f"entity-alias/id/{first.aliases[0].id}", custom_metadata={"c": "d"})
    later = await world.log_in("bob", metadata={"dept": "b"})
    assert later.id == first.id
    assert [(held.metadata, held.custom_metadata) for held in later.aliases] == [({"dept": "b"}, {"c": "d"})]


async def test_the_same_name_at_another_mount_or_namespace_is_somebody_else(world, team):
    views = [
        await world.log_in("bob"),
        await world.log_in("bob", accessor="auth_userpass_1"),
        await world.log_in("bob", accessor="auth_userpass_t", namespace=team.id),
    ]
    assert len({view.id for view in views}) == 3
    assert views[2].namespace == team.id
    assert world.store.peek(views[2].id) == views[2]


async def test_external_groups_are_joined_and_left_at_login(world):
    a = await world.external("a", "A", policies=["pa"])
    await world.external("b", "b", policies=["pb"])
    assert (await world.log_in("bob", "a", "unknown")).policies == ("pa",)
    assert (await world.log_in("bob", "A", "B")).policies == ("pa", "pb")
    commits = world.storage._state.commits
    assert (await world.log_in("bob", "b", "a", "a")).policies == ("pa", "pb")
    assert world.storage._state.commits == commits
    assert (await world.log_in("bob")).policies == ()
    assert (await world.read(f"group/id/{a}"))["member_entity_ids"] is None


async def test_a_login_touches_neither_internal_groups_nor_those_of_other_mounts(world):
    view = await world.log_in("bob")
    await world.call("entity-alias", name="bob", mount_accessor="auth_userpass_1", canonical_id=view.id)
    await world.group("in", policies=["internal"], member_entity_ids=[view.id])
    await world.external("ldap", "g", policies=["ldap"])
    await world.external("up", "g", accessor="auth_userpass_1", policies=["up"])
    await world.log_in("bob", "g")
    both = await world.log_in("bob", "g", accessor="auth_userpass_1")
    assert both.policies == ("internal", "ldap", "up")
    assert (await world.log_in("bob")).policies == ("internal", "up")


async def test_a_login_cannot_name_an_internal_group(world):
    await world.group("admins", policies=["admin"])
    assert (await world.log_in("bob", "admins")).policies == ()


@pytest.mark.parametrize(
    ("name", "metadata", "groups", "says"),
    [
        ("", None, (), "1 to 512 bytes"),
        ("a\nb", None, (), "control characters"),
        ("n" * 513, None, (), "1 to 512 bytes"),
        ("bob", {"k": "v" * 70_000}, (), "at most 65536 characters"),
        ("bob", None, tuple(map(str, range(1001))), "at most 1000 groups"),
    ],
)
async def test_logins_that_cannot_be_kept(world, name, metadata, groups, says):
    with pytest.raises(InvalidRequestError, match=f"auth/x/ gave what cannot be kept: .*{says}"):
        await world.log_in(name, *groups, metadata=metadata)
    assert not world.storage._state.entries


async def test_an_accessor_cannot_lead_elsewhere(world):
    with pytest.raises(InvalidRequestError, match="accessor"):
        await world.store.resolve_login(
            namespace="root", mount_accessor="a/../b", mount_path="m", alias=LoginAlias(name="x"), group_aliases=()
        )


async def test_a_disabled_entity_says_so(world):
    view = await world.log_in("bob")
    assert view.disabled is False
    await world.call(f"entity/id/{view.id}", disabled=True)
    assert world.store.peek(view.id) is None
    assert (await world.store.view(view.id)).disabled is True


async def test_a_mount_that_is_gone_takes_its_aliases_and_memberships_along(world):
    await world.external("admins", "admins", policies=["admin"])
    views = [await world.log_in(f"user{number}", "admins") for number in range(120)]
    other = await world.log_in("bob", accessor="auth_userpass_1")
    await world.store.forget_mount("root", "auth_ldap_2")
    for view in views[:3] + views[-3:]:
        left = await world.store.view(view.id)
        assert (left.aliases, left.policies) == ((), ())
    assert (await world.store.view(other.id)).aliases == other.aliases
    assert not [path for path in world.storage._state.entries if "auth_ldap_2" in path]
    assert len((await world.call("entity-alias/id", Operation.LIST)).data["keys"]) == 1
    await world.store.forget_mount("root", "auth_ldap_2")


@pytest.mark.parametrize("entity_id", ["", "nope", "../policy/default", "x" * 5000])
async def test_what_is_no_id_is_nobody(world, entity_id):
    assert world.store.peek(entity_id) is None
    assert await world.store.view(entity_id) is None


async def test_views_are_forgotten_at_seal(world):
    view = await world.log_in("bob")
    world.store.forget()
    assert world.store.peek(view.id) is None
