"""Places in DER that was parsed before: where values begin and end (X.690)."""


def content_of(der: bytes, start: int) -> tuple[int, int]:
    """Where the content of the value at `start` begins and ends (X.690, 8.1.3); its tag has one octet."""
    length, content = der[start + 1], start + 2
    if length >= 0x80:
        octets, content = length & 0x7F, content + (length & 0x7F)
        length = int.from_bytes(der[content - octets : content], "big")
    return content, content + length
