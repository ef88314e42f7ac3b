"""Keys that are made on this side, and the CSR that asks for a certificate of one."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from client.errors import LocalError

KINDS = (
    *("ec-p256", "ec-p384", "ec-p521", "ed25519", "rsa-2048", "rsa-3072", "rsa-4096"),
    *("ml-dsa-44", "ml-dsa-65", "ml-dsa-87"),
)
DEFAULT_KIND = "ec-p256"
_CURVES: dict[str, ec.EllipticCurve] = {
    "ec-p256": ec.SECP256R1(),
    "ec-p384": ec.SECP384R1(),
    "ec-p521": ec.SECP521R1(),
}
_ML_DSA: dict[str, Any] = {
    "ml-dsa-44": mldsa.MLDSA44PrivateKey,
    "ml-dsa-65": mldsa.MLDSA65PrivateKey,
    "ml-dsa-87": mldsa.MLDSA87PrivateKey,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What a certificate is to be made out to."""

    common_name: str = ""
    alt_names: Sequence[str] = ()  # DNS names and mail addresses
    ip_sans: Sequence[str] = ()
    uri_sans: Sequence[str] = ()

    def members(self) -> dict[str, str]:
        """As the API takes them; what is empty is left out."""
        lists = {"alt_names": self.alt_names, "ip_sans": self.ip_sans, "uri_sans": self.uri_sans}
        joined = {name: ",".join(values) for name, values in lists.items() if values}
        return ({"common_name": self.common_name} if self.common_name else {}) | joined


def kind_of_role(key_type: object, key_bits: object) -> str:
    """The kind of key that a role wants; a role that takes any gets a key on P-256."""
    bits = key_bits if isinstance(key_bits, int) else 0
    if key_type == "ec":
        return f"ec-p{bits or 256}"
    if key_type == "rsa":
        return f"rsa-{bits or 2048}"
    if key_type == "ml-dsa":
        return f"ml-dsa-{bits or 65}"
    return DEFAULT_KIND if key_type in {"any", "", None} else str(key_type)


def make_key(kind: str) -> Any:
    """A new private key. LocalError when it cannot be made here."""
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind])
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind in KINDS and kind.startswith("rsa-"):
        return rsa.generate_private_key(public_exponent=65537, key_size=int(kind.removeprefix("rsa-")))
    try:
        if kind in _ML_DSA:
            return _ML_DSA[kind].generate()
    except UnsupportedAlgorithm as exc:
        raise LocalError(f"keys of type {kind} cannot be made on this machine: give --server-key") from exc
    raise LocalError(
        f"the role wants keys of type {kind}, which are not made here: give --server-key, "
        f"or --key-type with one of {', '.join(KINDS)}"
    )


def make_csr(key: Any, names: Names) -> str:
    """A CSR in PEM, signed with the key."""
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, names.common_name)] if names.common_name else []
    try:
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
        sans = _general_names(names)
    except ValueError as exc:
        raise LocalError(f"the names cannot stand in a CSR: {exc}") from exc
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=not names.common_name)
    needs_hash = isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    csr = builder.sign(key, hashes.SHA256() if needs_hash else None)
    return csr.public_bytes(Encoding.PEM).decode("ascii")


def _general_names(names: Names) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = [
        x509.RFC822Name(name) if "@" in name else x509.DNSName(_ascii_name(name)) for name in names.alt_names
    ]
    found += [x509.IPAddress(_address(text)) for text in names.ip_sans]
    return found + [x509.UniformResourceIdentifier(uri) for uri in names.uri_sans]


def _ascii_name(name: str) -> str:
    """A DNS name as certificates hold it. What is not ASCII is left to the caller to write in Punycode (RFC 5891)."""
    if not name.isascii():
        raise LocalError(f"the name {name!r} is not ASCII: write it in Punycode, as xn--bcher-kva.example")
    return name


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError as exc:
        raise LocalError(f"--ip {text!r} is no IP address: write it as 192.0.2.7 or 2001:db8::7") from exc


def key_pem(key: Any) -> bytes:
    """PKCS #8 in PEM, in clear."""
    content: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return content


def public_der(public_key: Any) -> bytes:
    """SubjectPublicKeyInfo, by which keys are compared."""
    content: bytes = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return content
