"""Revocation: by serial number, by certificate, by key; what is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asn1crypto import pem as asn1_pem
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from core.errors import InvalidRequestError, NotFoundError
from pki.certificates import CATALOG, Known, State, decode_row, encode_row
from pki.plan import Origin, Plan
from pki.revoking import UnknownCertificateError
from tests.unit.pki.brought_cas import ca
from tests.unit.pki.pki_mount import Mount

KEY = ec.generate_private_key(ec.SECP256R1())
KEY_PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


async def issued(mount: Mount, issuer_id: str = "default", *, seconds: int = 3600, no_store: bool = False) -> Any:
    authority = await mount.parts.store.authority()
    now = int(mount.clock.now())
    plan = Plan(
        public_key=KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "web.example.com")]),
        not_before=now - 30,
        not_after=now + seconds,
        names=(x509.DNSName("web.example.com"),),
    )
    return await mount.parts.issuing.issue(
        plan, authority.issuer(issuer_id), authority, Origin(way="issue", no_store=no_store)
    )


def pem(made: Any) -> str:
    return made.certificate.public_bytes(Encoding.PEM).decode()


async def set_state(mount: Mount, serial: str, state: State) -> None:
    row = await mount.view.row(CATALOG, serial)
    assert row is not None
    known = replace(decode_row(row), state=state)

    async def write(txn: Any) -> None:
        await txn.put_row(CATALOG, encode_row(known))

    await mount.view.transact(write)


@pytest.fixture
async def mount() -> Mount:
    made = Mount()
    await made.seed_root()
    return made


async def test_a_certificate_is_revoked_by_its_serial_number_in_any_spelling(mount: Mount) -> None:
    made = await issued(mount)
    data = await mount.data("update", "revoke", {"serial_number": made.serial.upper().replace(":", "-")})
    now = int(mount.clock.now())
    assert data == {
        "revocation_time": now,
        "revocation_time_rfc3339": "2027-01-15T08:00:00Z",
        "state": "revoked",
    }
    known = await mount.other_worker().parts.store.certificate(made.serial)
    assert known is not None
    assert (known.state, known.body.revoked_at, known.body.reason) == (State.REVOKED, now, "unspecified")


async def test_a_second_revocation_answers_the_first_time_and_keeps_its_reason(mount: Mount) -> None:
    made = await issued(mount)
    first = await mount.data("update", "revoke", {"serial_number": made.serial, "reason": "superseded"})
    mount.clock.advance(60)
    second = await mount.data("update", "revoke", {"serial_number": made.serial, "reason": "keyCompromise"})
    known = await mount.parts.store.certificate(made.serial)
    assert second == first
    assert known is not None
    assert known.body.reason == "superseded"


async def test_what_was_not_stored_is_revoked_by_its_certificate_and_then_found(mount: Mount) -> None:
    made = await issued(mount, no_store=True)
    await mount.data("update", "revoke", {"certificate": pem(made)})
    known = await mount.parts.store.certificate(made.serial)
    assert known is not None
    assert (known.state, known.body.way, known.body.names) == (State.REVOKED, "imported", ("dns:web.example.com",))
    assert (await mount.data("list", "certs/revoked"))["keys"] == [made.serial]


async def test_what_was_signed_but_never_recorded_is_revoked_by_its_certificate(mount: Mount) -> None:
    made = await issued(mount)
    await set_state(mount, made.serial, State.ABANDONED)
    with pytest.raises(UnknownCertificateError):
        await mount.call("update", "revoke", {"serial_number": made.serial})
    await mount.data("update", "revoke", {"certificate": pem(made)})
    known = await mount.parts.store.certificate(made.serial)
    assert known is not None
    assert known.state is State.REVOKED
    assert x509.load_der_x509_certificate(known.body.certificate) == made.certificate


async def test_a_certificate_of_another_ca_is_refused(mount: Mount) -> None:
    other = Mount()
    await other.seed_root()
    made = await issued(other)
    with pytest.raises(InvalidRequestError, match="unable to verify signature on presented cert"):
        await mount.call("update", "revoke", {"certificate": pem(made)})


async def test_a_forged_signature_is_refused(mount: Mount) -> None:
    authority = await mount.parts.store.authority()
    forged = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority.issuer("default").subject)
        .public_key(KEY.public_key())
        .serial_number(7)
        .not_valid_before(authority.issuer("default").certificate.not_valid_before_utc)
        .not_valid_after(authority.issuer("default").certificate.not_valid_after_utc)
        .sign(KEY, hashes.SHA256())
    )
    with pytest.raises(InvalidRequestError, match="unable to verify signature"):
        await mount.call("update", "revoke", {"certificate": forged.public_bytes(Encoding.PEM).decode()})


async def test_another_certificate_of_a_known_serial_number_is_refused(mount: Mount) -> None:
    made, other = await issued(mount), await issued(mount)
    row = await mount.view.row(CATALOG, other.serial)
    assert row is not None
    known = decode_row(row)

    async def swap(txn: Any) -> None:
        swapped: Known = replace(known, serial=made.serial)
        await txn.put_row(CATALOG, encode_row(swapped))

    await mount.view.transact(swap)
    with pytest.raises(InvalidRequestError, match="same serial but unequal value"):
        await mount.call("update", "revoke", {"certificate": pem(made)})


async def test_an_intent_is_no_certificate(mount: Mount) -> None:
    made = await issued(mount)
    await set_state(mount, made.serial, State.INTENDED)
    with pytest.raises(UnknownCertificateError, match=f"certificate with serial {made.serial} not found"):
        await mount.call("update", "revoke", {"serial_number": made.serial})


async def test_what_has_expired_is_not_revoked_and_a_warning_says_so(mount: Mount) -> None:
    made = await issued(mount, seconds=10)
    mount.clock.advance(9)
    answer = await mount.call("update", "revoke", {"serial_number": made.serial})
    assert answer.data is None
    assert answer.warnings is not None
    assert "already expired" in answer.warnings[0]


ODD_CERTIFICATES = {
    "an unknown algorithm": (b"\x2a\x86\x48\xce\x3d\x04\x03\x02", b"\x2a\x86\x48\xce\x3d\x04\x03\x7f"),
    "an unknown key": (b"\x2a\x86\x48\xce\x3d\x02\x01", b"\x2a\x86\x48\xce\x3d\x02\x7f"),
    "a name that is no text": (b"\x0c\x0fweb.example.com", b"\x03\x0f\0eb.example.com"),
}


@pytest.mark.parametrize("what", ODD_CERTIFICATES)
@pytest.mark.parametrize("path", ["revoke", "revoke-with-key"])
async def test_a_certificate_that_cannot_be_read_is_refused(mount: Mount, what: str, path: str) -> None:
    der = (await issued(mount)).der
    assert ODD_CERTIFICATES[what][0] in der
    odd = asn1_pem.armor("CERTIFICATE", der.replace(*ODD_CERTIFICATES[what])).decode()
    with pytest.raises(InvalidRequestError):
        await mount.call("update", path, {"certificate": odd, "private_key": KEY_PEM})


REFUSED = {
    "nothing": ({}, "must be provided"),
    "both": ({"serial_number": "01", "certificate": "x"}, "not both"),
    "unknown": ({"serial_number": "01:02"}, "certificate with serial 01:02 not found"),
    "no serial": ({"serial_number": "zz"}, "a serial number is"),
    "no pem": ({"certificate": "x" * 80}, "no PEM data"),
    "bad pem": (
        {"certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
        "could not be parsed",
    ),
    "too long": ({"certificate": "x" * 70_000}, "too long"),
    "hold": ({"serial_number": "01", "reason": "certificateHold"}, "reason must be one of"),
}


@pytest.mark.parametrize(("body", "sentence"), REFUSED.values(), ids=REFUSED.keys())
async def test_bad_requests_are_refused(mount: Mount, body: dict[str, str], sentence: str) -> None:
    with pytest.raises(InvalidRequestError, match=sentence):
        await mount.call("update", "revoke", body)


async def test_who_has_the_key_may_revoke(mount: Mount) -> None:
    by_serial, by_certificate = await issued(mount), await issued(mount, no_store=True)
    for body in ({"serial_number": by_serial.serial}, {"certificate": pem(by_certificate)}):
        data = await mount.data("update", "revoke-with-key", {**body, "private_key": KEY_PEM})
        assert data["state"] == "revoked"


OTHER_PEM = (
    ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
)
KEYS = {
    "none": ("", "Must have private key"),
    "another": (OTHER_PEM, "does not match"),
    "no key": ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "failed to parse"),
}


@pytest.mark.parametrize(("key", "sentence"), KEYS.values(), ids=KEYS.keys())
async def test_without_its_key_a_certificate_stays(mount: Mount, key: str, sentence: str) -> None:
    made = await issued(mount)
    with pytest.raises(InvalidRequestError, match=sentence):
        await mount.call("update", "revoke-with-key", {"serial_number": made.serial, "private_key": key})
    known = await mount.parts.store.certificate(made.serial)
    assert known is not None
    assert known.state is State.ISSUED


async def test_an_issuer_is_not_revoked_by_its_serial_number(mount: Mount) -> None:
    issuer = (await mount.parts.store.authority()).issuer("default")
    for body in ({"serial_number": f"{issuer.certificate.serial_number:x}"}, {"certificate": issuer.pem}):
        with pytest.raises(InvalidRequestError, match="to its own CRL is not allowed"):
            await mount.call("update", "revoke", body)


async def test_a_revoked_issuer_issues_nothing_and_the_first_time_stays(mount: Mount) -> None:
    first = await mount.data("update", "issuer/root/revoke")
    mount.clock.advance(60)
    second = await mount.data("update", "issuer/root/revoke")
    assert first["revoked"] is True
    assert second["revocation_time"] == first["revocation_time"] == int(mount.clock.now()) - 60
    with pytest.raises(InvalidRequestError, match="revoked"):
        await issued(mount)


async def test_whoever_revokes_an_issuer_hears_what_that_does_not_do(mount: Mount) -> None:
    await mount.seed_root("other")
    default = (await mount.call("update", "issuer/root/revoke")).warnings or []
    assert ["own CRL" in default[0], "default issuer" in default[1]] == [True, True]
    assert len((await mount.call("update", "issuer/other/revoke")).warnings or []) == 1


async def test_nothing_revoked_is_an_empty_list(mount: Mount) -> None:
    with pytest.raises(NotFoundError):
        await mount.call("list", "certs/revoked")


def by_hand(subject: str, key: Any, issuer: str, issuer_key: Any, *, is_ca: bool) -> str:
    """Of serial number 0x1000, with which the serial numbers of CAs made with OpenSSL often begin."""
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (issuer, subject)]
    now = datetime.fromtimestamp(1_800_000_000, UTC)
    builder = x509.CertificateBuilder(*names, key.public_key(), 0x1000, now, now + timedelta(days=30))
    builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


async def test_certificates_of_one_serial_number_by_two_cas_are_revoked() -> None:
    """A CA and a leaf of that CA: RFC 5280, 4.1.2.2 wants them to differ for one issuer alone."""
    mount, own = Mount(), ec.generate_private_key(ec.SECP256R1())
    below = by_hand("Below", own, "Above", KEY, is_ca=True)
    bundle = ca(KEY, "Above") + KEY_PEM + below
    await mount.data("update", "issuers/import/bundle", {"pem_bundle": bundle})
    [issuer] = [one for one in (await mount.parts.store.authority()).issuers.values() if not one.is_self_signed]
    leaf = by_hand("web.example.com", own, "Below", own, is_ca=False)
    assert (await mount.data("update", "revoke", {"certificate": leaf}))["state"] == "revoked"
    answer = await mount.call("update", f"issuer/{issuer.issuer_id}/revoke")
    assert (answer.data or {})["revoked"] is True
    assert "serial number" in (answer.warnings or [""])[-1]
    with pytest.raises(InvalidRequestError, match="to its own CRL is not allowed"):
        await mount.call("update", "revoke", {"certificate": below})
