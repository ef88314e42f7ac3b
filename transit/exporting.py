"""Keys that leave: in clear (export), or under another mount's wrapping key (byok-export)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from core.errors import InvalidRequestError, KeyPolicyError, NotFoundError
from core.protocols import Custody, KeyCustodian, KeyKind, KeyUsage, WrappedKey
from core.secret import Secret
from transit.errors import KeyVersionError, UnknownKeyError
from transit.format import encode_base64
from transit.key_types import KeyType
from transit.keyring import Keyring, KeyVersion, check_may_leave
from transit.public_form import pem_chain
from transit.store import KeyStore, OpenKey
from transit.wrapping_key import wrap_for_import

FORMATS = ("", "raw", "der", "pem")
_VERSIONS_A_TURN = 64  # before other requests get their turn
PUBLIC_KEY, CERTIFICATE_CHAIN, HMAC_KEY = "public-key", "certificate-chain", "hmac-key"

PrivateKey = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)
_FROM_SEED: dict[KeyKind, Callable[[bytes], PrivateKey]] = {
    KeyKind.ED25519: ed25519.Ed25519PrivateKey.from_private_bytes,
    KeyKind.ML_DSA_44: mldsa.MLDSA44PrivateKey.from_seed_bytes,
    KeyKind.ML_DSA_65: mldsa.MLDSA65PrivateKey.from_seed_bytes,
    KeyKind.ML_DSA_87: mldsa.MLDSA87PrivateKey.from_seed_bytes,
}


class KeyExporter:
    """Exports of one mount."""

    def __init__(self, store: KeyStore, keys: KeyCustodian) -> None:
        self._store = store
        self._keys = keys

    async def export(self, name: str, key_type: str, *, version: str, form: str) -> tuple[OpenKey, dict[str, str]]:
        """The key, and its versions in text. `version` is a number, "latest", or "" for all.

        Raises NotFoundError, KeyPolicyError where the key may not leave, InvalidRequestError for what it does not have.
        """
        check = _WHAT_IT_MUST_DO.get(key_type)
        if check is None:
            raise InvalidRequestError(f"invalid export type; the types are: {', '.join(_WHAT_IT_MUST_DO)}")
        if form not in FORMATS:
            raise InvalidRequestError("invalid format: use raw, der or pem, or leave it out for the type's own")
        key = await self._store.find(name)
        if key is None:
            raise NotFoundError("")
        key.keyring.check_usable()
        if key_type not in (PUBLIC_KEY, CERTIFICATE_CHAIN):
            check_exportable(key.keyring, "private key material is not exportable")
        check(key.keyring)
        exported: dict[str, str] = {}
        async for number, row in self._versions(key, version):
            exported[str(number)] = await self._text(key.keyring.key_type, row, key_type, form)
        return key, exported

    async def byok_export(
        self, destination: str, source: str, *, version: str, hash_name: str
    ) -> tuple[OpenKey, dict[str, str]]:
        """The source's versions, wrapped for the mount whose wrapping key the destination is. Raises as `export`."""
        into = await self._store.find(destination)
        if into is None:
            raise UnknownKeyError("no such destination key to export to")
        key = await self._store.find(source)
        if key is None:
            raise UnknownKeyError("no such source key for export")
        into.keyring.check_usable()
        key.keyring.check_usable()
        check_exportable(key.keyring, "key is not exportable")
        if not into.keyring.key_type.is_rsa:
            raise KeyPolicyError("unsupported key type in use; the destination must be an RSA key")
        wrapping = (await self._store.version(into, into.keyring.latest_version)).public_key
        if wrapping is None:
            raise RuntimeError("a version of an RSA key has no public key")
        exported: dict[str, str] = {}
        async for number, row in self._versions(key, version):
            octets = portable(key.keyring.key_type, await self._keys.export_key(_private(row, number)))
            sealed = await wrap_for_import(self._keys, octets, wrapping, hash_name=hash_name)
            exported[str(number)] = encode_base64(sealed)
        return key, exported

    async def _versions(self, key: OpenKey, version: str) -> AsyncIterator[tuple[int, KeyVersion]]:
        """As `chosen_versions`, with their rows."""
        for count, number in enumerate(chosen_versions(key.keyring, version)):
            if count and not count % _VERSIONS_A_TURN:
                await asyncio.sleep(0)
            yield number, await self._store.version(key, number)

    async def _text(self, row: KeyType, version: KeyVersion, key_type: str, form: str) -> str:
        if key_type == CERTIFICATE_CHAIN:
            if not version.certificate_chain:
                raise InvalidRequestError("selected key version does not have a certificate chain imported")
            return pem_chain(version.certificate_chain).strip()
        if key_type == PUBLIC_KEY:
            return _public_text(row, version, form)
        wrapped = version.mac if key_type == HMAC_KEY and not row.is_hmac else version.key
        if wrapped is None:
            return ""  # Vault's answer where the private half was not imported
        secret = await self._keys.export_key(wrapped)
        if key_type == HMAC_KEY or not row.is_asymmetric:
            _check_form(form, ("", "raw"), "a symmetric key")
            return encode_base64(secret.expose())
        return _private_text(row, secret, form)


def check_exportable(keyring: Keyring, otherwise: str) -> None:
    """Raises KeyPolicyError; for a key in the HSM with the reason, which no configuration changes."""
    if keyring.custody is Custody.HSM:
        check_may_leave("export", keyring.custody)
    if not keyring.exportable:
        raise KeyPolicyError(otherwise)


def chosen_versions(keyring: Keyring, version: str) -> Sequence[int]:
    """Those that `version` names. Raises KeyVersionError for unknown, retired and trimmed ones."""
    if not version:
        return keyring.shown_versions
    text = version.removeprefix("v")
    if version == "latest":
        number = keyring.latest_version
    elif text.isascii() and text.isdigit() and len(text) < 11:
        number = int(text)
    else:
        raise KeyVersionError('invalid key version: give a number, or "latest"')
    if not keyring.first_version <= number <= keyring.latest_version:
        raise KeyVersionError("version does not exist or cannot be found")
    if number < keyring.min_decryption_version:
        raise KeyVersionError("version for export is below minimum decryption version")
    return (number,)


def portable(row: KeyType, secret: Secret) -> Secret:
    """Material as others import it: symmetric keys as they are, key pairs as PKCS #8 in DER."""
    if not row.is_asymmetric:
        return secret
    return Secret(open_private(row.kind, secret).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def open_private(kind: KeyKind, secret: Secret) -> PrivateKey:
    """A key pair of our own, from its material (core.protocols.KeyKind)."""
    if kind in _FROM_SEED:
        return _FROM_SEED[kind](secret.expose())
    key = load_der_private_key(secret.expose(), None, unsafe_skip_rsa_key_validation=True)  # checked when it came
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise RuntimeError(f"the material of a key of kind {kind.value} is of another kind")  # noqa: TRY004 - our mistake
    return key


def _private(row: KeyVersion, number: int) -> WrappedKey:
    if row.key is None:
        raise KeyPolicyError(f"only the public key of version {number} was imported, so there is nothing to export")
    return row.key


def _private_text(row: KeyType, secret: Secret, form: str) -> str:
    """As Vault writes it: RSA and EC keys as PKCS #1 and SEC 1 in PEM, unless another form is asked for."""
    key = open_private(row.kind, secret)
    if row.kind in _FROM_SEED and form in ("", "raw"):
        octets = secret.expose()
        if isinstance(key, ed25519.Ed25519PrivateKey):
            octets += key.public_key().public_bytes_raw()  # 64 bytes, as Go's crypto/ed25519 has it
        return encode_base64(octets)
    _check_form(form, ("", "der", "pem"), f"a key of type {row.name}")
    layout = PrivateFormat.PKCS8 if form else PrivateFormat.TraditionalOpenSSL
    encoding = Encoding.DER if form == "der" else Encoding.PEM
    return _written(key.private_bytes(encoding, layout, NoEncryption()), encoding)


def _public_text(row: KeyType, version: KeyVersion, form: str) -> str:
    if version.public_key is None:
        raise KeyPolicyError("a derived key has a public key for each context: read it by keys/<name>?context=…")
    key = load_der_public_key(version.public_key)
    if row.kind in _FROM_SEED and (form == "raw" or (form == "" and row.kind is KeyKind.ED25519)):
        return encode_base64(key.public_bytes(Encoding.Raw, PublicFormat.Raw))
    _check_form(form, ("", "der", "pem"), f"a key of type {row.name}")
    encoding = Encoding.DER if form == "der" else Encoding.PEM
    return _written(key.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo), encoding)


def _written(octets: bytes, encoding: Encoding) -> str:
    return encode_base64(octets) if encoding is Encoding.DER else octets.decode().strip()


def _check_form(form: str, known: Sequence[str], what: str) -> None:
    if form not in known:
        raise InvalidRequestError(f"unknown format for {what}; use {' or '.join(filter(None, known))}")


# --- what a key must be able to do, for each type of export --------------------------------------------------------


def _must_encrypt(keyring: Keyring) -> None:
    if not keyring.key_type.supports_encryption:
        raise InvalidRequestError("encryption not supported for the key")


def _must_sign(keyring: Keyring) -> None:
    if not keyring.key_type.supports_signing:
        raise InvalidRequestError("signing not supported for the key")


def _must_have_public_key(keyring: Keyring) -> None:
    if not keyring.key_type.is_asymmetric:
        raise InvalidRequestError(f"a key of type {keyring.type} has no public key")


def _must_be_certified(keyring: Keyring) -> None:
    if not keyring.key_type.supports_signing:
        raise InvalidRequestError("certificate chain not supported for keys that do not support signing")


def _must_make_cmacs(keyring: Keyring) -> None:
    if keyring.key_type.usage is not KeyUsage.MAC or keyring.key_type.is_hmac:
        raise InvalidRequestError("CMAC not supported for the key")


def _every_key(_keyring: Keyring) -> None:
    """Each has a key that makes HMACs."""


_WHAT_IT_MUST_DO: dict[str, Callable[[Keyring], None]] = {
    "encryption-key": _must_encrypt,
    "signing-key": _must_sign,
    HMAC_KEY: _every_key,
    PUBLIC_KEY: _must_have_public_key,
    CERTIFICATE_CHAIN: _must_be_certified,
    "cmac-key": _must_make_cmacs,
}
