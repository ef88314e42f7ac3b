"""What an issuer may be used for: as its certificate allows (RFC 5280, 4.2.1.3), and never more once it is revoked."""

from collections.abc import Iterable

from cryptography import x509

from core.errors import InvalidRequestError
from pki.authority import USAGES, IssuerRow

_REVOKED = (
    "This issuer was revoked; unable to modify its usage to include certificate signing again. Reissue this certificate"
    " (preferably with a new key) and modify that entry instead."
)


def parse_usage(words: Iterable[str]) -> tuple[str, ...]:
    """In one order; read-only is always there, as in Vault. Raises InvalidRequestError for an unknown word."""
    given = list(words)
    if not set(given) <= set(USAGES):
        raise InvalidRequestError(f"Unable to parse specified usages: valid values are {', '.join(USAGES)}")
    return tuple(word for word in USAGES if word in given or word == "read-only")


def possible_usage(certificate: x509.Certificate) -> tuple[str, ...]:
    """Everything that the key usages of a CA's certificate allow. One without that extension allows all."""
    found = next((e.value for e in certificate.extensions if isinstance(e.value, x509.KeyUsage)), None)
    if found is None:
        return USAGES
    barred = {"issuing-certificates": not found.key_cert_sign, "crl-signing": not found.crl_sign}
    return tuple(word for word in USAGES if not barred.get(word, False))


def effective_usage(row: IssuerRow) -> tuple[str, ...]:
    """What is left of it: a revoked issuer issues nothing."""
    return tuple(word for word in row.usage if not (row.revoked_at and word == "issuing-certificates"))


def check_usage(usage: tuple[str, ...], row: IssuerRow, certificate: x509.Certificate) -> None:
    """Raise InvalidRequestError when an issuer cannot be used like that."""
    if row.revoked_at and "issuing-certificates" in usage:
        raise InvalidRequestError(_REVOKED)
    possible = possible_usage(certificate)
    if "crl-signing" in usage and "crl-signing" not in possible:
        raise InvalidRequestError(
            "This issuer's underlying certificate lacks the CRLSign KeyUsage value; unable to set CRLSigningUsage on"
            " this issuer as a result."
        )
    if "issuing-certificates" in usage and "issuing-certificates" not in possible:
        raise InvalidRequestError(
            "this issuer's certificate lacks the keyCertSign key usage, so nothing accepts certificates that it signs:"
            " leave issuing-certificates out of usage"
        )
