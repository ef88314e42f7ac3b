"""Certificate signing requests for a key, and the certificate chain that came of one."""

import itertools

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.errors import InvalidRequestError, KeyPolicyError
from core.prepared_signature import sign_prepared
from core.protocols import KeyCustodian, StorageView, Transaction
from transit.errors import KeyVersionError, UnknownKeyError
from transit.keyring import Keyring
from transit.store import KeyStore, OpenKey, existing_keyring, read_version, replace_keyring, write_version

MAX_CHAIN = 10  # certificates; a public chain has three

# what says something of the key, or of its certificate: not taken over from a template made with another key
_OF_ANOTHER_KEY = (x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier)


class KeyCertificates:
    """Of the keys of one mount."""

    def __init__(self, storage: StorageView, store: KeyStore, keys: KeyCustodian) -> None:
        self._storage = storage
        self._store = store
        self._keys = keys

    async def create_csr(self, name: str, *, version: int, template: str) -> tuple[OpenKey, str]:
        """A request in PEM, signed by a version of the key (0: the latest), with what the template asks for.

        Raises UnknownKeyError, KeyPolicyError for a key that signs nothing, InvalidRequestError for a broken template.
        """
        asked = _parse_template(template)
        key = await self._store.find(name)
        if key is None:
            raise UnknownKeyError(_not_found(name))
        _check_certifiable(key.keyring)
        number = _existing_version(key.keyring, version)
        row = await self._store.version(key, number)
        if row.key is None:
            raise KeyPolicyError("could not create the csr: private key not imported for key version selected")
        csr = await sign_prepared(self._keys, row.key, _builder(asked).sign)
        return key, csr.public_bytes(Encoding.PEM).decode()

    async def set_chain(self, name: str, *, version: int, chain: str) -> OpenKey:
        """Keep the chain with a version of the key (0: the latest).

        Raises as `create_csr`, and for a chain that is not the key's, or out of order.
        """
        certificates = _parse_chain(chain)
        der = tuple(certificate.public_bytes(Encoding.DER) for certificate in certificates)
        public_key = certificates[0].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

        async def write(txn: Transaction) -> None:
            row = await existing_keyring(txn, name, _not_found(name))
            _check_certifiable(row[0])
            number = _existing_version(row[0], version)
            stored = await read_version(txn, name, number, row[0])
            if stored.public_key != public_key:
                raise InvalidRequestError("leaf certificate public key does not match the selected key version")
            changed = msgspec.structs.replace(stored, certificate_chain=der)
            await write_version(txn, name, number, changed, new=False)
            await replace_keyring(txn, name, row, row[0])

        await self._storage.transact(write)
        return await self._store.open(name)


def _check_certifiable(keyring: Keyring) -> None:
    keyring.check_usable()
    if not keyring.key_type.supports_signing:
        raise KeyPolicyError(f"key type '{keyring.type}' does not support signing")
    if keyring.derived:
        raise KeyPolicyError("operation not supported for keys with derivation enabled")


def _existing_version(keyring: Keyring, version: int) -> int:
    number = version or keyring.latest_version
    if not keyring.first_version <= number <= keyring.latest_version or number < keyring.min_decryption_version:
        raise KeyVersionError("no such key version, or it is retired")
    return number


def _parse_template(pem: str) -> x509.CertificateSigningRequest | None:
    """The request whose subject, extensions and attributes are wanted; its signature does not matter."""
    if not pem:
        return None
    try:
        return x509.load_pem_x509_csr(pem.encode())
    except (ValueError, x509.InvalidVersion):
        raise InvalidRequestError("could not decode PEM CSR") from None


def _builder(template: x509.CertificateSigningRequest | None) -> x509.CertificateSigningRequestBuilder:
    builder = x509.CertificateSigningRequestBuilder()
    if template is None:
        return builder.subject_name(x509.Name([]))
    try:
        builder = builder.subject_name(template.subject)
        for extension in template.extensions:
            if not isinstance(extension.value, _OF_ANOTHER_KEY):
                builder = builder.add_extension(extension.value, critical=extension.critical)
        for attribute in template.attributes:
            if attribute.oid == x509.oid.AttributeOID.CHALLENGE_PASSWORD:
                attribute.value.decode()  # what is not UTF-8 cannot be written again
                builder = builder.add_attribute(attribute.oid, attribute.value)
    except (ValueError, TypeError, x509.DuplicateExtension, NotImplementedError):
        raise InvalidRequestError("the CSR template holds a name, extension or attribute that cannot be read") from None
    return builder


def _parse_chain(pem: str) -> list[x509.Certificate]:
    """The leaf, then each its issuer. Raises InvalidRequestError."""
    try:
        chain = x509.load_pem_x509_certificates(pem.encode())
        for certificate in chain:
            certificate.public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise InvalidRequestError("certificate_chain must be certificates in PEM, the leaf first") from None
    if len(chain) > MAX_CHAIN:
        raise InvalidRequestError(f"certificate_chain holds more than {MAX_CHAIN} certificates")
    if _is_ca(chain[0]):
        raise InvalidRequestError("certificate in the first element is not a valid leaf certificate")
    if any(not _is_ca(issuer) for issuer in chain[1:]):
        raise InvalidRequestError("every certificate behind the first must be a CA's")
    for certificate, issuer in itertools.pairwise(chain):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
            raise InvalidRequestError(
                "certificate_chain is not in order: each certificate must be signed by the one behind it"
            ) from None
    return chain


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False
    except (ValueError, x509.DuplicateExtension):
        raise InvalidRequestError("certificate_chain holds a certificate whose extensions cannot be read") from None


def _not_found(name: str) -> str:
    return f"key with provided name '{name}' not found"
