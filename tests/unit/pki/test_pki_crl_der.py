"""A CRL whose entries were put in by hand is, byte for byte, what `cryptography` builds; others read it, too."""

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from core.prepared_signature import ToBeSigned
from core.protocols import KeyKind
from pki.authority import Issuer
from pki.certificates import Certificate, Known, State
from pki.crl import CrlPlan, build
from pki.crl_der import entry_of, with_entries
from pki.serials import format_serial
from tests.support.certificate_checks import lint_crl
from tests.unit.pki.pki_mount import Mount
from tests.unit.pki.test_pki_crl import change_issuer, crl_of, revoke
from tests.unit.pki.test_pki_delta_crl import ON
from tests.unit.pki.test_pki_revoke import issued

REASONS = {flag.value: flag for flag in x509.ReasonFlags}
NOW = 1_900_000_000
PLAN = CrlPlan(number=7, this_update=NOW, next_update=NOW + 3600)
SERIALS = (1, 127, 128, 255, 256, 2**158 - 1, 2**159 - 1, 2**159 + 5)
MOMENTS = (0, NOW, 2_524_607_999, 2_524_608_000)  # the last second of UTCTime, the first of GeneralizedTime
KINDS = [KeyKind.EC_P256, KeyKind.EC_P384, KeyKind.ED25519, KeyKind.ML_DSA_44]


def known(serial: int, revoked_at: int = NOW, reason: str = "unspecified") -> Known:
    body = Certificate(revoked_at=revoked_at, reason=reason)
    return Known(serial=format_serial(serial), state=State.REVOKED, not_after=NOW, body=body)


ROWS = [
    *(known(serial) for serial in SERIALS),
    *(known(5, moment) for moment in MOMENTS),
    *(known(6, NOW, reason) for reason in REASONS),
]


def built(rows: list[Known], issuer: Issuer) -> x509.CertificateRevocationListBuilder:
    """By `cryptography` alone."""

    def moment(seconds: int) -> datetime:
        return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)

    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject)
    builder = builder.last_update(moment(PLAN.this_update)).next_update(moment(PLAN.next_update))
    builder = builder.add_extension(issuer.authority_key_identifier, critical=False)
    builder = builder.add_extension(x509.CRLNumber(PLAN.number), critical=False)
    for row in rows:
        serial = int(row.serial.replace(":", ""), 16)
        entry = x509.RevokedCertificateBuilder(serial, moment(row.body.revoked_at))
        if row.body.reason != "unspecified":
            entry = entry.add_extension(x509.CRLReason(REASONS[row.body.reason]), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder


@pytest.mark.parametrize("count", [0, 1, 3, len(ROWS), 3000])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)
async def test_it_is_what_cryptography_builds(kind: KeyKind, count: int) -> None:
    mount = Mount()
    await mount.seed_root(kind=kind)
    issuer = (await mount.parts.store.authority()).issuer("default")
    assert issuer.key is not None
    rows = (ROWS * 150)[:count]
    theirs = ToBeSigned(issuer.key.key, built(rows, issuer).sign)
    ours = ToBeSigned(issuer.key.key, build(PLAN, issuer))
    message = with_entries(ours.message, [entry_of(row) for row in rows])
    assert message == theirs.message
    crl = x509.load_der_x509_crl(await ours.sign_der(mount.keys, message=message))
    assert crl.is_signature_valid(issuer.certificate.public_key())  # type: ignore[arg-type]  # ML-DSA lacks in its types
    assert crl.signature_algorithm_oid == theirs.draft.signature_algorithm_oid
    assert [entry.serial_number for entry in crl] == [int(row.serial.replace(":", ""), 16) for row in rows]


async def test_entries_are_not_put_into_a_crl_that_has_some() -> None:
    mount = Mount()
    await mount.seed_root()
    issuer = (await mount.parts.store.authority()).issuer("default")
    assert issuer.key is not None
    full = ToBeSigned(issuer.key.key, built(ROWS, issuer).sign)
    with pytest.raises(RuntimeError, match="without entries"):
        with_entries(full.message, [entry_of(ROWS[0])])


async def test_full_and_delta_crls_pass_pkilint() -> None:
    mount = Mount()
    await mount.seed_root()
    await mount.data("update", "config/crl", ON)
    await revoke(mount, await issued(mount), "keyCompromise")
    await revoke(mount, await issued(mount))
    await mount.engine.housekeep()
    mount.clock.advance(20 * 60)
    await revoke(mount, await issued(mount), "superseded")
    await mount.engine.housekeep()
    full, delta = await crl_of(mount), await crl_of(mount, "crl/delta")
    assert (len(full), len(delta)) == (2, 3)
    assert (lint_crl(full), lint_crl(delta)) == ([], [])


async def test_an_rsa_issuer_signs_by_pss_when_it_is_told_to() -> None:
    mount = Mount()
    await mount.seed_root(kind=KeyKind.RSA_2048)
    await change_issuer(mount, revocation_signature_algorithm="SHA256WithRSAPSS")
    await revoke(mount, await issued(mount))
    await mount.engine.housekeep()
    crl = await crl_of(mount)
    public = (await mount.parts.store.authority()).issuer("default").certificate.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    assert isinstance(crl.signature_algorithm_parameters, padding.PSS)
    assert (len(crl), crl.is_signature_valid(public)) == (1, True)
