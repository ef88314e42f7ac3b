"""From a token to its access list."""

from typing import Protocol

from appliance.access.acl import Acl
from appliance.access.policies import PolicyStore
from appliance.access.subject import EntityView, Subject
from appliance.access.tokens import TokenEntry
from core.errors import PermissionDeniedError


class Entities(Protocol):
    """Where entities are found."""

    async def view(self, entity_id: str) -> EntityView | None:
        """The entity as it is now."""
        ...


class Subjects:
    """Asks identity and policies about tokens that are not the caller's own."""

    def __init__(self, entities: Entities, policies: PolicyStore) -> None:
        self._entities = entities
        self._policies = policies

    async def of(self, entry: TokenEntry) -> Subject:
        """Whom the token stands for. Raises PermissionDeniedError when its entity is gone or disabled."""
        entity = None
        if entry.entity_id:
            entity = await self._entities.view(entry.entity_id)
            if entity is None or entity.disabled:
                raise PermissionDeniedError("permission denied")
        return Subject(namespace=entry.namespace, policies=entry.policies, entity=entity)

    async def acl(self, entry: TokenEntry) -> Acl:
        """The access list of the token."""
        return await self._policies.acl(await self.of(entry))
