"""Roles over the API: what is answered, what is refused when it is written, and what is changed by a patch."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from core.errors import InvalidRequestError, NotFoundError
from pki.role import Role
from pki.role_body import RoleBody
from tests.unit.pki.pki_mount import Mount

# OpenBao's, as its documentation lists them
DEFAULTS: dict[str, Any] = {
    "allow_any_name": False,
    "allow_bare_domains": False,
    "allow_glob_domains": False,
    "allow_globs_in_identity_templates": False,
    "allow_ip_sans": True,
    "allow_localhost": True,
    "allow_subdomains": False,
    "allow_token_displayname": False,
    "allow_wildcard_certificates": True,
    "allowed_domains": [],
    "allowed_domains_template": False,
    "allowed_ip_sans_cidr": [],
    "allowed_other_sans": [],
    "allowed_serial_numbers": [],
    "allowed_uri_sans": [],
    "allowed_uri_sans_template": False,
    "allowed_user_ids": [],
    "basic_constraints_valid_for_non_ca": False,
    "client_flag": True,
    "cn_validations": ["email", "hostname"],
    "code_signing_flag": False,
    "country": [],
    "email_protection_flag": False,
    "enforce_hostnames": True,
    "ext_key_usage": [],
    "ext_key_usage_oids": [],
    "generate_lease": False,
    "issuer_ref": "default",
    "key_bits": 2048,
    "key_type": "rsa",
    "key_usage": ["DigitalSignature", "KeyAgreement", "KeyEncipherment"],
    "locality": [],
    "max_ttl": 0,
    "no_store": False,
    "not_after": "",
    "not_after_bound": "permit",
    "not_before": "",
    "not_before_bound": "permit",
    "not_before_duration": 30,
    "organization": [],
    "ou": [],
    "policy_identifiers": [],
    "postal_code": [],
    "province": [],
    "require_cn": True,
    "server_flag": True,
    "street_address": [],
    "ttl": 0,
    "use_csr_common_name": True,
    "use_csr_sans": True,
    "use_pss": False,
}


@pytest.fixture
def mount() -> Mount:
    return Mount()


async def write(mount: Mount, **body: Any) -> dict[str, Any]:
    return await mount.data("update", "roles/web", body)


async def test_a_role_of_nothing_has_the_defaults(mount: Mount) -> None:
    await write(mount)
    found = await mount.data("read", "roles/web")
    assert {name: found[name] for name in DEFAULTS} == DEFAULTS
    assert set(found) - set(DEFAULTS) <= {"signature_bits"}


async def test_what_is_written_is_answered_and_read(mount: Mount) -> None:
    body = {"ttl": "1h", "max_ttl": "72h", "allowed_domains": "a.example, b.example", "key_type": "ec", "ou": ["x,y"]}
    written = await write(mount, **body)
    expected = {
        "ttl": 3600,
        "max_ttl": 259200,
        "allowed_domains": ["a.example", "b.example"],
        "key_bits": 256,
        "ou": ["x,y"],
    }
    assert written.items() >= expected.items()
    assert await mount.data("read", "roles/web") == written


async def test_an_update_writes_the_role_anew(mount: Mount) -> None:
    await write(mount, allow_any_name=True)
    await write(mount, ttl="1h")
    assert (await mount.data("read", "roles/web"))["allow_any_name"] is False


async def test_a_patch_changes_what_it_names(mount: Mount) -> None:
    await write(mount, allow_any_name=True, ttl="1h", ou="x")
    await mount.call("patch", "roles/web", {"ttl": "2h", "ou": []})
    found = await mount.data("read", "roles/web")
    assert (found["allow_any_name"], found["ttl"], found["ou"]) == (True, 7200, [])


async def test_a_patch_with_null_sets_a_member_back_as_rfc_7396_says(mount: Mount) -> None:
    given = {"allowed_domains": "example.com", "ttl": "2h", "allow_any_name": True, "ou": "unit", "key_type": "ec"}
    await mount.call("update", "roles/web", given)
    data = await mount.data("patch", "roles/web", dict.fromkeys(given) | {"ou": "kept", "unheard_of": None})
    assert data == await mount.data("update", "roles/plain", {"ou": "kept"})


async def test_a_patch_that_cannot_be_changes_nothing(mount: Mount) -> None:
    await write(mount, max_ttl="1h")
    with pytest.raises(InvalidRequestError):
        await mount.call("patch", "roles/web", {"ttl": "2h"})
    assert (await mount.data("read", "roles/web"))["ttl"] == 0


async def test_another_worker_sees_a_change_at_once(mount: Mount) -> None:
    other = mount.other_worker()
    await write(mount, ttl="1h")
    assert (await other.data("read", "roles/web"))["ttl"] == 3600
    await write(mount, ttl="2h")
    assert (await other.data("read", "roles/web"))["ttl"] == 7200


async def test_what_is_not_there(mount: Mount) -> None:
    for operation, path in (("read", "roles/web"), ("list", "roles")):
        with pytest.raises(NotFoundError):
            await mount.call(operation, path)
    with pytest.raises(InvalidRequestError):
        await mount.call("patch", "roles/web", {"ttl": "1h"})
    await mount.call("delete", "roles/web")


async def test_a_deleted_role_is_gone(mount: Mount) -> None:
    await write(mount)
    await mount.call("delete", "roles/web")
    with pytest.raises(NotFoundError):
        await mount.call("read", "roles/web")


async def test_names_come_in_pages(mount: Mount) -> None:
    for name in ("c", "a", "b"):
        await mount.call("update", f"roles/{name}", {})
    assert (await mount.data("list", "roles"))["keys"] == ["a", "b", "c"]
    assert (await mount.data("list", "roles", after="a", limit="1"))["keys"] == ["b"]


@pytest.mark.parametrize("name", ["a b", ".a", "a.", "-a", "\u00fc", "a" * 256])
async def test_names_that_are_none(mount: Mount, name: str) -> None:
    with pytest.raises(InvalidRequestError, match="name"):
        await mount.call("update", f"roles/{name}", {})


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "ttl": ({"ttl": "2h", "max_ttl": "1h"}, '"ttl" value must be less than "max_ttl" value'),
    "key type": ({"key_type": "dsa"}, "key_type must be one of"),
    "key bits": ({"key_type": "ec", "key_bits": 2048}, "key_bits of ec"),
    "rsa bits": ({"key_bits": 1024}, "key_bits of rsa"),
    "ml-dsa bits": ({"key_type": "ml-dsa", "key_bits": 66}, "key_bits of ml-dsa"),
    "signature bits": ({"signature_bits": 224}, "signature_bits"),
    "oid": ({"ext_key_usage_oids": "1.2,x"}, "object identifier"),
    "policy": ({"policy_identifiers": "x"}, "object identifier"),
    "policy without an oid": ({"policy_identifiers": '[{"cps":"https://a"}]'}, "object identifier"),
    "policy json": ({"policy_identifiers": "[{"}, "JSON"),
    "policy json without end": ({"policy_identifiers": "[" * 100_000}, "JSON"),
    "policy object without end": ({"policy_identifiers": ['{"a":' * 100_000]}, "a policy is an OID"),
    "policy cps": ({"policy_identifiers": ['{"oid":"1.2.3","cps":"ü"}']}, "cps"),
    "policy notice": ({"policy_identifiers": ['{"oid":"1.2.3","notice":"\\ud800"}']}, "notice"),
    "ed25519 bits": ({"key_type": "ed25519", "key_bits": 2**70}, "key_bits"),
    "any bits": ({"key_type": "any", "key_bits": -(2**70)}, "key_bits"),
    "units": ({"ou": [f"unit {number}" for number in range(101)]}, "at most 100"),
    "other san": ({"allowed_other_sans": "ann"}, "<oid>;UTF8:<text>"),
    "other san type": ({"allowed_other_sans": "1.2.3;IA5:x"}, "UTF8"),
    "network": ({"allowed_ip_sans_cidr": "10.0.0.0/33"}, "allowed_ip_sans_cidr"),
    "open template": ({"allowed_domains": "{{identity.entity.name", "allowed_domains_template": True}, "template"),
    "other template": ({"allowed_uri_sans": "x:{{name}}", "allowed_uri_sans_template": True}, "template"),
    "no ascii": ({"allowed_domains": "b\u00fccher.example"}, "ASCII"),
    "validations": ({"cn_validations": "dns"}, "cn_validations"),
    "disabled and email": ({"cn_validations": "disabled,email"}, "disabled stands alone"),
    "not_before_bound": ({"not_before_bound": "never"}, "not_before_bound"),
    "not_after_bound": ({"not_after_bound": "never"}, "not_after_bound"),
    "not_after": ({"not_after": "2026"}, "not_after"),
    "country": ({"country": "Germany"}, "country"),
    "control character": ({"ou": ["a\nb"]}, "control character"),
    "long": ({"organization": "a" * 65}, "at most 64"),
    "negative": ({"ttl": -1}, "negative"),
    "no flag": ({"server_flag": "maybe"}, "server_flag"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_a_role_that_cannot_be_is_refused(mount: Mount, what: str) -> None:
    body, sentence = REFUSED[what]
    with pytest.raises(InvalidRequestError, match=sentence):
        await write(mount, **body)
    with pytest.raises(NotFoundError):
        await mount.call("read", "roles/web")


WARNED: dict[str, tuple[dict[str, Any], str]] = {
    "no issuer": ({}, "default"),
    "unknown issuer": ({"issuer_ref": "root-x"}, "root-x"),
    "lease": ({"generate_lease": True}, "generate_lease"),
    "lease and no_store": ({"generate_lease": True, "no_store": True}, "no_store"),
    "unknown usage": ({"key_usage": "DigitalSignature,Nonsense"}, "Nonsense"),
    "unknown extended usage": ({"ext_key_usage": "Nonsense"}, "Nonsense"),
}


@pytest.mark.parametrize("what", WARNED)
async def test_a_role_that_may_surprise_is_warned_of(mount: Mount, what: str) -> None:
    body, sentence = WARNED[what]
    answered = await mount.call("update", "roles/web", body)
    assert any(sentence in warning for warning in answered.warnings or [])


async def test_no_store_takes_the_lease_away(mount: Mount) -> None:
    assert (await write(mount, generate_lease=True, no_store=True))["generate_lease"] is False


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("1.2.3.4, 1.2.3.5", ["1.2.3.4", "1.2.3.5"]),
        (["1.2.3.4"], ["1.2.3.4"]),
        ('[{"oid":"1.2.3.4","cps":"https://a"}]', ['{"cps": "https://a", "oid": "1.2.3.4"}']),
        ([{"oid": "1.2.3.4", "notice": "n"}], ['{"notice": "n", "oid": "1.2.3.4"}']),
        ("", []),
    ],
    ids=["commas", "list", "json text", "json", "none"],
)
async def test_policies_come_in_several_forms(mount: Mount, given: object, kept: list[str]) -> None:
    assert (await write(mount, policy_identifiers=given))["policy_identifiers"] == kept


async def test_a_role_is_made_ready_once(mount: Mount) -> None:
    await write(mount, allowed_domains="example.com")
    opened = await mount.parts.store.role("web")
    assert opened is not None
    assert opened is await mount.parts.store.role("web")
    assert opened.domains is opened.domains


def test_every_member_of_a_role_can_be_written() -> None:
    assert set(Role.__struct_fields__) - set(RoleBody.__struct_fields__) == {"allow_token_displayname"}
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(Role()), type=Role) == Role()
