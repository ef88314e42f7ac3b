"""What a leaf certificate is to say: the request, held against the role.

A name gets into a plan only through `_Names.add`, which asks the role; so nothing stands in a certificate that the role
does not allow, wherever it came from.
"""

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID
from msgspec.structs import replace

from core.engine import MountInfo
from core.errors import InvalidRequestError
from core.public_keys import load_public_key
from core.requests import Identity
from pki import usages
from pki.asked import Asked
from pki.authority import Issuer
from pki.csr import MAX_NAMES, Csr
from pki.dns_names import is_host_name, is_wildcard_label, to_ascii
from pki.leaf_types import check_allowed
from pki.names import common_name_of
from pki.other_names import general_name, parse_other_name, read_general_name
from pki.plan import Plan
from pki.role import VERBATIM, OpenRole, Role
from pki.subjects import attribute
from pki.validity import validity_of

_LONGEST_URI = 2048  # characters
# never taken over from a CSR: a CA says these of its own knowledge
_NOT_COPIED = frozenset(
    {
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
        ExtensionOID.FRESHEST_CRL,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.POLICY_CONSTRAINTS,
        ExtensionOID.INHIBIT_ANY_POLICY,
        ExtensionOID.POLICY_MAPPINGS,
        ExtensionOID.ISSUER_ALTERNATIVE_NAME,
        ExtensionOID.PRECERT_POISON,
        ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan, and what to warn of."""

    plan: Plan
    warnings: list[str] = field(default_factory=list)


def plan_leaf(
    role: OpenRole,
    asked: Asked,
    *,
    csr: Csr | None,
    public_key: bytes,
    issuer: Issuer,
    now: int,
    mount: MountInfo,
    identity: Identity | None = None,
) -> Planned:
    """A certificate by a role. Raises InvalidRequestError for what the role does not allow.

    `public_key` is SubjectPublicKeyInfo in DER, `now` in epoch seconds.
    """
    rules = role.role
    if csr is not None:
        check_allowed(csr.key, rules.key_type, rules.key_bits)
    valid = validity_of(rules, asked, issuer=issuer, now=now, mount=mount)
    names = _Names(role, identity)
    common_name = _common_name(role, asked, csr, identity)
    _collect(names, common_name, asked, csr, uses_csr=csr is not None and rules.use_csr_sans)
    plan = Plan(
        public_key=public_key,
        subject=_subject(role, common_name, asked, csr),
        not_before=valid.not_before,
        not_after=valid.not_after,
        names=names.found(),
        key_usage=usages.key_usage(role.key_usages, type(load_public_key(public_key))),
        ext_key_usage=role.ext_key_usages,
        policies=role.policies,
        basic_constraints=_LEAF if rules.basic_constraints_valid_for_non_ca else None,
        signature_bits=rules.signature_bits,
        use_pss=rules.use_pss,
    )
    return Planned(plan=plan, warnings=[*valid.warnings, *_about_csr(csr)])


def plan_verbatim(
    role: OpenRole | None, asked: Asked, *, csr: Csr, issuer: Issuer, now: int, mount: MountInfo
) -> Planned:
    """A certificate that says what the CSR says, but for what only a CA can say.

    Of a role it takes only how long, by which issuer and whether to store. Raises InvalidRequestError.
    """
    rules = _verbatim_rules(role, asked)
    valid = validity_of(rules, asked, issuer=issuer, now=now, mount=mount)
    names = _Names(OpenRole("", rules), None)
    for name in csr.names:
        names.add_general(name)
    wanted = OpenRole("", rules)
    plan = Plan(
        public_key=csr.public_key,
        subject=_checked_subject(csr.subject),
        not_before=valid.not_before,
        not_after=valid.not_after,
        names=names.found(),
        key_usage=usages.key_usage(wanted.key_usages, type(csr.key)),
        ext_key_usage=wanted.ext_key_usages or _asked_usages(csr),
        basic_constraints=_LEAF if rules.basic_constraints_valid_for_non_ca else None,
        more=tuple(extension for extension in csr.extensions if extension.oid not in _NOT_COPIED),
        signature_bits=rules.signature_bits,
        use_pss=rules.use_pss,
    )
    return Planned(plan=plan, warnings=[*valid.warnings, *_about_csr(csr)])


_LEAF = x509.BasicConstraints(ca=False, path_length=None)


def _verbatim_rules(role: OpenRole | None, asked: Asked) -> Role:
    given = role.role if role is not None else VERBATIM
    usage = ("DigitalSignature", "KeyAgreement", "KeyEncipherment") if asked.key_usage is None else asked.key_usage
    return replace(
        VERBATIM,
        ttl=given.ttl,
        max_ttl=given.max_ttl,
        not_before_duration=given.not_before_duration,
        not_before=given.not_before,
        not_before_bound=given.not_before_bound,
        not_after=given.not_after,
        not_after_bound=given.not_after_bound,
        key_usage=tuple(usage),
        ext_key_usage=tuple(asked.ext_key_usage or ()),
        ext_key_usage_oids=tuple(asked.ext_key_usage_oids or ()),
        signature_bits=asked.signature_bits or (given.signature_bits if role is not None else 0),
        use_pss=asked.use_pss or given.use_pss,
        basic_constraints_valid_for_non_ca=asked.basic_constraints_valid_for_non_ca,
    )


def _asked_usages(csr: Csr) -> tuple[x509.ObjectIdentifier, ...]:
    for extension in csr.extensions:
        if isinstance(extension.value, x509.ExtendedKeyUsage):
            return tuple(extension.value)
    return ()


def _about_csr(csr: Csr | None) -> list[str]:
    if csr is None or not any(isinstance(extension.value, x509.BasicConstraints) for extension in csr.extensions):
        return []
    return ["specified CSR contained a Basic Constraints extension that was ignored during issuance"]


# --- the subject ----------------------------------------------------------------------------------------------------


def _common_name(role: OpenRole, asked: Asked, csr: Csr | None, identity: Identity | None) -> str:
    """The name, allowed by the role. Raises InvalidRequestError."""
    rules = role.role
    common_name = common_name_of(csr.subject) if csr is not None and rules.use_csr_common_name else ""
    common_name = common_name or asked.common_name
    if not common_name:
        if rules.require_cn:
            raise InvalidRequestError(
                'the common_name field is required, or must be provided in a CSR with "use_csr_common_name" set to'
                ' true, unless "require_cn" is set to false'
            )
        return ""
    if rules.cn_validations != ("disabled",):
        is_email = "@" in common_name
        kind = "email" if is_email else "hostname"
        if kind not in rules.cn_validations or not role.domains.allow(to_ascii(common_name), identity):
            raise _refused("common name", common_name)
    return common_name


def _subject(role: OpenRole, common_name: str, asked: Asked, csr: Csr | None) -> x509.Name:
    found = list(role.attributes)
    if common_name:
        found.append(attribute(NameOID.COMMON_NAME, common_name))
    serial_number = asked.serial_number or _of_csr(csr, NameOID.SERIAL_NUMBER)
    if serial_number:
        if not role.serial_numbers.allow(serial_number):
            raise _refused("serial_number", serial_number)
        found.append(attribute(NameOID.SERIAL_NUMBER, serial_number))
    for user_id in asked.user_ids or _all_of_csr(csr, NameOID.USER_ID):
        if not role.user_ids.allow(user_id):
            raise _refused("user_id", user_id)
        found.append(attribute(NameOID.USER_ID, user_id))
    return x509.Name(found)


def _of_csr(csr: Csr | None, oid: x509.ObjectIdentifier) -> str:
    values = _all_of_csr(csr, oid)
    return values[-1] if values else ""


def _all_of_csr(csr: Csr | None, oid: x509.ObjectIdentifier) -> list[str]:
    return [] if csr is None else [str(found.value) for found in csr.subject.get_attributes_for_oid(oid)]


def _checked_subject(subject: x509.Name) -> x509.Name:
    for found in subject:
        if isinstance(found.value, str) and not found.value.isprintable():
            raise InvalidRequestError("the subject of the csr holds a control character")
    return subject


# --- alternative names ------------------------------------------------------------------------------------------------


def _collect(names: "_Names", common_name: str, asked: Asked, csr: Csr | None, *, uses_csr: bool) -> None:
    """Those of the CSR, where the role takes them, else those of the body; and the common name, unless told not to."""
    if uses_csr and csr is not None:
        for name in csr.names:
            names.add_general(name)
    if common_name and not asked.exclude_cn_from_sans:
        names.add_common_name(common_name)
    if not uses_csr:
        _collect_asked(names, asked)
    for text in asked.other_sans:
        names.add_other(text)


def unrestricted_names(asked: Asked, common_name: str, csr: Csr | None) -> tuple[x509.GeneralName, ...]:
    """The alternative names of a CA certificate, which no role restricts: well-formed ones of the CSR or the body.

    Raises InvalidRequestError.
    """
    names = _Names(OpenRole("", VERBATIM), None)
    _collect(names, common_name, asked, csr, uses_csr=csr is not None)
    return names.found()


def _collect_asked(names: "_Names", asked: Asked) -> None:
    if len(asked.alt_names) + len(asked.ip_sans) + len(asked.uri_sans) + len(asked.other_sans) > MAX_NAMES:
        raise InvalidRequestError(f"a certificate has at most {MAX_NAMES} alternative names")
    for text in asked.alt_names:
        names.add_text(text)
    for text in asked.ip_sans:
        names.add_address(text)
    for text in asked.uri_sans:
        names.add_uri(text)


class _Names:
    """The alternative names that the role has allowed so far; each stands once."""

    def __init__(self, role: OpenRole, identity: Identity | None) -> None:
        self._role = role
        self._identity = identity
        self._found: dict[x509.GeneralName, None] = {}

    def found(self) -> tuple[x509.GeneralName, ...]:
        """In the order they came."""
        return tuple(self._found)

    def add_general(self, name: x509.GeneralName) -> None:
        """One of a CSR. Raises InvalidRequestError."""
        match name:
            case x509.DNSName():
                self._add_host(name.value)
            case x509.RFC822Name():
                self._add_email(name.value)
            case x509.IPAddress():
                self.add_address(str(name.value))
            case x509.UniformResourceIdentifier():
                self.add_uri(name.value)
            case x509.OtherName():
                found = read_general_name(name)
                self.add_other(f"{found.oid};UTF8:{found.text}")
            case _:
                raise InvalidRequestError("an alternative name of the csr is no host, mail address, IP, URI or text")

    def add_common_name(self, text: str) -> None:
        """It was allowed as such; it is an alternative name, too, if it is a host or a mail address."""
        if "@" in text:
            self._add_email(text)
        elif is_dns_shaped(to_ascii(text)):
            self._add_host(to_ascii(text))

    def add_text(self, text: str) -> None:
        """One of alt_names: a host or a mail address. Raises InvalidRequestError."""
        if "@" in text:
            self._add_email(text)
        else:
            self._add_host(to_ascii(text))

    def add_address(self, text: str) -> None:
        """Raises InvalidRequestError."""
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise InvalidRequestError(f"the value {text[:64]!r} is not a valid IP address") from None
        if not self._role.addresses.allow(address):
            raise InvalidRequestError(f"IP address {address} not allowed by this role")
        self._found[x509.IPAddress(address)] = None

    def add_uri(self, text: str) -> None:
        """Raises InvalidRequestError."""
        _check_uri(text)
        if not self._role.uris.allow(text, self._identity):
            raise _refused("URI", text)
        self._found[x509.UniformResourceIdentifier(text)] = None

    def add_other(self, text: str) -> None:
        """Raises InvalidRequestError."""
        name = parse_other_name(text)
        if not self._role.other_names.allow(name):
            raise _refused("other SAN", text)
        self._found[general_name(name)] = None

    def _add_host(self, name: str) -> None:
        if not self._role.domains.allow(name, self._identity) or not is_dns_shaped(name):
            raise _refused("subject alternate name", name)
        self._found[x509.DNSName(name)] = None

    def _add_email(self, name: str) -> None:
        local_part, _, host = name.rpartition("@")
        ascii_name = f"{local_part}@{to_ascii(host)}"
        is_shaped = bool(local_part) and ascii_name.isascii() and is_host_name(to_ascii(host))
        if not self._role.domains.allow(ascii_name, self._identity) or not is_shaped:
            raise _refused("email address", name)
        self._found[x509.RFC822Name(ascii_name)] = None


def is_dns_shaped(name: str) -> bool:
    """Whether it can stand as a dNSName: a host name, or one whose left-most label has a wildcard."""
    if "*" not in name:
        return is_host_name(name)
    label, _, rest = name.partition(".")
    return is_wildcard_label(label) and (not rest or is_host_name(rest))


def _check_uri(text: str) -> None:
    """Absolute, in ASCII (RFC 5280, 4.2.1.6); a SPIFFE ID as its standard has it (SPIFFE-ID, 2)."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = None, None
    if parts is None or not parts.scheme or len(text) > _LONGEST_URI or not text.isascii() or not text.isprintable():
        raise InvalidRequestError(f"{text[:64]!r} is no absolute URI in ASCII")
    if " " in text or not (parts.netloc or parts.path):
        raise InvalidRequestError(f"{text[:64]!r} is no absolute URI in ASCII")
    if parts.scheme == "spiffe":
        is_plain = not (parts.query or parts.fragment or parts.username or port is not None)
        segments = parts.path.split("/")[1:]
        if not parts.netloc or not is_plain or any(segment in {"", ".", ".."} for segment in segments):
            raise InvalidRequestError("a SPIFFE ID is spiffe://trust-domain/path, with no port, query or empty part")


def _refused(what: str, name: str) -> InvalidRequestError:
    shown = name if name.isprintable() and len(name) <= 256 else repr(name[:64])
    return InvalidRequestError(f"{what} {shown} not allowed by this role")
