"""What a leaf certificate is to say: the request, held against the role."""

from dataclasses import dataclass, field
from typing import TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtensionOID
from msgspec.structs import replace

from core.engine import MountInfo
from core.errors import InvalidRequestError
from core.protocols import KeyKind
from core.public_keys import PublicKey, load_public_key
from core.requests import Identity
from pki import usages
from pki.alternative_names import AlternativeNames, check_number
from pki.asked import Asked
from pki.authority import Issuer
from pki.csr import Csr
from pki.leaf_types import check_allowed
from pki.plan import Plan
from pki.role import VERBATIM, OpenRole, Role
from pki.subject_rules import allowed_common_name, checked_subject, subject_of
from pki.usages import SIGNATURE_BITS
from pki.validity import validity_of

E = TypeVar("E", bound=x509.ExtensionType)

_LEAF = x509.BasicConstraints(ca=False, path_length=None)
_RSA = frozenset({KeyKind.RSA_2048, KeyKind.RSA_3072, KeyKind.RSA_4096})
_IGNORED = "specified CSR contained a Basic Constraints extension that was ignored during issuance"
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
    key: PublicKey | None = None,
    issuer: Issuer,
    now: int,
    mount: MountInfo,
    identity: Identity | None = None,
) -> Planned:
    """A certificate by a role. Raises InvalidRequestError for what the role does not allow.

    `public_key` is SubjectPublicKeyInfo in DER, `key` the same if it is loaded, `now` in epoch seconds.
    """
    rules = role.role
    key = key or (load_public_key(public_key) if csr is None else csr.key)
    if csr is not None:
        check_allowed(csr.key, rules.key_type, rules.key_bits)
    valid = validity_of(rules, asked, issuer=issuer, now=now, mount=mount)
    common_name = allowed_common_name(role, asked, csr, identity)
    plan = Plan(
        public_key=public_key,
        key=key,
        subject=subject_of(role, common_name, asked, csr),
        not_before=valid.not_before,
        not_after=valid.not_after,
        names=_names(AlternativeNames(role, identity), role.role, common_name, asked, csr),
        key_usage=usages.key_usage(role.key_usages, type(key)),
        ext_key_usage=role.ext_key_usages,
        policies=role.policies,
        basic_constraints=_LEAF if rules.basic_constraints_valid_for_non_ca else None,
        signature_bits=_signature_bits(rules, issuer),
        use_pss=rules.use_pss,
    )
    return Planned(plan=plan, warnings=[*valid.warnings, *_about_csr(csr)])


def _names(
    names: AlternativeNames, rules: Role, common_name: str, asked: Asked, csr: Csr | None
) -> tuple[x509.GeneralName, ...]:
    """Those of the CSR, where the role takes them, else those of the body; and the common name, unless told not to."""
    check_number(asked.alt_names, asked.ip_sans, asked.uri_sans, asked.other_sans)
    uses_csr = csr is not None and rules.use_csr_sans
    if csr is not None and uses_csr:
        for name in csr.names:
            names.add_general(name)
    if common_name and not asked.exclude_cn_from_sans:
        names.add_common_name(common_name)
    if not uses_csr:
        for text in asked.alt_names:
            names.add_text(text)
        for text in asked.ip_sans:
            names.add_address(text)
        for text in asked.uri_sans:
            names.add_uri(text)
    for text in asked.other_sans:
        names.add_other(text)
    return names.found()


def unrestricted_names(asked: Asked, common_name: str, csr: Csr | None) -> tuple[x509.GeneralName, ...]:
    """The alternative names of a CA certificate, which no role restricts: well-formed ones of the CSR or the body.

    Raises InvalidRequestError.
    """
    return _names(AlternativeNames(OpenRole("", VERBATIM), None), VERBATIM, common_name, asked, csr)


def _signature_bits(rules: Role, issuer: Issuer) -> int:
    """Only an RSA key goes with any hash; the curves have theirs (as in Vault)."""
    return rules.signature_bits if issuer.key is not None and issuer.key.key.kind in _RSA else 0


def _about_csr(csr: Csr | None) -> list[str]:
    if csr is None or _extension(csr, x509.BasicConstraints) is None:
        return []
    return [_IGNORED]


# --- sign-verbatim --------------------------------------------------------------------------------------------------


def plan_verbatim(
    role: OpenRole | None, asked: Asked, *, csr: Csr, issuer: Issuer, now: int, mount: MountInfo
) -> Planned:
    """A certificate that says what the CSR says, but for what only a CA can say.

    Of a role it takes only how long, by which issuer and whether to store; usages are those of the CSR, or of the body.
    Raises InvalidRequestError.
    """
    opened = OpenRole("", _verbatim_rules(role, asked))
    rules = opened.role
    valid = validity_of(rules, asked, issuer=issuer, now=now, mount=mount)
    names = AlternativeNames(opened, None)
    for name in csr.names:
        names.add_verbatim(name)
    usage = _extension(csr, x509.KeyUsage)
    ext_usage = _extension(csr, x509.ExtendedKeyUsage)
    wanted = opened.key_usages if usage is None else usages.named_in(usage)
    plan = Plan(
        public_key=csr.public_key,
        subject=checked_subject(csr.subject),
        not_before=valid.not_before,
        not_after=valid.not_after,
        names=names.found(),
        key_usage=usages.key_usage(wanted, type(csr.key)),
        ext_key_usage=opened.ext_key_usages if ext_usage is None else tuple(ext_usage),
        basic_constraints=_LEAF if rules.basic_constraints_valid_for_non_ca else None,
        more=tuple(extension for extension in csr.extensions if extension.oid not in _NOT_COPIED),
        signature_bits=_signature_bits(rules, issuer),
        use_pss=rules.use_pss,
    )
    return Planned(plan=plan, warnings=[*valid.warnings, *_about_csr(csr)])


def _verbatim_rules(role: OpenRole | None, asked: Asked) -> Role:
    given = role.role if role is not None else VERBATIM
    usage = ("DigitalSignature", "KeyAgreement", "KeyEncipherment") if asked.key_usage is None else asked.key_usage
    bits = asked.signature_bits or (given.signature_bits if role is not None else 0)
    if bits not in SIGNATURE_BITS:
        raise InvalidRequestError(f"signature_bits must be one of {', '.join(map(str, SIGNATURE_BITS))}")
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
        signature_bits=bits,
        use_pss=asked.use_pss or given.use_pss,
        basic_constraints_valid_for_non_ca=asked.basic_constraints_valid_for_non_ca,
    )


def _extension(csr: Csr, kind: type[E]) -> E | None:
    return next((extension.value for extension in csr.extensions if isinstance(extension.value, kind)), None)
