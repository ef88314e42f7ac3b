"""The bodies of requests for CA certificates; an empty text or list is the same as none."""

import msgspec

from core.bodies import Duration, StringList
from core.errors import InvalidRequestError

KEY_FORMATS = ("", "der", "pem", "pkcs8")
FORMATS = ("pem", "pem_bundle", "der")


class CaBody(msgspec.Struct, kw_only=True):
    """What every one of them may say: names, and how it is answered."""

    common_name: str = ""
    alt_names: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    ip_sans: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    uri_sans: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    other_sans: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    exclude_cn_from_sans: bool = False
    ou: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    organization: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    country: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    locality: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    province: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    street_address: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    postal_code: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    serial_number: str = ""  # of the subject, not of the certificate
    key_usage: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    signature_bits: int = 0
    use_pss: bool = False
    format: str = "pem"
    private_key_format: str = "der"

    def check_format(self) -> None:
        """Raise InvalidRequestError for what cannot be answered, before anything is made."""
        if self.format not in FORMATS:
            raise InvalidRequestError('the "format" path parameter must be "pem", "der", or "pem_bundle"')
        if self.private_key_format not in KEY_FORMATS:
            raise InvalidRequestError('"private_key_format" must be "der", "pem" or "pkcs8"')


class CertificateBody(CaBody, kw_only=True):
    """What a certificate says that a request for one does not."""

    ttl: Duration = 0  # type: ignore[assignment]
    not_before: str = ""
    not_after: str = ""
    not_before_duration: Duration = 30  # type: ignore[assignment]
    max_path_length: int = -1  # -1: as long as the issuer allows
    ext_key_usage: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    ext_key_usage_oids: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    policy_identifiers: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    permitted_dns_domains: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    excluded_dns_domains: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    permitted_ip_ranges: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    excluded_ip_ranges: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    permitted_email_addresses: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    excluded_email_addresses: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    permitted_uri_domains: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    excluded_uri_domains: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    skid: str = ""  # subject key identifier, in hex


class RootBody(CertificateBody, kw_only=True):
    """root/generate, root/rotate."""

    key_type: str = ""
    key_bits: int | None = None
    key_name: str = ""
    key_ref: str = ""
    issuer_name: str = ""


class IntermediateBody(CaBody, kw_only=True):
    """intermediate/generate, intermediate/cross-sign."""

    key_type: str = ""
    key_bits: int | None = None
    key_name: str = ""
    key_ref: str = ""
    add_basic_constraints: bool = False


class SignIntermediateBody(CertificateBody, kw_only=True):
    """root/sign-intermediate."""

    csr: str = ""
    use_csr_values: bool = False
    issuer_ref: str = ""


class SelfIssuedBody(msgspec.Struct, kw_only=True):
    """root/sign-self-issued."""

    certificate: str = ""
    require_matching_certificate_algorithms: bool = False
    issuer_ref: str = ""


KeyBody = RootBody | IntermediateBody  # those that say something of a key that is made or taken
