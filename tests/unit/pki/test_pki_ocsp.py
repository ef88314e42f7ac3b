"""OCSP answers of a mount, read by `cryptography`."""

import base64
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from core.errors import HsmGoneError
from core.protocols import KeyKind, Transaction
from core.requests import Response
from pki.certificates import CATALOG, State, encode_row
from pki.issuing import Issued
from pki.ocsp import MALFORMED_REQUEST, TRY_LATER, UNAUTHORIZED
from pki.plan import Origin, Plan
from pki.store import AuthorityChange
from tests.unit.pki.pki_mount import Mount

_SHA1 = hashes.SHA1()  # noqa: S303 - RFC 5019, 2.1.1 has clients name issuers by it


async def _mount(kind: KeyKind = KeyKind.EC_P256) -> tuple[Mount, Issued]:
    mount = Mount()
    issuer_id = await mount.seed_root(kind=kind)
    return mount, await _leaf(mount, issuer_id)


async def _leaf(mount: Mount, issuer_id: str, *, no_store: bool = False) -> Issued:
    authority = await mount.parts.store.authority()
    now = int(mount.clock.now())
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    plan = Plan(
        public_key=key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "web")]),
        not_before=now - 30,
        not_after=now + 86400,
    )
    origin = Origin(way="issue", no_store=no_store)
    return await mount.parts.issuing.issue(plan, authority.issuer(issuer_id), authority, origin)


async def _issuer(mount: Mount) -> x509.Certificate:
    return (await mount.parts.store.authority()).issuer("default").certificate


async def _question(mount: Mount, leaf: Issued, digest: Any = None, nonce: bytes = b"") -> bytes:
    issuer = await _issuer(mount)
    builder = ocsp.OCSPRequestBuilder().add_certificate(leaf.certificate, issuer, digest or _SHA1)
    if nonce:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


async def _ask(mount: Mount, question: bytes) -> Response:
    return await mount.call("update", "ocsp", body=question)


def _read(response: Response) -> ocsp.OCSPResponse:
    assert response.status == 200
    assert response.raw is not None
    return ocsp.load_der_ocsp_response(response.raw.body)


def _refused(response: Response) -> tuple[int | None, bytes]:
    assert response.raw is not None
    return response.status, response.raw.body


async def _revoke(mount: Mount, leaf: Issued, reason: str = "keyCompromise") -> None:
    known = await mount.parts.store.certificate(leaf.serial)
    assert known is not None
    body = replace(known.body, revoked_at=int(mount.clock.now()), reason=reason)
    row = encode_row(replace(known, state=State.REVOKED, body=body))

    async def write(txn: Transaction) -> None:
        await txn.put_row(CATALOG, row)

    await mount.view.transact(write)


async def _set(mount: Mount, **settings: Any) -> None:
    async def work(change: AuthorityChange) -> None:
        change.set_index(replace(change.index, crl=replace(change.index.crl, **settings)))

    await mount.parts.store.change_authority(work)


@pytest.mark.parametrize(
    "kind",
    [KeyKind.EC_P256, KeyKind.EC_P384, KeyKind.EC_P521, KeyKind.ED25519, KeyKind.RSA_2048],
    ids=lambda k: k.value,
)
async def test_what_was_issued_is_good_and_signed_by_its_issuer(kind: KeyKind) -> None:
    mount, leaf = await _mount(kind)
    answer = _read(await _ask(mount, await _question(mount, leaf)))
    assert answer.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert answer.serial_number == leaf.certificate.serial_number
    key: Any = (await _issuer(mount)).public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        assert answer.signature_hash_algorithm is not None
        key.verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(answer.signature_hash_algorithm))
    elif isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(answer.signature, answer.tbs_response_bytes)


@pytest.mark.parametrize("digest", [_SHA1, hashes.SHA256(), hashes.SHA384(), hashes.SHA512()], ids=lambda d: d.name)
async def test_issuers_are_found_by_hash(digest: hashes.HashAlgorithm) -> None:
    mount, leaf = await _mount()
    answer = _read(await _ask(mount, await _question(mount, leaf, digest)))
    assert answer.hash_algorithm.name == digest.name


async def test_a_revocation_shows_at_once_in_another_worker() -> None:
    mount, leaf = await _mount()
    other, question = mount.other_worker(), await _question(mount, leaf)
    assert _read(await _ask(other, question)).certificate_status is ocsp.OCSPCertStatus.GOOD
    await _revoke(mount, leaf)
    answer = _read(await _ask(other, question))
    assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert answer.revocation_reason is x509.ReasonFlags.key_compromise


async def test_a_serial_that_was_not_kept_is_unknown() -> None:
    """RFC 6960, 2.2: good is not said of what the responder does not know."""
    mount, _ = await _mount()
    leaf = await _leaf(mount, "default", no_store=True)
    assert _read(await _ask(mount, await _question(mount, leaf))).certificate_status is ocsp.OCSPCertStatus.UNKNOWN


async def test_an_answer_is_given_again_until_half_its_time() -> None:
    mount, leaf = await _mount()
    question = await _question(mount, leaf)
    first = _read(await _ask(mount, question))
    mount.clock.advance(6 * 3600 - 1)
    assert _read(await _ask(mount, question)).this_update_utc == first.this_update_utc
    mount.clock.advance(1)
    assert _read(await _ask(mount, question)).this_update_utc > first.this_update_utc


async def test_a_nonce_is_echoed() -> None:
    """RFC 9654, 2.1."""
    mount, leaf = await _mount()
    answer = _read(await _ask(mount, await _question(mount, leaf, nonce=b"n" * 32)))
    assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"n" * 32


async def test_a_nonce_of_129_octets_is_malformed() -> None:
    mount, leaf = await _mount()
    question = await _question(mount, leaf, nonce=b"n" * 129)
    assert _refused(await _ask(mount, question)) == (400, MALFORMED_REQUEST)


@pytest.mark.parametrize(
    "change",
    [lambda q: q[:-1], lambda q: q + b"\0", lambda _: b"{}", lambda q: q * 30],
    ids=["cut", "trailing", "json", "long"],
)
async def test_what_is_no_request_is_malformed(change: Any) -> None:
    mount, leaf = await _mount()
    assert _refused(await _ask(mount, change(await _question(mount, leaf)))) == (400, MALFORMED_REQUEST)


async def test_get_takes_base64_with_slashes() -> None:
    """RFC 6960, A.1.1."""
    mount, leaf = await _mount()
    text = base64.b64encode(await _question(mount, leaf)).decode()
    assert _read(await mount.call("read", f"ocsp/{text}")).certificate_status is ocsp.OCSPCertStatus.GOOD


async def _get(mount: Mount, question: bytes) -> Response:
    return await mount.call("read", "ocsp/" + base64.b64encode(question).decode())


async def test_get_says_how_long_it_may_be_kept() -> None:
    """RFC 5019, 6.2: until this responder would answer anew, at most."""
    mount, leaf = await _mount()
    question = await _question(mount, leaf)
    answer = _read(await _get(mount, question))
    mount.clock.advance(3600)
    raw = (await _get(mount, question)).raw
    assert raw is not None
    assert raw.headers is not None
    assert raw.headers["Cache-Control"] == f"max-age={5 * 3600}, public, no-transform, must-revalidate"
    assert answer.next_update_utc is not None
    assert parsedate_to_datetime(raw.headers["Expires"]) == answer.next_update_utc
    assert parsedate_to_datetime(raw.headers["Last-Modified"]) == answer.this_update_utc


async def test_get_with_the_same_tag_is_answered_without_a_body() -> None:
    mount, leaf = await _mount()
    question = await _question(mount, leaf)
    raw = (await _get(mount, question)).raw
    assert raw is not None
    assert raw.headers is not None
    mount.headers = {"If-None-Match": raw.headers["ETag"]}
    assert _refused(await _get(mount, question)) == (304, b"")


async def test_a_tag_of_before_the_revocation_gets_the_new_answer() -> None:
    mount, leaf = await _mount()
    question = await _question(mount, leaf)
    raw = (await _get(mount, question)).raw
    assert raw is not None
    assert raw.headers is not None
    mount.headers = {"If-None-Match": raw.headers["ETag"]}
    await _revoke(mount, leaf)
    assert _read(await _get(mount, question)).certificate_status is ocsp.OCSPCertStatus.REVOKED


async def test_without_expiry_nothing_is_kept() -> None:
    """RFC 6960, 4.2.2.1: without nextUpdate newer information is always to be had."""
    mount, leaf = await _mount()
    await _set(mount, ocsp_expiry=0)
    question = await _question(mount, leaf)
    first = _read(await _ask(mount, question))
    mount.clock.advance(1)
    assert _read(await _ask(mount, question)).this_update_utc > first.this_update_utc
    raw = (await _get(mount, question)).raw
    assert raw is not None
    assert raw.headers is None


async def test_get_without_base64_is_malformed() -> None:
    mount, _ = await _mount()
    assert _refused(await mount.call("read", "ocsp/a-_b")) == (400, MALFORMED_REQUEST)


async def test_another_mounts_issuer_is_unauthorized() -> None:
    mount, _ = await _mount()
    other, leaf = await _mount()
    assert _refused(await _ask(mount, await _question(other, leaf))) == (401, UNAUTHORIZED)


async def test_ocsp_can_be_disabled() -> None:
    mount, leaf = await _mount()
    question = await _question(mount, leaf)
    await _ask(mount, question)
    await _set(mount, ocsp_disable=True)
    assert _refused(await _ask(mount, question)) == (401, UNAUTHORIZED)


async def test_without_expiry_there_is_no_next_update() -> None:
    mount, leaf = await _mount()
    await _set(mount, ocsp_expiry=0)
    assert _read(await _ask(mount, await _question(mount, leaf))).next_update_utc is None


async def test_unified_ocsp_is_refused() -> None:
    mount, leaf = await _mount()
    response = await mount.call("update", "unified-ocsp", body=await _question(mount, leaf))
    assert _refused(response) == (401, UNAUTHORIZED)


async def test_without_the_hsm_one_is_to_try_later(monkeypatch: pytest.MonkeyPatch) -> None:
    mount, leaf = await _mount()

    async def sign(*_: Any, **__: Any) -> Any:
        raise HsmGoneError("the token is gone")

    monkeypatch.setattr(mount.keys, "sign", sign)
    assert _refused(await _ask(mount, await _question(mount, leaf))) == (503, TRY_LATER)
