"""The list of revoked certificates in DER, put into a CRL that was built without it (RFC 5280, 5.1).

Made by hand, since an object for each of 100,000 entries takes seconds, and a hundred bytes each do not. All else of a
CRL is still built by `cryptography`.
"""

import time
from collections.abc import Iterable
from functools import lru_cache

from pki.certificates import Known

_REASONS = {  # 5.3.1; what is unspecified is not said at all
    "keyCompromise": 1,
    "cACompromise": 2,
    "affiliationChanged": 3,
    "superseded": 4,
    "cessationOfOperation": 5,
    "certificateHold": 6,
    "removeFromCRL": 8,
    "privilegeWithdrawn": 9,
    "aACompromise": 10,
}
_INTEGER, _SEQUENCE, _EXTENSIONS = b"\x02", b"\x30", 0xA0
_UTC_TIME, _GENERALIZED_TIME = b"\x17\x0d", b"\x18\x0f"  # of 13 and 15 characters
_DAY = 86400
_REASON_OID, _ENUMERATED, _OCTETS = b"\x06\x03\x55\x1d\x15", b"\x0a", b"\x04"
_YEAR_2050 = 2_524_608_000  # from here on times are GeneralizedTime (5.1.2.4)
_BEFORE = 5  # version, signature, issuer, thisUpdate and nextUpdate
_LONG = 0x80


def entry_of(known: Known) -> bytes:
    """The entry of a revoked certificate."""
    body = known.body
    number = bytes.fromhex(known.serial.replace(":", "")).lstrip(b"\0")
    if not number or number[0] >= _LONG:
        number = b"\0" + number  # with a bit to spare: it is not negative
    return _tlv(_SEQUENCE, _tlv(_INTEGER, number) + _time(body.revoked_at) + _REASON_EXTENSIONS.get(body.reason, b""))


def with_entries(tbs: bytes, entries: Iterable[bytes]) -> bytes:
    """The TBSCertList of a CRL that has none and has extensions, with these entries."""
    listed = b"".join(entries)
    if not listed:
        return tbs
    content, end = _header(tbs, 0)
    place = content
    for _ in range(_BEFORE):
        place = _header(tbs, place)[1]
    if end != len(tbs) or tbs[place] != _EXTENSIONS:
        raise RuntimeError("the CRL is not one without entries and with extensions")
    return _tlv(_SEQUENCE, b"".join((tbs[content:place], _tlv(_SEQUENCE, listed), tbs[place:])))


def _time(seconds: int) -> bytes:
    days, second = divmod(seconds, _DAY)
    hour, second = divmod(second, 3600)
    clock = b"%02d%02d%02dZ" % (hour, *divmod(second, 60))
    if seconds < _YEAR_2050:
        return _UTC_TIME + _date(days)[2:] + clock
    return _GENERALIZED_TIME + _date(days) + clock


@lru_cache(maxsize=4096)
def _date(days: int) -> bytes:
    """Year, month and day, so many days after 1970 began."""
    return time.strftime("%Y%m%d", time.gmtime(days * _DAY)).encode()


def _header(der: bytes, place: int) -> tuple[int, int]:
    """Where the content of the element at `place` begins and ends."""
    size, begin = der[place + 1], place + 2
    if size >= _LONG:
        begin += size - _LONG
        size = int.from_bytes(der[place + 2 : begin], "big")
    return begin, begin + size


def _tlv(tag: bytes, content: bytes) -> bytes:
    """An element in DER (X.690, 10.1)."""
    size = len(content)
    if size < _LONG:
        return tag + bytes((size,)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return b"".join((tag, bytes((_LONG | len(octets),)), octets, content))


def _reason(code: int) -> bytes:
    value = _tlv(_OCTETS, _tlv(_ENUMERATED, bytes((code,))))
    return _tlv(_SEQUENCE, _tlv(_SEQUENCE, _REASON_OID + value))


_REASON_EXTENSIONS = {name: _reason(code) for name, code in _REASONS.items()}
