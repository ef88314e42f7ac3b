"""Subjects: attributes in their order, each with the length that RFC 5280, appendix A.1, allows."""

import re
from collections.abc import Collection

from cryptography import x509
from cryptography.x509.oid import NameOID

from core.errors import InvalidRequestError

_MOST = 100  # values of one attribute
_PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,./:=?-]*")  # X.680, 41.4, PrintableString: what X.520, 6.2.9 has for it
_LONGEST = {  # characters: the upper bounds of RFC 5280, A.1 (ub-…)
    NameOID.COMMON_NAME: (64, "common_name"),
    NameOID.SERIAL_NUMBER: (64, "serial_number"),
    NameOID.ORGANIZATION_NAME: (64, "organization"),
    NameOID.ORGANIZATIONAL_UNIT_NAME: (64, "ou"),
    NameOID.LOCALITY_NAME: (128, "locality"),
    NameOID.STATE_OR_PROVINCE_NAME: (128, "province"),
    NameOID.STREET_ADDRESS: (128, "street_address"),
    NameOID.POSTAL_CODE: (40, "postal_code"),
    NameOID.USER_ID: (256, "user_ids"),
    NameOID.COUNTRY_NAME: (2, "country"),
}


def attributes(*named: tuple[x509.ObjectIdentifier, Collection[str]]) -> tuple[x509.NameAttribute[str], ...]:
    """One for each value, without repetition: each becomes an RDN of its own. Raises InvalidRequestError."""
    for oid, values in named:
        if len(values) > _MOST:
            raise InvalidRequestError(f"{_LONGEST[oid][1]} has at most {_MOST} values")
    return tuple(attribute(oid, value) for oid, values in named for value in dict.fromkeys(values) if value)


def attribute(oid: x509.ObjectIdentifier, value: str) -> x509.NameAttribute[str]:
    """Raises InvalidRequestError for a value that is too long or holds control characters."""
    longest, member = _LONGEST[oid]
    if len(value) > longest:
        more = ": leave it out and name the host in alt_names" if oid == NameOID.COMMON_NAME else ""
        raise InvalidRequestError(f"{member} has at most {longest} characters (RFC 5280, A.1){more}")
    if oid == NameOID.COUNTRY_NAME and not (len(value) == 2 and value.isascii() and value.isalpha()):
        raise InvalidRequestError("country is a code of two letters (ISO 3166-1)")
    if oid == NameOID.SERIAL_NUMBER and not _PRINTABLE.fullmatch(value):
        raise InvalidRequestError("serial_number has only letters, digits, blanks and '()+,-./:=? (X.520, 6.2.9)")
    if not value.isprintable():
        raise InvalidRequestError(f"{member} holds a control character")
    try:
        return x509.NameAttribute(oid, value)
    except ValueError:
        raise InvalidRequestError(f"{member} cannot stand in a certificate") from None
