"""Where messages begin and end in a connection's bytes, and the method tokens the parser does not know.

aiohttp's C parser (llhttp) answers `LIST` and `SCAN` with an error before any handler runs. So at the first byte of a
message, and only there, the token is replaced by another known one of the same length; `original_method` undoes it on
the parsed message. The stand-ins are themselves replaced when a client really sends them, so the mapping is reversible
and no state travels beside the message.

To be at the first byte of a message one must know where the last one ended. Its head ends at the first empty line
(llhttp demands CRLF), its body by Content-Length or by chunk sizes; bodies are counted, never searched. The parser is
fed at most one message at a time, up to exactly these ends, and `Connection` refuses a connection as soon as the parser
does not agree: so a difference between the two readings can never smuggle a request.
"""

_STAND_INS = {b"LIST ": b"LINK ", b"SCAN ": b"BIND ", b"LINK ": b"LOCK ", b"BIND ": b"LOCK "}
_FIRST_BYTES = frozenset(token[0] for token in _STAND_INS)
_ORIGINALS = {"LINK": "LIST", "BIND": "SCAN"}

TOKEN_LENGTH = 5  # every message has more bytes than this, so waiting for them delays nobody
END_OF_HEAD = b"\r\n\r\n"

_MAX_CHUNK_LINE = 64  # hexadecimal size and CRLF; extensions are not used by any client and must fit too


class FramingError(Exception):
    """The bytes do not frame a message as RFC 9112 wants it. Its text is for the client."""


def parseable_start(data: bytes) -> bytes:
    """The same bytes with a method token the parser knows; `data` starts at a message and holds TOKEN_LENGTH bytes."""
    if data[0] not in _FIRST_BYTES:
        return data
    stand_in = _STAND_INS.get(data[:TOKEN_LENGTH])
    return data if stand_in is None else stand_in + data[TOKEN_LENGTH:]


def original_method(parsed: str) -> str:
    """The method as the client sent it."""
    return _ORIGINALS.get(parsed, parsed)


class ChunkedBody:
    """Finds the end of a chunked body (RFC 9112, 7.1) by its chunk sizes; the parser validates and decodes.

    Trailer fields are refused: aiohttp 3.14 would count the last one among the headers of the next request.
    """

    __slots__ = ("_last", "_line", "_skip")

    def __init__(self) -> None:
        self._skip = 0  # bytes of chunk data and its CRLF still to come
        self._line = b""  # the beginning of a chunk-size line
        self._last = False  # the chunk of size 0 was seen

    def end(self, data: bytes) -> int | None:
        """Where the body ends in the next piece of the stream; None when it goes on. Raises FramingError."""
        at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            newline = data.find(b"\n", at, at + _MAX_CHUNK_LINE)
            stop = newline + 1 if newline >= 0 else min(len(data), at + _MAX_CHUNK_LINE)
            line = self._line + data[at:stop]
            if len(line) > _MAX_CHUNK_LINE or (newline < 0 and stop < len(data)):
                raise FramingError("a chunk-size line of the body is too long")
            at = stop
            if newline < 0:
                self._line = line
            elif self._ends_with(line):
                return at
        return None

    def _ends_with(self, line: bytes) -> bool:
        """Take one whole line that is not chunk data; whether it ends the body."""
        self._line = b""
        if self._last:
            if line != b"\r\n":
                raise FramingError("trailer fields after a chunked body are not accepted")
            return True
        try:
            size = int(line.split(b";", 1)[0], 16)
        except ValueError:
            size = -1
        if size < 0:
            raise FramingError("a chunk size of the body is not a hexadecimal number")
        self._last = size == 0
        self._skip = size + 2 if size else 0
        return False
