"""Issuers as things one manages: names, settings, defaults, and what goes when one is deleted."""

import asyncio
from typing import Any

import pytest

from core.errors import InvalidRequestError, NotFoundError
from core.protocols import KeyKind
from core.requests import Response
from tests.unit.pki.brought_cas import ca
from tests.unit.pki.pki_mount import Mount


async def two() -> Mount:
    """A mount with the issuers one (the default) and two."""
    mount = Mount()
    for name in ("one", "two"):
        await mount.seed_root(name)
    return mount


async def refused(mount: Mount, operation: str, path: str, body: dict[str, Any]) -> str:
    before = await mount.data("read", "issuer/one")
    with pytest.raises(InvalidRequestError) as found:
        await mount.call(operation, path, body)
    assert await mount.data("read", "issuer/one") == before
    return found.value.sentence


# --- lists ------------------------------------------------------------------------------------------------------------


async def test_a_list_tells_of_each_what_it_is() -> None:
    mount = await two()
    one, two_ = [await mount.data("read", f"issuer/{name}") for name in ("one", "two")]
    found = await mount.data("list", "issuers")
    assert found["keys"] == sorted([one["issuer_id"], two_["issuer_id"]])
    info = found["key_info"][one["issuer_id"]]
    assert (info["is_default"], info["issuer_name"], info["key_id"]) == (True, "one", one["key_id"])
    assert info["serial_number"].count(":") == 19


async def test_a_list_comes_in_pages() -> None:
    mount = await two()
    ids = (await mount.data("list", "issuers"))["keys"]
    assert (await mount.data("list", "issuers", limit="1"))["keys"] == ids[:1]
    assert (await mount.data("list", "issuers", after=ids[0]))["keys"] == ids[1:]
    with pytest.raises(NotFoundError):
        await mount.data("list", "issuers", after=ids[1])


async def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="limit"):
        await (await two()).data("list", "issuers", limit="-1")


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["default", "Default", "one"])
async def test_an_issuer_is_found_as(reference: str) -> None:
    assert (await (await two()).data("read", f"issuer/{reference}"))["issuer_name"] == "one"


async def test_an_unknown_issuer_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="nobody"):
        await (await two()).data("read", "issuer/nobody")


BAD_NAMES = ["default", "DEFAULT", "two", "a b", "-a", "a.", "a/b", "ä", "x" * 129, "a\n"]


@pytest.mark.parametrize("operation", ["update", "patch"])
@pytest.mark.parametrize("name", BAD_NAMES, ids=[str(number) for number in range(len(BAD_NAMES))])
async def test_an_issuer_cannot_be_called(operation: str, name: str) -> None:
    assert "issuer name" in await refused(await two(), operation, "issuer/one", {"issuer_name": name})


async def test_an_issuer_cannot_be_called_as_the_id_of_another() -> None:
    mount = await two()
    other = (await mount.data("read", "issuer/two"))["issuer_id"]
    assert "in use" in await refused(mount, "patch", "issuer/one", {"issuer_name": other})


async def test_names_differ_by_case() -> None:
    mount = await two()
    assert (await mount.data("patch", "issuer/one", {"issuer_name": "Two"}))["issuer_name"] == "Two"


async def test_of_two_workers_that_give_one_name_one_wins() -> None:
    mount = await two()
    other = mount.other_worker()
    answers = await asyncio.gather(
        mount.call("patch", "issuer/one", {"issuer_name": "same"}),
        other.call("patch", "issuer/two", {"issuer_name": "same"}),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers].count(Response) == 1
    assert [type(answer) for answer in answers].count(InvalidRequestError) == 1


async def test_whoever_takes_a_name_away_hears_of_roles_that_use_it() -> None:
    mount = await two()
    for role in ("a", "b"):
        await mount.data("update", f"roles/{role}", {"issuer_ref": "one"})
    assert (await mount.call("patch", "issuer/one", {"issuer_name": "uno"})).warnings == ["2 roles reference one"]


# --- settings ---------------------------------------------------------------------------------------------------------


SHOWN = {
    KeyKind.EC_P256: "ECDSAWithSHA256",
    KeyKind.EC_P384: "ECDSAWithSHA384",
    KeyKind.EC_P521: "ECDSAWithSHA512",
    KeyKind.ED25519: "PureEd25519",
    KeyKind.ML_DSA_44: "",
}


@pytest.mark.parametrize("kind", SHOWN, ids=[kind.value for kind in SHOWN])
async def test_how_crls_are_signed_is_shown_when_nobody_chose_it(kind: KeyKind) -> None:
    mount = Mount()
    await mount.seed_root(kind=kind)
    assert (await mount.data("read", "issuer/root"))["revocation_signature_algorithm"] == SHOWN[kind]


async def test_crls_of_an_rsa_root_are_signed_as_it_is_itself() -> None:
    mount = Mount()
    asked = {"common_name": "Root", "key_type": "rsa", "key_bits": 2048, "signature_bits": 512}
    await mount.data("update", "root/generate/internal", asked)
    assert (await mount.data("read", "issuer/default"))["revocation_signature_algorithm"] == "SHA512WithRSA"


SETTINGS: dict[str, tuple[Any, Any]] = {
    "issuer_name": ("uno", "uno"),
    "leaf_not_after_behavior": ("truncate", "truncate"),
    "usage": ("issuing-certificates", "issuing-certificates,read-only"),
    "revocation_signature_algorithm": ("ecdsawithsha384", "ECDSAWithSHA384"),
    "issuing_certificates": ("http://a/ca, http://b/ca", ["http://a/ca", "http://b/ca"]),
    "crl_distribution_points": (["http://a/crl"], ["http://a/crl"]),
    "delta_crl_distribution_points": (["http://a/delta"], ["http://a/delta"]),
    "ocsp_servers": (["http://a/ocsp"], ["http://a/ocsp"]),
    "disable_critical_extension_checks": (True, True),
    "disable_path_length_checks": ("true", True),
    "disable_name_constraint_checks": (True, True),
}


@pytest.mark.parametrize("member", SETTINGS)
async def test_a_patch_changes_one_member_and_a_write_sets_it_back(member: str) -> None:
    mount = await two()
    before = await mount.data("read", "issuer/one")
    issuer = f"issuer/{before['issuer_id']}"
    given, answered = SETTINGS[member]
    changed = await mount.data("patch", issuer, {member: given})
    assert changed == await mount.data("read", issuer)
    assert {name: value for name, value in changed.items() if name != "enable_aia_url_templating"} == {
        **before,
        member: answered,
    }
    assert await mount.data("update", issuer, {"issuer_name": "one"}) == before


@pytest.mark.parametrize("member", SETTINGS)
async def test_a_patch_with_null_sets_a_setting_back_as_rfc_7396_says(member: str) -> None:
    mount = await two()
    before = await mount.data("read", "issuer/two")
    await mount.call("patch", "issuer/two", {member: SETTINGS[member][0]})
    changed = await mount.data("patch", f"issuer/{before['issuer_id']}", {member: None})
    assert changed == (before if member != "issuer_name" else {**before, "issuer_name": ""})


BAD = {
    "behaviour": ({"leaf_not_after_behavior": "nonsense"}, "leaf_not_after_behavior"),
    "usage": ({"usage": "nonsense"}, "usages"),
    "algorithm": ({"revocation_signature_algorithm": "MD5WithRSA"}, "revocation_signature_algorithm"),
    "algorithm of other keys": ({"revocation_signature_algorithm": "SHA256WithRSA"}, "fit the key"),
    "a relative url": ({"ocsp_servers": "a.example.com/ocsp"}, "ocsp_servers"),
    "a script as url": ({"issuing_certificates": "javascript:alert(1)"}, "issuing_certificates"),
    "a url with a break": ({"crl_distribution_points": ["http://a/\r\nb"]}, "crl_distribution_points"),
    "a template that is unknown": (
        {"ocsp_servers": "http://a/{{nonsense}}", "enable_aia_url_templating": True},
        "parts of a template",
    ),
    "too many urls": ({"ocsp_servers": ["http://a/"] * 33}, "at most 32"),
    "a chain of nobody": ({"manual_chain": "self,nobody"}, "nobody"),
    "a chain that begins elsewhere": ({"manual_chain": "two,one"}, "itself"),
    "a chain that repeats": ({"manual_chain": "self,two,two"}, "twice"),
    "a number": ({"manual_chain": 7}, "manual_chain"),
}


@pytest.mark.parametrize("operation", ["update", "patch"])
@pytest.mark.parametrize("what", BAD)
async def test_refused_and_nothing_is_changed(operation: str, what: str) -> None:
    body, word = BAD[what]
    assert word in await refused(await two(), operation, "issuer/one", {"issuer_name": "uno", **body})


async def test_a_manual_chain_is_answered_by_ids() -> None:
    mount = await two()
    found = await mount.data("patch", "issuer/one", {"manual_chain": "self,two"})
    one, other = [(await mount.data("read", f"issuer/{name}")) for name in ("one", "two")]
    assert found["manual_chain"] == [one["issuer_id"], other["issuer_id"]]
    assert found["ca_chain"] == [one["certificate"], other["certificate"]]


# --- usages -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lacking", "usage", "word"),
    [("crl_sign", "crl-signing", "CRLSign"), ("key_cert_sign", "issuing-certificates", "keyCertSign")],
)
async def test_what_the_certificate_forbids_is_no_usage(lacking: str, usage: str, word: str) -> None:
    """RFC 5280, 4.2.1.3."""
    mount = Mount()
    await mount.data("update", "issuers/import/cert", {"pem_bundle": ca(lacking=lacking), "issuer_name": "one"})
    assert usage not in (await mount.data("read", "issuer/one"))["usage"].split(",")
    assert word in await refused(mount, "patch", "issuer/one", {"usage": [usage]})
    assert usage not in (await mount.data("update", "issuer/one", {"issuer_name": "one"}))["usage"].split(",")


async def test_a_revoked_issuer_never_issues_again() -> None:
    mount = await two()
    await mount.call("update", "issuer/one/revoke", {})
    assert "revoked" in await refused(mount, "patch", "issuer/one", {"usage": "issuing-certificates"})
    found = await mount.data("update", "issuer/one", {"issuer_name": "one"})
    assert (found["revoked"], found["usage"]) == (True, "crl-signing,ocsp-signing,read-only")


# --- deletion ---------------------------------------------------------------------------------------------------------


async def test_an_issuer_goes_its_key_stays_and_both_are_said() -> None:
    mount = await two()
    key_id = (await mount.data("read", "issuer/one"))["key_id"]
    await mount.data("update", "roles/web", {"issuer_ref": "default"})
    answer = await mount.call("delete", "issuer/one")
    assert answer.warnings is not None
    assert ["default issuer" in answer.warnings[0], answer.warnings[1:]] == [True, ["1 roles reference default"]]
    assert (await mount.data("read", "config/issuers"))["default"] == ""
    assert (await mount.data("read", f"key/{key_id}"))["key_id"] == key_id


async def test_an_issuer_that_goes_leaves_the_manual_chains_of_others() -> None:
    mount = await two()
    await mount.data("patch", "issuer/one", {"manual_chain": "self,two"})
    await mount.call("delete", "issuer/two")
    found = await mount.data("read", "issuer/one")
    assert (found["manual_chain"], found["ca_chain"]) == ([found["issuer_id"]], [found["certificate"]])


async def test_an_issuer_that_is_gone_can_be_deleted() -> None:
    answer = await (await two()).call("delete", "issuer/nobody")
    assert answer.warnings is None


async def test_all_go_at_once_with_their_keys() -> None:
    mount = await two()
    assert (await mount.call("delete", "root")).warnings
    for path in ("issuers", "keys"):
        with pytest.raises(NotFoundError):
            await mount.data("list", path)
    assert (await mount.data("read", "config/keys"))["default"] == ""


# --- the default ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["config/issuers", "root/replace"])
async def test_the_default_is_chosen(path: str) -> None:
    mount = await two()
    other = (await mount.data("read", "issuer/two"))["issuer_id"]
    expected = {"default": other, "default_follows_latest_issuer": False}
    assert await mount.data("update", path, {"default": "two"}) == expected
    assert await mount.data("read", "config/issuers") == expected


async def test_without_a_word_the_one_called_next_takes_over() -> None:
    mount = await two()
    await mount.data("patch", "issuer/two", {"issuer_name": "next"})
    other = (await mount.data("read", "issuer/next"))["issuer_id"]
    assert (await mount.data("update", "root/replace", {}))["default"] == other


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("config/issuers", {"default": "nobody"}),
        ("config/issuers", {"default": ""}),
        ("config/issuers", {"default": "default"}),
        ("config/issuers", {"default_follows_latest_issuer": True}),
        ("root/replace", {}),
        ("root/replace", {"default": "nobody"}),
    ],
    ids=["nobody", "empty", "itself", "missing", "no next", "replaced by nobody"],
)
async def test_no_issuer_no_default(path: str, body: dict[str, Any]) -> None:
    await refused(await two(), "update", path, body)


async def test_the_default_follows_the_latest_if_it_is_to() -> None:
    mount = await two()
    await mount.data("update", "config/issuers", {"default": "one", "default_follows_latest_issuer": True})
    latest = await mount.seed_root("three")
    assert (await mount.data("read", "config/issuers"))["default"] == latest


async def test_a_default_without_a_key_is_warned_of() -> None:
    mount = await two()
    await mount.data("update", "issuers/import/cert", {"pem_bundle": ca(), "issuer_name": "keyless"})
    answer = await mount.call("update", "config/issuers", {"default": "keyless"})
    assert answer.warnings is not None
    assert "no key" in answer.warnings[0]
