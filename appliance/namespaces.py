"""Namespaces: each has mounts, policies, tokens and identity of its own, and nothing crosses from one to another."""

import re

import msgspec

from appliance.access.subject import ROOT_NAMESPACE
from core.errors import InvalidRequestError

MAX_DEPTH = 16
_SEGMENT = re.compile(r"[A-Za-z0-9_.~@-]{1,128}", re.ASCII)
# what a path begins with in every namespace: a namespace of that name could not be reached
_RESERVED = frozenset({"root", "sys", "auth", "cubbyhole", "identity", "audit", "."})


class Namespace(msgspec.Struct, frozen=True, kw_only=True):
    """One namespace. Its id is never used again, so what a deleted one left behind belongs to nobody."""

    id: str
    path: str  # "team-a/" or "team-a/payments/"; "" for the root
    uuid: str = ""
    custom_metadata: dict[str, str] = msgspec.field(default_factory=dict)
    created_at: int = 0  # epoch seconds
    tainted: bool = False  # being deleted

    @property
    def is_root(self) -> bool:
        """Whether it is the one that always exists."""
        return not self.path

    @property
    def parent_path(self) -> str:
        """The path of the namespace it is in."""
        return self.path[: self.path.rstrip("/").rfind("/") + 1]

    def contains(self, other: "Namespace") -> bool:
        """Whether `other` is this one or inside it."""
        return other.path.startswith(self.path)


ROOT = Namespace(id=ROOT_NAMESPACE, path="")


def data_prefix(namespace_id: str) -> str:
    """Where the access data of a namespace is stored: policies, token roles, identity."""
    return "core/" if namespace_id == ROOT_NAMESPACE else f"core/ns/{namespace_id}/"


def parse_namespace_path(text: str) -> str:
    """The path as it is stored ("team-a/payments/") from however it was written with slashes; "" for the root.

    Raises InvalidRequestError for what cannot be one.
    """
    segments = text.strip("/").split("/") if text.strip("/") else []
    if segments == [ROOT_NAMESPACE]:
        return ""
    if len(segments) > MAX_DEPTH:
        raise InvalidRequestError(f"namespaces can be nested {MAX_DEPTH} deep")
    for segment in segments:
        if not _SEGMENT.fullmatch(segment) or segment in _RESERVED or set(segment) == {"."}:
            raise InvalidRequestError(
                "a namespace is named by 1 to 128 letters, digits or characters of - _ . ~ @, and not by "
                + ", ".join(sorted(_RESERVED - {"."}))
            )
    return "".join(f"{segment}/" for segment in segments)
