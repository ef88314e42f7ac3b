"""approle: secret ids are issued, looked up, destroyed, and removed when their time is over."""

import json
from typing import Any

import pytest

from core.errors import InvalidRequestError, NotFoundError, UnsupportedPathError
from core.requests import NO_CONTENT
from tests.unit.auth.login_mount import MAX_LEASE_TTL, ApproleMount


async def rows(approle: ApproleMount) -> list[str]:
    """Every path that tells of a secret id."""
    return [path for path in approle.storage._state.entries if "/role" not in path and not path.endswith("/key")]


async def test_an_issued_secret_id_has_what_the_role_says(approle: ApproleMount) -> None:
    await approle.role(secret_id_num_uses=3, secret_id_ttl="10m")
    data = (await approle.write("role/web/secret-id")).data
    assert (data["secret_id_num_uses"], data["secret_id_ttl"]) == (3, 600)
    assert data["secret_id"] != data["secret_id_accessor"]
    assert await approle.list("role/web/secret-id") == [data["secret_id_accessor"]]


async def test_nothing_stored_holds_the_secret_id(approle: ApproleMount) -> None:
    await approle.role()
    secret_id = await approle.secret_id()
    stored = b"".join(path.encode() + entry.value for path, entry in approle.storage._state.entries.items())
    assert secret_id.encode() not in stored


async def test_it_is_looked_up_by_itself_and_by_its_accessor(approle: ApproleMount) -> None:
    await approle.role()
    issued = (await approle.write("role/web/secret-id", metadata='{"tag": "blue"}', cidr_list="10.0.0.0/8")).data
    shown = (await approle.write("role/web/secret-id/lookup", secret_id=issued["secret_id"])).data
    assert shown == {
        "cidr_list": ["10.0.0.0/8"],
        "creation_time": "2027-01-15T08:00:00.000000Z",
        "expiration_time": "0001-01-01T00:00:00Z",
        "last_updated_time": "2027-01-15T08:00:00.000000Z",
        "metadata": {"tag": "blue"},
        "secret_id_accessor": issued["secret_id_accessor"],
        "secret_id_num_uses": 0,
        "secret_id_ttl": 0,
        "token_bound_cidrs": [],
    }
    by_accessor = await approle.write(
        "role/web/secret-id-accessor/lookup", secret_id_accessor=issued["secret_id_accessor"]
    )
    assert by_accessor.data == shown


@pytest.mark.parametrize("way", ["write", "delete"])
async def test_destroyed_by_itself_or_by_its_accessor_it_leaves_nothing(approle: ApproleMount, way: str) -> None:
    await approle.role(secret_id_ttl=60)
    call = approle.write if way == "write" else approle.delete
    secret_id = await approle.secret_id()
    await call("role/web/secret-id/destroy", {"secret_id": secret_id})
    issued = (await approle.write("role/web/secret-id")).data
    await call("role/web/secret-id-accessor/destroy", {"secret_id_accessor": issued["secret_id_accessor"]})
    assert await rows(approle) == []
    with pytest.raises(NotFoundError):
        await approle.list("role/web/secret-id")


async def test_what_is_not_there_is_told_as_vault_tells_it(approle: ApproleMount) -> None:
    await approle.role()
    assert await approle.write("role/web/secret-id/lookup", secret_id="none") == NO_CONTENT
    assert await approle.write("role/web/secret-id/destroy", secret_id="none") == NO_CONTENT
    for verb in ("lookup", "destroy"):
        with pytest.raises(NotFoundError, match="failed to find accessor entry"):
            await approle.write(f"role/web/secret-id-accessor/{verb}", secret_id_accessor="none")


async def test_one_roles_secret_ids_are_not_anothers(approle: ApproleMount) -> None:
    await approle.role("a")
    await approle.role("b")
    issued = (await approle.write("role/a/secret-id")).data
    assert await approle.write("role/b/secret-id/lookup", secret_id=issued["secret_id"]) == NO_CONTENT
    with pytest.raises(NotFoundError):
        await approle.write("role/b/secret-id-accessor/destroy", secret_id_accessor=issued["secret_id_accessor"])


@pytest.mark.parametrize("accessor", ["../a", "a/b", "\x00", "a" * 300])
async def test_an_accessor_leads_to_no_other_path(approle: ApproleMount, accessor: str) -> None:
    await approle.role()
    with pytest.raises(NotFoundError):
        await approle.write("role/web/secret-id-accessor/lookup", secret_id_accessor=accessor)


@pytest.mark.parametrize(
    ("path", "data", "sentence"),
    [
        ("custom-secret-id", {}, "missing secret_id"),
        ("custom-secret-id", {"secret_id": "a" * 1025}, "1024"),
        ("secret-id/lookup", {}, "missing secret_id"),
        ("secret-id/destroy", {}, "missing secret_id"),
        ("secret-id-accessor/lookup", {}, "missing secret_id_accessor"),
        ("secret-id", {"num_uses": -1}, "num_uses cannot be negative"),
        ("secret-id", {"num_uses": 0}, "num_uses cannot be higher"),
        ("secret-id", {"num_uses": 4}, "num_uses cannot be higher"),
        ("secret-id", {"ttl": 0}, "ttl cannot be longer"),
        ("secret-id", {"ttl": "11m"}, "ttl cannot be longer"),
        ("secret-id", {"cidr_list": "11.0.0.0/8"}, "subset"),
        ("secret-id", {"cidr_list": "10.0.0.0/7"}, "subset"),
        ("secret-id", {"cidr_list": "::/0"}, "subset"),
        ("secret-id", {"cidr_list": "here"}, "cidr_list"),
        ("secret-id", {"token_bound_cidrs": "0.0.0.0/0"}, "subset"),
        ("secret-id", {"metadata": "{"}, "metadata"),
        ("secret-id", {"metadata": '{"a": 1}'}, "metadata"),
        ("secret-id", {"metadata": {"a": {"b": "c"}}}, "metadata"),
        ("secret-id", {"metadata": '{"a":' * 5000}, "metadata"),
        ("secret-id", {"metadata": {"a": "b" * 4097}}, "4096"),
    ],
)
async def test_what_the_role_does_not_give_is_refused(
    approle: ApproleMount, path: str, data: dict[str, Any], sentence: str
) -> None:
    await approle.role(
        secret_id_num_uses=3, secret_id_ttl="10m", secret_id_bound_cidrs="10.0.0.0/8", token_bound_cidrs="10.0.0.0/16"
    )
    with pytest.raises(InvalidRequestError, match=sentence):
        await approle.write(f"role/web/{path}", data)
    assert await rows(approle) == []


async def test_no_secret_id_without_a_role_or_without_its_wish(approle: ApproleMount) -> None:
    with pytest.raises(UnsupportedPathError):
        await approle.write("role/web/secret-id")
    with pytest.raises(InvalidRequestError, match="does not exist"):
        await approle.list("role/web/secret-id")
    await approle.role(bind_secret_id=False, token_bound_cidrs="10.0.0.0/8")
    with pytest.raises(InvalidRequestError, match="bind_secret_id is not set"):
        await approle.write("role/web/secret-id")


@pytest.mark.parametrize(
    "metadata",
    ['{"team": "core"}', {"team": "core"}, "team=core", " team = core ", "eyJ0ZWFtIjogImNvcmUifQ=="],
    ids=["json", "object", "pairs", "blanks", "base64"],
)
async def test_metadata_comes_in_every_form_that_vault_takes(approle: ApproleMount, metadata: Any) -> None:
    role_id = await approle.role()
    login = await approle.login(role_id, await approle.secret_id(metadata=metadata))
    assert login.metadata == {"team": "core", "role_name": "web"}


async def test_metadata_cannot_name_another_role(approle: ApproleMount) -> None:
    role_id = await approle.role()
    secret_id = await approle.secret_id(metadata=json.dumps({"role_name": "admin"}))
    assert (await approle.login(role_id, secret_id)).metadata == {"role_name": "web"}


async def test_a_custom_secret_id_logs_in_and_cannot_be_assigned_twice(approle: ApproleMount) -> None:
    role_id = await approle.role()
    assert (await approle.write("role/web/custom-secret-id", secret_id="mine")).data["secret_id"] == "mine"
    await approle.login(role_id, "mine")
    with pytest.raises(InvalidRequestError, match="already registered"):
        await approle.write("role/web/custom-secret-id", secret_id="mine")


async def test_a_ttl_ends_at_the_mounts_maximum(approle: ApproleMount) -> None:
    await approle.role(secret_id_ttl="9000h")
    assert (await approle.write("role/web/secret-id")).data["secret_id_ttl"] == MAX_LEASE_TTL


async def test_tidy_removes_what_has_expired_and_nothing_else(approle: ApproleMount) -> None:
    role_id = await approle.role()
    short = await approle.secret_id(ttl=60)
    long, endless = await approle.secret_id(ttl=600), await approle.secret_id()
    approle.clock.advance(60)
    response = await approle.write("tidy/secret-id")
    assert (response.status, response.warnings) == (
        202,
        ["Tidy operation finished: 1 expired secret ids were removed."],
    )
    assert len(await approle.list("role/web/secret-id")) == 2
    assert await approle.write("role/web/secret-id/lookup", secret_id=short) == NO_CONTENT
    for secret_id in (long, endless):
        await approle.login(role_id, secret_id)


async def test_a_new_secret_id_takes_expired_ones_away(approle: ApproleMount) -> None:
    await approle.role()
    for _ in range(30):
        await approle.secret_id(ttl=60)
    approle.clock.advance(60)
    for _ in range(2):
        await approle.secret_id()
    assert len(await approle.list("role/web/secret-id")) == 2


async def test_tidy_after_a_role_was_deleted_finds_nothing_to_fail_at(approle: ApproleMount) -> None:
    await approle.role()
    await approle.secret_id(ttl=60)
    await approle.delete("role/web")
    approle.clock.advance(60)
    await approle.write("tidy/secret-id")
    assert await rows(approle) == []


async def test_many_expired_ones_go_in_batches(approle: ApproleMount) -> None:
    await approle.role()
    for second in range(450):
        await approle.secret_id(ttl=1000 + second % 7)
    approle.clock.advance(2000)
    assert "450 expired" in (await approle.write("tidy/secret-id")).warnings[0]
    assert await rows(approle) == []
