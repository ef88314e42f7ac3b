"""What no certificate may leave without, whoever asked for it: checked on the very bytes that will be signed."""

from cryptography import x509

from core.errors import InvalidRequestError
from pki.authority import Issuer


def check_certificate(draft: x509.Certificate, issuer: Issuer | None) -> None:
    """`draft` has everything but a good signature; `issuer` None: it signs itself.

    Raises InvalidRequestError with the rule that does not hold.
    """
    if draft.not_valid_after_utc <= draft.not_valid_before_utc:
        raise InvalidRequestError("the certificate would end before it begins (RFC 5280, 4.1.2.5)")
    if issuer is not None and draft.issuer != issuer.subject:
        raise InvalidRequestError("the certificate would not name its issuer (RFC 5280, 4.1.2.4)")
