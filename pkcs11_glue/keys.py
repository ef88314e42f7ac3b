"""Keys other than the KEK: generated in the HSM or taken over, wrapped at once, unwrapped to work."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11.constants import Attribute
from pkcs11.mechanisms import Mechanism

from core import public_keys
from core.errors import CiphertextError, HsmConfigError, KeyPolicyError
from core.ids import new_uuid
from core.protocols import Custody, KeyKind, KeyUsage, SignatureScheme, WrappedKey
from core.secret import Secret
from pkcs11_glue import newcomers, templates
from pkcs11_glue.cryptoki import CryptokiError
from pkcs11_glue.errors import BAD_BLOB_CODES, Verdict, verdict
from pkcs11_glue.escrow import EscrowKey
from pkcs11_glue.kek import Kek
from pkcs11_glue.operations import Operations
from pkcs11_glue.session import HsmSession, destroy_all
from pkcs11_glue.signing import signing_method

_KEY_GENERATION = {
    KeyKind.AES_128: Mechanism.AES_KEY_GEN,
    KeyKind.AES_256: Mechanism.AES_KEY_GEN,
    KeyKind.HMAC: Mechanism.GENERIC_SECRET_KEY_GEN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappingKeys:
    """What a new key is wrapped under at birth."""

    kek: Kek
    escrow: EscrowKey | None


def check_usage(kind: KeyKind, usage: KeyUsage) -> None:
    """Whether a key of this kind can have this usage. Raises KeyPolicyError."""
    if usage not in templates.USAGES[kind]:
        raise KeyPolicyError(f"a key of type {kind.value} cannot have the usage {usage.value}")


def generate(
    operations: Operations, kind: KeyKind, *, usage: KeyUsage, under: WrappingKeys, size: int = 0
) -> WrappedKey:
    """Generate, wrap under KEK and escrow key, destroy. A key pair also proves itself by one signature.

    `size` in bytes, of an HMAC key that `templates.can_wrap_faithfully`.
    """
    check_usage(kind, usage)
    session = operations.session
    if kind in templates.SECRET_BYTES:
        handles = [session.generate_secret(_KEY_GENERATION[kind], templates.packed_newborn_secret(kind, size))]
    else:
        handles = list(session.generate_pair(kind))
    try:
        public_key = None if kind in templates.SECRET_BYTES else _public_key(session, kind, handles[0])
        return _wrap(operations, kind, usage, handles[-1], under=under, public_key=public_key)
    finally:
        destroy_all(session, handles)


def take_over(
    operations: Operations,
    kind: KeyKind,
    material: Secret,
    *,
    usage: KeyUsage,
    under: WrappingKeys,
    public_key: bytes | None,
) -> WrappedKey:
    """As `generate`, of a key made elsewhere, whose form was checked and whose public key was computed."""
    check_usage(kind, usage)
    if kind in templates.SECRET_BYTES:
        template = templates.newcomer_secret(kind, material.expose())
    else:
        template = templates.newcomer_private(kind, newcomers.private_attributes(kind, material))
    handle = operations.session.create(template)
    try:
        return _wrap(operations, kind, usage, handle, under=under, public_key=public_key)
    finally:
        operations.session.destroy(handle)


def _wrap(
    operations: Operations,
    kind: KeyKind,
    usage: KeyUsage,
    handle: int,
    *,
    under: WrappingKeys,
    public_key: bytes | None,
) -> WrappedKey:
    session = operations.session
    if public_key is not None:
        _check_pair(operations, kind, handle, public_key)
    how = Mechanism.AES_KEY_WRAP if public_key is None else Mechanism.AES_KEY_WRAP_PAD
    escrow = under.escrow
    return WrappedKey(
        key_id=new_uuid(),
        kind=kind,
        usage=usage,
        custody=Custody.HSM,
        mechanism=how.name,
        kek_id=under.kek.kek_id,
        wrapped=session.wrap(how, under.kek.handle, handle),
        escrow=session.wrap(how, escrow.handle, handle) if escrow else None,
        escrow_id=escrow.escrow_id if escrow else "",
        public_key=public_key,
    )


def open_key(operations: Operations, key: WrappedKey, kek: Kek) -> tuple[int, int]:
    """As `unwrap`; with the modulus of an RSA key, which decryption needs, and 0 for all others."""
    handle = unwrap(operations, key, kek)
    if key.kind not in templates.RSA_BITS:
        return handle, 0
    try:
        return handle, int.from_bytes(operations.session.attribute(handle, Attribute.MODULUS), "big")
    except CryptokiError:
        operations.session.destroy(handle)
        raise


def unwrap(operations: Operations, key: WrappedKey, kek: Kek) -> int:
    """The key as a working session object. Raises CiphertextError for a blob that was altered or belongs elsewhere."""
    check_usage(key.kind, key.usage)
    how = _wrapping_mechanism(key)
    template = templates.packed_working(key.kind, key.usage)

    def attempt() -> int:
        return operations.session.unwrap(how, kek.handle, key.wrapped, template)

    try:
        return attempt()
    except CryptokiError as exc:
        if not _may_be_blob(operations, exc):
            raise
    try:  # the HSM works: was it the blob, or a passing fault of the HSM?
        return attempt()
    except CryptokiError as exc:
        if not _may_be_blob(operations, exc):
            raise
        raise CiphertextError(f"the wrapped key {key.key_id} does not open under KEK {key.kek_id}") from exc


def _may_be_blob(operations: Operations, error: CryptokiError) -> bool:
    """Whether C_UnwrapKey may have meant the blob, and not itself."""
    return error.code in BAD_BLOB_CODES or (verdict(error.code) is Verdict.UNCLEAR and operations.is_healthy())


def _wrapping_mechanism(key: WrappedKey) -> Mechanism:
    for allowed in templates.WRAPPING:
        if allowed.name == key.mechanism:
            return allowed
    raise HsmConfigError(f"the key {key.key_id} was wrapped by {key.mechanism}, which this release does not unwrap")


def _public_key(session: HsmSession, kind: KeyKind, handle: int) -> bytes:
    """SubjectPublicKeyInfo, DER."""
    public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey
    if kind in public_keys.CURVES:
        point = _ec_point(session.attribute(handle, Attribute.EC_POINT), public_keys.CURVES[kind])
        public = ec.EllipticCurvePublicKey.from_encoded_point(public_keys.CURVES[kind], point)
    else:
        modulus = int.from_bytes(session.attribute(handle, Attribute.MODULUS), "big")
        exponent = int.from_bytes(session.attribute(handle, Attribute.PUBLIC_EXPONENT), "big")
        public = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _ec_point(attribute: bytes, curve: ec.EllipticCurve) -> bytes:
    """The uncompressed point (SEC 1, 2.3.3). CKA_EC_POINT has it in an OCTET STRING; some modules give it bare."""
    length = 1 + 2 * ((curve.key_size + 7) // 8)
    header, point = attribute[:-length], attribute[-length:]
    if header not in (b"", bytes((4, length)), bytes((4, 0x81, length))):
        raise HsmConfigError("the HSM describes the public key of a new EC key in a form that Mimir does not know")
    return point


def _check_pair(operations: Operations, kind: KeyKind, private: int, public_key: bytes) -> None:
    """The pairwise consistency test of FIPS 140-3 (SP 800-140, 10.3.A)."""
    scheme = SignatureScheme.ECDSA if kind in public_keys.CURVES else SignatureScheme.RSA_PSS
    digest = bytes(range(32))
    (signature,) = operations.sign(private, [digest], signing_method(kind, scheme, "sha256", None))
    public_keys.verify_signature(public_key, signature, digest, scheme=scheme, hash_name="sha256")
