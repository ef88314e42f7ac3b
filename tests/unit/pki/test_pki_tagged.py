"""Whoever has a CRL or an OCSP answer already is not sent it again (RFC 9110, 13.1.2)."""

from __future__ import annotations

import pytest

from core.requests import Operation, Request
from pki.tagged import tagged
from tests.unit.pki.pki_mount import Mount
from tests.unit.pki.test_pki_crl import rotate


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ("", 200),
        ('"other"', 200),
        ("tag", 200),
        ('"tag"', 304),
        ('W/"tag"', 304),
        ('"other", "tag"', 304),
        ("*", 304),
    ],
    ids=["none", "other", "unquoted", "same", "weak", "list", "any"],
)
def test_a_tag_that_is_named_gets_no_body(wanted: str, status: int) -> None:
    request = Request(
        request_id="r", operation=Operation.READ, mount_path="pki/", path="crl", headers={"If-None-Match": wanted}
    )
    answer = tagged(request, b"x", content_type="text/plain", tag="tag", headers={"Cache-Control": "no-cache"})
    assert answer.raw is not None
    assert (answer.status, answer.raw.body) == (status, b"x" if status == 200 else b"")
    assert answer.raw.headers == {"Cache-Control": "no-cache", "ETag": '"tag"'}


async def test_a_crl_is_sent_again_only_when_there_is_a_newer_one() -> None:
    mount = Mount()
    await mount.seed_root()
    await mount.engine.housekeep()
    first = (await mount.call("read", "crl")).raw
    assert first is not None
    assert first.headers is not None
    mount.headers = {"If-None-Match": first.headers["ETag"]}
    assert (await mount.call("read", "crl")).status == 304
    assert (await mount.call("read", "crl/pem")).status == 200
    await rotate(mount)
    assert (await mount.call("read", "crl")).status == 200
