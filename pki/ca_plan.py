"""What a CA certificate is to say: pure functions from a request (and maybe a CSR) to a plan."""

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.x509.oid import NameOID

from core.engine import MountInfo
from core.errors import InvalidRequestError
from pki import usages
from pki.alternative_names import MAX_NAMES
from pki.asked import Asked
from pki.authority import Issuer
from pki.ca_asked import CaBody, CertificateBody, SignIntermediateBody
from pki.csr import Csr
from pki.dns_names import is_host_name, to_ascii
from pki.moments import format_moment, parse_moment
from pki.names import common_name_of
from pki.plan import Plan
from pki.planning import unrestricted_names
from pki.subject_rules import checked_subject
from pki.subjects import attribute, attributes

_SIGNATURE_BITS = (0, 256, 384, 512)
_ALWAYS = frozenset({"key_cert_sign", "crl_sign"})
_MORE = frozenset({"digital_signature", "content_commitment"})
_NO_SUBJECT = "a CA certificate needs a subject: give common_name (RFC 5280, 4.1.2.6)"
_NOTHING_BELOW = (
    "Max path length of the generated certificate is zero. This certificate cannot be used to issue intermediate CA"
    " certificates."
)
_CONSTRAINTS = tuple(
    f"{word}_{what}"
    for word in ("permitted", "excluded")
    for what in ("dns_domains", "ip_ranges", "email_addresses", "uri_domains")
)
_LONGEST_KEY_ID = 64  # octets; RFC 5280 has none, and nobody makes longer ones than a hash


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCa:
    """A plan, and what to warn of."""

    plan: Plan
    warnings: list[str] = field(default_factory=list)


def plan_root(body: CertificateBody, *, public_key: bytes, now: int, mount: MountInfo) -> PlannedCa:
    """A certificate that signs itself. Raises InvalidRequestError."""
    not_before, not_after, warnings = _validity(body, None, now=now, mount=mount)
    subject = subject_of(body)
    if not len(subject):
        raise InvalidRequestError(_NO_SUBJECT)
    plan = _plan(
        body,
        public_key=public_key,
        subject=subject,
        names=names_of(body),
        validity=(not_before, not_after),
        path_length=_path_length(body.max_path_length),
    )
    return PlannedCa(plan=plan, warnings=[*warnings, *_about_path(plan)])


def plan_intermediate(body: SignIntermediateBody, csr: Csr, issuer: Issuer, *, now: int, mount: MountInfo) -> PlannedCa:
    """A CA certificate about the key of a CSR. Raises InvalidRequestError."""
    not_before, not_after, warnings = _validity(body, issuer, now=now, mount=mount)
    if body.use_csr_values:
        subject = checked_subject(csr.subject)
        names = unrestricted_names(Asked(exclude_cn_from_sans=True), "", csr)
    else:
        common_name = body.common_name or common_name_of(csr.subject)
        subject, names = subject_of(body, common_name), names_of(body, common_name)
    if not len(subject):
        raise InvalidRequestError(_NO_SUBJECT)
    plan = _plan(
        body,
        public_key=csr.public_key,
        subject=subject,
        names=names,
        validity=(not_before, not_after),
        path_length=path_length_below(issuer, _path_length(body.max_path_length), subject),
        subject_key_id=_key_id_of(csr) if body.use_csr_values else b"",
    )
    return PlannedCa(plan=plan, warnings=[*warnings, *_about_path(plan)])


def _plan(
    body: CertificateBody,
    *,
    public_key: bytes,
    subject: x509.Name,
    names: tuple[x509.GeneralName, ...],
    validity: tuple[int, int],
    path_length: int | None,
    subject_key_id: bytes = b"",
) -> Plan:
    check_signature_bits(body)
    return Plan(
        public_key=public_key,
        subject=subject,
        not_before=validity[0],
        not_after=validity[1],
        names=names,
        key_usage=ca_key_usage(body.key_usage),
        ext_key_usage=_ext_key_usage(body),
        policies=usages.policies(body.policy_identifiers),
        basic_constraints=x509.BasicConstraints(ca=True, path_length=path_length),
        name_constraints=name_constraints(body),
        signature_bits=body.signature_bits,
        use_pss=body.use_pss,
        subject_key_id=_key_id(body.skid) or subject_key_id,
    )


def check_signature_bits(body: CaBody) -> None:
    """Raise InvalidRequestError for what is no hash of SHA-2."""
    if body.signature_bits not in _SIGNATURE_BITS:
        raise InvalidRequestError("signature_bits must be 256, 384 or 512, or 0 for what fits the key")


# --- names ----------------------------------------------------------------------------------------------------------


def subject_of(body: CaBody, common_name: str = "") -> x509.Name:
    """The attributes in the order in which leaves have them. Raises InvalidRequestError."""
    common_name = common_name or body.common_name
    found = list(
        attributes(
            (NameOID.COUNTRY_NAME, body.country),
            (NameOID.STATE_OR_PROVINCE_NAME, body.province),
            (NameOID.LOCALITY_NAME, body.locality),
            (NameOID.STREET_ADDRESS, body.street_address),
            (NameOID.POSTAL_CODE, body.postal_code),
            (NameOID.ORGANIZATION_NAME, body.organization),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, body.ou),
        )
    )
    if common_name:
        found.append(attribute(NameOID.COMMON_NAME, common_name))
    if body.serial_number:
        found.append(attribute(NameOID.SERIAL_NUMBER, body.serial_number))
    return x509.Name(found)


def names_of(body: CaBody, common_name: str = "") -> tuple[x509.GeneralName, ...]:
    """The alternative names, among them the common name if it is a host's with a dot, or a mail address.

    "Root" is a title: as a dNSName it would break the name constraints of who certifies it. Raises InvalidRequestError.
    """
    common_name = common_name or body.common_name
    is_address = "." in common_name or "@" in common_name
    asked = Asked(
        alt_names=body.alt_names,
        ip_sans=body.ip_sans,
        uri_sans=body.uri_sans,
        other_sans=body.other_sans,
        exclude_cn_from_sans=body.exclude_cn_from_sans,
    )
    return unrestricted_names(asked, common_name if is_address else "", None)


# --- validity -------------------------------------------------------------------------------------------------------


def _validity(
    body: CertificateBody, issuer: Issuer | None, *, now: int, mount: MountInfo
) -> tuple[int, int, list[str]]:
    """Epoch seconds, and what to warn of."""
    if body.ttl and body.not_after:
        raise InvalidRequestError(
            "Either ttl or not_after should be provided. Both should not be provided in the same request."
        )
    warnings: list[str] = []
    not_before = parse_moment(body.not_before, "not_before") if body.not_before else now - body.not_before_duration
    not_before = max(not_before, 0)  # as leaves; before 1950 no certificate begins (RFC 5280, 4.1.2.5)
    if body.not_after:
        not_after = parse_moment(body.not_after, "not_after")
    else:
        ttl = body.ttl or mount.default_lease_ttl
        if ttl > mount.max_lease_ttl:
            ttl = mount.max_lease_ttl
            warnings.append(
                f"the ttl is longer than the mount's max_lease_ttl of {ttl} seconds, which is used: tune the mount, or"
                " give not_after"
            )
        not_after = now + ttl
    if issuer is not None:
        not_after = ca_within_issuer(not_after, issuer, warnings)
    if not_before >= not_after:
        raise InvalidRequestError(
            f"the certificate would begin ({format_moment(not_before)}) when it has ended ({format_moment(not_after)})"
        )
    if not_after <= now:
        raise InvalidRequestError(f"the certificate would have ended already ({format_moment(not_after)})")
    return not_before, not_after, warnings


def ca_within_issuer(not_after: int, issuer: Issuer, warnings: list[str]) -> int:
    """The end of a CA certificate, no later than its issuer's. Raises InvalidRequestError when that is to be an error.

    Of leaf_not_after_behavior: "permit" lets it stand, "always_enforce_err" refuses, the others cut it short.
    """
    if not_after <= issuer.not_after:
        return not_after
    behaviour, end = issuer.row.leaf_not_after_behavior, format_moment(issuer.not_after)
    if behaviour == "always_enforce_err":
        raise InvalidRequestError(
            f"cannot satisfy request, as TTL would result in notAfter of {format_moment(not_after)} that is beyond the"
            f" expiration of the CA certificate at {end}"
        )
    if behaviour == "permit":
        warnings.append(
            f"the certificate outlives its issuer, which ends at {end}: paths through that issuer fail from then on"
        )
        return not_after
    warnings.append(f"the certificate would have outlived its issuer, so it ends with it at {end}")
    return issuer.not_after


# --- what it may sign -----------------------------------------------------------------------------------------------


def _path_length(asked: int) -> int | None:
    if not -1 <= asked <= 255:
        raise InvalidRequestError("max_path_length must be 0 to 255, or -1 for no limit of its own")
    return None if asked == -1 else asked


def path_length_below(issuer: Issuer, asked: int | None, subject: x509.Name) -> int | None:
    """How many CAs may stand below a CA that this issuer certifies. Raises InvalidRequestError.

    Certificates under the issuer's own name (a new key of the same CA) do not count (RFC 5280, 4.2.1.9).
    """
    limit = issuer.path_length
    if limit is None or issuer.row.disable_path_length_checks:
        return asked
    most = limit if subject == issuer.subject else limit - 1
    if most < 0:
        raise InvalidRequestError(
            "the issuer has a max path length of zero, and cannot issue further CA certificates (RFC 5280, 4.2.1.9)"
        )
    if asked is not None and asked > most:
        raise InvalidRequestError(f"max_path_length is {most} at most below this issuer (RFC 5280, 4.2.1.9)")
    return most if asked is None else asked


def _about_path(plan: Plan) -> list[str]:
    if plan.basic_constraints is None or plan.basic_constraints.path_length != 0:
        return []
    return [_NOTHING_BELOW]


def ca_key_usage(words: Iterable[str]) -> x509.KeyUsage:
    """CertSign and CRLSign, and what else of signing is asked for. Raises InvalidRequestError."""
    words = list(words)
    unknown = usages.unknown_key_usages(words)
    wanted = usages.key_usages(words)
    if unknown or wanted - _ALWAYS - _MORE:
        raise InvalidRequestError(
            "key_usage of a CA is CertSign and CRLSign in any case; DigitalSignature and ContentCommitment may be added"
        )
    return usages.with_usages(wanted | _ALWAYS)


def _ext_key_usage(body: CertificateBody) -> tuple[x509.ObjectIdentifier, ...]:
    unknown = usages.unknown_ext_key_usages(body.ext_key_usage)
    if unknown:
        raise InvalidRequestError(f"ext_key_usage {unknown[0][:64]!r} is none: give its OID in ext_key_usage_oids")
    return usages.ext_key_usages(body.ext_key_usage, body.ext_key_usage_oids)


def name_constraints(body: CertificateBody) -> x509.NameConstraints | None:
    """RFC 5280, 4.2.1.10. Raises InvalidRequestError."""
    if sum(len(getattr(body, member)) for member in _CONSTRAINTS) > MAX_NAMES:
        raise InvalidRequestError(f"a certificate has at most {MAX_NAMES} name constraints")
    permitted = _subtrees(
        body.permitted_dns_domains, body.permitted_ip_ranges, body.permitted_email_addresses, body.permitted_uri_domains
    )
    excluded = _subtrees(
        body.excluded_dns_domains, body.excluded_ip_ranges, body.excluded_email_addresses, body.excluded_uri_domains
    )
    if not permitted and not excluded:
        return None
    return x509.NameConstraints(permitted or None, excluded or None)


def _subtrees(
    domains: Iterable[str], ranges: Iterable[str], mails: Iterable[str], hosts: Iterable[str]
) -> list[x509.GeneralName]:
    made: list[tuple[Callable[[str], x509.GeneralName], Iterable[str]]] = [
        (lambda text: x509.DNSName(_domain(text, "DNS domain")), domains),
        (_range, ranges),
        (_mail, mails),
        (lambda text: x509.UniformResourceIdentifier(_domain(text, "URI domain")), hosts),
    ]
    return [make(text) for make, texts in made for text in texts]


def _domain(text: str, what: str) -> str:
    found = to_ascii(text)
    if not is_host_name(found.removeprefix(".")):
        raise InvalidRequestError(f"{text[:64]!r} is no {what}: write example.com, or .example.com")
    return found


def _range(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise InvalidRequestError(f"{text[:64]!r} is no range of IP addresses: write 10.0.0.0/8") from None


def _mail(text: str) -> x509.GeneralName:
    """A mailbox, a host, or with a leading dot all hosts of a domain."""
    local_part, at, host = text.rpartition("@")
    if at and not (local_part and local_part.isascii() and local_part.isprintable() and not host.startswith(".")):
        raise InvalidRequestError(f"{text[:64]!r} is no mail address")
    try:
        return x509.RFC822Name(local_part + at + _domain(host, "mail domain"))
    except ValueError:
        raise InvalidRequestError(f"{text[:64]!r} is no mail address") from None


# --- the key's identifier -------------------------------------------------------------------------------------------


def _key_id(text: str) -> bytes:
    try:
        found = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        found = None
    if found is None or len(found) > _LONGEST_KEY_ID:
        raise InvalidRequestError("skid is a key identifier in hex: 01:23:…, of 64 octets at most")
    return found


def _key_id_of(csr: Csr) -> bytes:
    """That of the CSR, so that a cross-signed CA keeps the one that its own certificates name."""
    for extension in csr.extensions:
        if isinstance(extension.value, x509.SubjectKeyIdentifier):
            return extension.value.digest
    return b""
