"""What arrives broken is answered by a 4xx with a sentence, on a real socket."""

import json

import pytest

from tests.support.appliance import Appliance

STORE = "development-sqlite"  # of the fixture `appliance`

PATH = "transit/encrypt/orders"
DEEP = b'{"a":' * 5000 + b"1" + b"}" * 5000

BODIES = [
    (b"{", 400),
    (b"[]", 400),
    (b"7", 400),
    (b'"x"', 400),
    (b'{"plaintext": "YQ==",}', 400),
    (b'{"plaintext": "\xff\xfe"}', 400),
    (b'{"plaintext": NaN}', 400),
    (b'{"plaintext": 1e999}', 400),
    (b"\x00\x01\x02", 400),
    (DEEP, 400),
    (b'{"plaintext": "\\ud800"}', 400),
    (b'{"plaintext": {"a": 1}}', 400),
    (b'{"plaintext": ["YQ=="]}', 400),
    (b'{"plaintext": true}', 400),
]


@pytest.mark.parametrize(("body", "status"), BODIES)
def test_malformed_bodies(appliance: Appliance, body: bytes, status: int) -> None:
    reply = appliance.request("POST", PATH, raw=body)
    assert reply.status == status, reply.body[:300]
    assert len(reply.errors[0]) > 8
    assert b"Traceback" not in reply.body


def test_oversized_body(appliance: Appliance) -> None:
    reply = appliance.request("POST", PATH, raw=b'{"plaintext": "' + b"A" * (33 * 1024 * 1024) + b'"}')
    assert reply.status == 413
    assert reply.errors


def test_payload_over_the_hsm_cap(appliance: Appliance) -> None:
    reply = appliance.request("POST", PATH, {"plaintext": "QUFB" * (700 * 1024)})
    assert reply.status in (400, 413)
    assert "1 MiB" in reply.errors[0] or "1048576" in reply.errors[0]


def test_unknown_fields_are_ignored(appliance: Appliance) -> None:
    assert appliance.request("POST", PATH, {"plaintext": "YQ==", "colour": "blue"}).status == 200


@pytest.mark.parametrize("body", [b"", b"null", b"{}"])
def test_empty_bodies_are_accepted_where_none_is_needed(appliance: Appliance, body: bytes) -> None:
    assert appliance.request("POST", "transit/keys/orders", raw=body).status in (200, 204)


def test_form_encoding(appliance: Appliance) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert appliance.request("POST", PATH, raw=b"plaintext=YQ%3D%3D", headers=headers).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PATCH", "transit/keys/orders", {405, 415}),
        ("GET", "transit/encrypt/orders", {405}),
        ("DELETE", "transit/encrypt/orders", {405}),
        ("GET", "transit/keys?list=maybe", {400}),
        ("GET", "nowhere/x", {404}),
        ("GET", "", {404}),
        ("OPTIONS", "sys/health", {200, 204, 400, 403, 404, 405}),
        ("BREW", "sys/health", {400, 405, 501}),
    ],
)
def test_methods_and_paths(appliance: Appliance, method: str, path: str, status: set[int]) -> None:
    reply = appliance.request(method, path)
    assert reply.status in status, reply.body
    if reply.status >= 400:
        assert "errors" in json.loads(reply.body or b'{"errors":[]}')


def test_two_different_tokens(appliance: Appliance) -> None:
    reply = appliance.request("GET", "sys/mounts", headers={"X-Mimir-Token": "hvs.other"})
    assert reply.status in (400, 403)


@pytest.mark.parametrize("header", ["X-Mimir-Token", "Authorization"])
def test_other_token_headers(appliance: Appliance, header: str) -> None:
    value = appliance.root_token if header == "X-Mimir-Token" else f"Bearer {appliance.root_token}"
    assert appliance.request("GET", "sys/mounts", token=None, headers={header: value}).status == 200


def test_no_refusal_left_a_traceback_in_the_log(appliance: Appliance) -> None:
    """Runs last in this module, after all of the above."""
    assert "Traceback" not in appliance.log
