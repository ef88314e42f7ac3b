"""Which events a subscriber asked for; what it may see is another question."""

from collections.abc import Mapping

import msgspec

from appliance.access.globs import matches, matches_any
from appliance.events.record import EventRecord
from core.errors import InvalidRequestError

MAX_PATTERN = 256  # characters; Vault's types are shorter than 40
MAX_NAMESPACES = 64
MAX_PREFIX = 1024


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """By type, place and path."""

    types: str  # "kv-v2/data-*"
    namespace: str = ""  # in which the request was made: "team-a/"
    namespaces: tuple[str, ...] | None = None  # patterns of those below it ("apps/*"); None: all of them
    path_prefix: str = ""  # within the namespace: "secret/data/apps/"

    def takes(self, record: EventRecord) -> bool:
        """Whether it was asked for."""
        return (
            matches(self.types, record.type)
            and self._is_in_namespace(record.namespace)
            and (not self.path_prefix or self._is_below_prefix(record))
        )

    def _is_in_namespace(self, namespace: str) -> bool:
        if namespace == self.namespace:
            return True
        if not namespace.startswith(self.namespace):
            return False
        inner = namespace[len(self.namespace) :].rstrip("/")
        return self.namespaces is None or matches_any(self.namespaces, inner)

    def _is_below_prefix(self, record: EventRecord) -> bool:
        prefix = self.namespace + self.path_prefix
        return any(path.startswith(prefix) for path in (record.full_path, record.data_path, record.metadata_path))


def parse_selection(types: str, query: Mapping[str, str], *, namespace: str) -> Selection:
    """What the path and the query of a subscription ask for. Raises InvalidRequestError."""
    types = types.strip("/")
    if not types or len(types) > MAX_PATTERN or not types.isprintable():
        raise InvalidRequestError("name the event types behind subscribe/, for example kv-v2/data-* or *")
    if query.get("json", "true") not in {"true", "1"}:
        raise InvalidRequestError("events are sent as JSON only; leave json out or set it to true")
    if query.get("filter") or query.get("bexpr_filter"):
        raise InvalidRequestError(
            "filter expressions are not supported; choose by the pattern of event types, path_prefix and namespaces"
        )
    return Selection(
        types=types,
        namespace=namespace,
        namespaces=_namespaces(query.get("namespaces")),
        path_prefix=_path_prefix(query.get("path_prefix", "")),
    )


def _namespaces(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    patterns = tuple(part.strip().strip("/") for part in text.split(",") if part.strip().strip("/"))
    if len(patterns) > MAX_NAMESPACES or any(len(pattern) > MAX_PATTERN for pattern in patterns):
        raise InvalidRequestError(f"namespaces may be {MAX_NAMESPACES} patterns of {MAX_PATTERN} characters each")
    return patterns


def _path_prefix(text: str) -> str:
    prefix = text.removeprefix("/")
    if len(prefix) > MAX_PREFIX or not (prefix.isprintable() or not prefix):
        raise InvalidRequestError(f"path_prefix may have {MAX_PREFIX} printable characters")
    return prefix


def parse_after(text: str) -> int | None:
    """The number of the last event that the subscriber has seen; None: it begins with what comes."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidRequestError("after, like Last-Event-ID, is the id of the last message you have seen: a number")
    return int(text)
