"""A CA in this process, for what the client side checks: a root, a leaf, and who answers for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)


def name_of(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass
class SmallCa:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def root(cls, name: str = "Root", *, now: datetime = NOW) -> SmallCa:
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(key, _signed(name, key.public_key(), name, key, now, ca=True))

    def below(self, name: str, *, now: datetime = NOW) -> SmallCa:
        key = ec.generate_private_key(ec.SECP256R1())
        return SmallCa(key, self.sign(key.public_key(), name, now=now, ca=True))

    def sign(
        self,
        public_key: ec.EllipticCurvePublicKey,
        name: str,
        *,
        now: datetime = NOW,
        ca: bool = False,
        extensions: tuple[x509.ExtensionType, ...] = (),
    ) -> x509.Certificate:
        issuer = self.certificate.subject.rfc4514_string().removeprefix("CN=")
        return _signed(name, public_key, issuer, self.key, now, ca=ca, extensions=extensions)

    @property
    def pem(self) -> str:
        return pem(self.certificate)


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _signed(
    name: str,
    public_key: ec.EllipticCurvePublicKey,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    *,
    ca: bool,
    extensions: tuple[x509.ExtensionType, ...] = (),
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name_of(name))
        .issuer_name(name_of(issuer))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=5, hours=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256())
