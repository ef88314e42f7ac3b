"""config/urls and config/cluster: what may stand there, and what certificates make of it."""

from typing import Any

import pytest
from cryptography import x509

from core.errors import InvalidRequestError
from pki.aia import delta_points_for
from tests.unit.pki.pki_mount import Mount

NOTHING: dict[str, Any] = {
    "issuing_certificates": [],
    "crl_distribution_points": [],
    "delta_crl_distribution_points": [],
    "ocsp_servers": [],
    "enable_templating": False,
}
TEMPLATES = {
    "enable_templating": True,
    "issuing_certificates": "{{cluster_aia_path}}/issuer/{{issuer_id}}/der",
    "ocsp_servers": "{{cluster_path}}/ocsp",
}
PLACE = {"path": "https://a.example.com/v1/pki/", "aia_path": "http://a.example.com/v1/pki"}


async def ready() -> Mount:
    """A mount that issues."""
    mount = Mount()
    await mount.seed_root("one")
    await mount.data("update", "roles/web", {"allow_any_name": True, "key_type": "ec", "ttl": "1h"})
    return mount


async def access(mount: Mount) -> list[str]:
    """The URLs in a new certificate."""
    made = await mount.data("update", "issue/web", {"common_name": "a.example.com"})
    leaf = x509.load_pem_x509_certificate(made["certificate"].encode())
    found = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    return sorted(str(description.access_location.value) for description in found)


# --- config/urls ------------------------------------------------------------------------------------------------------


async def test_nothing_is_said_at_first() -> None:
    assert await Mount().data("read", "config/urls") == NOTHING


@pytest.mark.parametrize("member", [name for name in NOTHING if name != "enable_templating"])
async def test_one_member_is_set_and_the_others_stay(member: str) -> None:
    mount = Mount()
    await mount.data("update", "config/urls", {"ocsp_servers": "http://o"})
    answer = await mount.data("update", "config/urls", {member: "http://a, http://b"})
    assert answer == await mount.data("read", "config/urls")
    assert answer == {**NOTHING, "ocsp_servers": ["http://o"], member: ["http://a", "http://b"]}


async def test_an_empty_string_takes_them_away() -> None:
    mount = Mount()
    await mount.data("update", "config/urls", {"ocsp_servers": "http://o"})
    assert await mount.data("update", "config/urls", {"ocsp_servers": ""}) == NOTHING


BAD_URLS = [
    "nonsense",
    "//a.example.com",
    "http://",
    "http:///path",
    "file:///etc/passwd",
    "http://a:port/",
    "http://a b/",
    "http://ä.example.com/",
    "http://a/\x00",
    "http://[::1",
    "http://a/" + "x" * 1024,
]


@pytest.mark.parametrize("url", BAD_URLS, ids=[str(number) for number in range(len(BAD_URLS))])
@pytest.mark.parametrize("templating", [False, True], ids=["plain", "template"])
async def test_what_nobody_can_fetch_is_refused(url: str, templating: bool) -> None:
    mount = Mount()
    with pytest.raises(InvalidRequestError, match="crl_distribution_points"):
        await mount.data("update", "config/urls", {"crl_distribution_points": [url], "enable_templating": templating})
    assert await mount.data("read", "config/urls") == NOTHING


async def test_braces_without_templating_are_warned_of() -> None:
    answer = await Mount().call("update", "config/urls", {"ocsp_servers": "http://a/{{issuer_id}}"})
    assert answer.warnings is not None
    assert "templating is off" in answer.warnings[0]


@pytest.mark.parametrize("url", ["http://a/{{issuer}}", "{{cluster_path}}/{{nonsense}}", "{{issuer_id}}"])
async def test_templates_have_known_parts_and_make_urls(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="ocsp_servers"):
        await Mount().data("update", "config/urls", {"ocsp_servers": url, "enable_templating": True})


# --- config/cluster ---------------------------------------------------------------------------------------------------


async def test_a_cluster_is_set_member_by_member() -> None:
    mount = Mount()
    await mount.data("update", "config/cluster", {"path": PLACE["path"]})
    await mount.data("update", "config/cluster", {"aia_path": PLACE["aia_path"]})
    expected = {"path": "https://a.example.com/v1/pki", "aia_path": "http://a.example.com/v1/pki"}
    assert await mount.data("read", "config/cluster") == expected


@pytest.mark.parametrize("member", ["path", "aia_path"])
@pytest.mark.parametrize("url", ["nonsense", "/v1/pki", "ftp://a/v1/pki", "http://a b"], ids=str)
async def test_a_cluster_is_reached_by_an_absolute_url(member: str, url: str) -> None:
    with pytest.raises(InvalidRequestError, match="non-URL path"):
        await Mount().data("update", "config/cluster", {member: url})


# --- templates in certificates ----------------------------------------------------------------------------------------


async def test_templates_are_filled_in_when_something_is_issued() -> None:
    mount = await ready()
    issuer_id = (await mount.data("read", "issuer/one"))["issuer_id"]
    await mount.data("update", "config/cluster", PLACE)
    await mount.data("update", "config/urls", TEMPLATES)
    filled = [f"http://a.example.com/v1/pki/issuer/{issuer_id}/der", "https://a.example.com/v1/pki/ocsp"]
    assert await access(mount) == filled
    await mount.data("update", "config/cluster", {"path": "http://b.example.com"})
    assert await access(mount) == [filled[0], "http://b.example.com/ocsp"]


@pytest.mark.parametrize("missing", ["path", "aia_path"])
async def test_a_missing_cluster_is_warned_of_and_nothing_is_issued(missing: str) -> None:
    mount = await ready()
    await mount.data("update", "config/cluster", {**PLACE, missing: ""})
    answer = await mount.call("update", "config/urls", TEMPLATES)
    assert answer.warnings is not None
    assert f"({missing})" in answer.warnings[0]
    for path in ("issue/web", "root/generate/internal"):
        with pytest.raises(InvalidRequestError, match=f"lack local cluster address information .{missing}."):
            await mount.data("update", path, {"common_name": "a.example.com", "key_type": "ec"})


async def test_a_cluster_that_goes_later_is_missed_too() -> None:
    mount = await ready()
    await mount.data("update", "config/cluster", PLACE)
    await mount.data("update", "config/urls", TEMPLATES)
    await mount.data("update", "config/cluster", {"path": ""})
    with pytest.raises(InvalidRequestError, match="config/cluster"):
        await access(mount)


async def test_a_crl_comes_out_without_what_is_missing() -> None:
    mount = await ready()
    points = ["{{cluster_path}}/crl/delta", "http://b/crl/delta"]
    await mount.data("update", "config/urls", {"enable_templating": True, "delta_crl_distribution_points": points})
    authority = await mount.parts.store.authority()
    assert delta_points_for(authority.issuer("one"), authority) == ("http://b/crl/delta",)


async def test_an_issuer_with_urls_of_its_own_has_those_alone() -> None:
    mount = await ready()
    await mount.data(
        "update", "config/urls", {"issuing_certificates": "http://mount/ca", "ocsp_servers": "http://mount"}
    )
    await mount.data("patch", "issuer/one", {"ocsp_servers": "http://own"})
    assert await access(mount) == ["http://own"]
