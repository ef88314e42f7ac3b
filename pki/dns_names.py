"""Host names as certificates bear them: A-labels, at most 253 octets, one wildcard at most (RFC 5280, 4.2.1.6)."""

import re
from functools import lru_cache

import idna

from core.errors import InvalidRequestError

LONGEST = 253  # octets, without a dot at the end (RFC 1035, 2.3.4)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST_NAME = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
# the left-most label with its asterisk: "*", "f*", "*f" or "a*b" (RFC 6125, 6.4.3)
_WILDCARD_LABEL = re.compile(r"\*[A-Za-z0-9-]*|[A-Za-z0-9][A-Za-z0-9-]*\*|[A-Za-z0-9][A-Za-z0-9-]*\*[A-Za-z0-9-]*")


def is_host_name(name: str) -> bool:
    """Whether it is one in ASCII, without a wildcard and without a dot at the end."""
    return len(name) <= LONGEST and _HOST_NAME.fullmatch(name) is not None and _has_good_a_labels(name)


def is_wildcard_label(label: str) -> bool:
    """Whether a left-most label with an asterisk is well-formed."""
    return len(label) <= 63 and _WILDCARD_LABEL.fullmatch(label) is not None


def to_ascii(name: str) -> str:
    """A name with its U-labels as A-labels (IDNA 2008, RFC 5891); ASCII stays as it is. Raises InvalidRequestError."""
    if name.isascii():
        return name
    try:
        return ".".join(_a_label(label) for label in name.split("."))
    except idna.IDNAError:
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
