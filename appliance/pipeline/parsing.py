"""What a request asks for, read from its method, path, query and headers. Nothing here needs the store."""

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import parse_qsl

import msgspec

from appliance.access.wrapping import MAX_TTL
from appliance.namespaces import parse_namespace_path
from appliance.wire import WireRequest
from core.durations import parse_duration
from core.errors import InvalidRequestError, UnsupportedOperationError, UnsupportedPathError
from core.requests import Operation

API_PREFIX = "/v1/"
# Far above what clients send: a longer path could not be stored as an entry either.
MAX_PATH = 4096

_OPERATIONS = {
    "GET": Operation.READ,
    "HEAD": Operation.READ,
    "PUT": Operation.UPDATE,
    "POST": Operation.UPDATE,
    "PATCH": Operation.PATCH,
    "DELETE": Operation.DELETE,
    "LIST": Operation.LIST,
    "SCAN": Operation.SCAN,
}
# What Go's strconv.ParseBool takes, as Vault does.
_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
_SWITCHES = {"list": Operation.LIST, "scan": Operation.SCAN, "help": Operation.HELP}
_NO_QUERY: Mapping[str, str] = {}


class Asked(msgspec.Struct):
    """What the caller wants; nothing of it is checked against anything stored.

    One object stands for every request with the same head, so nobody changes it.
    """

    operation: Operation
    path: str  # "transit/encrypt/orders"; with the namespace: "team-a/transit/encrypt/orders"
    query: Mapping[str, str]  # without the switches that changed the operation
    token: str  # "" when none was sent
    namespace: str = ""  # what the header names: "team-a/"; the path may name more of it
    wrap_ttl: int = 0  # seconds; 0: the answer is not to be wrapped

    @property
    def url_path(self) -> str:
        """The path as it stood in the URL."""
        return self.path[len(self.namespace) :]


def parse_asked(wire: WireRequest) -> Asked:
    """What the request asks for; read once for a head that comes again. Raises InvalidRequestError and its like."""
    memo = wire.memo
    if memo is None:
        return _read(wire)
    asked = memo.asked
    if type(asked) is not Asked:
        asked = memo.asked = _read(wire)
    return asked


def _read(wire: WireRequest) -> Asked:
    """Read the parts that say what to do."""
    operation = _OPERATIONS.get(wire.method)
    if operation is None:
        raise UnsupportedOperationError("")
    path = _parse_path(wire.path)
    query = _NO_QUERY
    if wire.query:
        query, operation = _parse_query(wire.query, operation)
    headers = wire.headers
    asked = Asked(operation, path, query, parse_token(headers))
    if namespace := headers.get("X-Vault-Namespace") or headers.get("X-Mimir-Namespace"):
        asked.namespace = _parse_namespace(namespace)
        asked.path = asked.namespace + path
    if wrap_ttl := headers.get("X-Vault-Wrap-TTL"):
        asked.wrap_ttl = _parse_wrap_ttl(wrap_ttl, headers)
    return asked


def _parse_path(path: str) -> str:
    if not path.startswith(API_PREFIX):
        raise UnsupportedPathError("the API is below /v1/")
    if len(path) > MAX_PATH:
        raise InvalidRequestError(f"the path is longer than {MAX_PATH} characters")
    if not path.isprintable():
        raise InvalidRequestError("the path contains non-printable characters")
    if ".." in path and ".." in path.split("/"):
        raise InvalidRequestError('the path contains ".." as a segment')
    return path[len(API_PREFIX) :]


def _parse_query(text: str, operation: Operation) -> tuple[dict[str, str], Operation]:
    """The first value of each name; `?list=true`, `?scan=true` and `?help=1` turn a read into what they name."""
    query: dict[str, str] = {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise InvalidRequestError("the query string is not UTF-8, or has more than 100 fields") from None
    for name, value in pairs:
        query.setdefault(name, value)
    for name, switched in _SWITCHES.items():
        if name in query and operation is Operation.READ and parse_switch(query.pop(name), name=name):
            operation = switched
    return query, operation


def parse_switch(value: str, *, name: str) -> bool:
    """What Go takes for a boolean. Raises InvalidRequestError."""
    if value not in _BOOLEANS:
        raise InvalidRequestError(f"the query parameter {name} must be true or false")
    return _BOOLEANS[value]


def parse_token(headers: Mapping[str, str]) -> str:
    """The token of X-Vault-Token, X-Mimir-Token or `Authorization: Bearer`. Raises when two of them differ."""
    token = headers.get("X-Vault-Token", "")
    own = headers.get("X-Mimir-Token", "")
    authorization = headers.get("Authorization", "")
    if not own and not authorization:
        return token
    bearer = authorization[7:].strip() if authorization[:7].lower() == "bearer " else ""
    sent = {given for given in (token, own, bearer) if given}
    if len(sent) > 1:
        raise InvalidRequestError("X-Vault-Token, X-Mimir-Token and Authorization carry different tokens; send one")
    return sent.pop() if sent else ""


@lru_cache(maxsize=256)
def _parse_namespace(text: str) -> str:
    return parse_namespace_path(text)


def _parse_wrap_ttl(text: str, headers: Mapping[str, str]) -> int:
    """Seconds. Raises InvalidRequestError: who asks for a wrapped response must not get an open one."""
    seconds = parse_duration(text, field="X-Vault-Wrap-TTL")
    if seconds < 0:
        raise InvalidRequestError("X-Vault-Wrap-TTL must not be negative")
    if seconds > MAX_TTL:
        raise InvalidRequestError(f"X-Vault-Wrap-TTL: a response can be wrapped for at most {MAX_TTL} seconds")
    if seconds and headers.get("X-Vault-Wrap-Format", "").lower() == "jwt":
        raise InvalidRequestError("wrapping tokens are not made as JWT here; leave X-Vault-Wrap-Format out")
    return seconds
