"""The alternative names of a certificate. A name gets in only by `AlternativeNames.add_…`, which asks the role.

So nothing stands in a certificate that the role does not allow, whether it came from the body or from a CSR.
"""

import ipaddress
import re
from collections.abc import Sized
from urllib.parse import urlsplit

from cryptography import x509

from core.errors import InvalidRequestError
from core.requests import Identity
from pki.dns_names import is_dns_name, is_host_name, to_ascii
from pki.other_names import OtherName, general_name, parse_other_name, read_general_name
from pki.role import OpenRole

MAX_NAMES = 1000  # in one certificate
_LONGEST_URI = 2048  # characters
_LONGEST_EMAIL = 320  # octets: 64 before the @ and 255 behind it (RFC 5321, 4.5.3.1)
# RFC 5322, 3.2.3, dot-atom: what needs no quotes; others no mail server hands out
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}")
# RFC 3986, 2.2 and 2.3, and the percent sign
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9:/?#\[\]@!$&'()*+,;=._~%-]+")
_SPIFFE_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")  # SPIFFE-ID, 2.1
_SPIFFE_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")  # SPIFFE-ID, 2.2


class AlternativeNames:
    """Those that the role has allowed so far; each stands once. All that adds raises InvalidRequestError."""

    def __init__(self, role: OpenRole, identity: Identity | None) -> None:
        self._role = role
        self._identity = identity
        self._found: dict[x509.GeneralName, None] = {}

    def found(self) -> tuple[x509.GeneralName, ...]:
        """In the order they came."""
        return tuple(self._found)

    def add_common_name(self, text: str) -> None:
        """A common name that the role allows is an alternative name, too, if it is a host, an address or a mailbox."""
        if "@" in text:
            self._add_email(text)
        elif (address := parse_address(text)) is not None:
            self._add_address(address)
        elif is_dns_name(text):
            self._add_host(text)

    def add_text(self, text: str) -> None:
        """One of alt_names: a host or a mail address."""
        if "@" in text:
            self._add_email(text)
        else:
            self._add_host(to_ascii(text))

    def add_address(self, text: str) -> None:
        """One of ip_sans."""
        address = parse_address(text)
        if address is None:
            raise InvalidRequestError(f"the value {text[:64]!r} is not a valid IP address")
        self._add_address(address)

    def add_uri(self, text: str) -> None:
        """One of uri_sans."""
        check_uri(text)
        if not self._role.uris.allow(text, self._identity):
            raise refused("URI", text)
        self._add(x509.UniformResourceIdentifier(text))

    def add_other(self, text: str) -> None:
        """One of other_sans: "<oid>;UTF8:<text>"."""
        self._add_other(parse_other_name(text))

    def add_general(self, name: x509.GeneralName) -> None:
        """One of a CSR."""
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
                self._add_other(read_general_name(name))
            case _:
                raise InvalidRequestError("an alternative name of the csr is no host, mail address, IP, URI or text")

    def add_verbatim(self, name: x509.GeneralName) -> None:
        """One of a CSR of which all is taken: also a name of a form that no role speaks of."""
        if isinstance(name, x509.OtherName | x509.DirectoryName | x509.RegisteredID):
            self._add(name)
        else:
            self.add_general(name)

    # --- the only ways in ----------------------------------------------------------------------------------------

    def _add_host(self, name: str) -> None:
        if parse_address(name) is not None:
            raise InvalidRequestError(f"{name} is an IP address, not a host name: ask for it in ip_sans")
        is_shaped = is_dns_name(name, is_loose=not self._role.role.enforce_hostnames)
        if not is_shaped or not self._role.domains.allow(name, self._identity):
            raise refused("subject alternate name", name)
        self._add(x509.DNSName(name))

    def _add_email(self, name: str) -> None:
        local_part, _, host = name.rpartition("@")
        ascii_host = to_ascii(host)
        ascii_name = f"{local_part}@{ascii_host}"
        is_shaped = (
            len(ascii_name) <= _LONGEST_EMAIL
            and _LOCAL_PART.fullmatch(local_part) is not None
            and is_host_name(ascii_host)
        )
        if not is_shaped or not self._role.domains.allow(ascii_name, self._identity):
            raise refused("email address", name)
        self._add(x509.RFC822Name(ascii_name))

    def _add_address(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
        if not self._role.addresses.allow(address):
            raise InvalidRequestError(f"IP address {address} not allowed by this role")
        self._add(x509.IPAddress(address))

    def _add_other(self, name: OtherName) -> None:
        if not self._role.other_names.allow(name):
            raise refused("other SAN", f"{name.oid};UTF8:{name.text}")
        self._add(general_name(name))

    def _add(self, name: x509.GeneralName) -> None:
        if len(self._found) >= MAX_NAMES:
            raise InvalidRequestError(f"a certificate has at most {MAX_NAMES} alternative names")
        self._found[name] = None


def check_number(*asked: Sized) -> None:
    """Raise InvalidRequestError for more names than a certificate can have: each costs time, also if it comes twice."""
    if sum(map(len, asked)) > MAX_NAMES:
        raise InvalidRequestError(f"a certificate has at most {MAX_NAMES} alternative names")


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An IP address, None for what is none; one of IPv4 in the clothes of IPv6 (::ffff:10.0.0.1) is one of IPv4."""
    if not text or "%" in text or (not text[0].isdigit() and ":" not in text):  # most names are hosts: be quick
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (address.version == 6 and address.ipv4_mapped) or address


def check_uri(text: str) -> None:
    """Raise InvalidRequestError unless it is an absolute URI (RFC 5280, 4.2.1.6; RFC 3986)."""
    try:
        parts = urlsplit(text) if len(text) <= _LONGEST_URI and _URI.fullmatch(text) else None
        port = parts.port if parts is not None else None
    except ValueError:
        parts = None
    if parts is None:
        raise InvalidRequestError(f"{text[:64]!r} is no absolute URI in ASCII")
    if parts.scheme == "spiffe" and not (
        port is None
        and _SPIFFE_DOMAIN.fullmatch(text[len("spiffe://") :].partition("/")[0])
        and text.startswith("spiffe://")
        and not (parts.query or parts.fragment or text.endswith(("?", "#")))
        and all(_is_spiffe_segment(segment) for segment in parts.path.split("/")[1:])
    ):
        raise InvalidRequestError(
            "a SPIFFE ID is spiffe://trust-domain/path: the domain in lower case, no port, no query, and no part that"
            " is empty, . or .."
        )


def _is_spiffe_segment(segment: str) -> bool:
    return segment not in {".", ".."} and _SPIFFE_SEGMENT.fullmatch(segment) is not None


def refused(what: str, name: str) -> InvalidRequestError:
    """What the role does not allow, as Vault says it."""
    shown = name if name.isprintable() and len(name) <= 256 else repr(name[:64])
    return InvalidRequestError(f"{what} {shown} not allowed by this role")
