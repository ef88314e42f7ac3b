"""What the token endpoints say of a token: its properties, and Vault's `auth` block."""

from collections.abc import Awaitable, Callable
from typing import Any

from appliance.access.subject import ROOT_NAMESPACE, EntityView
from appliance.access.token_entry import TokenEntry
from core.clock import Clock, rfc3339
from core.durations import format_duration
from core.requests import AuthGrant, Response

NamespacePath = Callable[[str], str | None]  # id to path ("team-a/", "" for the root); None: there is none; no I/O
EntityOf = Callable[[str], Awaitable[EntityView | None]]


def root_only(namespace_id: str) -> str | None:
    """A NamespacePath that knows the root namespace alone."""
    return "" if namespace_id == ROOT_NAMESPACE else None


async def no_entities(_entity_id: str) -> EntityView | None:
    """An EntityOf that knows nobody."""
    return None


class TokenAnswers:
    """Entries to answers. A token's parent is in none: that would be a way up."""

    def __init__(self, clock: Clock, namespace_path: NamespacePath, entity_of: EntityOf) -> None:
        self._clock = clock
        self._namespace_path = namespace_path
        self._entity_of = entity_of

    async def described(self, entry: TokenEntry, *, token: str) -> Response:
        """The answer of a look-up."""
        expires_at = entry.expires_at
        data: dict[str, Any] = {
            "id": token,
            "accessor": entry.accessor,
            "policies": list(entry.policies),
            "path": entry.path,
            "meta": entry.metadata,
            "display_name": entry.display_name,
            "num_uses": entry.num_uses,
            "orphan": entry.orphan,
            "creation_time": entry.issue_time,
            "creation_ttl": entry.ttl,
            "ttl": self._ttl_left(entry),
            "explicit_max_ttl": entry.explicit_max_ttl,
            "expire_time": None if expires_at is None else rfc3339(expires_at),
            "issue_time": rfc3339(entry.issue_time),
            "renewable": entry.renewable,
            "entity_id": entry.entity_id,
            "type": entry.type,
        }
        optional = {"role": entry.role, "period": entry.period, "bound_cidrs": list(entry.bound_cidrs)}
        optional["namespace_path"] = self._namespace_path(entry.namespace) or ""
        data |= {name: value for name, value in optional.items() if value}
        if entry.last_renewal:
            data |= {"last_renewal": rfc3339(entry.last_renewal), "last_renewal_time": entry.last_renewal}
        if entry.entity_id:
            data |= await self._identity(entry)
        return Response(data=data)

    async def granted(self, token: str, entry: TokenEntry, *, wanted: int, warnings: list[str]) -> Response:
        """The answer of a creation or renewal; a life shorter than `wanted` gets a warning."""
        ttl = self._ttl_left(entry)
        if wanted > ttl:
            warnings.append(
                f"TTL of {format_duration(wanted)} was more than is left to this token; it has {format_duration(ttl)}"
            )
        inherited = await self._identity_policies(entry)
        grant = AuthGrant(
            client_token=token,
            accessor=entry.accessor,
            policies=sorted({*entry.policies, *inherited}),
            token_policies=list(entry.policies),
            identity_policies=inherited,
            metadata=entry.metadata,
            lease_duration=ttl,
            renewable=entry.renewable,
            entity_id=entry.entity_id,
            token_type=entry.type,
            orphan=entry.orphan,
            num_uses=entry.num_uses,
        )
        return Response(auth=grant, warnings=warnings or None)

    async def _identity_policies(self, entry: TokenEntry) -> list[str]:
        """The entity's, of the token's own namespace."""
        view = await self._entity_of(entry.entity_id) if entry.entity_id else None
        return list(view.policies) if view is not None and view.namespace == entry.namespace else []

    async def _identity(self, entry: TokenEntry) -> dict[str, Any]:
        view = await self._entity_of(entry.entity_id)
        if view is None or not view.policies:
            return {}
        if view.namespace == entry.namespace:
            return {"identity_policies": list(view.policies), "external_namespace_policies": {}}
        path = self._namespace_path(view.namespace)
        return {"external_namespace_policies": {path: list(view.policies)}} if path is not None else {}

    def _ttl_left(self, entry: TokenEntry) -> int:
        """Never below 0, and never more than was granted, whatever the clock does."""
        if entry.expires_at is None:
            return 0
        granted = entry.expires_at - (entry.last_renewal or entry.issue_time)
        return max(0, min(granted, entry.expires_at - int(self._clock.now())))
