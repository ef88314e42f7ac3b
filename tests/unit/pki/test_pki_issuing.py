"""How a certificate comes to be, below the routes: intent, signature, record."""

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from core.errors import HsmGoneError, InvalidRequestError
from core.protocols import KeyKind, KeyUsage
from pki.certificates import CATALOG, State, decode_row
from pki.plan import Origin, Plan
from tests.unit.pki.pki_mount import Mount

KINDS = [KeyKind.EC_P256, KeyKind.EC_P384, KeyKind.EC_P521, KeyKind.ED25519, KeyKind.ML_DSA_44]


async def leaf_plan(mount: Mount, name: str = "web.example.com") -> Plan:
    key = await mount.keys.generate_key(KeyKind.EC_P256, usage=KeyUsage.SIGN)
    assert key.public_key is not None
    now = int(mount.clock.now())
    return Plan(
        public_key=key.public_key,
        subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
        not_before=now - 30,
        not_after=now + 3600,
        names=(x509.DNSName(name),),
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)
async def test_what_is_issued_is_signed_by_its_issuer_and_in_the_inventory(kind: KeyKind) -> None:
    mount = Mount()
    authority_id = await mount.seed_root(kind=kind)
    authority = await mount.parts.store.authority()
    issuer = authority.issuer(authority_id)
    made = await mount.parts.issuing.issue(await leaf_plan(mount), issuer, authority, Origin(way="issue", role="web"))
    made.certificate.verify_directly_issued_by(issuer.certificate)
    known = await mount.parts.store.certificate(made.serial)
    assert known is not None
    assert (known.state, known.body.role, known.body.names) == (State.ISSUED, "web", ("dns:web.example.com",))
    assert x509.load_der_x509_certificate(known.body.certificate) == made.certificate


async def test_an_hsm_that_goes_between_intent_and_signature_leaves_an_intent_and_no_certificate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mount = Mount()
    authority_id = await mount.seed_root()
    authority = await mount.parts.store.authority()

    async def gone(*_: object, **__: object) -> list[bytes]:
        raise HsmGoneError("the HSM is gone")

    monkeypatch.setattr(mount.keys, "sign", gone)
    with pytest.raises(HsmGoneError):
        await mount.parts.issuing.issue(
            await leaf_plan(mount), authority.issuer(authority_id), authority, Origin(way="issue")
        )
    serials = await mount.view.row_ids(CATALOG)
    rows = [decode_row(row) for serial in serials if (row := await mount.view.row(CATALOG, serial))]
    assert sorted(known.state for known in rows) == [State.INTENDED, State.ISSUED]  # the root's is ISSUED


async def test_what_is_not_stored_leaves_nothing() -> None:
    mount = Mount()
    authority_id = await mount.seed_root()
    authority = await mount.parts.store.authority()
    before = await mount.view.row_ids(CATALOG)
    origin = Origin(way="issue", no_store=True)
    await mount.parts.issuing.issue(await leaf_plan(mount), authority.issuer(authority_id), authority, origin)
    assert await mount.view.row_ids(CATALOG) == before


async def test_an_issuer_without_the_usage_issues_nothing() -> None:
    mount = Mount()
    authority_id = await mount.seed_root()
    authority = await mount.parts.store.authority()
    issuer = authority.issuer(authority_id)
    issuer.row = replace(issuer.row, usage=("read-only",))
    with pytest.raises(InvalidRequestError, match="issuing-certificates"):
        await mount.parts.issuing.issue(await leaf_plan(mount), issuer, authority, Origin(way="issue"))
