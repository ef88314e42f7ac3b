"""The bodies of issue, sign and sign-verbatim."""

import msgspec

from core.bodies import Duration, StringList


class Asked(msgspec.Struct, kw_only=True):
    """What is asked for; an empty text or list is the same as none, since some clients send every member."""

    common_name: str = ""
    alt_names: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    ip_sans: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    uri_sans: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    other_sans: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    user_ids: StringList = msgspec.field(default_factory=list)  # type: ignore[assignment]
    serial_number: str = ""  # of the subject, not of the certificate
    ttl: Duration = 0  # type: ignore[assignment]
    not_before: str = ""
    not_after: str = ""
    exclude_cn_from_sans: bool = False
    remove_roots_from_chain: bool = False
    format: str = "pem"
    private_key_format: str = "der"
    pkcs12_password: str = ""
    csr: str = ""
    issuer_ref: str = ""
    # issue, where the role takes any key: which one
    key_type: str = ""
    key_bits: int = 0
    # sign-verbatim: what a role would say
    key_usage: StringList | None = None
    ext_key_usage: StringList | None = None
    ext_key_usage_oids: StringList | None = None
    signature_bits: int = 0
    use_pss: bool = False
    basic_constraints_valid_for_non_ca: bool = False
