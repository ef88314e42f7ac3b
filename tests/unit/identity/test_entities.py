"""identity/entity: the fields, sentences and rules that Vault's clients depend on."""

import pytest

from appliance.access.acl import Acl
from appliance.access.policy_text import parse_policy
from appliance.access.rules import Policy
from appliance.identity.entities import AliasClashError
from core.errors import InvalidRequestError, NotFoundError, PermissionDeniedError
from core.requests import NO_CONTENT, Operation


def access_list(text):
    return Acl([("", Policy(name="p", text=text, rules=parse_policy("p", text)))])


FIELDS = {
    "id", "name", "metadata", "merged_entity_ids", "policies", "disabled", "namespace_id", "creation_time",
    "last_update_time", "aliases", "direct_group_ids", "inherited_group_ids", "group_ids",
}  # fmt: skip


async def alias(world, name, entity_id, accessor="auth_userpass_1"):
    answer = await world.call("entity-alias", name=name, mount_accessor=accessor, canonical_id=entity_id)
    return answer.data["id"]


# --- making and changing ------------------------------------------------------------------------------------------


async def test_a_new_entity_is_answered_with_its_id_and_an_old_one_with_nothing(world):
    made = await world.call("entity", name="Bob", metadata={"team": "core"}, policies="b,a")
    assert made.data.keys() == {"id", "name", "aliases"}
    assert await world.call("entity", name="bob", disabled=True) is NO_CONTENT
    shown = await world.read(f"entity/id/{made.data['id']}")
    assert shown.keys() == FIELDS
    assert (shown["policies"], shown["disabled"], shown["metadata"]) == (["a", "b"], True, {"team": "core"})
    assert shown == await world.read("entity/name/BOB")


async def test_an_entity_without_a_name_is_given_one(world):
    made = (await world.call("entity")).data
    assert made["name"] == f"entity_{made['id'][:8]}"


async def test_metadata_as_texts_of_the_command_line(world):
    entity_id = await world.entity("bob", metadata=["team=core", "tier=1=a"])
    assert (await world.read(f"entity/id/{entity_id}"))["metadata"] == {"team": "core", "tier": "1=a"}


async def test_lists_and_metadata_are_emptied_by_empty_ones(world):
    entity_id = await world.entity("bob", metadata={"a": "b"}, policies=["p"])
    await world.call(f"entity/id/{entity_id}", metadata={}, policies=[])
    shown = await world.read(f"entity/id/{entity_id}")
    assert (shown["metadata"], shown["policies"]) == (None, [])


async def test_renaming_frees_the_old_name(world):
    entity_id = await world.entity("bob")
    await world.call(f"entity/id/{entity_id}", name="robert")
    assert (await world.read("entity/name/robert"))["id"] == entity_id
    assert (await world.entity("bob")) != entity_id


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"policies": ["root"]}, "policies cannot contain root"),
        ({"policies": ["a", " ROOT "]}, "policies cannot contain root"),
        ({"policies": ["response-wrapping"]}, "response-wrapping"),
        ({"policies": ["a/../b"]}, "policy name"),
        ({"policies": [f"p{n}" for n in range(257)]}, "at most 256 policies"),
        ({"metadata": {f"k{n}": "v" for n in range(65)}}, "at most 64 keys"),
        ({"metadata": {"k" * 129: "v"}}, "1 to 128 bytes"),
        ({"metadata": {"": "v"}}, "1 to 128 bytes"),
        ({"metadata": {"k": "v" * 513}}, "at most 512 bytes"),
        ({"metadata": {"k": 'x"\n}\npath "*" { capabilities = ["sudo"] }'}}, "control characters"),
        ({"metadata": {"k\u2028": "v"}}, "control characters"),
        ({"metadata": {"k": ["v"]}}, "values are strings"),
        ({"metadata": "team"}, "key=value"),
        ({"metadata": [1]}, "key=value"),
        ({"name": "a\x00b"}, "control characters"),
        ({"name": "a\nb"}, "control characters"),
        ({"name": " a"}, "blank"),
        ({"name": "n" * 513}, "1 to 512 bytes"),
    ],
)
async def test_refused_values(world, data, says):
    with pytest.raises(InvalidRequestError, match=says):
        await world.call("entity", **{"name": "bob"} | data)
    with pytest.raises(NotFoundError):
        await world.call("entity/id", Operation.LIST)


async def test_a_name_in_use_is_refused_in_any_case(world):
    await world.entity("bob")
    other = await world.entity("eve")
    with pytest.raises(InvalidRequestError, match=r"^entity name is already in use$"):
        await world.call(f"entity/id/{other}", name="BOB")


async def test_an_unknown_id_makes_no_entity(world):
    with pytest.raises(InvalidRequestError, match=r"^entity not found from id$"):
        await world.call("entity", id="3f2504e0-4f89-41d3-9a0c-0305e82c3301", name="bob")
    with pytest.raises(InvalidRequestError, match=r"^entity not found from id$"):
        await world.call("entity/id/x", name="bob")


@pytest.mark.parametrize("path", ["entity/id/nope", "entity/name/nope", "entity-alias/id/nope", "entity/id/%2e"])
async def test_reading_what_is_absent(world, path):
    with pytest.raises(NotFoundError):
        await world.read(path)


# --- deleting and listing -----------------------------------------------------------------------------------------


async def test_a_deleted_entity_leaves_nothing(world):
    empty = dict(world.storage._state.entries)
    entity_id = await world.entity("bob")
    await alias(world, "bob", entity_id)
    group_id = await world.group("ops", member_entity_ids=[entity_id])
    await world.call(f"entity/id/{entity_id}", Operation.DELETE)
    assert (await world.read(f"group/id/{group_id}"))["member_entity_ids"] is None
    await world.call(f"group/id/{group_id}", Operation.DELETE)
    assert world.storage._state.entries.keys() - empty.keys() == {"core/identity/group-epoch"}
    assert await world.call(f"entity/id/{entity_id}", Operation.DELETE) is NO_CONTENT


async def test_batch_delete(world):
    ids = [await world.entity(name) for name in "abc"]
    await world.call("entity/batch-delete", entity_ids=[*ids[:2], "absent"])
    listed = await world.call("entity/id", Operation.LIST)
    assert listed.data["keys"] == [ids[2]]
    with pytest.raises(InvalidRequestError, match="missing entity ids to delete"):
        await world.call("entity/batch-delete")


async def test_lists_tell_of_aliases_and_mounts(world):
    entity_id = await world.entity("bob")
    alias_id = await alias(world, "bob@corp", entity_id)
    assert (await world.call("entity/name", Operation.LIST)).data == {"keys": ["bob"]}
    listed = (await world.call("entity/id", Operation.LIST)).data
    assert listed["keys"] == [entity_id]
    told = {"id": alias_id, "name": "bob@corp", "mount_accessor": "auth_userpass_1"}
    told |= {"mount_type": "userpass", "mount_path": "auth/userpass/"}
    assert listed["key_info"] == {entity_id: {"name": "bob", "aliases": [told]}}


# --- aliases ------------------------------------------------------------------------------------------------------


async def test_an_alias_without_an_entity_makes_one(world):
    answer = (await world.call("entity-alias", name="bob", mount_accessor="auth_userpass_1")).data
    shown = await world.read(f"entity-alias/id/{answer['id']}")
    assert (shown["canonical_id"], shown["name"], shown["mount_type"]) == (answer["canonical_id"], "bob", "userpass")
    assert shown["custom_metadata"] is None


async def test_the_same_alias_again_changes_nothing_and_is_found_in_any_case(world):
    entity_id = await world.entity("bob")
    alias_id = await alias(world, "bob", entity_id)
    assert await world.call("entity-alias", name="bob", mount_accessor="auth_userpass_1") is NO_CONTENT
    answer = await world.call("entity-alias", name="BOB", mount_accessor="auth_userpass_1", custom_metadata={"a": "b"})
    assert answer.data == {"id": alias_id, "canonical_id": entity_id}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"name": "bob"}, "'id' or 'mount_accessor' and 'name' must be provided"),
        ({"mount_accessor": "auth_userpass_1"}, "'id' or 'mount_accessor' and 'name' must be provided"),
        ({"name": "bob", "mount_accessor": "auth_nope_9"}, "invalid mount accessor"),
        ({"name": "bob", "mount_accessor": "auth_userpass_t"}, "invalid mount accessor"),
        ({"name": "bob", "mount_accessor": "auth_userpass_1", "canonical_id": "nope"}, "invalid canonical ID"),
        ({"name": "b\tb", "mount_accessor": "auth_userpass_1"}, "control characters"),
        ({"id": "nope", "name": "x"}, "invalid alias ID provided"),
        ({"name": "bob", "mount_accessor": "auth_userpass_1", "custom_metadata": {"k": "v" * 513}}, "512 bytes"),
    ],
)
async def test_refused_aliases(world, data, says):
    with pytest.raises(InvalidRequestError, match=says):
        await world.call("entity-alias", **data)


async def test_one_alias_for_each_mount(world):
    entity_id = await world.entity("bob")
    await alias(world, "bob", entity_id)
    with pytest.raises(InvalidRequestError, match="Alias already exists for requested entity and mount accessor"):
        await alias(world, "robert", entity_id)


async def test_two_entities_cannot_have_the_same_alias(world):
    first, second = await world.entity("a"), await world.entity("b")
    await alias(world, "x", first)
    other = await alias(world, "y", second)
    with pytest.raises(InvalidRequestError, match="already exists"):
        await world.call(f"entity-alias/id/{other}", name="X")


async def test_an_alias_moves_to_another_entity_without_what_was_vouched_for(world):
    await world.external("admins", "admins", policies=["admin"])
    first = await world.log_in("bob", "admins")
    assert first.policies == ("admin",)
    second = await world.entity("eve")
    await world.call(f"entity-alias/id/{first.aliases[0].id}", canonical_id=second)
    moved, left = await world.store.view(second), await world.store.view(first.id)
    assert (moved.policies, [held.name for held in moved.aliases]) == ((), ["bob"])
    assert (left.policies, left.aliases) == ((), ())


# --- merging ------------------------------------------------------------------------------------------------------


async def test_merge_takes_aliases_and_groups_along_and_no_policies(world):
    to, source = await world.entity("to", policies=["a"]), await world.entity("from", policies=["b"])
    await alias(world, "x", to)
    moved = await alias(world, "y", source, "auth_ldap_2")
    group_id = await world.group("ops", policies=["ops"], member_entity_ids=[source])
    assert await world.call("entity/merge", to_entity_id=to, from_entity_ids=source) is NO_CONTENT
    shown = await world.read(f"entity/id/{to}")
    assert (shown["policies"], shown["merged_entity_ids"]) == (["a"], [source])
    assert shown["direct_group_ids"] == [group_id]
    by_id = {held["id"]: held for held in shown["aliases"]}
    assert by_id[moved]["merged_from_canonical_ids"] == [source]
    assert (await world.read(f"entity-alias/id/{moved}"))["canonical_id"] == to
    assert (await world.read(f"group/id/{group_id}"))["member_entity_ids"] == [to]
    with pytest.raises(NotFoundError):
        await world.read(f"entity/id/{source}")


async def test_tokens_of_a_merged_entity_follow_it_through_further_merges(world):
    a, b, c = [await world.entity(name, policies=[name]) for name in "abc"]
    await world.call("entity/merge", to_entity_id=b, from_entity_ids=[a])
    await world.call("entity/merge", to_entity_id=c, from_entity_ids=[b])
    for entity_id in (a, b, c):
        view = await world.store.view(entity_id)
        assert (view.id, view.policies) == (c, ("c",))
    await world.call(f"entity/id/{c}", Operation.DELETE)
    assert [await world.store.view(entity_id) for entity_id in (a, b, c)] == [None, None, None]


async def test_merging_enables_nobody(world):
    off, on = await world.entity("off", disabled=True), await world.entity("on")
    with pytest.raises(InvalidRequestError, match="disabled"):
        await world.call("entity/merge", to_entity_id=on, from_entity_ids=[off])
    assert (await world.store.view(off)).disabled is True
    await world.call("entity/merge", to_entity_id=off, from_entity_ids=[on])
    assert (await world.store.view(on)).disabled is True


async def test_merge_refusals(world):
    to, source = await world.entity("to"), await world.entity("from")
    for data, says in [
        ({"from_entity_ids": [source]}, "missing entity id to merge to"),
        ({"to_entity_id": to}, "missing entity ids to merge from"),
        ({"to_entity_id": "nope", "from_entity_ids": [source]}, "entity id to merge to is invalid"),
        ({"to_entity_id": to, "from_entity_ids": ["nope"]}, "entity id to merge from is invalid"),
        ({"to_entity_id": to, "from_entity_ids": [to]}, "to_entity_id should not be present in from_entity_ids"),
    ]:
        with pytest.raises(InvalidRequestError, match=says):
            await world.call("entity/merge", **data)


async def test_clashing_aliases_must_be_chosen_between(world):
    to, source = await world.entity("to"), await world.entity("from")
    mine, theirs = await alias(world, "x", to), await alias(world, "y", source)
    merge = {"to_entity_id": to, "from_entity_ids": [source]}
    with pytest.raises(AliasClashError, match="same mount accessor"):
        await world.call("entity/merge", **merge)
    with pytest.raises(InvalidRequestError, match="exactly one alias"):
        await world.call("entity/merge", **merge, conflicting_alias_ids_to_keep=[mine, theirs])
    await world.call("entity/merge", **merge, conflicting_alias_ids_to_keep=[theirs])
    assert [held["id"] for held in (await world.read(f"entity/id/{to}"))["aliases"]] == [theirs]
    with pytest.raises(NotFoundError):
        await world.read(f"entity-alias/id/{mine}")


async def test_a_clash_cannot_be_resolved_among_several(world):
    to, one, two = [await world.entity(name) for name in ("to", "one", "two")]
    with pytest.raises(InvalidRequestError, match="one entity at a time"):
        await world.call(
            "entity/merge", to_entity_id=to, from_entity_ids=[one, two], conflicting_alias_ids_to_keep=["x"]
        )


async def test_what_a_login_vouched_for_does_not_outlive_its_alias_in_a_merge(world):
    await world.external("admins", "admins", policies=["admin"])
    source = await world.log_in("bob", "admins")
    to = await world.log_in("eve")
    keep = [to.aliases[0].id]
    await world.call(
        "entity/merge", to_entity_id=to.id, from_entity_ids=[source.id], conflicting_alias_ids_to_keep=keep
    )
    assert (await world.store.view(to.id)).policies == ()


# --- namespaces ---------------------------------------------------------------------------------------------------


async def test_namespaces_do_not_see_each_other(world, team):
    here, there = await world.entity("bob"), await world.entity("bob", within=team)
    with pytest.raises(NotFoundError):
        await world.read(f"entity/id/{here}", within=team)
    with pytest.raises(NotFoundError):
        await world.read(f"entity/id/{there}")
    with pytest.raises(InvalidRequestError, match="entity not found from id"):
        await world.call(f"entity/id/{there}", name="x")
    with pytest.raises(InvalidRequestError, match="merge from is invalid"):
        await world.call("entity/merge", to_entity_id=here, from_entity_ids=[there])
    with pytest.raises(InvalidRequestError, match="invalid entity ID"):
        await world.call("group", name="g", member_entity_ids=[there])
    assert (await world.store.view(there)).namespace == team.id


async def test_a_namespace_that_goes_takes_its_notes_along(world, team):
    entity_id = await world.entity("bob", within=team)
    await world.store.forget_namespace(team.id)

    async def drop(txn):
        await txn.delete_prefix(f"core/ns/{team.id}/")

    await world.storage.transact(drop)
    assert await world.store.view(entity_id) is None
    assert not world.storage._state.entries


# --- spellings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["entity", "group"])
@pytest.mark.parametrize("operation", [Operation.READ, Operation.UPDATE, Operation.DELETE])
async def test_another_spelling_of_a_name_reaches_no_further_than_the_name(world, kind, operation):
    await world.call(kind, name="admin")
    text = f'path "identity/{kind}/name/*" {{ capabilities = ["read", "update", "delete"] }}'
    text += f'path "identity/{kind}/name/admin" {{ capabilities = ["deny"] }}'
    acl = access_list(text)
    with pytest.raises(PermissionDeniedError):
        await world.call(f"{kind}/name/ADMIN", operation, acl=acl)
    await world.call(kind, name="other")
    await world.call(f"{kind}/name/OTHER", operation, acl=acl)


# --- lookup -------------------------------------------------------------------------------------------------------


async def test_lookup_finds_by_each_way_and_answers_nothing_otherwise(world):
    entity_id = await world.entity("bob")
    alias_id = await alias(world, "b", entity_id)
    for data in (
        {"id": entity_id}, {"name": "BOB"}, {"alias_id": alias_id},
        {"alias_name": "B", "alias_mount_accessor": "auth_userpass_1"},
    ):  # fmt: skip
        assert (await world.call("lookup/entity", **data)).data["id"] == entity_id
    for data in ({"id": "nope"}, {"name": "nope"}, {"alias_name": "b", "alias_mount_accessor": "auth_ldap_2"}):
        assert await world.call("lookup/entity", **data) is NO_CONTENT


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "query parameters not supplied"),
        ({"alias_name": "b"}, "needs to be set"),
        ({"alias_mount_accessor": "b"}, "needs to be set"),
        ({"id": "a", "name": "b"}, "give one of"),
    ],
)
async def test_lookups_that_ask_for_nothing_or_too_much(world, data, says):
    for path in ("lookup/entity", "lookup/group"):
        with pytest.raises(InvalidRequestError, match=says):
            await world.call(path, **data)


async def test_find_by_id_name_or_alias(world):
    entity_id = await world.entity("bob", policies=["p"])
    await alias(world, "orders-api", entity_id)
    for name in (entity_id, "Bob", "orders-api"):
        assert (await world.store.find("root", name)).id == entity_id
    assert await world.store.find("root", "nobody") is None
    assert await world.store.find("a1B2c3", "bob") is None
