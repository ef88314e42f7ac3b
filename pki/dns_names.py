"""Host names as certificates bear them: A-labels, at most 253 octets, one wildcard at most (RFC 5280, 4.2.1.6)."""

import re
from functools import lru_cache

import idna

from core.errors import InvalidRequestError

LONGEST = 253  # octets, without a dot at the end (RFC 1035, 2.3.4)
_KEPT = 4096  # names: each is looked at twice, and comes again when its certificate is renewed
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST_NAME = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
_LOOSE_NAME = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}")
# the left-most label with its asterisk: "*", "f*", "*f" or "a*b" (RFC 6125, 6.4.3), but not a piece of an A-label
_WILDCARD_LABEL = re.compile(r"(?![Xx][Nn]--)(?:[A-Za-z0-9][A-Za-z0-9-]*)?\*(?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_IPV4 = re.compile(r"[0-9]+(?:\.[0-9]+){3}")  # what some take for an address, whatever the numbers are


@lru_cache(maxsize=_KEPT)
def is_host_name(name: str) -> bool:
    """Whether it is one in ASCII, without a wildcard and without a dot at the end. 10.0.0.1 has the form of one."""
    return len(name) <= LONGEST and _HOST_NAME.fullmatch(name) is not None and _has_good_a_labels(name)


def is_wildcard_label(label: str) -> bool:
    """Whether a left-most label with an asterisk is well-formed."""
    return len(label) <= 63 and _WILDCARD_LABEL.fullmatch(label) is not None


@lru_cache(maxsize=_KEPT)
def is_dns_name(name: str, *, is_loose: bool = False) -> bool:
    """Whether it can stand as a dNSName: a host name, maybe behind a wildcard label, and no IP address.

    `is_loose`: underscores, and hyphens anywhere, are as good as letters.
    """
    if len(name) > LONGEST or _IPV4.fullmatch(name):
        return False
    rest = name
    if "*" in name:
        label, _, rest = name.partition(".")
        if not is_wildcard_label(label):
            return False
    if is_loose:
        return _LOOSE_NAME.fullmatch(rest) is not None and _has_good_a_labels(rest)
    return is_host_name(rest)


def to_ascii(name: str) -> str:
    """A name with its U-labels as A-labels (IDNA 2008, RFC 5891); ASCII stays as it is. Raises InvalidRequestError."""
    if name.isascii():
        return name
    try:
        return ".".join(_a_label(label) for label in name.split("."))
    except (idna.IDNAError, UnicodeError):
        raise InvalidRequestError("a name is no internationalized domain name (RFC 5891)") from None


def _a_label(label: str) -> str:
    if label.isascii():
        return label
    return idna.encode(label, uts46=True, std3_rules=True).decode()


def _has_good_a_labels(name: str) -> bool:
    """Whether what begins with xn-- decodes to what it says (RFC 5890, 2.3.2.1)."""
    if "xn--" not in name.lower():
        return True
    return all(_is_a_label(label) for label in name.lower().split(".") if label.startswith("xn--"))


@lru_cache(maxsize=1024)
def _is_a_label(label: str) -> bool:
    try:
        idna.ulabel(label)
    except (idna.IDNAError, UnicodeError):
        return False
    return True
