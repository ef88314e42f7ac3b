"""Names of other forms (otherName, RFC 5280, 4.2.1.6), written as Vault does: "1.3.6.1.4.1.311.20.2.3;UTF8:ann@x"."""

from collections.abc import Iterable
from typing import NamedTuple

from asn1crypto.core import UTF8String
from cryptography import x509

from core.errors import InvalidRequestError
from pki.globs import Glob
from pki.usages import parse_oid

ANYTHING = "*"


class OtherName(NamedTuple):
    """One name: what kind it is of, and its text."""

    oid: str
    text: str


def parse_other_name(written: str) -> OtherName:
    """Raises InvalidRequestError."""
    oid, semicolon, rest = written.partition(";")
    kind, colon, text = rest.partition(":")
    if not semicolon or not colon:
        raise InvalidRequestError('another name is written as "<oid>;UTF8:<text>"')
    if kind.lower() not in {"utf8", "utf-8"}:
        raise InvalidRequestError('another name can only be a UTF8 string: "<oid>;UTF8:<text>"')
    if not text or not text.isprintable():
        raise InvalidRequestError("the text of another name is empty or holds a control character")
    return OtherName(oid.strip(), text)


def general_name(name: OtherName) -> x509.OtherName:
    """As it stands in a certificate. Raises InvalidRequestError for what is no OID."""
    return x509.OtherName(parse_oid(name.oid), UTF8String(name.text).dump())  # type: ignore[no-untyped-call]


def read_general_name(name: x509.OtherName) -> OtherName:
    """As somebody asked for it in a CSR. Raises InvalidRequestError for what is no UTF8String."""
    try:
        found = UTF8String.load(name.value, strict=True).native  # type: ignore[no-untyped-call]
    except (ValueError, TypeError):
        found = None
    if not isinstance(found, str) or not found.isprintable():
        raise InvalidRequestError("another name in the csr is no printable UTF8 string")
    return OtherName(name.type_id.dotted_string, found)


class OtherNameRules:
    """Those that a role allows: by OID, and by a pattern of the text."""

    def __init__(self, allowed: Iterable[str]) -> None:
        written = tuple(allowed)
        self._allows_all = written == (ANYTHING,)
        names = () if self._allows_all else tuple(parse_other_name(one) for one in written)
        self._allowed = tuple((parse_oid(name.oid).dotted_string, Glob(name.text)) for name in names)

    def allow(self, name: OtherName) -> bool:
        """Whether it may stand in a certificate."""
        return self._allows_all or any(oid == name.oid and text.matches(name.text) for oid, text in self._allowed)
