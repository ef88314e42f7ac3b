"""Cross-signing a root as it stands: its name, key and extensions under another issuer (root/sign-self-issued)."""

import re

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID

from core.errors import InvalidRequestError
from core.public_keys import kind_of
from pki.authority import Issuer
from pki.ca_plan import PlannedCa, ca_within_issuer, path_length_below
from pki.csr import check_key_strength
from pki.plan import Plan

MAX_TEXT = 64 * 1024  # characters of PEM
# said anew by who signs: who that is, and where to ask
_NOT_COPIED = frozenset(
    {
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
        ExtensionOID.FRESHEST_CRL,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    }
)


def parse_self_issued(text: str) -> x509.Certificate:
    """One CA certificate in PEM that is signed by its own key: so whoever made it had the key.

    Raises InvalidRequestError.
    """
    if len(text) > MAX_TEXT:
        raise InvalidRequestError(f"a certificate has at most {MAX_TEXT} characters")
    try:
        found = x509.load_pem_x509_certificates(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidRequestError("certificate could not be PEM-decoded") from None
    if len(found) != 1:
        raise InvalidRequestError(f"{len(found)} certificates found in PEM file, expected 1")
    certificate = found[0]
    constraints = _constraints(certificate)
    if constraints is None or not constraints.ca:
        raise InvalidRequestError("given certificate is not a CA certificate")
    if certificate.issuer != certificate.subject:
        raise InvalidRequestError("given certificate is not self-issued")
    if not len(certificate.subject):
        raise InvalidRequestError("given certificate has no subject (RFC 5280, 4.1.2.6)")
    _check_own_signature(certificate)
    return certificate


def _constraints(certificate: x509.Certificate) -> x509.BasicConstraints | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return None
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, UnsupportedAlgorithm):
        raise InvalidRequestError("the extensions of the certificate could not be parsed") from None


def _check_own_signature(certificate: x509.Certificate) -> None:
    try:
        check_key_strength(_public_key(certificate))
        certificate.verify_directly_issued_by(certificate)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidRequestError(
            "given certificate is not signed by its own key, so it does not show who has the key"
        ) from None


def _public_key(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def check_same_algorithm(certificate: x509.Certificate, issuer: Issuer) -> None:
    """Raise InvalidRequestError unless both keys are of one family: RSA, EC, Ed25519, ML-DSA."""
    theirs, ours = (_family(_public_key(certificate)), _family(issuer.public_key))
    if theirs != ours:
        raise InvalidRequestError(
            f"signing certificate's public key algorithm ({ours}) does not match submitted certificate's ({theirs}),"
            " and require_matching_certificate_algorithms is true"
        )


def _family(public_key: bytes) -> str:
    """The kind without its size: "rsa", "ec", "ed25519", "ml-dsa"."""
    return re.sub(r"-p?[0-9]+$", "", kind_of(public_key).value)


def plan_self_issued(certificate: x509.Certificate, issuer: Issuer, *, now: int) -> PlannedCa:
    """The same certificate by another issuer, and no longer than that one. Raises InvalidRequestError."""
    warnings: list[str] = []
    not_after = int(certificate.not_valid_after_utc.timestamp())
    if not_after <= now:
        raise InvalidRequestError("given certificate has expired")
    constraints = _constraints(certificate)
    asked = None if constraints is None else constraints.path_length
    plan = Plan(
        public_key=_public_key(certificate),
        subject=certificate.subject,
        not_before=max(int(certificate.not_valid_before_utc.timestamp()), 0),  # as others that are made here
        not_after=ca_within_issuer(not_after, issuer, warnings),
        names=_names(certificate),
        key_usage=_key_usage(certificate),
        basic_constraints=x509.BasicConstraints(
            ca=True, path_length=_shortened(issuer, asked, certificate.subject, warnings)
        ),
        more=tuple(extension for extension in certificate.extensions if extension.oid not in _NOT_COPIED),
        subject_key_id=_key_id(certificate),
    )
    return PlannedCa(plan=plan, warnings=warnings)


def _shortened(issuer: Issuer, asked: int | None, subject: x509.Name, warnings: list[str]) -> int | None:
    """Nobody can ask for another length than the certificate's, so a longer one than the issuer's is cut."""
    most = path_length_below(issuer, None, subject)
    if most is None or (asked is not None and asked <= most):
        return asked
    if asked is not None:
        warnings.append(f"the max path length is {most} instead of {asked}: the issuer allows no more")
    return most


def _names(certificate: x509.Certificate) -> tuple[x509.GeneralName, ...]:
    try:
        return tuple(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return ()


def _key_usage(certificate: x509.Certificate) -> x509.KeyUsage:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        raise InvalidRequestError(
            "given certificate has no key usage, so it may not sign (RFC 5280, 4.2.1.3)"
        ) from None


def _key_id(certificate: x509.Certificate) -> bytes:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return b""
