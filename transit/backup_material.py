"""Keys of a backup's entries as Mimir has them, and back."""

from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)

from core.errors import InvalidRequestError
from core.protocols import KeyKind
from core.public_keys import CURVES, check_rsa_exponent, kind_of
from core.secret import Secret
from transit.backup_format import KeyEntry, RsaKey, decode_raw
from transit.certificates import MAX_CHAIN
from transit.exporting import open_private
from transit.key_types import KeyType
from transit.keyring import KeyVersion
from transit.public_form import shown_public_key

_SEED_BYTES = 32


def material_of(row: KeyType, entry: KeyEntry) -> Secret | None:
    """The key's material (core.protocols.KeyKind); None where the entry has a public key only.

    Raises InvalidRequestError for a key that is none of that type.
    """
    try:
        if row.kind in CURVES:
            return _ec_material(row.kind, entry)
        if row.is_rsa:
            return None if entry.rsa_key is None else _rsa_material(entry.rsa_key)
    except (ValueError, TypeError, OverflowError):
        raise _damaged(row) from None
    if not entry.key:
        if row.is_asymmetric:
            return None
        raise _damaged(row)
    return _ed25519_material(row, entry.key) if row.kind is KeyKind.ED25519 else Secret(entry.key)


def public_key_of(row: KeyType, entry: KeyEntry) -> bytes:
    """SubjectPublicKeyInfo of an entry without private key. Raises InvalidRequestError."""
    key: PublicKeyTypes | None = None
    try:
        if row.kind in CURVES:
            key = ec.EllipticCurvePublicNumbers(_int(entry.ec_x), _int(entry.ec_y), CURVES[row.kind]).public_key()
        elif row.is_rsa and entry.rsa_public_key is not None:
            key = _rsa_public_numbers(entry.rsa_public_key).public_key()
        elif row.kind is KeyKind.ED25519 and (raw := decode_raw(entry.public_key)):
            key = ed25519.Ed25519PublicKey.from_public_bytes(raw)
    except (ValueError, TypeError, OverflowError):
        raise _damaged(row) from None
    if key is None:
        raise _damaged(row)
    public_key = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if kind_of(public_key) is not row.kind:
        raise _damaged(row)
    if isinstance(key, rsa.RSAPublicKey):
        check_rsa_exponent(key.public_numbers().e)
    return public_key


def chain_of(entry: KeyEntry, public_key: bytes | None) -> tuple[bytes, ...]:
    """Its certificates, the leaf being of its key. Raises InvalidRequestError."""
    chain = tuple(entry.certificate_chain or ())
    if len(chain) > MAX_CHAIN:
        raise InvalidRequestError(f"the backup holds a chain of more than {MAX_CHAIN} certificates")
    try:
        parsed = [x509.load_der_x509_certificate(der).public_key() for der in chain]
    except Exception as exc:  # cryptography raises its own kinds for keys it does not know: all mean the caller's bytes
        raise InvalidRequestError("the backup holds a certificate that cannot be read; nothing was restored") from exc
    if parsed and parsed[0].public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != public_key:
        raise InvalidRequestError("the backup holds the certificate of another key; nothing was restored")
    return chain


def created_at(entry: KeyEntry, *, otherwise: int) -> int:
    """Epoch seconds."""
    if 0 < entry.creation_time < 2**33:
        return entry.creation_time
    try:
        return int(datetime.fromisoformat(entry.time).timestamp())
    except (ValueError, OverflowError):
        return otherwise


def entry_of(row: KeyType, version: KeyVersion, *, key: Secret | None, mac: Secret | None, convergent: int) -> KeyEntry:
    """A version as other servers read it."""
    created = datetime.fromtimestamp(version.created_at, UTC).isoformat().replace("+00:00", "Z")
    companion = key if row.is_hmac else mac
    members: dict[str, Any] = {
        "hmac_key": companion.expose() if companion else None,
        "time": created,
        "creation_time": version.created_at,
        "convergent_version": convergent,
        "certificate_chain": list(version.certificate_chain) or None,
    }
    if version.public_key is not None:
        members |= {"public_key": shown_public_key(row.kind, version.public_key)}
        members |= _public_members(version.public_key)
    if key is not None:
        members |= _private_members(row, key)
    return KeyEntry(**members)


def _ec_material(kind: KeyKind, entry: KeyEntry) -> Secret | None:
    if entry.ec_d is None:
        return None
    public = ec.EllipticCurvePublicNumbers(_int(entry.ec_x), _int(entry.ec_y), CURVES[kind])
    return _pkcs8(ec.EllipticCurvePrivateNumbers(_int(entry.ec_d), public).private_key())


def _rsa_material(key: RsaKey) -> Secret:
    """The CRT numbers are computed anew: those of the entry are not trusted."""
    if key.Primes is None or len(key.Primes) != 2:
        raise ValueError("not two primes")
    p, q, d = _int(key.Primes[0]), _int(key.Primes[1]), _int(key.D)
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), _rsa_public_numbers(key)
    )
    return _pkcs8(numbers.private_key())


def _rsa_public_numbers(key: RsaKey) -> rsa.RSAPublicNumbers:
    return rsa.RSAPublicNumbers(_int(key.E), _int(key.N))


def _ed25519_material(row: KeyType, octets: bytes) -> Secret:
    """Seed and public key, which must be the seed's."""
    seed = octets[:_SEED_BYTES]
    if len(octets) != 2 * _SEED_BYTES:
        raise _damaged(row)
    if ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw() != octets[_SEED_BYTES:]:
        raise _damaged(row)
    return Secret(seed)


def _private_members(row: KeyType, secret: Secret) -> dict[str, Any]:
    if not row.is_asymmetric:
        return {"key": secret.expose()}
    key = open_private(row.kind, secret)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {"ec_d": key.private_numbers().private_value}
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        public = numbers.public_numbers
        return {"rsa_key": RsaKey(N=public.n, E=public.e, D=numbers.d, Primes=[numbers.p, numbers.q])}
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return {"key": secret.expose() + key.public_key().public_bytes_raw()}
    return {"key": secret.expose()}


def _public_members(public_key: bytes) -> dict[str, Any]:
    key = load_der_public_key(public_key)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {"ec_x": key.public_numbers().x, "ec_y": key.public_numbers().y}
    if isinstance(key, rsa.RSAPublicKey):
        return {"rsa_public_key": RsaKey(N=key.public_numbers().n, E=key.public_numbers().e)}
    return {}


def _int(value: int | None) -> int:
    if value is None or value <= 0:
        raise ValueError("no positive number")
    return value


def _pkcs8(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> Secret:
    return Secret(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def _damaged(row: KeyType) -> InvalidRequestError:
    return InvalidRequestError(f"the backup holds what is no key of type {row.name}; nothing was restored")
