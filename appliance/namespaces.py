"""Namespaces: each has mounts, policies, tokens and identity of its own, and nothing crosses from one to another."""

import msgspec

from appliance.access.subject import ROOT_NAMESPACE


class Namespace(msgspec.Struct, frozen=True, kw_only=True):
    """One namespace. Its id is never used again, so what a deleted one left behind belongs to nobody."""

    id: str
    path: str  # "team-a/" or "team-a/payments/"; "" for the root
    uuid: str = ""
    custom_metadata: dict[str, str] = msgspec.field(default_factory=dict)
    created_at: int = 0  # epoch seconds

    @property
    def is_root(self) -> bool:
        """Whether it is the one that always exists."""
        return not self.path


ROOT = Namespace(id=ROOT_NAMESPACE, path="")


def data_prefix(namespace_id: str) -> str:
    """Where the access data of a namespace is stored: policies, token roles, identity."""
    return "core/" if namespace_id == ROOT_NAMESPACE else f"core/ns/{namespace_id}/"
