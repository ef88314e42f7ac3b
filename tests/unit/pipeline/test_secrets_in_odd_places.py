"""A secret that a client sends where none belongs is neither repeated in the answer nor written to the audit log."""

import pytest

from tests.unit.pipeline.rig import Rig

SECRET = "hunter2NeverShown"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

ODD = [
    ("GET", f"auth/token/lookup/hvs.{SECRET}", None, {}),
    ("PUT", f"auth/token/revoke/hvs.{SECRET}", None, {}),
    ("GET", f"auth/token/lookup//{SECRET}", None, {}),
    ("PUT", f"auth/token/revoke///{SECRET}", None, {}),
    ("GET", f"nowhere/hvs.{SECRET}", None, {}),
    ("POST", "shelf/echo", SECRET.encode(), FORM),
    ("POST", "shelf/echo", f"payload=&{SECRET}".encode(), FORM),
    ("POST", f"sys/capabilities-self?paths={SECRET}", {}, {}),
    ("GET", f"sys/mounts?payload={SECRET}", None, {}),
    ("PUT", "sys/audit/second", {"type": SECRET}, {}),
    ("POST", "sys/mounts/second", {"type": SECRET}, {}),
    ("POST", "sys/mounts/second", {"type": "shelf", "config": {"max_lease_ttl": SECRET}}, {}),
    ("POST", "auth/token/create", {"type": SECRET}, {}),
    ("POST", "auth/token/create", {"ttl": SECRET, "num_uses": SECRET}, {}),
    ("GET", "sys/mounts", None, {"X-Vault-Namespace": SECRET}),
    ("GET", "sys/mounts", None, {"X-Vault-Wrap-TTL": SECRET}),
    ("PUT", "sys/unseal", {"key": SECRET}, {}),
]


async def test_misplaced_secret_is_not_repeated(rig: Rig) -> None:
    await rig.audited()
    for method, path, body, headers in ODD:
        reply = await rig.call(method, path, body, headers=headers)
        assert SECRET.encode() not in reply.body, path
    assert SECRET not in (rig.directory / "audit.log").read_text()


@pytest.mark.parametrize("body", [b"word", b"a=1&word", b"=&&"])
async def test_form_of_what_is_no_field_is_400(rig: Rig, body: bytes) -> None:
    reply = await rig.call("POST", "shelf/echo", body, headers=FORM)
    assert reply.status == 400
    assert "name=value" in reply.errors[0]


async def test_path_without_a_token_is_recorded_as_it_is(rig: Rig) -> None:
    await rig.audited()
    await rig.call("GET", "shelf/keys/hvac.hv-1")
    assert rig.records()[-1]["request"]["path"] == "shelf/keys/hvac.hv-1"
