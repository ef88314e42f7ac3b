"""How much and how long a client may send."""

from dataclasses import dataclass

MAX_BODY = 32 * 1024 * 1024  # Vault's max_request_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    max_body: int = MAX_BODY
    max_head: int = 64 * 1024
    max_line: int = 8190  # request line, or one header
    max_headers: int = 128
    head_timeout: float = 10.0  # from the first byte of a request to the empty line
    request_timeout: float = 90.0  # from the first byte of a request to the last one of its reply
    idle_timeout: float = 300.0  # between requests
    linger: float = 5.0  # how long a refused client may go on sending before it is cut
    backlog: int = 64 * 1024  # bytes a client may send ahead of the request being served
    heartbeat: float = 15.0  # between two signs of life on a stream
    stall_timeout: float = 30.0  # how long the client of a stream may take nothing, or answer no ping
