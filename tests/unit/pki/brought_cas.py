"""CA certificates and keys that were made elsewhere, as PEM."""

from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.unit.pki.pki_mount import CA_KEY_USAGE

KEY = ec.generate_private_key(ec.SECP256R1())


def pem_key(key: Any, form: PrivateFormat = PrivateFormat.PKCS8, encryption: Any = None) -> str:
    return str(key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()).decode())


def ca(key: Any = KEY, name: str = "Imported", *, is_ca: bool = True, serial: int = 7, lacking: str = "") -> str:
    """Without the key usage `lacking`, if one is named."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.fromtimestamp(1_800_000_000, UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), serial, now, now + timedelta(days=3650))
    builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    usage = key_usage(lacking) if lacking else CA_KEY_USAGE
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    digest = None if isinstance(key, ed448.Ed448PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(Encoding.PEM).decode()


def key_usage(lacking: str) -> x509.KeyUsage:
    """As CAs have it, without one of them."""
    some = ("digital_signature", "key_cert_sign", "crl_sign")
    none = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    return x509.KeyUsage(
        **{name: name != lacking for name in some}, **dict.fromkeys((*none, "encipher_only", "decipher_only"), False)
    )
