"""Wrong encodings of a good ECDSA signature, of the sorts that Wycheproof tries."""


def tlv(tag, value, length=None):
    """One element; `length` in bytes, if not the minimal DER one."""
    return bytes([tag]) + (der_length(len(value)) if length is None else length) + value


def der_length(size):
    if size < 0x80:
        return bytes([size])
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


def integer(value):
    """The minimal two's complement form, of negative numbers too."""
    size = max(1, (value if value >= 0 else -value - 1).bit_length() // 8 + 1)
    return value.to_bytes(size, "big", signed=True)


def signature(r, s):
    return tlv(0x30, tlv(2, integer(r)) + tlv(2, integer(s)))


def ecdsa_mutations(r, s, order):
    """By name. None of them may verify where (r, s) does."""
    first, second = tlv(2, integer(r)), tlv(2, integer(s))
    body = first + second
    good = tlv(0x30, body)
    values = {
        "r = 0": (0, s),
        "s = 0": (r, 0),
        "both 0": (0, 0),
        "r = n": (order, s),
        "s = n": (r, order),
        "r + n": (r + order, s),
        "s + n": (r, s + order),
        "r - n": (r - order, s),
        "s - n": (r, s - order),
        "-r": (-r, s),
        "-s": (r, -s),
        "r = 1, s = 1": (1, 1),
        "r = -1": (-1, s),
        "swapped": (s, r),
        "r + 2^256": (r + (1 << 256), s),
        "s + 2^1024": (r, s + (1 << 1024)),
        "r + 1": (r + 1, s),
        "s + 1": (r, s + 1),
    }
    mutations = {name: signature(*pair) for name, pair in values.items()}
    mutations |= {
        "empty": b"",
        "empty sequence": tlv(0x30, b""),
        "only r": tlv(0x30, first),
        "only s": tlv(0x30, second),
        "r without content": tlv(0x30, tlv(2, b"") + second),
        "s without content": tlv(0x30, first + tlv(2, b"")),
        "three numbers": tlv(0x30, body + second),
        "leading zero in r": tlv(0x30, tlv(2, b"\0" + integer(r)) + second),
        "leading zero in s": tlv(0x30, first + tlv(2, b"\0" + integer(s))),
        "many leading zeros": tlv(0x30, tlv(2, bytes(40) + integer(r)) + second),
        "long length of the sequence": tlv(
            0x30, body, (b"\x82\0" if len(body) > 127 else b"\x81") + bytes([len(body)])
        ),
        "longer length of the sequence": tlv(0x30, body, b"\x83\0\0" + bytes([len(body)])),
        "overlong length of the sequence": tlv(0x30, body, b"\x84\0\0\0" + bytes([len(body)])),
        "huge length of the sequence": tlv(0x30, body, b"\x88" + b"\xff" * 8),
        "long length of r": tlv(0x30, tlv(2, integer(r), b"\x81" + bytes([len(integer(r))])) + second),
        "long length of s": tlv(0x30, first + tlv(2, integer(s), b"\x81" + bytes([len(integer(s))]))),
        "indefinite length": b"\x30\x80" + body + b"\0\0",
        "indefinite length without end": b"\x30\x80" + body,
        "length one too small": tlv(0x30, body, der_length(len(body) - 1)),
        "length one too large": tlv(0x30, body, der_length(len(body) + 1)),
        "trailing zero": good + b"\0",
        "trailing garbage": good + b"garbage",
        "trailing null element": good + b"\x05\0",
        "garbage inside": tlv(0x30, body + b"\0\0"),
        "null inside": tlv(0x30, body + b"\x05\0"),
        "null before": tlv(0x30, b"\x05\0" + body),
        "leading byte": b"\0" + good,
        "set instead of sequence": tlv(0x31, body),
        "primitive sequence": tlv(0x10, body),
        "other class": tlv(0x70, body),
        "r as octet string": tlv(0x30, tlv(4, integer(r)) + second),
        "r as bit string": tlv(0x30, tlv(3, b"\0" + integer(r)) + second),
        "r constructed": tlv(0x30, tlv(0x22, tlv(2, integer(r))) + second),
        "r as enumerated": tlv(0x30, tlv(10, integer(r)) + second),
        "nested sequence": tlv(0x30, good),
        "octet string around": tlv(4, good),
        "only the tag": b"\x30",
        "high tag number": b"\x3f\x10" + good[1:],
        "hex": good.hex().encode(),
        "r and s side by side": r.to_bytes(66, "big") + s.to_bytes(66, "big"),
    }
    if integer(r)[0] == 0:  # its top bit is set, so DER gives it a zero
        mutations["missing zero of r"] = tlv(0x30, tlv(2, integer(r)[1:]) + second)
    if integer(s)[0] == 0:
        mutations["missing zero of s"] = tlv(0x30, first + tlv(2, integer(s)[1:]))
    mutations |= {f"cut to {length}": good[:length] for length in range(len(good))}
    return mutations
