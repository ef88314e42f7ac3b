"""Responders of issuers: made, renewed and dropped by the housekeeper; their answers verify without being told of them.

RFC 6960, 4.2.2.2.
"""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec.structs import replace

from core.errors import HsmGoneError
from core.protocols import Custody, KeyKind
from pki.certificates import CATALOG, State, encode_row
from pki.issuing import Issued
from pki.ocsp_delegates import DELEGATES, Delegate, plan_delegate
from pki.plan import Origin, Plan
from pki.store import AuthorityChange
from tests.support.certificate_checks import lint, lint_ocsp, lint_pair
from tests.unit.pki.pki_mount import Mount

DAY = 86400


async def make_mount(kind: KeyKind = KeyKind.EC_P256, **settings: Any) -> Mount:
    mount = Mount()
    await mount.seed_root(kind=kind)
    await configure(mount, ocsp_delegated=True, **settings)
    return mount


async def configure(mount: Mount, **settings: Any) -> None:
    await mount.call("update", "config/crl", settings)


async def change_issuer(mount: Mount, **members: Any) -> None:
    row = (await root_of(mount)).row

    async def work(change: AuthorityChange) -> None:
        await change.put_issuer(replace(row, **members))

    await mount.parts.store.change_authority(work)


async def root_of(mount: Mount) -> Any:
    return (await mount.parts.store.authority()).issuer("default")


async def delegate_of(mount: Mount) -> Delegate | None:
    return await mount.parts.ocsp_delegates.find(await root_of(mount), await mount.parts.store.authority())


async def appointed(mount: Mount) -> Delegate:
    await mount.engine.housekeep()
    found = await delegate_of(mount)
    assert found is not None
    return found


async def issue_leaf(mount: Mount) -> Issued:
    now = int(mount.clock.now())
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    plan = Plan(
        public_key=key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "web")]),
        not_before=now - 30,
        not_after=now + DAY,
    )
    authority = await mount.parts.store.authority()
    return await mount.parts.issuing.issue(plan, authority.issuer("default"), authority, Origin(way="issue"))


async def question_about(mount: Mount, leaf: Issued) -> bytes:
    issuer = (await root_of(mount)).certificate
    question = ocsp.OCSPRequestBuilder().add_certificate(leaf.certificate, issuer, hashes.SHA256()).build()
    return question.public_bytes(Encoding.DER)


async def ask(mount: Mount, question: bytes) -> ocsp.OCSPResponse:
    response = await mount.call("update", "ocsp", body=question)
    assert response.raw is not None
    return ocsp.load_der_ocsp_response(response.raw.body)


def signed_by(answer: ocsp.OCSPResponse) -> bytes:
    """The certificate that came with it, whose key did sign it."""
    [certificate] = answer.certificates
    key: Any = certificate.public_key()
    assert answer.signature_hash_algorithm is not None
    key.verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(answer.signature_hash_algorithm))
    return certificate.public_bytes(Encoding.DER)


async def test_its_key_is_sealed_and_its_certificate_is_for_answers_alone() -> None:
    """RFC 6960, 4.2.2.2 and 4.2.2.2.1."""
    mount = await make_mount()
    made = await appointed(mount)
    assert made.key.custody is Custody.SEALED
    extensions = x509.load_der_x509_certificate(made.certificate).extensions
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.OCSP_SIGNING]
    assert extensions.get_extension_for_class(x509.OCSPNoCheck).critical is False
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign


async def test_pkilint_finds_nothing() -> None:
    mount = await make_mount()
    certificate = x509.load_der_x509_certificate((await appointed(mount)).certificate)
    assert lint(certificate) + lint_pair((await root_of(mount)).certificate, certificate) == []
    response = await mount.call("update", "ocsp", body=await question_about(mount, await issue_leaf(mount)))
    assert response.raw is not None
    assert lint_ocsp(response.raw.body) == []


async def test_the_issuer_signs_until_there_is_one() -> None:
    mount = await make_mount()
    question = await question_about(mount, await issue_leaf(mount))
    assert signed_by(await ask(mount, question)) == (await root_of(mount)).row.certificate
    made = await appointed(mount)
    assert signed_by(await ask(mount, question)) == made.certificate


async def test_other_workers_take_it_at_once() -> None:
    mount = await make_mount()
    other, question = mount.other_worker(), await question_about(mount, await issue_leaf(mount))
    await ask(other, question)
    made = await appointed(mount)
    assert signed_by(await ask(other, question)) == made.certificate


async def test_the_inventory_has_it() -> None:
    mount = await make_mount()
    known = await mount.parts.store.certificate((await appointed(mount)).serial)
    assert known is not None
    assert (known.state, known.body.way) == (State.ISSUED, "ocsp-responder")


@pytest.mark.parametrize("kind", [KeyKind.EC_P384, KeyKind.ED25519, KeyKind.ML_DSA_44], ids=lambda kind: kind.value)
async def test_its_key_is_of_its_issuers_kind(kind: KeyKind) -> None:
    mount = await make_mount(kind)
    assert (await appointed(mount)).key.kind is kind


async def test_it_is_due_as_soon_as_it_is_wanted_and_then_no_more() -> None:
    mount = await make_mount()
    assert mount.parts.ocsp_delegates.is_due()
    await appointed(mount)
    assert not mount.parts.ocsp_delegates.is_due()


async def test_it_is_renewed_at_half_its_time() -> None:
    mount = await make_mount()
    first = await appointed(mount)
    mount.clock.advance(3 * DAY + DAY // 2 - 60)
    assert await appointed(mount) == first
    mount.clock.advance(60)
    second = await appointed(mount)
    assert second.key.key_id != first.key.key_id
    assert second.not_after == int(mount.clock.now()) + 7 * DAY


async def test_a_revoked_one_is_replaced() -> None:
    """Clients do not ask about it (id-pkix-ocsp-nocheck), so it must not sign any more."""
    mount = await make_mount()
    first = await appointed(mount)
    known = await mount.parts.store.certificate(first.serial)
    assert known is not None
    body = replace(known.body, revoked_at=int(mount.clock.now()))
    row = encode_row(replace(known, state=State.REVOKED, body=body))
    await mount.view.transact(lambda txn: txn.put_row(CATALOG, row))
    assert (await appointed(mount)).serial != first.serial


async def test_an_ended_one_does_not_sign() -> None:
    mount = await make_mount()
    await appointed(mount)
    mount.clock.advance(7 * DAY)
    question = await question_about(mount, await issue_leaf(mount))
    assert signed_by(await ask(mount, question)) == (await root_of(mount)).row.certificate


async def test_no_answer_outlives_its_signer() -> None:
    mount = await make_mount(ocsp_expiry="240h")
    made = await appointed(mount)
    answer = await ask(mount, await question_about(mount, await issue_leaf(mount)))
    assert answer.next_update_utc is not None
    assert int(answer.next_update_utc.timestamp()) == made.not_after


async def test_it_ends_with_its_issuer_and_is_not_renewed_for_nothing() -> None:
    mount = Mount()
    await mount.seed_root(years=1)
    mount.clock.advance(363 * DAY)
    await configure(mount, ocsp_delegated=True)
    made = await appointed(mount)
    assert made.not_after == (await root_of(mount)).not_after
    mount.clock.advance(int(1.9 * DAY))
    assert await appointed(mount) == made


async def test_switched_off_it_is_dropped() -> None:
    mount = await make_mount()
    question = await question_about(mount, await issue_leaf(mount))
    await appointed(mount)
    await ask(mount, question)
    await configure(mount, ocsp_delegated=False)
    assert signed_by(await ask(mount, question)) == (await root_of(mount)).row.certificate
    await mount.engine.housekeep()
    assert await mount.view.list(DELEGATES) == []


async def test_a_deleted_issuers_one_is_dropped() -> None:
    mount = await make_mount()
    await appointed(mount)
    await mount.call("delete", f"issuer/{(await root_of(mount)).issuer_id}")
    await mount.engine.housekeep()
    assert await mount.view.list(DELEGATES) == []


@pytest.mark.parametrize(
    "members",
    [{"usage": ("ocsp-signing",)}, {"usage": ("issuing-certificates",)}, {"revoked_at": 1}],
    ids=["does not issue", "does not answer", "revoked"],
)
async def test_who_may_not_appoints_none(members: dict[str, Any]) -> None:
    mount = await make_mount()
    await change_issuer(mount, **members)
    await mount.engine.housekeep()
    assert await mount.view.list(DELEGATES) == []
    assert not mount.parts.ocsp_delegates.is_due()


async def test_a_failure_is_not_tried_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    mount = await make_mount()

    async def sign(*_: Any, **__: Any) -> Any:
        raise HsmGoneError("the token is gone")

    await mount.parts.crl_work.run()
    monkeypatch.setattr(mount.keys, "sign", sign)
    with pytest.raises(HsmGoneError):
        await mount.engine.housekeep()
    await mount.parts.store.authority()  # in memory again, after the intent was written
    assert not mount.parts.ocsp_delegates.is_due()


async def test_two_housekeepers_leave_one() -> None:
    mount = await make_mount()
    other = mount.other_worker()
    await mount.parts.ocsp_delegates.run()
    await other.parts.ocsp_delegates.run()
    assert await delegate_of(other) == await delegate_of(mount)


async def test_a_long_name_is_cut() -> None:
    """RFC 5280, A.1: a common name has 64 characters."""
    mount = Mount()
    await mount.seed_root(name="x" * 64)
    issuer = await root_of(mount)
    plan = plan_delegate(issuer, issuer.public_key, now=int(mount.clock.now()))
    [name] = plan.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert len(str(name.value)) == 64
    assert str(name.value).endswith("x OCSP responder")


async def test_an_issuer_for_some_names_only_may_appoint() -> None:
    """A responder has no DNS name (RFC 5280, 4.2.1.10)."""
    mount = Mount()
    asked = {"common_name": "Narrow", "key_type": "ec", "ttl": "100h", "permitted_dns_domains": "example.com"}
    await mount.call("update", "root/generate/internal", asked | {"max_path_length": 0})
    await configure(mount, ocsp_delegated=True)
    assert await appointed(mount)
