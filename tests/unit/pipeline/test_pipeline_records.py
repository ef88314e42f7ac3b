"""No audit record, no response; nothing half-recorded when a client goes away; draining."""

import asyncio

import pytest

from core.errors import NotFoundError
from tests.unit.pipeline.rig import MakeRig, Rig, wire


def _pairs(records: list[dict[str, object]]) -> list[tuple[object, object]]:
    return [(record["type"], record.get("error", "")) for record in records]


async def test_every_answer_has_two_records(rig: Rig) -> None:
    await rig.audited()
    before = len(rig.records())
    await rig.call("PUT", "shelf/keys/a", {"x": "secret-value"})
    await rig.call("GET", "shelf/keys/a")
    records = rig.records()[before:]
    assert [record["type"] for record in records] == ["request", "response"] * 2
    assert {record["request"]["path"] for record in records} == {"shelf/keys/a"}
    assert [record["request"]["operation"] for record in records[::2]] == ["update", "read"]
    text = (rig.directory / "audit.log").read_text()
    assert "secret-value" not in text
    assert rig.root_token not in text


async def test_refusals_are_recorded(rig: Rig) -> None:
    token = await rig.child('path "x" { capabilities = ["read"] }')
    await rig.audited()
    before = len(rig.records())
    for used in (token, "hvs.unknown", ""):
        assert (await rig.call("GET", "shelf/keys/a", token=used)).status == 403
    await rig.call("GET", "nowhere/x")
    await rig.call("POST", "shelf/echo", {"count": "many"})
    pairs = _pairs(rig.records()[before:])
    assert pairs[:6] == [("request", "permission denied"), ("response", "permission denied")] * 3
    assert pairs[6][1] == pairs[7][1] != ""
    assert (pairs[8], pairs[9][0]) == (("request", ""), "response")
    assert "count" in str(pairs[9][1])


async def test_error_of_an_engine_is_recorded(rig: Rig) -> None:
    await rig.audited()
    rig.shelves[0].trouble = NotFoundError("no key of that name")
    await rig.call("GET", "shelf/keys/a")
    assert _pairs(rig.records()[-2:]) == [("request", ""), ("response", "no key of that name")]


async def test_a_write_is_on_record_before_it_happens(rig: Rig) -> None:
    await rig.audited()
    shelf = rig.shelves[0]
    shelf.gate = asyncio.Event()
    before = len(rig.records())
    call = asyncio.create_task(rig.call("PUT", "shelf/keys/a", {"x": 1}))
    await shelf.entered.wait()
    assert [record["type"] for record in rig.records()[before:]] == ["request"]
    shelf.gate.set()
    await call


async def test_client_that_leaves_during_a_read(rig: Rig) -> None:
    await rig.audited()
    shelf = rig.shelves[0]
    shelf.gate = asyncio.Event()
    before = len(rig.records())
    call = asyncio.create_task(rig.call("GET", "shelf/keys/a"))
    await shelf.entered.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await rig.trail.flush()
    assert _pairs(rig.records()[before:]) == [
        ("request", ""),
        ("response", "the client went away before the answer"),
    ]
    assert rig.made.pipeline.in_flight == 0


async def test_client_that_leaves_during_a_write(rig: Rig) -> None:
    """The write is finished and recorded as what it was."""
    await rig.audited()
    shelf = rig.shelves[0]
    shelf.gate = asyncio.Event()
    before = len(rig.records())
    call = asyncio.create_task(rig.call("PUT", "shelf/keys/a", {"x": 1}))
    await shelf.entered.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    shelf.gate.set()
    await rig.made.pipeline.drain()
    assert _pairs(rig.records()[before:]) == [("request", ""), ("response", "")]
    shelf.gate = None
    assert (await rig.call("GET", "shelf/keys/a")).json["data"] == {"x": 1}


async def test_drain_waits_for_requests(rig: Rig) -> None:
    shelf = rig.shelves[0]
    shelf.gate = asyncio.Event()
    call = asyncio.create_task(rig.call("GET", "shelf/keys/a"))
    await shelf.entered.wait()
    draining = asyncio.create_task(rig.made.pipeline.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    assert rig.made.pipeline.in_flight == 1
    shelf.gate.set()
    await draining
    assert (await call).status == 404
    await rig.made.pipeline.drain()


async def test_device_of_another_worker_is_followed(rig: Rig, make: MakeRig) -> None:
    other = await make()
    await other.call("GET", "sys/mounts", token=rig.root_token)
    await rig.audited()
    before = len(rig.records())
    await other.call("GET", "shelf/keys/a", token=rig.root_token)
    assert len(rig.records()) == before + 2


async def test_request_ids_differ(rig: Rig) -> None:
    replies = [(await rig.call("GET", "sys/key-status")).json["request_id"] for _ in range(3)]
    assert len(set(replies)) == 3


async def test_auth_block_of_a_new_token(rig: Rig) -> None:
    auth = (await rig.call("POST", "auth/token/create", {"policies": ["b", "a"], "ttl": "1h"})).json["auth"]
    assert auth["policies"] == ["a", "b", "default"]
    assert (auth["lease_duration"], auth["mfa_requirement"], auth["token_type"]) == (3600, None, "service")
    assert isinstance(auth["lease_duration"], int)


async def test_odd_headers_do_not_hurt(rig: Rig) -> None:
    headers = {"X-Vault-Request": "true", "X-Vault-Index": "x", "X-Vault-No-Request-Forwarding": "1"}
    assert (await rig.call("GET", "sys/mounts", headers=headers)).status == 200
    request = wire("GET", "sys/mounts", token=rig.root_token)
    assert (await rig.made.pipeline.handle(request)).content_type == "application/json"
