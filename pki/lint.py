"""What no certificate may leave without, whoever asked for it: checked on the very bytes that will be signed.

This runs for every certificate, so it parses each thing once. Whether the key is strong enough was found out when it
was loaded: `core.public_keys` and `pki.csr` know no weak ones.
"""

from collections.abc import Sequence
from typing import TypeVar

from cryptography import x509

from core.errors import InvalidRequestError
from pki.authority import Issuer
from pki.constraints import check_name_constraints, check_path_length
from pki.dns_names import is_host_name, is_wildcard_label

T = TypeVar("T", bound=x509.ExtensionType)
_Found = dict[type[x509.ExtensionType], x509.Extension[x509.ExtensionType]]

_SERIAL_BITS = 159  # 20 octets of a positive INTEGER
_RSA = "1.2.840.113549.1.1"
_EC = "1.2.840.10045"
# algorithms of signatures by the algorithm of the key that makes them, by OID
_SIGNATURES = {
    f"{_RSA}.1": {f"{_RSA}.{last}" for last in (10, 11, 12, 13)},  # PSS; SHA-256, SHA-384, SHA-512
    f"{_EC}.2.1": {f"{_EC}.4.3.{last}" for last in (2, 3, 4)},
    "1.3.101.112": {"1.3.101.112"},
    **{f"2.16.840.1.101.3.4.3.{last}": {f"2.16.840.1.101.3.4.3.{last}"} for last in (17, 18, 19)},
}


def check_certificate(draft: x509.Certificate, issuer: Issuer | None, above: Sequence[Issuer] = ()) -> None:
    """`draft` has everything but a good signature; `issuer` None: it signs itself.

    `above` are those further up whose name constraints hold, too. Raises InvalidRequestError with the rule that does
    not hold (sections are those of RFC 5280).
    """
    found = _extensions(draft)
    subject = draft.subject
    _check_fields(draft, issuer)
    _check_key_identifiers(found, issuer)
    is_ca = _check_ca(draft, found, issuer)
    names = _check_names(found, has_subject=bool(len(subject)))
    if issuer is not None:
        if not issuer.row.disable_critical_extension_checks and issuer.unknown_critical:
            raise InvalidRequestError(
                f"the issuer has the critical extension {issuer.unknown_critical}, which means nothing here"
            )
        for constraining in (issuer, *above):
            check_name_constraints(draft, constraining, names, is_ca=is_ca)


def _extensions(draft: x509.Certificate) -> _Found:
    try:
        return {type(extension.value): extension for extension in draft.extensions}
    except x509.DuplicateExtension as exc:
        raise InvalidRequestError(f"the extension {exc.oid.dotted_string} would stand twice (4.2)") from None
    except (ValueError, x509.UnsupportedGeneralNameType) as exc:
        raise InvalidRequestError("an extension could not be read again") from exc


def _value(found: _Found, kind: type[T]) -> T | None:
    extension = found.get(kind)
    return None if extension is None else extension.value  # type: ignore[return-value]  # keyed by the value's type


def _check_fields(draft: x509.Certificate, issuer: Issuer | None) -> None:
    serial = draft.serial_number
    if serial <= 0 or serial.bit_length() > _SERIAL_BITS:
        raise InvalidRequestError("the serial number would not be positive and of 20 octets at most (4.1.2.2)")
    if draft.not_valid_after_utc <= draft.not_valid_before_utc:
        raise InvalidRequestError("the certificate would end before it begins (RFC 5280, 4.1.2.5)")
    if draft.issuer != (draft.subject if issuer is None else issuer.subject):
        raise InvalidRequestError("the certificate would not name its issuer (RFC 5280, 4.1.2.4)")
    key = draft.public_key_algorithm_oid.dotted_string if issuer is None else issuer.key_algorithm
    if draft.signature_algorithm_oid.dotted_string not in _SIGNATURES.get(key, ()):
        raise InvalidRequestError("the signature's algorithm would not fit the issuer's key (4.1.1.2)")


def _check_key_identifiers(found: _Found, issuer: Issuer | None) -> None:
    subject = _value(found, x509.SubjectKeyIdentifier)
    authority = _value(found, x509.AuthorityKeyIdentifier)
    if subject is None or authority is None:
        raise InvalidRequestError("the certificate would lack a key identifier (4.2.1.1, 4.2.1.2)")
    own = subject.digest if issuer is None else issuer.authority_key_identifier.key_identifier
    if authority.key_identifier != own:
        raise InvalidRequestError("the authority key identifier would not be the issuer's (4.2.1.1)")


def _check_ca(draft: x509.Certificate, found: _Found, issuer: Issuer | None) -> bool:
    """Whether it is a CA's."""
    constraints = _value(found, x509.BasicConstraints)
    usage = _value(found, x509.KeyUsage)
    signs = usage is not None and usage.key_cert_sign
    if constraints is None or not constraints.ca:
        if signs or issuer is None:
            raise InvalidRequestError("what is no CA may not sign certificates (4.2.1.3, 4.2.1.9)")
        return False
    if not signs or not found[x509.BasicConstraints].critical:
        raise InvalidRequestError("a CA needs critical basic constraints, and a key usage with certSign (4.2.1.9)")
    if not len(draft.subject):
        raise InvalidRequestError("a CA certificate needs a subject (4.1.2.6)")
    if issuer is not None:
        check_path_length(draft, constraints, issuer)
    return True


def _check_names(found: _Found, *, has_subject: bool) -> tuple[x509.GeneralName, ...]:
    """The subject alternative names."""
    usages = _value(found, x509.ExtendedKeyUsage)
    if usages is not None and not len(usages):
        raise InvalidRequestError("the extended key usage would be empty (4.2.1.12)")
    extension = found.get(x509.SubjectAlternativeName)
    if extension is None:
        if not has_subject:
            raise InvalidRequestError("the certificate would name nobody: it has neither subject nor names (4.1.2.6)")
        return ()
    names: tuple[x509.GeneralName, ...] = tuple(extension.value)  # type: ignore[arg-type]  # keyed by the value's type
    if not names:
        raise InvalidRequestError("the subject alternative names would be empty (4.2.1.6)")
    if extension.critical == has_subject:
        raise InvalidRequestError("alternative names are critical just when there is no subject (4.2.1.6)")
    for name in names:
        if type(name) is x509.DNSName and not _is_dns_name(name.value):
            raise InvalidRequestError("an alternative name would be no DNS name (4.2.1.6)")
    return names


def _is_dns_name(name: str) -> bool:
    if "*" not in name:
        return is_host_name(name)
    label, _, rest = name.partition(".")
    return is_wildcard_label(label) and (not rest or is_host_name(rest))
