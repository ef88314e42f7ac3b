"""A role as somebody writes it: what is given, over what is there or over the defaults, and what cannot be."""

import ipaddress
import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from core.bodies import Duration, StringList
from core.errors import InvalidRequestError
from pki.leaf_types import check_key, default_bits
from pki.moments import parse_moment
from pki.other_names import ANYTHING
from pki.role import OpenRole, Role
from pki.usages import SIGNATURE_BITS, unknown_ext_key_usages, unknown_key_usages

_TEMPLATE = re.compile(r"\{\{\s*identity\.(?:entity|groups)\.[^{}*]+\}\}")
_VALIDATIONS = {"email", "hostname"}
_BOUNDS_BEFORE = ("permit", "forbid", "duration")
_BOUNDS_AFTER = ("permit", "forbid", "ttl-limited")
_LEASE = (
    "it is encouraged to leave generate_lease off and to rely on short lifetimes and revocation: each certificate is a"
    " lease more to keep"
)
_NO_STORE = "no_store=true and generate_lease=true exclude each other: no_store counts"

_DEFAULTS = Role()


class RoleBody(msgspec.Struct, kw_only=True):
    """Members that are given; None: not given."""

    issuer_ref: str | None = None
    ttl: Duration | None = None
    max_ttl: Duration | None = None
    allow_localhost: bool | None = None
    allowed_domains: StringList | None = None
    allowed_domains_template: bool | None = None
    allow_globs_in_identity_templates: bool | None = None
    allow_bare_domains: bool | None = None
    allow_subdomains: bool | None = None
    allow_glob_domains: bool | None = None
    allow_wildcard_certificates: bool | None = None
    allow_any_name: bool | None = None
    enforce_hostnames: bool | None = None
    allow_ip_sans: bool | None = None
    allowed_ip_sans_cidr: StringList | None = None
    allowed_uri_sans: StringList | None = None
    allowed_uri_sans_template: bool | None = None
    allowed_other_sans: StringList | None = None
    allowed_serial_numbers: StringList | None = None
    allowed_user_ids: StringList | None = None
    server_flag: bool | None = None
    client_flag: bool | None = None
    code_signing_flag: bool | None = None
    email_protection_flag: bool | None = None
    key_type: str | None = None
    key_bits: int | None = None
    signature_bits: int | None = None
    use_pss: bool | None = None
    key_usage: StringList | None = None
    ext_key_usage: StringList | None = None
    ext_key_usage_oids: StringList | None = None
    use_csr_common_name: bool | None = None
    use_csr_sans: bool | None = None
    ou: StringList | None = None
    organization: StringList | None = None
    country: StringList | None = None
    locality: StringList | None = None
    province: StringList | None = None
    street_address: StringList | None = None
    postal_code: StringList | None = None
    generate_lease: bool | None = None
    no_store: bool | None = None
    require_cn: bool | None = None
    cn_validations: StringList | None = None
    policy_identifiers: Any = None
    basic_constraints_valid_for_non_ca: bool | None = None
    not_before_duration: Duration | None = None
    not_before: str | None = None
    not_before_bound: str | None = None
    not_after: str | None = None
    not_after_bound: str | None = None


def patched_role(name: str, body: RoleBody, before: Role, data: Mapping[str, Any]) -> tuple[Role, list[str]]:
    """As `role_of`, where a member that is null in `data` has its default again (RFC 7396)."""
    gone = [field for field in RoleBody.__struct_fields__ if field in data and data[field] is None]
    values = {field: getattr(_DEFAULTS, field) for field in gone}
    if "key_type" in gone and "key_bits" not in data:
        values["key_bits"] = 0
    return role_of(name, body, replace(before, **values))


def role_of(name: str, body: RoleBody, before: Role) -> tuple[Role, list[str]]:
    """The role that `body` makes of `before`, and what to warn of. Raises InvalidRequestError."""
    given = {field: value for field in body.__struct_fields__ if (value := getattr(body, field)) is not None}
    if "policy_identifiers" in given:
        given["policy_identifiers"] = _policies(given["policy_identifiers"])
    if "key_type" in given and "key_bits" not in given and given["key_type"] != before.key_type:
        given["key_bits"] = 0  # those of another type mean nothing
    values = {field: tuple(value) if isinstance(value, list) else value for field, value in given.items()}
    role = replace(before, **values)
    role = replace(role, issuer_ref=role.issuer_ref or "default", key_bits=role.key_bits or default_bits(role.key_type))
    role, warnings = _with_lease(role)
    if not role.cn_validations:
        role = replace(role, cn_validations=("email", "hostname"))
    check_role(name, role)
    return role, warnings + _unknown(role)


def _with_lease(role: Role) -> tuple[Role, list[str]]:
    if not role.generate_lease:
        return role, []
    return (replace(role, generate_lease=False), [_NO_STORE]) if role.no_store else (role, [_LEASE])


def _unknown(role: Role) -> list[str]:
    unknown = {
        "key_usage": unknown_key_usages(role.key_usage),
        "ext_key_usage": unknown_ext_key_usages(role.ext_key_usage),
    }
    return [
        f"{member} names what there is not, which counts for nothing: {', '.join(word[:32] for word in words)[:200]}"
        for member, words in unknown.items()
        if words
    ]


def _policies(given: Any) -> list[str]:
    """OIDs with commas between them, a list of them, or the objects of Vault, as a list or as JSON in a string."""
    if isinstance(given, str):
        text = given.strip()
        if not text.startswith("["):
            return [part.strip() for part in text.split(",") if part.strip()]
        try:
            given = json.loads(text)
        except (ValueError, RecursionError):
            raise InvalidRequestError("policy_identifiers is no list in JSON") from None
    if not isinstance(given, list) or not all(isinstance(one, str | dict) for one in given):
        raise InvalidRequestError("policy_identifiers must be OIDs, or objects with oid, notice and cps")
    return [one if isinstance(one, str) else json.dumps(one, sort_keys=True) for one in given if one]


def check_role(name: str, role: Role) -> None:
    """Raise InvalidRequestError for what would fail at every request."""
    if role.max_ttl and role.ttl > role.max_ttl:
        raise InvalidRequestError('"ttl" value must be less than "max_ttl" value')
    check_key(role.key_type, role.key_bits)
    if role.signature_bits not in SIGNATURE_BITS:
        raise InvalidRequestError("signature_bits must be 0 (what fits the key of the issuer), 256, 384 or 512")
    _check_moments(role)
    _check_validations(role)
    _check_names(role)
    opened = OpenRole(name, role)
    for made in ("attributes", "ext_key_usages", "policies"):
        getattr(opened, made)  # each raises for what it cannot be made of


def _check_moments(role: Role) -> None:
    if role.not_before:
        parse_moment(role.not_before, "not_before")
    if role.not_after:
        parse_moment(role.not_after, "not_after")
    if role.not_before_bound not in _BOUNDS_BEFORE:
        raise InvalidRequestError(f"not_before_bound must be one of {', '.join(_BOUNDS_BEFORE)}")
    if role.not_after_bound not in _BOUNDS_AFTER:
        try:
            parse_moment(role.not_after_bound, "not_after_bound")
        except InvalidRequestError:
            raise InvalidRequestError(
                f"not_after_bound must be one of {', '.join(_BOUNDS_AFTER)}, or a moment (RFC 3339)"
            ) from None


def _check_validations(role: Role) -> None:
    given = set(role.cn_validations)
    if given == {"disabled"}:
        return
    if "disabled" in given:
        raise InvalidRequestError("cn_validations: disabled stands alone")
    if not given <= _VALIDATIONS:
        raise InvalidRequestError("cn_validations must be email, hostname, both, or disabled")


def _check_names(role: Role) -> None:
    for network in role.allowed_ip_sans_cidr:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            raise InvalidRequestError(f"allowed_ip_sans_cidr: {network[:64]!r} is no network (10.0.0.0/8)") from None
    if role.allowed_other_sans != (ANYTHING,):
        _ = OpenRole("", role).other_names
    if not all(domain.isascii() for domain in role.allowed_domains):
        raise InvalidRequestError("allowed_domains are in ASCII: write xn--bcher-kva.example for bücher.example")
    templates = [*role.allowed_domains * role.allowed_domains_template]
    templates += [*role.allowed_uri_sans * role.allowed_uri_sans_template]
    for template in templates:
        rest = _TEMPLATE.sub("", template)
        if "{{" in rest or "}}" in rest:
            raise InvalidRequestError(
                "a template stands in {{…}} and names identity.entity.… or identity.groups.…:"
                " {{identity.entity.name}}.example.com"
            )
