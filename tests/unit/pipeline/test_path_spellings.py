"""However a path is spelled, a policy that denies it denies it."""

import pytest

from tests.unit.pipeline.rig import Rig

POLICY = """
path "shelf/*"              { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }
path "shelf/keys/payroll"   { capabilities = ["deny"] }
path "sys/*"                { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }
path "sys/mounts/shelf"     { capabilities = ["deny"] }
path "sys/policies/acl/child" { capabilities = ["deny"] }
path "sys/policy/child"     { capabilities = ["deny"] }
path "auth/token/*"         { capabilities = ["update", "sudo"] }
path "auth/token/create"    { capabilities = ["update"] }
"""

DENIED = [
    "shelf/keys/payroll",
    "shelf/keys/payroll/",
    "sys/mounts/shelf",
    "sys/mounts/shelf/",
    "sys/mounts/shelf//",
    "sys/mounts//shelf",
    "sys/policies/acl/child",
    "sys/policies/acl/child/",
    "sys/policies/acl/Child",
    "sys/policies/acl/ child",
    "sys/policies/acl/CHILD/",
    "sys/policy/Child",
]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_denied_path_is_denied_in_every_spelling(rig: Rig, method: str) -> None:
    assert (await rig.call("POST", "shelf/keys/payroll", {"a": 1})).status == 204
    token = await rig.child(POLICY)
    body = {"type": "shelf", "policy": POLICY} if method == "POST" else None
    statuses = {path: (await rig.call(method, path, body, token=token)).status for path in DENIED}
    assert statuses == dict.fromkeys(DENIED, 403)
    assert (await rig.call("GET", "shelf/keys/payroll")).json["data"] == {"a": 1}


async def test_missing_key_below_a_denied_spelling_is_not_created(rig: Rig) -> None:
    token = await rig.child(POLICY)
    assert (await rig.call("POST", "shelf/keys/payroll/", {"a": 1}, token=token)).status == 403
    assert (await rig.call("GET", "shelf/keys/payroll")).status == 404


async def test_slash_at_the_end_of_token_create_gives_no_sudo(rig: Rig) -> None:
    token = await rig.child(POLICY)
    reply = await rig.call("POST", "auth/token/create/", {"no_parent": True}, token=token)
    assert reply.status == 400
    assert "root or sudo" in reply.errors[0]


async def test_allowed_path_is_allowed_in_every_spelling(rig: Rig) -> None:
    token = await rig.child(POLICY)
    for path in ("shelf/keys/other/", "sys/mounts/other//", "sys/policies/acl/Other"):
        assert (await rig.call("GET", path, token=token)).status in {400, 404}


NAMES = """
path "auth/approle/role/*"         { capabilities = ["create", "read", "update", "delete"] }
path "auth/approle/role/prod"      { capabilities = ["deny"] }
path "auth/approle/role/prod/*"    { capabilities = ["deny"] }
path "auth/userpass/users/*"       { capabilities = ["create", "read", "update", "delete"] }
path "auth/userpass/users/admin"   { capabilities = ["deny"] }
path "auth/userpass/users/admin/*" { capabilities = ["deny"] }
"""


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "auth/approle/role/PROD/secret-id", {}),
        ("POST", "auth/approle/role/Prod", {"token_policies": ["mine"]}),
        ("GET", "auth/approle/role/prOd/role-id", None),
        ("DELETE", "auth/approle/role/pRod/policies", None),
        ("POST", "auth/userpass/users/ADMIN", {"password": "mine now"}),
        ("POST", "auth/userpass/users/Admin/password", {"password": "mine now"}),
        ("POST", "auth/userpass/users/Admin/policies", {"token_policies": ["mine"]}),
        ("DELETE", "auth/userpass/users/adMin/", None),
    ],
)
async def test_capitals_do_not_get_around_a_deny(rig: Rig, method: str, path: str, body: object) -> None:
    await logins(rig)
    token = await rig.child(NAMES)
    assert (await rig.call(method, path, body, token=token)).status == 403


async def test_capitals_are_as_good_where_both_spellings_are_granted(rig: Rig) -> None:
    await logins(rig)
    token = await rig.child(NAMES)
    reply = await rig.call("POST", "auth/userpass/users/Bob", {"password": "a good one"}, token=token)
    assert reply.status == 204, reply.body
    assert (await rig.call("GET", "auth/userpass/users/bob", token=token)).status == 200


async def logins(rig: Rig) -> None:
    for kind in ("approle", "userpass"):
        assert (await rig.call("POST", f"sys/auth/{kind}", {"type": kind})).status == 204
    assert (await rig.call("POST", "auth/approle/role/prod", {})).status == 204
    assert (await rig.call("POST", "auth/userpass/users/admin", {"password": "a good one"})).status == 204
