"""Metadata of secrets: settings, custom metadata, ownership, compare-and-set."""

from typing import Any

import pytest

from core.errors import InvalidRequestError, NotFoundError
from tests.unit.kv.kv_mount import Mount


async def shown(mount: Mount, name: str = "s") -> dict[str, Any]:
    return dict((await mount.call("read", f"metadata/{name}")).data or {})


async def test_metadata_of_a_secret_that_was_only_put() -> None:
    mount = Mount()
    await mount.put("s", {"a": 1})
    await mount.put("s", {"a": 2})
    data = await shown(mount)
    assert (data["current_version"], data["oldest_version"], data["max_versions"]) == (2, 0, 0)
    assert (data["cas_required"], data["delete_version_after"], data["custom_metadata"]) == (False, "0s", None)
    assert (data["current_metadata_version"], data["metadata_cas_required"]) == (0, False)
    assert (data["owner"], data["classification"], data["rotate_every"], data["expires_at"]) == ("", "", "0s", "")
    assert data["stages"] == {"current": 2, "previous": 1}
    assert data["versions"]["1"]["created_by"]["name"] == "userpass-ann"
    assert data["versions"]["1"]["state"] == "enabled"


async def test_metadata_make_a_secret_without_versions() -> None:
    mount = Mount()
    answer = await mount.call("update", "metadata/s", {"custom_metadata": {"team": "web"}})
    assert (answer.data, answer.warnings) == (None, None)
    data = await shown(mount)
    assert (data["current_version"], data["versions"], data["current_metadata_version"]) == (0, {}, 1)
    with pytest.raises(NotFoundError):
        await mount.get("s")
    assert (await mount.put("s", {"a": 1}, cas=0))["custom_metadata"] == {"team": "web"}


async def test_only_what_is_named_changes() -> None:
    mount = Mount()
    await mount.call(
        "update",
        "metadata/s",
        {
            "max_versions": "3",
            "cas_required": True,
            "delete_version_after": "3h25m19s",
            "custom_metadata": {"a": "1", "n": 5, "t": True, "f": 1.5},
            "owner": "team-web@example.org",
            "classification": "restricted",
            "rotate_every": "720h",
            "expires_at": "2027-01-31T12:00:00+02:00",
        },
    )
    before = await shown(mount)
    assert before["delete_version_after"] == "3h25m19s"
    assert before["rotate_every"] == "720h0m0s"
    assert before["expires_at"] == "2027-01-31T10:00:00Z"
    assert before["custom_metadata"] == {"a": "1", "n": "5", "t": "1", "f": "1.5"}
    await mount.call("update", "metadata/s", {"custom_metadata": {"b": "2"}})
    after = await shown(mount)
    assert after["custom_metadata"] == {"b": "2"}
    same = before.keys() - {"custom_metadata", "current_metadata_version"}
    assert {name: after[name] for name in same} == {name: before[name] for name in same}


@pytest.mark.parametrize("operation", ["update", "patch"])
async def test_numbers_in_custom_metadata_keep_their_digits(operation: str) -> None:
    mount = Mount()
    await mount.put("s", {"a": 1})
    body = b'{"custom_metadata":{"a":1.10,"b":1e3,"c":12345678901234567890,"d":"1.10"}}'
    await mount.call(operation, "metadata/s", body=body)
    assert (await shown(mount))["custom_metadata"] == {
        "a": "1.10",
        "b": "1e3",
        "c": "12345678901234567890",
        "d": "1.10",
    }


async def test_a_patch_merges_and_null_sets_back() -> None:
    mount = Mount()
    await mount.call("update", "metadata/s", {"max_versions": 3, "custom_metadata": {"a": "1", "b": "2"}, "owner": "x"})
    await mount.call(
        "patch", "metadata/s", {"max_versions": None, "custom_metadata": {"a": None, "c": "3"}, "expires_at": None}
    )
    data = await shown(mount)
    assert (data["max_versions"], data["custom_metadata"], data["owner"]) == (0, {"b": "2", "c": "3"}, "x")
    await mount.call("patch", "metadata/s", {"custom_metadata": {}, "owner": None})
    data = await shown(mount)
    assert (data["custom_metadata"], data["owner"]) == ({"b": "2", "c": "3"}, "")
    await mount.call("patch", "metadata/s", {"custom_metadata": None})
    assert (await shown(mount))["custom_metadata"] is None


async def test_a_patch_needs_a_secret() -> None:
    mount = Mount()
    with pytest.raises(NotFoundError):
        await mount.call("patch", "metadata/s", {"owner": "x"})
    with pytest.raises(NotFoundError):
        await shown(mount)


@pytest.mark.parametrize("operation", ["update", "patch"])
async def test_a_change_of_nothing_is_none(operation: str) -> None:
    mount = Mount()
    await mount.put("s", {"a": 1})
    before = await shown(mount)
    for body in ({}, {"metadata_cas": 999}, {"color": "red"}):
        await mount.call(operation, "metadata/s", body)
    assert await shown(mount) == before
    await mount.call("update", "metadata/none", {})
    with pytest.raises(NotFoundError):
        await shown(mount, "none")


async def test_a_write_of_metadata_is_no_new_version() -> None:
    """`updated_time` is that of the last version, as in Vault."""
    mount = Mount()
    await mount.put("s", {"a": 1})
    before = await shown(mount)
    mount.clock.advance(100)
    await mount.call("update", "metadata/s", {"owner": "x"})
    assert (await shown(mount))["updated_time"] == before["updated_time"]


async def test_fewer_versions_are_kept_from_the_next_write_on() -> None:
    """As in Vault: nobody loses a value by a setting alone."""
    mount = Mount()
    for number in range(4):
        await mount.put("s", {"n": number})
    await mount.call("update", "metadata/s", {"max_versions": 2})
    assert list((await shown(mount))["versions"]) == ["1", "2", "3", "4"]
    await mount.put("s", {"n": 5})
    data = await shown(mount)
    assert (list(data["versions"]), data["oldest_version"]) == (["4", "5"], 4)


async def test_deleting_metadata_leaves_nothing_and_may_be_repeated() -> None:
    mount = Mount()
    await mount.put("s", {"a": "x" * 20_000})
    await mount.put("s", {"a": 2})
    await mount.put("s/below", {"a": 3})
    for _ in range(2):
        await mount.call("delete", "metadata/s")
    with pytest.raises(NotFoundError):
        await shown(mount)
    with pytest.raises(NotFoundError):
        await mount.other_worker().get("s")
    assert await mount.get("s/below") == {"a": 3}
    assert sum("/v/" in path or path.endswith("s/s") for path in mount.storage._state.entries) == 0
    assert (await mount.put("s", {"a": 1}))["version"] == 1


async def test_metadata_cas_counts_writes_of_metadata() -> None:
    mount = Mount()
    with pytest.raises(InvalidRequestError, match="metadata_cas must be 0 when creating new metadata"):
        await mount.call("update", "metadata/s", {"metadata_cas": 1, "owner": "x"})
    await mount.call("update", "metadata/s", {"metadata_cas": 0, "metadata_cas_required": True})
    refused = "metadata check-and-set parameter"
    for operation in ("update", "patch"):
        with pytest.raises(InvalidRequestError, match=f"{refused} required for this call"):
            await mount.call(operation, "metadata/s", {"owner": "x"})
        for cas in (0, 2, -1, None):  # null is 0, as in OpenBao
            with pytest.raises(InvalidRequestError, match=f"{refused} does not match the current version"):
                await mount.call(operation, "metadata/s", {"owner": "x", "metadata_cas": cas})
    await mount.put("s", {"a": 1})
    await mount.call("patch", "metadata/s", {"owner": "x", "metadata_cas": 1})
    data = await shown(mount)
    assert (data["owner"], data["current_metadata_version"], data["current_version"]) == ("x", 2, 1)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"max_versions": -1}, "max_versions"),
        ({"max_versions": 1 << 32}, "max_versions"),
        ({"max_versions": "many"}, "max_versions"),
        ({"cas_required": "maybe"}, "cas_required"),
        ({"delete_version_after": "-1s"}, "must not be negative"),
        ({"delete_version_after": "soon"}, "delete_version_after"),
        ({"custom_metadata": ["a"]}, "custom_metadata"),
        ({"custom_metadata": {"a": {"b": "c"}}}, "custom_metadata"),
        ({"custom_metadata": {"a": ""}}, 'length of value for key "a" is 0'),
        ({"custom_metadata": {"": "x"}}, 'length of key "" is 0'),
        ({"custom_metadata": {"k" * 129: "x"}}, "is 129 but must be"),
        ({"custom_metadata": {"k": "é" * 257}}, "is 514 but must be"),
        ({"custom_metadata": {"k\n": "x"}}, "unprintable"),
        ({"custom_metadata": {"k": "x\x07"}}, 'value for key "k" contains unprintable'),
        ({"custom_metadata": {str(n): "x" for n in range(65)}}, "at most 64 keys, provided 65"),
        ({"owner": "x" * 257}, "owner has at most 256"),
        ({"owner": "a\nb"}, "owner"),
        ({"owner": 5}, "owner"),
        ({"classification": "Top Secret"}, "classification is one word"),
        ({"classification": "x" * 65}, "classification is one word"),
        ({"rotate_every": -1}, "rotate_every must not be negative"),
        ({"rotate_every": "monthly"}, "rotate_every"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": "2027-02-30T00:00:00Z"}, "not a time that exists"),
        ({"expires_at": "9999-12-31T23:59:59Z"}, "between 1970 and 2262"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
@pytest.mark.parametrize("operation", ["update", "patch"])
async def test_metadata_that_are_none_change_nothing(operation: str, body: dict[str, Any], says: str) -> None:
    mount = Mount()
    await mount.call("update", "metadata/s", {"owner": "before"})
    before = await shown(mount)
    with pytest.raises(InvalidRequestError, match=says):
        await mount.call(operation, "metadata/s", body)
    assert await shown(mount) == before


@pytest.mark.parametrize("operation", ["update", "patch"])
async def test_null_sets_a_member_back(operation: str) -> None:
    mount = Mount()
    given = {"custom_metadata": {"a": "1"}, "owner": "x", "rotate_every": "1h", "cas_required": True, "max_versions": 3}
    await mount.call("update", "metadata/s", given)
    await mount.call(operation, "metadata/s", dict.fromkeys(given))
    data = await shown(mount)
    assert {name: data[name] for name in given} == {
        "custom_metadata": None,
        "owner": "",
        "rotate_every": "0s",
        "cas_required": False,
        "max_versions": 0,
    }


async def test_null_within_custom_metadata_is_for_patches() -> None:
    mount = Mount()
    with pytest.raises(InvalidRequestError, match='length of value for key "a" is 0'):
        await mount.call("update", "metadata/s", {"custom_metadata": {"a": None}})


async def test_custom_metadata_have_vaults_limits_after_the_patch_too() -> None:
    mount = Mount()
    await mount.call("update", "metadata/s", {"custom_metadata": {str(n): "x" * 512 for n in range(64)}})
    with pytest.raises(InvalidRequestError, match="provided 65"):
        await mount.call("patch", "metadata/s", {"custom_metadata": {"one more": "x"}})
    await mount.call("patch", "metadata/s", {"custom_metadata": {"one more": "x", "0": None}})


async def test_changes_of_metadata_are_announced() -> None:
    mount = Mount()
    await mount.call("update", "metadata/s", {"owner": "x"})
    await mount.call("patch", "metadata/s", {"owner": "y"})
    await mount.call("delete", "metadata/s")
    await mount.call("delete", "metadata/s")
    events = mount.storage.events
    assert [event.type for event in events] == [f"kv-v2/metadata-{word}" for word in ("write", "patch", "delete")]
    assert events[0].path == "metadata/s"
    assert events[0].metadata["data_path"] == "secret/data/s"
    assert not any("x" in event.metadata.values() for event in events)
