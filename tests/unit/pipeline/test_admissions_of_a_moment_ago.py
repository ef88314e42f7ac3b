"""What was admitted a moment ago is admitted again without a look, and never when a look would have refused it."""

from __future__ import annotations

import pytest

from tests.unit.pipeline.rig import MakeRig, Rig, wire

READ = 'path "shelf/*" { capabilities = ["read", "update"] }'


@pytest.fixture
async def shelf(rig: Rig) -> Rig:
    return rig


async def echo(rig: Rig, token: str) -> int:
    return (await rig.call("POST", "shelf/echo", {}, token=token)).status


def noted(rig: Rig) -> int:
    return len(rig.made.pipeline._admissions._known)


async def test_the_second_request_asks_no_policy(shelf: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    token = await shelf.child(READ)
    assert await echo(shelf, token) == 200
    assert noted(shelf) == 1
    monkeypatch.setattr(shelf.made.policies, "peek_acl", None)
    monkeypatch.setattr(shelf.made.tokens, "peek", None)
    assert await echo(shelf, token) == 200


async def test_a_revoked_token_is_refused(shelf: Rig) -> None:
    token = await shelf.child(READ)
    assert [await echo(shelf, token) for _ in range(3)] == [200] * 3
    await shelf.call("POST", "auth/token/revoke", {"token": token})
    assert await echo(shelf, token) == 403


async def test_a_token_revoked_by_another_worker_is_refused(shelf: Rig, make: MakeRig) -> None:
    token = await shelf.child(READ)
    assert [await echo(shelf, token) for _ in range(3)] == [200] * 3
    other = await make()
    await other.call("POST", "auth/token/revoke", {"token": token}, token=shelf.root_token)
    assert await echo(shelf, token) == 403


async def test_a_narrowed_policy_is_followed(shelf: Rig) -> None:
    token = await shelf.child(READ)
    assert [await echo(shelf, token) for _ in range(3)] == [200] * 3
    await shelf.call("PUT", "sys/policies/acl/child", {"policy": 'path "shelf/*" { capabilities = ["read"] }'})
    assert await echo(shelf, token) == 403


async def test_an_expired_token_is_refused(shelf: Rig) -> None:
    await shelf.call("PUT", "sys/policies/acl/reader", {"policy": READ})
    made = await shelf.call("POST", "auth/token/create", {"policies": ["reader"], "ttl": "60s"})
    token = made.json["auth"]["client_token"]
    assert [await echo(shelf, token) for _ in range(3)] == [200] * 3
    shelf.clock.advance(59)
    assert await echo(shelf, token) == 200
    shelf.clock.advance(1)
    assert await echo(shelf, token) == 403


async def test_a_child_of_an_expired_parent_is_refused(shelf: Rig) -> None:
    await shelf.call("PUT", "sys/policies/acl/reader", {"policy": READ})
    maker = 'path "auth/token/create" { capabilities = ["update"] } ' + READ
    await shelf.call("PUT", "sys/policies/acl/maker", {"policy": maker})
    made = await shelf.call("POST", "auth/token/create", {"policies": ["maker", "reader"], "ttl": "60s"})
    parent = made.json["auth"]["client_token"]
    made = await shelf.call("POST", "auth/token/create", {"policies": ["reader"], "ttl": "10h"}, token=parent)
    token = made.json["auth"]["client_token"]
    assert [await echo(shelf, token) for _ in range(3)] == [200] * 3
    shelf.clock.advance(61)
    assert await echo(shelf, token) == 403


async def test_a_token_of_limited_uses_is_counted(shelf: Rig) -> None:
    await shelf.call("PUT", "sys/policies/acl/reader", {"policy": READ})
    made = await shelf.call("POST", "auth/token/create", {"policies": ["reader"], "num_uses": 3})
    token = made.json["auth"]["client_token"]
    assert [await echo(shelf, token) for _ in range(5)] == [200, 200, 200, 403, 403]


async def test_nothing_survives_a_seal(shelf: Rig) -> None:
    token = await shelf.child(READ)
    assert [await echo(shelf, token) for _ in range(3)] == [200] * 3
    await shelf.call("PUT", "sys/seal")
    assert await echo(shelf, token) == 503
    assert noted(shelf) == 0
    for key in shelf.init["recovery_keys"]:
        await shelf.call("PUT", "sys/unseal", {"key": key}, token="")
    assert await echo(shelf, token) == 200
    assert not shelf.shelves[-1].closed


async def test_an_unmounted_engine_is_not_reached(shelf: Rig) -> None:
    assert [await echo(shelf, shelf.root_token) for _ in range(3)] == [200] * 3
    await shelf.call("DELETE", "sys/mounts/shelf")
    assert await echo(shelf, shelf.root_token) == 404
    await shelf.call("POST", "sys/mounts/shelf", {"type": "shelf"})
    assert await echo(shelf, shelf.root_token) == 200
    assert len(shelf.shelves) == 2


async def test_refusals_and_writes_are_looked_at_each_time(shelf: Rig) -> None:
    token = await shelf.child('path "shelf/keys/*" { capabilities = ["read"] }')
    assert [await echo(shelf, token) for _ in range(2)] == [403] * 2
    await shelf.call("POST", "shelf/keys/x", {"a": 1})
    before = noted(shelf)
    await shelf.call("POST", "shelf/keys/x", {"a": 2})
    assert noted(shelf) == before == 0
    assert [(await shelf.call("GET", "shelf/keys/x", token=token)).status for _ in range(2)] == [200] * 2
    assert noted(shelf) == 1


async def test_another_token_path_or_operation_is_another_matter(shelf: Rig) -> None:
    token = await shelf.child(READ)
    assert await echo(shelf, token) == 200
    assert (await shelf.call("GET", "shelf/echo", token=token)).status == 405
    assert (await shelf.call("POST", "shelf/echo/", {}, token=token)).status in (200, 404)
    assert (await shelf.call("POST", "shelf/echo", {}, token=token + "x")).status == 403
    assert (await shelf.call("POST", "shelf/echo", {}, token="")).status == 403


async def test_what_is_remembered_is_audited_all_the_same(shelf: Rig) -> None:
    await shelf.audited()
    token = await shelf.child(READ)
    for _ in range(3):
        await echo(shelf, token)
    served = [line for line in shelf.records() if line["request"]["path"] == "shelf/echo"]
    assert [line["type"] for line in served] == ["request", "response"] * 3
    assert {line["auth"]["accessor"] for line in served} == {served[0]["auth"]["accessor"]}


async def test_a_namespace_that_does_not_exist_is_told_each_time(shelf: Rig) -> None:
    """Its name and the path make a path that was admitted a moment ago."""
    assert [(await shelf.call("POST", "shelf/echo", {})).status for _ in range(3)] == [200] * 3
    assert noted(shelf) == 1
    headers = {"X-Vault-Namespace": "shelf"}
    assert (await shelf.call("POST", "echo", {}, headers=headers)).status == 404


async def test_the_namespace_may_stand_in_the_header_or_in_the_path(shelf: Rig) -> None:
    await shelf.call("POST", "sys/namespaces/team-a", {})
    headers = {"X-Vault-Namespace": "team-a"}
    await shelf.call("POST", "sys/mounts/shelf", {"type": "shelf"}, headers=headers)
    assert [(await shelf.call("POST", "team-a/shelf/echo", {})).status for _ in range(3)] == [200] * 3
    assert (await shelf.call("POST", "shelf/echo", {}, headers=headers)).status == 200
    assert noted(shelf) == 1


CONDITIONAL = 'path "shelf/*" { capabilities = ["update"] source_cidrs = ["10.0.0.0/8"] }'


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "identity/entity/id/{entity}", {"disabled": True}),
        ("POST", "identity/entity/id/{entity}", {"policies": []}),
        ("DELETE", "identity/entity/id/{entity}", None),
        ("DELETE", "sys/auth/userpass", None),
        ("PUT", "sys/policies/acl/reader", {"policy": CONDITIONAL}),
    ],
)
async def test_what_another_worker_takes_from_who_logged_in_is_gone(
    shelf: Rig, make: MakeRig, method: str, path: str, body: object
) -> None:
    await shelf.call("PUT", "sys/policies/acl/reader", {"policy": READ})
    await shelf.call("POST", "sys/auth/userpass", {"type": "userpass"})
    await shelf.call("POST", "auth/userpass/users/bob", {"password": "correct horse", "token_type": "batch"})
    login = await shelf.call("POST", "auth/userpass/login/bob", {"password": "correct horse"}, token="")
    token, entity = login.json["auth"]["client_token"], login.json["auth"]["entity_id"]
    await shelf.call("POST", f"identity/entity/id/{entity}", {"policies": ["reader"]})
    assert [await echo(shelf, token) for _ in range(3)] == [200] * 3
    assert noted(shelf) == 1
    other = await make()
    taken = await other.call(method, path.format(entity=entity), body, token=shelf.root_token)
    assert taken.status == 204, taken.body
    assert await echo(shelf, token) == 403


async def test_records_of_repeated_requests_are_each_requests_own(shelf: Rig) -> None:
    """One is made from the one before: id, data and address must not be."""
    await shelf.audited()
    before = len(shelf.records())
    asked = [({"word": "one"}, "192.0.2.1"), ({"word": "two"}, "192.0.2.2"), ({}, "192.0.2.1"), ({"n": 1}, "192.0.2.2")]
    for data, address in asked:
        request = wire("POST", "shelf/echo", data, token=shelf.root_token)
        request.client_address = address
        assert (await shelf.made.pipeline.handle(request)).status == 200
    records = [record["request"] for record in shelf.records()[before:]]
    assert [record["remote_address"] for record in records[::2]] == [address for _, address in asked]
    assert [sorted(record.get("data", {})) for record in records[::2]] == [sorted(data) for data, _ in asked]
    assert records[0]["data"]["word"] != records[2]["data"]["word"]
    assert len({record["id"] for record in records}) == len(asked)
    assert records[::2] == records[1::2]
