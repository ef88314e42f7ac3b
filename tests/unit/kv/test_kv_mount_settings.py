"""config, subkeys, and paths that version 2 does not serve."""

from typing import Any

import pytest

from core.errors import InvalidRequestError, NotFoundError, UnsupportedOperationError
from tests.unit.kv.kv_mount import Mount

DEFAULTS = {"cas_required": False, "delete_version_after": "0s", "max_versions": 0, "metadata_cas_required": False}


async def config(mount: Mount) -> dict[str, Any]:
    return dict((await mount.call("read", "config")).data or {})


async def test_settings_change_one_by_one() -> None:
    mount = Mount()
    assert await config(mount) == DEFAULTS
    await mount.call("update", "config", {"max_versions": 3, "delete_version_after": "30m"})
    await mount.call("update", "config", {"cas_required": "true", "max_versions": None})
    await mount.call("update", "config", {})
    shown = {"cas_required": True, "delete_version_after": "30m0s", "max_versions": 3, "metadata_cas_required": False}
    assert await config(mount.other_worker()) == shown
    await mount.call("update", "config", {"delete_version_after": "-5h"})
    assert (await config(mount))["delete_version_after"] == "-1s"
    await mount.call("update", "config", {"delete_version_after": 0})
    assert (await config(mount))["delete_version_after"] == "0s"


@pytest.mark.parametrize(
    "body",
    [{"max_versions": -1}, {"max_versions": "x"}, {"cas_required": 7}, {"delete_version_after": "x"}],
    ids=lambda body: next(iter(body)),
)
async def test_settings_that_are_none_are_refused(body: dict[str, Any]) -> None:
    mount = Mount()
    with pytest.raises(InvalidRequestError, match=next(iter(body))):
        await mount.call("update", "config", body)
    assert await config(mount) == DEFAULTS


async def test_the_mount_may_ask_for_cas() -> None:
    mount = Mount()
    await mount.call("update", "config", {"cas_required": True, "metadata_cas_required": True})
    with pytest.raises(InvalidRequestError, match="check-and-set parameter required"):
        await mount.put("s", {"a": 1})
    with pytest.raises(InvalidRequestError, match="metadata check-and-set parameter required"):
        await mount.call("update", "metadata/s", {"owner": "x"})
    for operation, cas in (("update", 0), ("patch", 1)):
        answer = await mount.call(
            operation, "metadata/s", {"metadata_cas": cas, "metadata_cas_required": False, "cas_required": False}
        )
        assert answer.warnings == [
            f'"{name}" set to false, but is mandated by backend config. This value will be ignored.'
            for name in ("cas_required", "metadata_cas_required")
        ]


async def test_the_mounts_limits_hold_where_a_secret_has_none() -> None:
    mount = Mount()
    await mount.call("update", "config", {"max_versions": 2})
    await mount.call("update", "metadata/more", {"max_versions": 3})
    for number in range(5):
        await mount.put("few", {"n": number})
        await mount.put("more", {"n": number})
    for name, kept in (("few", ["4", "5"]), ("more", ["3", "4", "5"])):
        assert list((await mount.call("read", f"metadata/{name}")).data["versions"]) == kept  # type: ignore[index]


# --- subkeys --------------------------------------------------------------------------------------------------------

VALUE = {"a": 1, "b": {"c": {"d": "needle"}, "e": {}}, "l": [{"x": 1}]}


@pytest.mark.parametrize(
    ("depth", "names"),
    [
        ("", {"a": None, "b": {"c": {"d": None}, "e": None}, "l": None}),
        ("0", {"a": None, "b": {"c": {"d": None}, "e": None}, "l": None}),
        ("1", {"a": None, "b": None, "l": None}),
        ("2", {"a": None, "b": {"c": None, "e": None}, "l": None}),
        ("9", {"a": None, "b": {"c": {"d": None}, "e": None}, "l": None}),
    ],
)
async def test_subkeys_are_names_without_values(depth: str, names: dict[str, Any]) -> None:
    mount = Mount()
    await mount.put("s", VALUE)
    data = (await mount.call("read", "subkeys/s", depth=depth)).data or {}
    assert data["subkeys"] == names
    assert data["metadata"]["version"] == 1


async def test_subkeys_of_a_chosen_version() -> None:
    mount = Mount()
    await mount.put("s", {"one": 1})
    await mount.put("s", {"two": 2})
    for query, name in (({}, "two"), ({"version": "1"}, "one"), ({"stage": "previous"}, "one")):
        data = (await mount.call("read", "subkeys/s", **query)).data or {}
        assert data["subkeys"] == {name: None}
    for query in ({"version": "3"}, {"stage": "pending"}):
        with pytest.raises(NotFoundError):
            await mount.call("read", "subkeys/s", **query)
    with pytest.raises(NotFoundError):
        await mount.call("read", "subkeys/none")
    for path in ("subkeys/none", "data/none"):  # a question that is none is told from a secret that is none
        with pytest.raises(InvalidRequestError, match="version must be"):
            await mount.call("read", path, version="x")


async def test_subkeys_of_a_deleted_version_answer_404_with_its_metadata() -> None:
    mount = Mount()
    await mount.put("s", VALUE)
    await mount.call("delete", "data/s")
    answer = await mount.call("read", "subkeys/s")
    assert answer.status == 404
    assert (answer.data or {})["subkeys"] is None
    assert (answer.data or {})["metadata"]["deletion_time"]


@pytest.mark.parametrize(
    "query",
    [{"depth": "-1"}, {"depth": "x"}, {"version": "1.5"}, {"stage": "A B"}, {"version": "1", "stage": "current"}],
    ids=repr,
)
async def test_subkeys_that_are_none_are_refused(query: dict[str, str]) -> None:
    mount = Mount()
    await mount.put("s", VALUE)
    with pytest.raises(InvalidRequestError):
        await mount.call("read", "subkeys/s", **query)


# --- other paths ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "command"),
    [("read", "get"), ("update", "put"), ("patch", "patch"), ("delete", "delete"), ("list", "list"), ("scan", "list")],
)
@pytest.mark.parametrize("path", ["foo", "apps/web", "", "subkeys"], ids=["one", "two", "root", "subkeys"])
async def test_a_path_of_version_1_is_told_from_one_that_is_absent(path: str, operation: str, command: str) -> None:
    answer = await Mount().call(operation, path)
    assert answer.status == 404
    assert answer.data is None
    assert answer.warnings is not None
    assert answer.warnings[0].startswith("Invalid path for a versioned K/V secrets engine.")
    assert f"mimir kv {command}" in answer.warnings[0]


@pytest.mark.parametrize("operation", ["read", "update", "patch", "delete"])
@pytest.mark.parametrize("path", ["data", "data/", "metadata", "delete", "undelete", "destroy"])
async def test_the_roots_are_for_listing(path: str, operation: str) -> None:
    answer = await Mount().call(operation, path)
    assert answer.status == 404
    assert answer.warnings == ["Non-listing operations on the root of a K/V v2 mount are not supported."]


async def test_values_are_not_listed() -> None:
    with pytest.raises(UnsupportedOperationError):
        await Mount().call("list", "data")
