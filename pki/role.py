"""Roles: what certificates may say and for how long, chosen by an operator. Fields and defaults are OpenBao's.

`Role` is what is stored and answered, `OpenRole` what requests use: everything that can be made of a role once.
"""

from functools import cached_property

import msgspec
from cryptography import x509
from cryptography.x509.oid import NameOID

from pki import subjects, usages
from pki.name_rules import AddressRules, DomainRules, GlobRules
from pki.other_names import OtherNameRules


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """A role as it is stored. Durations in seconds."""

    issuer_ref: str = "default"
    ttl: int = 0  # 0: the mount's default
    max_ttl: int = 0  # 0: the mount's maximum
    allow_localhost: bool = True
    allowed_domains: tuple[str, ...] = ()
    allowed_domains_template: bool = False
    allow_globs_in_identity_templates: bool = False
    allow_bare_domains: bool = False
    allow_subdomains: bool = False
    allow_glob_domains: bool = False
    allow_wildcard_certificates: bool = True
    allow_any_name: bool = False
    allow_token_displayname: bool = False  # Vault shows it and never sets it
    enforce_hostnames: bool = True
    allow_ip_sans: bool = True
    allowed_ip_sans_cidr: tuple[str, ...] = ()
    allowed_uri_sans: tuple[str, ...] = ()
    allowed_uri_sans_template: bool = False
    allowed_other_sans: tuple[str, ...] = ()
    allowed_serial_numbers: tuple[str, ...] = ()
    allowed_user_ids: tuple[str, ...] = ()
    server_flag: bool = True
    client_flag: bool = True
    code_signing_flag: bool = False
    email_protection_flag: bool = False
    key_type: str = "rsa"  # rsa, ec, ed25519, ml-dsa or any
    key_bits: int = 0
    signature_bits: int = 0
    use_pss: bool = False
    key_usage: tuple[str, ...] = ("DigitalSignature", "KeyAgreement", "KeyEncipherment")
    ext_key_usage: tuple[str, ...] = ()
    ext_key_usage_oids: tuple[str, ...] = ()
    use_csr_common_name: bool = True
    use_csr_sans: bool = True
    ou: tuple[str, ...] = ()
    organization: tuple[str, ...] = ()
    country: tuple[str, ...] = ()
    locality: tuple[str, ...] = ()
    province: tuple[str, ...] = ()
    street_address: tuple[str, ...] = ()
    postal_code: tuple[str, ...] = ()
    generate_lease: bool = False
    no_store: bool = False
    require_cn: bool = True
    cn_validations: tuple[str, ...] = ("email", "hostname")
    policy_identifiers: tuple[str, ...] = ()  # OIDs, or an object with oid, notice and cps in JSON
    basic_constraints_valid_for_non_ca: bool = False
    not_before_duration: int = 30
    not_before: str = ""
    not_before_bound: str = "permit"  # permit, forbid or duration
    not_after: str = ""
    not_after_bound: str = "permit"  # permit, forbid, ttl-limited, or a moment


class OpenRole:
    """A role in memory."""

    def __init__(self, name: str, role: Role) -> None:
        self.name = name
        self.role = role

    @cached_property
    def domains(self) -> DomainRules:
        """Which host names and mail addresses it allows."""
        return DomainRules.of(self.role)

    @cached_property
    def addresses(self) -> AddressRules:
        """Which IP addresses."""
        return AddressRules(allowed=self.role.allow_ip_sans, networks=self.role.allowed_ip_sans_cidr)

    @cached_property
    def uris(self) -> GlobRules:
        """Which URIs."""
        return GlobRules(self.role.allowed_uri_sans, are_templates=self.role.allowed_uri_sans_template)

    @cached_property
    def other_names(self) -> OtherNameRules:
        """Which names of other forms."""
        return OtherNameRules(self.role.allowed_other_sans)

    @cached_property
    def serial_numbers(self) -> GlobRules:
        """Which serial numbers in subjects."""
        return GlobRules(self.role.allowed_serial_numbers)

    @cached_property
    def user_ids(self) -> GlobRules:
        """Which user ids in subjects."""
        return GlobRules(self.role.allowed_user_ids, ignores_case=True)

    @cached_property
    def attributes(self) -> tuple[x509.NameAttribute[str], ...]:
        """What stands in every subject, in OpenBao's order: from the country to the unit."""
        role = self.role
        return subjects.attributes(
            (NameOID.COUNTRY_NAME, role.country),
            (NameOID.STATE_OR_PROVINCE_NAME, role.province),
            (NameOID.LOCALITY_NAME, role.locality),
            (NameOID.STREET_ADDRESS, role.street_address),
            (NameOID.POSTAL_CODE, role.postal_code),
            (NameOID.ORGANIZATION_NAME, role.organization),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, role.ou),
        )

    @cached_property
    def key_usages(self) -> frozenset[str]:
        """Its key usages, by the names of cryptography's members."""
        return usages.key_usages(self.role.key_usage)

    @cached_property
    def ext_key_usages(self) -> tuple[x509.ObjectIdentifier, ...]:
        """Its extended key usages, those of the flags first."""
        role = self.role
        flags = [
            word
            for word, is_set in (
                ("serverauth", role.server_flag),
                ("clientauth", role.client_flag),
                ("codesigning", role.code_signing_flag),
                ("emailprotection", role.email_protection_flag),
            )
            if is_set
        ]
        return usages.ext_key_usages((*flags, *role.ext_key_usage), role.ext_key_usage_oids)

    @cached_property
    def policies(self) -> tuple[x509.PolicyInformation, ...]:
        """Its certificate policies."""
        return usages.policies(self.role.policy_identifiers)


# what decides without a role: sign-verbatim
VERBATIM = Role(
    allow_any_name=True,
    allow_ip_sans=True,
    enforce_hostnames=False,
    key_type="any",
    allowed_uri_sans=("*",),
    allowed_other_sans=("*",),
    allowed_serial_numbers=("*",),
    allowed_user_ids=("*",),
    cn_validations=("disabled",),
    require_cn=False,
    server_flag=False,
    client_flag=False,
    key_usage=(),
)
