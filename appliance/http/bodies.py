"""A request's body on its way: where it ends, what of it has come, and when it is too much."""

from aiohttp.streams import StreamReader

from appliance.http.framing import ChunkedBody, FramingError
from appliance.http.limits import Limits
from appliance.http.requests import RefusedError

MALFORMED = "malformed HTTP request: check the request line and the headers; control characters are not allowed"


class IncomingBody:
    """One body that did not come with its head in one piece, or is not known to have."""

    __slots__ = ("_chunks", "_left", "_limits", "_pieces", "_raw_size", "_size", "parsed")

    def __init__(self, length: int | None, limits: Limits, parsed: StreamReader | None) -> None:
        """`length` is None for a chunked one; `parsed` is what the parser makes of it, None when it is not asked.

        Raises RefusedError.
        """
        self.parsed = parsed
        self._limits = limits
        self._chunks = ChunkedBody() if length is None else None
        self._left = length or 0
        self._raw_size = 0
        self._size = 0
        self._pieces: list[bytes] = []
        if self._left > limits.max_body:
            raise self._too_large()

    def end(self, data: bytes) -> int | None:
        """Where the body ends in the next piece of the stream; None when it goes on. Raises RefusedError."""
        if self._chunks is None:
            length, self._left = self._left, self._left - len(data)
            return length if length <= len(data) else None
        try:
            end = self._chunks.end(data)
        except FramingError as exc:
            raise RefusedError(400, str(exc)) from exc
        self._raw_size += len(data) if end is None else end
        if self._raw_size > 2 * self._limits.max_body + self._limits.max_head:  # chunks of a few bytes each
            raise self._too_large()
        return end

    def take(self, piece: bytes, *, complete: bool) -> bytes:
        """Keep one piece, which the parser has seen; the whole body when it is complete. Raises RefusedError."""
        if self.parsed is None:
            self._pieces.append(piece)
            return b"".join(self._pieces) if complete else b""
        if complete and not self._pieces and self._chunks is None:
            body = piece  # it came in one piece: the usual case
        else:
            body = self._gather(self.parsed, complete=complete)
        if self.parsed.is_eof() is not complete:
            raise RefusedError(400, MALFORMED)
        return body

    def _gather(self, parsed: StreamReader, *, complete: bool) -> bytes:
        """Take what the parser decoded, so that no second copy and no list of chunk borders grows."""
        if parsed.exception() is not None:
            raise RefusedError(400, "the chunked body is malformed")
        piece = parsed.read_nowait()
        self._size += len(piece)
        if self._size > self._limits.max_body:
            raise self._too_large()
        self._pieces.append(piece)
        return b"".join(self._pieces) if complete else b""

    def _too_large(self) -> RefusedError:
        return RefusedError(413, f"the request body is larger than {self._limits.max_body} bytes")
