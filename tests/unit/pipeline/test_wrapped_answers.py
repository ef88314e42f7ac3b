"""Which answers are wrapped, and which requests are refused before anything is done for them."""

from __future__ import annotations

import pytest

from appliance.access.wrapping import MAX_TTL
from tests.unit.pipeline.rig import Rig

WRAPPED = {"X-Vault-Wrap-TTL": "60"}


async def accessors(rig: Rig) -> list[str]:
    return list((await rig.call("LIST", "auth/token/accessors")).json["data"]["keys"])


async def test_a_ttl_beyond_the_longest_is_refused_before_anything_is_made(rig: Rig) -> None:
    before = await accessors(rig)
    headers = {"X-Vault-Wrap-TTL": str(MAX_TTL + 1)}
    reply = await rig.call("POST", "auth/token/create", {}, headers=headers)
    assert (reply.status, await accessors(rig)) == (400, before)


@pytest.mark.parametrize("path", ["sys/internal/ui/mounts", "sys/generate-root/attempt", "shelf/raw"])
async def test_who_shows_no_token_has_nothing_wrapped(rig: Rig, path: str) -> None:
    """Anybody could fill the store with answers that are kept for weeks."""
    before = await accessors(rig)
    reply = await rig.call("GET", path, token="", headers=WRAPPED)
    assert (reply.status, await accessors(rig)) == (400, before)
    assert "wrapped" in reply.errors[0]


async def test_a_login_is_wrapped(rig: Rig) -> None:
    assert (await rig.call("POST", "sys/auth/userpass", {"type": "userpass"})).status == 204
    assert (await rig.call("POST", "auth/userpass/users/bob", {"password": "correct horse"})).status == 204
    reply = await rig.call("POST", "auth/userpass/login/bob", {"password": "correct horse"}, token="", headers=WRAPPED)
    assert (reply.status, reply.json["auth"]) == (200, None)
    opened = await rig.call("POST", "sys/wrapping/unwrap", {}, token=reply.json["wrap_info"]["token"])
    assert opened.json["auth"]["metadata"] == {"username": "bob"}


async def test_a_raw_answer_is_not_given_open_to_who_wants_it_wrapped(rig: Rig) -> None:
    reply = await rig.call("GET", "sys/metrics?format=prometheus", headers=WRAPPED)
    assert reply.status == 400
    assert "wrapped" in reply.errors[0]


@pytest.mark.parametrize("operation", ["lookup", "unwrap"])
async def test_wrapping_itself_answers_in_the_open(rig: Rig, operation: str) -> None:
    made = await rig.call("POST", "sys/wrapping/wrap", {"a": "b"})
    token = made.json["wrap_info"]["token"]
    reply = await rig.call("POST", f"sys/wrapping/{operation}", {"token": token}, headers=WRAPPED)
    assert reply.status == 200
    assert reply.json["data"]


async def test_no_login_can_forge_a_wrapping_token(rig: Rig) -> None:
    """Its owner could write any answer into its cubbyhole, and pass it off as one that Mimir had wrapped."""
    await rig.call("POST", "sys/auth/userpass", {"type": "userpass"})
    fields = {"password": "correct horse", "token_policies": ["Response-Wrapping "], "token_no_default_policy": True}
    written = await rig.call("POST", "auth/userpass/users/mallory", fields)
    reply = await rig.call("POST", "auth/userpass/login/mallory", {"password": "correct horse"}, token="")
    assert written.status == 400 or reply.status == 400
