"""The history of policies: nothing that was in force is lost before a hundred newer versions stand above it."""

import msgspec
import pytest

from appliance.access.policies import PolicyStore
from appliance.access.policy_versions import KEPT, NOBODY, Author
from core.errors import CasMismatchError, InvalidRequestError, NotFoundError

A, B, C = (f'path "{name}" {{ capabilities = ["read"] }}' for name in "abc")
ANNA = Author(display_name="userpass-anna", accessor="acc-1", entity_id="e-1")


@pytest.fixture
def policies(access):
    return PolicyStore(access.storage, access.clock)


async def texts(policies, name="p1", **where):
    return [(version.version, version.text) for version in await policies.versions(name, **where)]


async def test_each_write_keeps_the_former_one_with_author_and_time(access, policies):
    await policies.put("p1", A, author=ANNA)
    access.clock.advance(10)
    await policies.put("p1", B)
    newest, oldest = await policies.versions("p1")
    assert (oldest.version, oldest.text, oldest.author) == (1, A, ANNA)
    assert (newest.version, newest.text, newest.author) == (2, B, NOBODY)
    assert newest.written_at - oldest.written_at == 10
    record = await policies.record("p1")
    assert (record.modified_at, record.author) == (newest.written_at, NOBODY)


async def test_at_most_a_hundred_are_kept(access, policies):
    for number in range(KEPT + 5):
        await policies.put("p1", f"# {number}\n{A}")
    kept = await texts(policies)
    assert len(kept) == KEPT
    assert (kept[0][0], kept[-1][0]) == (KEPT + 5, 6)
    assert await policies.version("p1", 5) is None
    assert len(await access.storage.list("core/policy-versions/p1/")) == KEPT


async def test_history_outlives_the_policy_and_goes_on(policies):
    await policies.put("p1", A)
    await policies.delete("p1", author=ANNA)
    assert await texts(policies) == [(2, None), (1, A)]
    assert (await policies.versions("p1"))[0].event == "deleted"
    assert (await policies.versions("p1"))[0].author == ANNA
    assert (await policies.put("p1", B)).version == 3
    assert await texts(policies) == [(3, B), (2, None), (1, A)]


async def test_deleting_what_is_not_there_leaves_no_trace(policies):
    await policies.delete("p1")
    assert await policies.versions("p1") == []


async def test_rolling_back_is_a_new_version(policies):
    await policies.put("p1", A)
    await policies.put("p1", B)
    policy = await policies.roll_back("p1", 1, author=ANNA)
    assert (policy.version, policy.text, policy.rules[0].path) == (3, A, "a")
    assert await policies.get("p1") == policy
    newest = (await policies.versions("p1"))[0]
    assert (newest.event, newest.restored, newest.author) == ("rolled back", 1, ANNA)


async def test_a_deleted_policy_comes_back(policies):
    await policies.put("p1", A)
    await policies.delete("p1")
    assert (await policies.roll_back("p1", 1)).version == 3
    assert (await policies.get("p1")).text == A


async def test_to_a_deletion_nobody_rolls_back(policies):
    await policies.put("p1", A)
    await policies.delete("p1")
    with pytest.raises(InvalidRequestError, match="deletion"):
        await policies.roll_back("p1", 2)


@pytest.mark.parametrize("number", [0, 2, -1, 10**10, 10**30])
async def test_to_what_never_was_nobody_rolls_back(policies, number):
    await policies.put("p1", A)
    with pytest.raises(NotFoundError):
        await policies.roll_back("p1", number)


async def test_rolling_back_respects_cas(policies):
    await policies.put("p1", A, cas=0, cas_required=True)
    with pytest.raises(InvalidRequestError, match="check-and-set"):
        await policies.roll_back("p1", 1)
    with pytest.raises(CasMismatchError):
        await policies.roll_back("p1", 1, cas=7)
    assert (await policies.roll_back("p1", 1, cas=1)).version == 2


async def test_a_policy_from_before_versions_were_kept_is_not_lost(access, policies):
    await policies.put("p1", A)
    rules = msgspec.to_builtins((await policies.get("p1")).rules)
    await access.storage.delete("core/policy-versions/p1/0000000001")
    await access.storage.delete("core/policy/p1")
    for _ in range(3):  # its version was the revision of its entry
        await access.storage.put("core/policy/p1", msgspec.json.encode({"text": A, "rules": rules, "format": 1}))
    assert (await policies.get("p1")).version == 3
    assert await texts(policies) == [(3, A)]
    assert (await policies.version("p1", 3)).text == A
    with pytest.raises(CasMismatchError):
        await policies.put("p1", B, cas=2)
    await policies.put("p1", B, cas=3)
    assert await texts(policies) == [(4, B), (3, A)]


async def test_names_that_begin_alike_have_separate_histories(policies):
    await policies.put("p1", A)
    await policies.put("p1-x", B)
    await policies.put("p1", C, namespace="aaaaaa")
    assert await texts(policies) == [(1, A)]
    assert await texts(policies, "p1-x") == [(1, B)]
    assert await texts(policies, namespace="aaaaaa") == [(1, C)]


async def test_two_writers_get_two_versions(access, policies):
    other = PolicyStore(access.storage, access.clock)
    await policies.put("p1", A)
    await other.put("p1", B)
    await policies.put("p1", C)
    assert await texts(other) == [(3, C), (2, B), (1, A)]
