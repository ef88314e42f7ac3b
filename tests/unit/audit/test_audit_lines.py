"""The JSON of a record: Vault's members, and no secret in clear."""

import json
import re

from audit.hashing import Hasher
from audit.lines import LineFormat
from audit.records import AuditAuth, AuditRequest, AuditResponse
from core.secret import Secret

hasher = Hasher(Secret(b"k" * 32))
NOW = 1_800_000_000.25


def _format(**options: bool) -> LineFormat:
    return LineFormat(hasher, hmac_accessor=options.get("hmac_accessor", True))


def _request(**more: object) -> AuditRequest:
    members = {
        "request_id": "9d1a6c1e-0000-4000-8000-000000000000",
        "operation": "update",
        "path": "transit/encrypt/orders",
        "mount_point": "transit/",
        "mount_type": "transit",
        "mount_accessor": "transit_1",
        "client_token": "hvs.secret-token",
        "client_token_accessor": "acc-1",
        "data": {"plaintext": "c2VjcmV0", "key_version": 1},
        "remote_address": "127.0.0.1",
        "remote_port": 4000,
    }
    return AuditRequest(**(members | more))  # type: ignore[arg-type]


def _auth(**more: object) -> AuditAuth:
    members = {
        "client_token": "hvs.secret-token",
        "accessor": "acc-1",
        "display_name": "token",
        "policies": ("default", "orders"),
        "token_policies": ("default", "orders"),
        "token_type": "service",
        "token_ttl": 3600,
        "allowed": True,
        "granting_policies": ("orders",),
    }
    return AuditAuth(**(members | more))  # type: ignore[arg-type]


def _read(line: bytes) -> dict:
    assert b"\n" not in line
    return json.loads(line + b"}")


def test_a_request_has_vaults_members() -> None:
    line = _read(_format().request(NOW, _request(), _auth(), ""))
    assert list(line) == ["time", "type", "auth", "request"]
    assert line["type"] == "request"
    assert line["request"] == {
        "id": "9d1a6c1e-0000-4000-8000-000000000000",
        "operation": "update",
        "mount_point": "transit/",
        "mount_type": "transit",
        "mount_accessor": "transit_1",
        "client_token": hasher.text("hvs.secret-token"),
        "client_token_accessor": hasher.text("acc-1"),
        "namespace": {"id": "root"},
        "path": "transit/encrypt/orders",
        "data": {"plaintext": hasher.text("c2VjcmV0"), "key_version": 1},
        "remote_address": "127.0.0.1",
        "remote_port": 4000,
    }
    assert line["auth"] == {
        "client_token": hasher.text("hvs.secret-token"),
        "accessor": hasher.text("acc-1"),
        "display_name": "token",
        "policies": ["default", "orders"],
        "token_policies": ["default", "orders"],
        "policy_results": {
            "allowed": True,
            "granting_policies": [{"name": "orders", "namespace_id": "root", "type": "acl"}],
        },
        "token_type": "service",
        "token_ttl": 3600,
    }


def test_a_response_repeats_the_request_and_hashes_the_answer() -> None:
    form, request, auth = _format(), _request(), _auth()
    asked = _read(form.request(NOW, request, auth, ""))
    answer = AuditResponse(mount_type="transit", data={"ciphertext": "mimir:v1:AAAA", "key_version": 1}, lease_id="l/1")
    line = _read(form.response(NOW, request, auth, answer, ""))
    assert line["type"] == "response"
    assert line["request"] == asked["request"]
    assert line["auth"] == asked["auth"]
    assert line["response"] == {
        "mount_type": "transit",
        "secret": {"lease_id": "l/1"},
        "data": {"ciphertext": hasher.text("mimir:v1:AAAA"), "key_version": 1},
    }


def test_a_granted_token_is_hashed_in_the_response() -> None:
    answer = AuditResponse(auth=_auth(client_token="hvs.new", accessor="new-acc"))
    line = _format().response(NOW, _request(), _auth(), answer, "")
    assert b"hvs.new" not in line
    assert b"new-acc" not in line
    assert _read(line)["response"]["auth"]["client_token"] == hasher.text("hvs.new")


def test_wrap_info_hides_token_and_accessors_only() -> None:
    wrap = {"token": "hvs.w", "accessor": "wa", "wrapped_accessor": "wb", "ttl": 60, "creation_path": "sys/wrapping"}
    line = _read(_format().response(NOW, _request(), None, AuditResponse(wrap_info=wrap), ""))
    assert line["response"]["wrap_info"] == {
        "token": hasher.text("hvs.w"),
        "accessor": hasher.text("wa"),
        "wrapped_accessor": hasher.text("wb"),
        "ttl": 60,
        "creation_path": "sys/wrapping",
    }


def test_hmac_accessor_false_shows_accessors_but_no_token() -> None:
    line = _read(_format(hmac_accessor=False).request(NOW, _request(), _auth(), ""))
    assert line["auth"]["accessor"] == line["request"]["client_token_accessor"] == "acc-1"
    assert line["auth"]["client_token"] == hasher.text("hvs.secret-token")


def test_errors_stand_in_clear_at_the_end() -> None:
    line = _read(_format().request(NOW, _request(), None, 'permission "denied"\n'))
    assert line["error"] == 'permission "denied"\n'
    assert line["auth"] == {}


def test_time_is_rfc3339_with_nanoseconds() -> None:
    line = _read(_format().request(NOW, _request(), None, ""))
    assert re.fullmatch(r"2027-01-15T08:00:00\.250000000Z", line["time"])


def test_no_secret_is_in_the_line() -> None:
    form, request = _format(), _request(data={"a": {"b": ["top-secret"]}})
    whole = form.request(NOW, request, _auth(), "") + form.response(
        NOW, request, _auth(), AuditResponse(data={"x": ["top-secret"]}), ""
    )
    for secret in (b"top-secret", b"hvs.secret-token", b"acc-1"):
        assert secret not in whole


def test_a_path_that_is_not_unicode_is_written_in_escapes() -> None:
    line = _format().request(NOW, _request(path="secret/\udcff\n\x1b"), None, "")
    assert _read(line)["request"]["path"] == "secret/\udcff\n\x1b"


def test_two_devices_do_not_share_what_they_formatted() -> None:
    request, auth = _request(), _auth()
    other = LineFormat(Hasher(Secret(b"o" * 32)), hmac_accessor=True)
    one = _read(_format().request(NOW, request, auth, ""))
    two = _read(other.request(NOW, request, auth, ""))
    assert one["auth"]["client_token"] != two["auth"]["client_token"]
    assert one["request"]["data"] != two["request"]["data"]


def test_another_auth_for_the_response_is_formatted_anew() -> None:
    form, request = _format(), _request()
    form.request(NOW, request, None, "")
    line = _read(form.response(NOW, request, _auth(), None, ""))
    assert line["auth"]["display_name"] == "token"
    assert line["response"] == {}


def test_repr_of_a_record_shows_nothing() -> None:
    for record in (_request(), _auth(), AuditResponse(data={"a": "top-secret"})):
        assert repr(record) == f"{type(record).__name__}(…)"


def test_namespace_and_headers_and_wrap_ttl() -> None:
    request = _request(namespace="team/", namespace_id="q7Xr2P", headers={"user-agent": ["hvac"]}, wrap_ttl=60)
    line = _read(_format().request(NOW, request, None, ""))["request"]
    assert line["namespace"] == {"id": "q7Xr2P", "path": "team/"}
    assert line["headers"] == {"user-agent": ["hvac"]}
    assert line["wrap_ttl"] == 60


def test_secret_headers_are_written_as_hashes_beside_the_others() -> None:
    request = _request(headers={"user-agent": ["hvac"]}, secret_headers={"x-forwarded-for": ["10.9.8.7"]})
    line = _format().request(NOW, request, None, "")
    assert b"10.9.8.7" not in line
    assert _read(line)["request"]["headers"] == {
        "user-agent": ["hvac"],
        "x-forwarded-for": [hasher.text("10.9.8.7")],
    }


def test_secret_headers_of_one_request_are_not_kept_for_the_next() -> None:
    form = _format()
    form.request(NOW, _request(), None, "")
    form.request(NOW, _request(secret_headers={"x-a": ["1"]}), None, "")
    assert "headers" not in _read(form.request(NOW, _request(), None, ""))["request"]


def test_a_record_made_again_is_written_as_a_new_one() -> None:
    first = _request(data={"plaintext": "one"})
    line_format = _format()
    line_format.request(1.0, first, _auth(), "")
    again = first.again("second", {"plaintext": "two"})
    fresh = _request(request_id="second", data={"plaintext": "two"})
    assert line_format.request(2.0, again, _auth(), "") == _format().request(2.0, fresh, _auth(), "")
    assert line_format.response(2.0, again, _auth(), AuditResponse(), "").count(b'"second"') == 1


def test_a_record_made_again_has_the_headers_of_its_own_request() -> None:
    first = _request().again("first", None)
    first.headers = {"x-one": ["1"]}
    again = first.again("second", None)
    again.headers = {"x-two": ["2"]}
    line_format = _format()
    line_format.request(1.0, first, None, "")
    assert _read(line_format.request(1.0, again, None, ""))["request"]["headers"] == {"x-two": ["2"]}


def test_a_record_made_again_is_hashed_under_each_devices_own_key() -> None:
    again = _request().again("second", None)
    other = LineFormat(Hasher(Secret(b"o" * 32)), hmac_accessor=True)
    one, two = _read(_format().request(1.0, again, None, "")), _read(other.request(1.0, again, None, ""))
    assert one["request"]["client_token"] != two["request"]["client_token"]
