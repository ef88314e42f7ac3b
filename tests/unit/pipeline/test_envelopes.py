"""Vault's envelope, to the byte where clients care."""

import json

import msgspec
import pytest

from appliance import envelope
from core.requests import NO_CONTENT, AuthGrant, LeaseGrant, RawBody, Response

ID = "01234567-89ab-4def-8123-456789abcdef"
MEMBERS = [
    "request_id",
    "lease_id",
    "renewable",
    "lease_duration",
    "data",
    "wrap_info",
    "warnings",
    "auth",
    "mount_type",
]


def _json(response: Response) -> dict[str, object]:
    reply = envelope.reply(response, request_id=ID, mount_type="kv")
    assert reply.status == 200
    assert reply.content_type == "application/json"
    return json.loads(reply.body)


def test_template_is_the_full_envelope() -> None:
    """The quick way and the thorough way write the same."""
    data = {"a": 'quote " and ünïcode', "n": 1, "none": None, "list": [1, 2.5, True]}
    quick = _json(Response(data=data))
    thorough = _json(Response(data=data, lease=LeaseGrant()))
    assert quick == thorough
    assert list(quick) == list(thorough) == MEMBERS


@pytest.mark.parametrize("response", [NO_CONTENT, Response(), Response(warnings=[])])
def test_nothing_is_204(response: Response) -> None:
    reply = envelope.reply(response, request_id=ID, mount_type="kv")
    assert (reply.status, reply.body) == (204, b"")


def test_empty_data_is_200() -> None:
    assert _json(Response(data={}))["data"] == {}


def test_warning_alone_is_200() -> None:
    assert _json(Response(warnings=["w"]))["warnings"] == ["w"]


def test_data_is_repeated_but_hides_no_member() -> None:
    body = _json(Response(data={"x/": 1, "request_id": "forged", "data": 7}, repeat_data=True))
    assert (body["x/"], body["request_id"]) == (1, ID)
    assert body["data"] == {"x/": 1, "request_id": "forged", "data": 7}


def test_lease() -> None:
    body = _json(Response(data={"a": 1}, lease=LeaseGrant(lease_id="kv/a/1", ttl=3600, renewable=True)))
    assert (body["lease_id"], body["lease_duration"], body["renewable"]) == ("kv/a/1", 3600, True)


def test_auth() -> None:
    grant = AuthGrant(client_token="hvs.x", accessor="a", policies=["b", "a"], token_policies=["b", "a"])
    auth = msgspec.convert(_json(Response(auth=grant))["auth"], dict)
    assert auth["policies"] == ["a", "b"]
    assert set(auth) == {
        *("client_token", "accessor", "policies", "token_policies", "identity_policies", "metadata", "num_uses"),
        *("lease_duration", "renewable", "entity_id", "token_type", "orphan", "mfa_requirement"),
    }


def test_raw() -> None:
    reply = envelope.reply(Response(raw=RawBody(body=b"x", content_type="text/plain")), request_id=ID, mount_type="")
    assert (reply.status, reply.body, reply.content_type) == (200, b"x", "text/plain")


def test_status_that_the_engine_chose() -> None:
    assert envelope.reply(Response(status=202), request_id=ID, mount_type="").status == 202
    assert envelope.reply(Response(data={}, status=404), request_id=ID, mount_type="").status == 404


def test_what_json_cannot_hold_is_our_bug() -> None:
    with pytest.raises(TypeError):
        envelope.reply(Response(data={"a": object()}), request_id=ID, mount_type="")
