"""Ed25519 (RFC 8032; the vectors of its authors) and ML-DSA (FIPS 204), from the published seeds."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import load_der_public_key

from core.errors import InvalidSignatureError, KeyPolicyError
from core.protocols import Custody, KeyKind, KeyUsage, SignatureScheme
from core.public_keys import verify_signature
from core.secret import Secret
from tests.vectors import keys, published
from tests.vectors.published import unhex

ML_DSA = {KeyKind.ML_DSA_44: "44", KeyKind.ML_DSA_65: "65", KeyKind.ML_DSA_87: "87"}
OTHER_KINDS = (KeyKind.ED25519, *ML_DSA)
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493


def ml_dsa(kind):
    path = f"asymmetric/MLDSA/kat_MLDSA_{ML_DSA[kind]}_det_pure.rsp"
    return published.rows(path, begins="count", count=100)


def verify(public_key, signature, message, scheme):
    verify_signature(public_key, signature, message, scheme=scheme)


@pytest.mark.parametrize("step", [8, pytest.param(1, marks=pytest.mark.heavy)])
async def test_ed25519_signs_byte_for_byte_as_published(custodian, step):
    for vector in published.ed25519(count=1024)[::step]:
        record = await custodian.import_key(KeyKind.ED25519, Secret(vector.seed), usage=KeyUsage.SIGN)
        assert record.public_key == keys.spki(ed25519.Ed25519PublicKey.from_public_bytes(vector.public_key))
        (signature,) = await custodian.sign(record, [vector.message], scheme=SignatureScheme.ED25519)
        assert signature == vector.signature


def test_ed25519_signatures_verify_and_altered_ones_do_not():
    for vector in published.ed25519(count=1024)[::8]:
        public_key = keys.spki(ed25519.Ed25519PublicKey.from_public_bytes(vector.public_key))
        signature, message = vector.signature, vector.message
        verify(public_key, signature, message, SignatureScheme.ED25519)
        malleable = int.from_bytes(signature[32:], "little") + ED25519_ORDER
        for forged, over in (
            (signature, message + b"x"),
            (bytes([signature[0] ^ 1]) + signature[1:], message),
            (signature[:32] + malleable.to_bytes(32, "little"), message),  # RFC 8032, 5.1.7: S must be in range
            (signature + b"\0", message),
            (signature[:-1], message),
            (b"", message),
        ):
            with pytest.raises(InvalidSignatureError):
                verify(public_key, forged, over, SignatureScheme.ED25519)


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.heavy)])
@pytest.mark.parametrize("kind", ML_DSA, ids=lambda kind: kind.value)
async def test_an_ml_dsa_seed_makes_the_published_public_key(custodian, kind, step):
    for row in ml_dsa(kind)[::step]:
        seed, public_key, message = unhex(row, "xi", "pk", "msg")
        record = await custodian.import_key(kind, Secret(seed), usage=KeyUsage.SIGN)
        assert load_der_public_key(record.public_key).public_bytes_raw() == public_key
        (signature,) = await custodian.sign(record, [message], scheme=SignatureScheme.ML_DSA)
        assert len(signature) == int(row["smlen"]) - int(row["mlen"])
        verify(record.public_key, signature, message, SignatureScheme.ML_DSA)
        with pytest.raises(InvalidSignatureError):
            verify(record.public_key, signature, message + b"\0", SignatureScheme.ML_DSA)


@pytest.mark.parametrize("kind", ML_DSA, ids=lambda kind: kind.value)
async def test_a_published_ml_dsa_signature_is_of_its_context_only(custodian, kind):
    """The published ones are over context strings (FIPS 204, 5.2); Mimir's signatures have an empty one."""
    for row in ml_dsa(kind)[::5]:
        seed, message, signed, context = unhex(row, "xi", "msg", "sm", "ctx")
        assert context
        signature = signed[: -len(message)]
        record = await custodian.import_key(kind, Secret(seed), usage=KeyUsage.SIGN)
        load_der_public_key(record.public_key).verify(signature, message, context)
        with pytest.raises(InvalidSignatureError):
            verify(record.public_key, signature, message, SignatureScheme.ML_DSA)
        altered = signature[:100] + bytes([signature[100] ^ 1]) + signature[101:]
        for forged in (altered, signature[:-1], signature + b"\0", b""):
            with pytest.raises(InvalidSignatureError):
                verify(record.public_key, forged, message, SignatureScheme.ML_DSA)


@pytest.mark.parametrize("kind", OTHER_KINDS, ids=lambda kind: kind.value)
async def test_softhsm_cannot_have_these_and_says_so(custodian, kind):
    assert custodian.custody_of(kind, KeyUsage.SIGN) is Custody.SEALED  # a newer SoftHSM that can: then drop this test
    with pytest.raises(KeyPolicyError):
        await custodian.import_key(kind, Secret(bytes(range(32))), usage=KeyUsage.SIGN, custody=Custody.HSM)
