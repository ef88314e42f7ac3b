"""Every method of hvac's KvV1 and KvV2, the upgrade from 1 to 2, and what hvac has no method for; two workers."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

import hvac
import hvac.exceptions
import pytest
from hvac.api.secrets_engines.kv_v1 import KvV1
from hvac.api.secrets_engines.kv_v2 import KvV2

from tests.support.appliance import Appliance, Reply

PLAIN = {"mount_point": "plain/kv"}
SECRET = {"mount_point": "secret"}
LOOKS = 6  # requests on connections of their own, so that each worker is asked
QUIET = {"raise_on_deleted_version": False}


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """One store: what hvac sends does not depend on it. secret/ is there from the start."""
    server = Appliance(tmp_path_factory.mktemp("hvac-kv") / "data").start()
    client = server.client()
    client.sys.enable_audit_device("file", path="file", options={"file_path": str(server.data_dir / "audit.log")})
    client.sys.enable_secrets_engine("kv", path=PLAIN["mount_point"])
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def v1(appliance: Appliance) -> KvV1:
    made: KvV1 = appliance.client().secrets.kv.v1
    return made


@pytest.fixture(scope="module")
def v2(appliance: Appliance) -> KvV2:
    made: KvV2 = appliance.client().secrets.kv.v2
    return made


def data(answer: Any) -> dict[str, Any]:
    return dict(answer["data"])


def everywhere(appliance: Appliance, method: str, path: str, body: object = None) -> Reply:
    """The answer, which is the same from every worker."""
    replies = [appliance.request(method, path, body) for _ in range(LOOKS)]
    assert len({(reply.status, json.dumps(reply.json.get("data"))) for reply in replies}) == 1
    return replies[0]


def patch(appliance: Appliance, path: str, body: object) -> Reply:
    return appliance.request("PATCH", path, body, headers={"Content-Type": "application/merge-patch+json"})


# --- version 1 ------------------------------------------------------------------------------------------------------


def test_create_read_and_delete_a_plain_secret(appliance: Appliance, v1: KvV1) -> None:
    for method in (None, "POST", "PUT"):
        answer = v1.create_or_update_secret("apps/web", {"password": f"by {method}"}, method=method, **PLAIN)
        assert answer.status_code == 204
    answer = v1.read_secret("apps/web", **PLAIN)
    assert data(answer) == {"password": "by PUT"}
    assert (answer["lease_id"], answer["renewable"], answer["lease_duration"]) == ("", False, 2764800)
    assert everywhere(appliance, "GET", "plain/kv/apps/web").json["data"] == {"password": "by PUT"}
    for _ in range(2):
        assert v1.delete_secret("apps/web", **PLAIN).status_code == 204
    with pytest.raises(hvac.exceptions.InvalidPath):
        v1.read_secret("apps/web", **PLAIN)


def test_list_plain_secrets(appliance: Appliance, v1: KvV1) -> None:
    for name in ("list/b", "list/a", "list/a/deep", "list/z"):
        v1.create_or_update_secret(name, {"x": 1}, **PLAIN)
    assert data(v1.list_secrets("list", **PLAIN)) == {"keys": ["a", "a/", "b", "z"]}
    assert everywhere(appliance, "SCAN", "plain/kv/list").json["data"] == {"keys": ["a", "a/deep", "b", "z"]}
    assert everywhere(appliance, "LIST", "plain/kv/list?after=a/&limit=1").json["data"] == {"keys": ["b"]}
    with pytest.raises(hvac.exceptions.InvalidPath):
        v1.list_secrets("list/none", **PLAIN)


def test_a_plain_secret_says_how_long_it_holds(appliance: Appliance, v1: KvV1) -> None:
    v1.create_or_update_secret("short", {"ttl": "30m", "x": 1}, **PLAIN)
    assert v1.read_secret("short", **PLAIN)["lease_duration"] == 1800
    with pytest.raises(hvac.exceptions.InvalidRequest, match="missing data fields"):
        v1.create_or_update_secret("short", {}, **PLAIN)


# --- version 2 ------------------------------------------------------------------------------------------------------


def test_a_development_server_begins_with_secret(appliance: Appliance) -> None:
    shown = everywhere(appliance, "GET", "sys/internal/ui/mounts/secret/data/x").json["data"]
    assert (shown["type"], shown["path"], shown["options"]) == ("kv", "secret/", {"version": "2"})
    mounts = appliance.client().sys.list_mounted_secrets_engines()["data"]
    assert mounts["secret/"]["options"] == {"version": "2"}
    assert mounts["secret/"]["accessor"].startswith("kv_")
    assert mounts["plain/kv/"]["options"] == {}  # as at OpenBao; never null


def test_configure_and_read_configuration(appliance: Appliance, v2: KvV2) -> None:
    appliance.client().sys.enable_secrets_engine("kv-v2", path="configured")
    where = {"mount_point": "configured"}
    assert v2.configure(max_versions=2, cas_required=True, delete_version_after="3h25m19s", **where).status_code == 204
    shown = data(v2.read_configuration(**where))
    assert shown == {
        "cas_required": True,
        "delete_version_after": "3h25m19s",
        "max_versions": 2,
        "metadata_cas_required": False,
    }
    with pytest.raises(hvac.exceptions.InvalidRequest, match="check-and-set parameter required"):
        v2.create_or_update_secret("s", {"a": 1}, **where)
    made = data(v2.create_or_update_secret("s", {"a": 1}, cas=0, **where))
    assert made["deletion_time"] > made["created_time"]


def test_create_read_and_update_a_secret(appliance: Appliance, v2: KvV2) -> None:
    made = data(v2.create_or_update_secret("apps/web", {"n": 1}, cas=0, **SECRET))
    assert (made["version"], made["destroyed"], made["deletion_time"], made["custom_metadata"]) == (1, False, "", None)
    v2.create_or_update_secret("apps/web", {"n": 2}, cas=1, **SECRET)
    with pytest.raises(hvac.exceptions.InvalidRequest, match="did not match the current version"):
        v2.create_or_update_secret("apps/web", {"n": 3}, cas=1, **SECRET)
    assert data(v2.read_secret("apps/web", **QUIET, **SECRET))["data"] == {"n": 2}
    assert data(v2.read_secret_version("apps/web", version=1, **QUIET, **SECRET))["data"] == {"n": 1}
    assert everywhere(appliance, "GET", "secret/data/apps/web").json["data"]["metadata"]["version"] == 2
    with pytest.raises(hvac.exceptions.InvalidPath):
        v2.read_secret_version("apps/web", version=3, **QUIET, **SECRET)


@pytest.mark.filterwarnings("ignore:The raise_on_deleted_version parameter:DeprecationWarning")
def test_patch(appliance: Appliance, v2: KvV2) -> None:
    v2.create_or_update_secret("patched", {"a": 1, "b": {"c": 2}}, **SECRET)
    assert data(v2.patch("patched", {"d": 3}, **SECRET))["version"] == 2
    reply = patch(appliance, "secret/data/patched", {"data": {"a": None, "b": {"x": 1}}, "options": {"cas": 2}})
    assert reply.json["data"]["version"] == 3
    assert everywhere(appliance, "GET", "secret/data/patched").json["data"]["data"] == {"b": {"c": 2, "x": 1}, "d": 3}
    with pytest.raises(hvac.exceptions.InvalidPath, match="patch only works on existing data"):
        v2.patch("absent", {"d": 3}, **SECRET)
    assert patch(appliance, "secret/data/absent", {"data": {"a": 1}}).status == 404


def test_delete_undelete_and_destroy(appliance: Appliance, v2: KvV2) -> None:
    for number in range(3):
        v2.create_or_update_secret("doomed", {"n": number}, **SECRET)
    assert v2.delete_latest_version_of_secret("doomed", **SECRET).status_code == 204
    gone = v2.read_secret_version("doomed", **QUIET, **SECRET)
    assert (gone["data"]["data"], gone["data"]["metadata"]["version"]) == (None, 3)
    with pytest.raises(hvac.exceptions.InvalidPath):
        v2.read_secret_version("doomed", raise_on_deleted_version=True, **SECRET)
    v2.delete_secret_versions("doomed", [1, 2], **SECRET)
    v2.undelete_secret_versions("doomed", [1, 3], **SECRET)
    assert [everywhere(appliance, "GET", f"secret/data/doomed?version={n}").status for n in (1, 2, 3)] == [
        200,
        404,
        200,
    ]
    v2.destroy_secret_versions("doomed", [1], **SECRET)
    v2.undelete_secret_versions("doomed", [1], **SECRET)
    reply = everywhere(appliance, "GET", "secret/data/doomed?version=1")
    assert (reply.status, reply.json["data"]["metadata"]["destroyed"]) == (404, True)


def test_metadata(appliance: Appliance, v2: KvV2) -> None:
    v2.update_metadata("described", max_versions=3, cas_required=True, custom_metadata={"team": "web"}, **SECRET)
    v2.create_or_update_secret("described", {"a": 1}, cas=0, **SECRET)
    shown = data(v2.read_secret_metadata("described", **SECRET))
    assert (shown["max_versions"], shown["cas_required"], shown["custom_metadata"]) == (3, True, {"team": "web"})
    assert (shown["current_version"], shown["oldest_version"], list(shown["versions"])) == (1, 0, ["1"])
    assert shown["versions"]["1"]["created_by"]["name"] == "root"
    body = {"owner": "team-web", "rotate_every": "720h", "custom_metadata": {"team": None}, "metadata_cas": 1}
    assert patch(appliance, "secret/metadata/described", body).status == 204
    assert patch(appliance, "secret/metadata/described", body).errors == [
        "metadata check-and-set parameter does not match the current version"
    ]
    shown = everywhere(appliance, "GET", "secret/metadata/described").json["data"]
    assert (shown["owner"], shown["rotate_every"], shown["custom_metadata"]) == ("team-web", "720h0m0s", None)
    for _ in range(2):
        assert v2.delete_metadata_and_all_versions("described", **SECRET).status_code == 204
    with pytest.raises(hvac.exceptions.InvalidPath):
        v2.read_secret_metadata("described", **SECRET)
    assert everywhere(appliance, "GET", "secret/data/described").status == 404


def test_list_secrets(appliance: Appliance, v2: KvV2) -> None:
    for name in ("list/b", "list/a", "list/a/deep", "list/z"):
        v2.create_or_update_secret(name, {"x": 1}, **SECRET)
    assert data(v2.list_secrets("list", **SECRET)) == {"keys": ["a", "a/", "b", "z"]}
    assert everywhere(appliance, "SCAN", "secret/metadata/list/").json["data"] == {"keys": ["a", "a/deep", "b", "z"]}
    assert everywhere(appliance, "GET", "secret/metadata/list?list=true&after=b").json["data"] == {"keys": ["z"]}
    details = everywhere(appliance, "LIST", "secret/detailed-metadata/list").json["data"]
    assert list(details["key_info"]) == ["a", "a/", "b", "z"]
    assert details["key_info"]["a"]["current_version"] == 1
    v2.delete_metadata_and_all_versions("list/b", **SECRET)
    assert everywhere(appliance, "LIST", "secret/metadata/list").json["data"] == {"keys": ["a", "a/", "z"]}
    with pytest.raises(hvac.exceptions.InvalidPath):
        v2.list_secrets("list/none", **SECRET)


def test_subkeys(appliance: Appliance, v2: KvV2) -> None:
    v2.create_or_update_secret("nested", {"a": {"b": "needle"}}, **SECRET)
    reply = everywhere(appliance, "GET", "secret/subkeys/nested?depth=2")
    assert reply.json["data"]["subkeys"] == {"a": {"b": None}}
    assert b"needle" not in reply.body


@pytest.mark.parametrize(
    ("method", "path", "says"),
    [
        ("GET", "secret/apps/web", "Invalid path for a versioned K/V secrets engine"),
        ("POST", "secret/apps/web", "Invalid path for a versioned K/V secrets engine"),
        ("LIST", "secret/", "Invalid path for a versioned K/V secrets engine"),
        ("GET", "secret", "Invalid path for a versioned K/V secrets engine"),
        ("GET", "secret/data", "Non-listing operations on the root"),
        ("DELETE", "secret/metadata", "Non-listing operations on the root"),
    ],
)
def test_paths_of_the_other_version_answer_404_with_a_warning(
    appliance: Appliance, method: str, path: str, says: str
) -> None:
    """Not `errors`: clients look for the warning of Vault."""
    reply = appliance.request(method, path, {"a": 1} if method == "POST" else None)
    assert reply.status == 404
    assert reply.json["warnings"][0].startswith(says)


def test_the_help_of_the_mount_names_its_paths(appliance: Appliance) -> None:
    assert "secret/detailed-metadata/{path...}" in appliance.request("GET", "secret?help=1").json["help"]
    assert appliance.request("GET", "secret/data/x?help=1").json["help"].startswith("Path: secret/data/{path...}")


@pytest.mark.parametrize("query", ["after=%00", "limit=x", "limit=-5", "after=%ff&limit=1"])
@pytest.mark.parametrize("method", ["LIST", "SCAN"])
def test_odd_pages_are_no_fault_of_ours(appliance: Appliance, method: str, query: str) -> None:
    for path in ("secret/metadata", "secret/detailed-metadata", "plain/kv/list"):
        assert appliance.request(method, f"{path}?{query}").status in {200, 400, 404}


def test_listing_needs_its_own_permission(appliance: Appliance, v2: KvV2) -> None:
    v2.create_or_update_secret("hidden/name", {"x": 1}, **SECRET)
    rules = 'path "secret/data/*" { capabilities = ["read", "update", "create"] }\n'
    rules += 'path "secret/metadata/*" { capabilities = ["read", "list"] }'
    client = appliance.client()
    client.sys.create_or_update_policy("reader", rules)
    token = client.auth.token.create(policies=["reader"])["auth"]["client_token"]
    for path, method in (
        ("secret/metadata/hidden", "SCAN"),
        ("secret/detailed-metadata/hidden", "LIST"),
        ("secret/subkeys/hidden/name", "GET"),
        ("secret/config", "GET"),
    ):
        reply = appliance.request(method, path, token=token)
        assert (reply.status, b"name" in reply.body) == (403, False)
    assert appliance.request("LIST", "secret/metadata/hidden", token=token).json["data"] == {"keys": ["name"]}


# --- from 1 to 2 ----------------------------------------------------------------------------------------------------


def test_a_mount_is_upgraded_in_place(appliance: Appliance, v1: KvV1, v2: KvV2) -> None:
    """Every worker serves version 2 at its next request, and what was stored is version 1 of each secret."""
    client, where = appliance.client(), {"mount_point": "grows"}
    client.sys.enable_secrets_engine("kv", path="grows", options={"version": "1"})
    for number in range(20):
        v1.create_or_update_secret(f"folder/{number}", {"n": number, "large": "x" * 1500 * number}, **where)
    client.sys.tune_mount_configuration("grows", options={"version": "2"})
    replies = [appliance.request("GET", f"grows/data/folder/{number}") for number in range(20)]
    assert [reply.json["data"]["data"]["n"] for reply in replies] == list(range(20))
    assert {reply.json["data"]["metadata"]["version"] for reply in replies} == {1}
    assert everywhere(appliance, "GET", "grows/folder/1").status == 404
    assert client.sys.list_mounted_secrets_engines()["data"]["grows/"]["options"] == {"version": "2"}
    assert data(v2.create_or_update_secret("folder/7", {"n": "new"}, cas=1, **where))["version"] == 2
    for version in ("1", "3", ""):
        with pytest.raises(hvac.exceptions.InvalidRequest, match="version"):
            client.sys.tune_mount_configuration("grows", options={"version": version})
    assert data(v2.read_secret_version("folder/7", **QUIET, **where))["data"] == {"n": "new"}


def test_a_version_that_there_is_none_of_is_not_mounted(appliance: Appliance) -> None:
    with pytest.raises(hvac.exceptions.InvalidRequest, match="versions 1 and 2"):
        appliance.client().sys.enable_secrets_engine("kv", path="odd", options={"version": "3"})


def test_no_call_of_hvac_was_left_out() -> None:
    """A new method is a new test here."""
    source = inspect.getsource(inspect.getmodule(test_no_call_of_hvac_was_left_out) or inspect)
    for engine, name in ((KvV1, "v1"), (KvV2, "v2")):
        calls = {call for call, _ in inspect.getmembers(engine, inspect.isfunction) if not call.startswith("_")}
        assert {call for call in calls if f"{name}.{call}(" not in source} == set()
