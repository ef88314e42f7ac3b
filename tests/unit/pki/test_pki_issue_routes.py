"""issue, sign and sign-verbatim as requests: which role, which issuer, what is answered, stored, leased and refused."""

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from msgspec.structs import replace

from core.engine import Lease, LeasingEngine
from core.errors import HsmGoneError, InvalidRequestError, NotFoundError
from core.requests import Operation
from pki.authority import Issuer
from pki.certificates import CATALOG, State
from pki.store import AuthorityChange
from tests.unit.pki.pki_mount import Mount
from tests.unit.pki.test_pki_intents import Counted

WEB = {"allowed_domains": "example.com", "allow_subdomains": True, "key_type": "ec", "max_ttl": "72h"}
ASKED = {"common_name": "web.example.com"}
WAYS = ["issue", "sign", "sign-verbatim"]


async def ready(**role: Any) -> Mount:
    mount = Mount()
    await mount.seed_root()
    await mount.call("update", "roles/web", {**WEB, **role})
    return mount


def new_csr(name: str = "web.example.com") -> str:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    csr = builder.sign(ec.generate_private_key(ec.SECP256R1()), SHA256())
    return csr.public_bytes(Encoding.PEM).decode()


CSR = new_csr()


def certificate(data: dict[str, Any]) -> x509.Certificate:
    return x509.load_pem_x509_certificate(data["certificate"].encode())


async def ask(mount: Mount, way: str, **more: Any) -> dict[str, Any]:
    body = dict(ASKED) if way == "issue" else {**ASKED, "csr": CSR}
    return await mount.data("update", f"{way}/web", {**body, **more})


async def change_issuer(mount: Mount, **changes: Any) -> None:
    async def work(change: AuthorityChange) -> None:
        await change.put_issuer(replace(change.before.issuer("default").row, **changes))

    await mount.parts.store.change_authority(work)


async def stored(mount: Mount) -> int:
    return len(await mount.view.row_ids(CATALOG))


# --- what is answered ------------------------------------------------------------------------------------------------


async def test_issue_answers_a_key_and_its_certificate() -> None:
    mount = await ready()
    data = await ask(mount, "issue")
    key: Any = load_pem_private_key(data["private_key"].encode(), None)
    assert key.public_key() == certificate(data).public_key()
    assert data["private_key_type"] == "ec"


@pytest.mark.parametrize("way", ["sign", "sign-verbatim"])
async def test_a_csr_is_signed_and_no_private_key_is_answered(way: str) -> None:
    data = await ask(await ready(), way)
    assert certificate(data).public_key() == x509.load_pem_x509_csr(CSR.encode()).public_key()
    assert "private_key" not in data


@pytest.mark.parametrize("way", WAYS)
async def test_the_inventory_knows_who_asked_how_and_under_which_role(way: str) -> None:
    mount = await ready()
    data = await ask(mount, way)
    known = await mount.parts.store.certificate(data["serial_number"])
    assert known is not None
    body = known.body
    assert (known.state, body.way, body.role) == (State.ISSUED, way, "web")
    assert (body.requester, body.entity_id, body.request_id) == ("userpass-ann", "ann-id", "r")


async def test_empty_strings_say_nothing() -> None:
    """As cert-manager sends them."""
    empty = {"ip_sans": "", "uri_sans": "", "alt_names": "", "other_sans": "", "ttl": "", "format": "", "not_after": ""}
    data = await ask(await ready(), "sign", exclude_cn_from_sans="true", private_key_format="", **empty)
    extensions = certificate(data).extensions
    assert x509.SubjectAlternativeName not in {type(extension.value) for extension in extensions}


async def test_a_key_type_that_the_role_has_settled_is_ignored_with_a_warning() -> None:
    mount = await ready()
    response = await mount.call("update", "issue/web", {**ASKED, "key_type": "rsa", "key_bits": 4096})
    assert response.data is not None
    assert response.data["private_key_type"] == "ec"
    assert "parameters key_type and key_bits ignored as role had specific values" in (response.warnings or [])


async def test_a_role_for_any_key_type_makes_the_one_that_is_asked_for() -> None:
    mount = await ready(key_type="any")
    assert (await ask(mount, "issue", key_type="ed25519"))["private_key_type"] == "ed25519"
    with pytest.raises(InvalidRequestError, match='role key type "any" not allowed'):
        await ask(mount, "issue")


async def test_each_certificate_is_counted() -> None:
    meter = Counted()
    mount = Mount(meter=meter)
    await mount.seed_root()
    await mount.call("update", "roles/web", WEB)
    for way in WAYS:
        await ask(mount, way)
    assert meter.counts == {"certificate_issued": 3}


# --- which issuer ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_the_path_goes_before_the_role_and_the_role_before_the_default(way: str) -> None:
    mount = await ready(issuer_ref="second")
    await mount.seed_root("second")
    await mount.seed_root("third")
    assert certificate(await ask(mount, way)).issuer.rfc4514_string() == "CN=second"
    body = {**ASKED, "csr": CSR}
    data = await mount.data("update", f"issuer/third/{way}/web", body)
    assert certificate(data).issuer.rfc4514_string() == "CN=third"
    data = await mount.data("update", f"issuer/default/{way}/web", body)
    assert certificate(data).issuer.rfc4514_string() == "CN=root"


async def test_sign_verbatim_without_a_role_is_by_the_default_issuer_or_that_in_the_path() -> None:
    mount = await ready()
    await mount.seed_root("second")
    for path, name in (("sign-verbatim", "CN=root"), ("issuer/second/sign-verbatim", "CN=second")):
        data = await mount.data("update", path, {"csr": new_csr("anything at all")})
        assert certificate(data).issuer.rfc4514_string() == name


@pytest.mark.parametrize("path", ["sign/web", "sign-verbatim", "sign-verbatim/web"])
async def test_whoever_asks_for_names_that_the_csr_decides_is_warned(path: str) -> None:
    mount = await ready(use_csr_common_name=True, use_csr_sans=True)
    given = {"csr": CSR, "common_name": "other.example.com", "alt_names": "other.example.com"}
    warnings = (await mount.call("update", path, given)).warnings or []
    assert [warning.split()[1] for warning in warnings if "was provided" in warning] == ["common_name", "alt_names"]


# --- no_store and leases ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_a_role_that_stores_nothing_leaves_no_row(way: str) -> None:
    mount = await ready(no_store=True)
    before = await stored(mount)
    await ask(mount, way)
    assert await stored(mount) == before


async def test_a_certificate_without_a_lease_is_the_rule() -> None:
    response = await (await ready()).call("update", "issue/web", ASKED)
    assert response.lease is None


async def test_a_lease_is_granted_where_the_role_says_so_and_revokes_the_certificate() -> None:
    mount = await ready(generate_lease=True, ttl="1h")
    response = await mount.call("update", "issue/web", ASKED)
    grant = response.lease
    assert grant is not None
    assert (grant.ttl, grant.renewable) == (3600, False)
    assert isinstance(mount.engine, LeasingEngine)
    lease = Lease(
        lease_id="pki/issue/web/x", path="issue/web", internal=grant.internal, issued_at=0, ttl=3600, max_ttl=3600
    )
    for _ in range(2):  # twice is as good as once
        await mount.engine.revoke_lease(lease)
    assert response.data is not None
    known = await mount.parts.store.certificate(response.data["serial_number"])
    assert known is not None
    assert known.state is State.REVOKED
    with pytest.raises(InvalidRequestError, match="issue another"):
        await mount.engine.renew_lease(lease, increment=0)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_an_unknown_role_is_said(way: str) -> None:
    with pytest.raises(InvalidRequestError, match="unknown role: none"):
        await (await ready()).call("update", f"{way}/none", {"csr": CSR})


@pytest.mark.parametrize("way", WAYS)
async def test_an_unknown_issuer_is_said(way: str) -> None:
    with pytest.raises(NotFoundError, match="nobody"):
        await (await ready()).call("update", f"issuer/nobody/{way}/web", {"csr": CSR})


async def test_without_an_issuer_nothing_is_issued() -> None:
    mount = Mount()
    await mount.call("update", "roles/web", WEB)
    with pytest.raises(InvalidRequestError, match="default issuer"):
        await ask(mount, "issue")


REFUSING = {
    "revoked": ({"revoked_at": 5}, "is revoked"),
    "usage": ({"usage": ("read-only", "crl-signing")}, "issuing-certificates"),
    "without-key": ({"key_id": ""}, "is not here"),
}


@pytest.mark.parametrize("why", REFUSING)
@pytest.mark.parametrize("way", WAYS)
async def test_an_issuer_that_may_not_issues_nothing(way: str, why: str) -> None:
    changes, sentence = REFUSING[why]
    mount = await ready()
    await change_issuer(mount, **changes)
    before = await stored(mount)
    with pytest.raises(InvalidRequestError, match=sentence):
        await ask(mount, way)
    assert await stored(mount) == before


@pytest.mark.parametrize("behaviour", ["err", "truncate", "permit"])
@pytest.mark.parametrize("way", WAYS)
async def test_an_issuer_that_has_ended_issues_nothing_however_it_treats_ends(way: str, behaviour: str) -> None:
    mount = await ready()
    await change_issuer(mount, leaf_not_after_behavior=behaviour)
    mount.clock.advance(10 * 365 * 86400)
    with pytest.raises(InvalidRequestError, match="has ended"):
        await ask(mount, way)


@pytest.mark.parametrize("way", ["sign", "sign-verbatim"])
@pytest.mark.parametrize("csr", ["", "garbage"], ids=["none", "garbage"])
async def test_without_a_csr_nothing_is_signed(way: str, csr: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"(?i)csr"):
        await ask(await ready(), way, csr=csr)


@pytest.mark.parametrize("way", WAYS)
async def test_a_format_that_is_none_is_refused_before_anything_is_signed(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = await ready()

    async def never(*_: object, **__: object) -> list[bytes]:
        raise AssertionError("signed")

    monkeypatch.setattr(mount.keys, "sign", never)
    for member in ("format", "private_key_format"):
        with pytest.raises(InvalidRequestError, match=f'"{member}"'):
            await ask(mount, way, **{member: "nonsense"})
    if way != "issue":
        with pytest.raises(InvalidRequestError, match="pkcs12"):
            await ask(mount, way, format="pkcs12")


async def test_an_hsm_that_is_gone_is_said_and_the_same_request_is_served_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mount = await ready()

    async def gone(*_: object, **__: object) -> list[bytes]:
        raise HsmGoneError("the HSM is gone")

    with monkeypatch.context() as broken:
        broken.setattr(mount.keys, "sign", gone)
        with pytest.raises(HsmGoneError):
            await ask(mount, "issue")
    assert certificate(await ask(mount, "issue"))


def test_all_of_them_are_told_whose_names_templates_stand_for() -> None:
    mount = Mount()
    patterns = [r for r in mount.engine.routes if r.pattern.removesuffix("/{role}").rpartition("/")[2] in WAYS]
    assert len(patterns) == 8
    assert all(route.methods[Operation.UPDATE].asks_identity for route in patterns)


async def test_an_issuer_is_encoded_once_for_all_that_it_issues(monkeypatch: pytest.MonkeyPatch) -> None:
    mount = await ready(no_store=True)  # the storage in memory forgets what it decoded at every commit
    first = await ask(mount, "issue")
    monkeypatch.setattr(Issuer, "pem", property(lambda _: "never"))
    assert (await ask(mount, "issue"))["ca_chain"] is first["ca_chain"]
