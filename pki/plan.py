"""What a certificate is to say, decided before anything is built: by a role, by a request, by an operator."""

from dataclasses import dataclass

from cryptography import x509

from core.public_keys import PublicKey

NO_EXPIRY = 253402300799  # 9999-12-31T23:59:59Z: "no well-defined expiration date" (RFC 5280, 4.1.2.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything but serial number, issuer and signature. Times are epoch seconds."""

    public_key: bytes  # SubjectPublicKeyInfo, DER
    key: PublicKey | None = None  # the same, where somebody has loaded it already
    subject: x509.Name
    not_before: int
    not_after: int
    names: tuple[x509.GeneralName, ...] = ()  # the subject alternative names
    key_usage: x509.KeyUsage | None = None
    ext_key_usage: tuple[x509.ObjectIdentifier, ...] = ()
    policies: tuple[x509.PolicyInformation, ...] = ()
    basic_constraints: x509.BasicConstraints | None = None
    name_constraints: x509.NameConstraints | None = None
    more: tuple[x509.Extension[x509.ExtensionType], ...] = ()  # taken over from a CSR as they stand
    signature_bits: int = 0  # of the hash: 256, 384, 512; 0: what fits the issuer's key
    use_pss: bool = False  # RSA issuers only
    subject_key_id: bytes = b""  # b"": the SHA-1 of the key (RFC 5280, 4.2.1.2, method 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who asked for a certificate, and how: what the inventory remembers besides the certificate."""

    way: str  # issue, sign, sign-verbatim, sign-intermediate, sign-self-issued, root
    role: str = ""
    requester: str = ""
    entity_id: str = ""
    request_id: str = ""
    no_store: bool = False
