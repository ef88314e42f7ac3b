"""database as an engine: all routes of one mount."""

from collections.abc import Sequence

from core.engine import Engine, EngineContext, Lease, Measure, Route
from core.requests import LeaseGrant
from dynamic.check_routes import CheckRoutes
from dynamic.config_routes import ConfigRoutes
from dynamic.cred_routes import CredRoutes
from dynamic.parts import Parts, assemble
from dynamic.role_routes import RoleRoutes
from dynamic.static_routes import StaticRoutes


def create(context: EngineContext) -> Engine:
    """The entry point `database`."""
    return DatabaseRoutes(assemble(context))


class DatabaseRoutes:
    """Everything below one mount."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.routes: Sequence[Route] = [
            *CheckRoutes(parts).routes(),
            *ConfigRoutes(parts).routes(),
            *CredRoutes(parts).routes(),
            *RoleRoutes(parts).routes(),
            *StaticRoutes(parts).routes(),
        ]

    async def housekeep(self) -> None:
        """What is to be done without being asked, about once a minute."""
        try:
            await self.parts.static_keeper.housekeep()
        finally:
            await self._look_after_the_rest()

    async def _look_after_the_rest(self) -> None:
        try:
            await self.parts.intents.reconcile()
        finally:
            await self.parts.root_rotation.housekeep()
            await self.parts.reconciler.housekeep()

    def is_due(self) -> bool:
        """Whether a static role is to be rotated now."""
        return self.parts.static_keeper.is_due()

    async def measures(self) -> Sequence[Measure]:
        """What is not as it should be, for the metrics."""
        return [*await self.parts.static_keeper.measures(), *await self.parts.reconciler.measures()]

    async def renew_lease(self, lease: Lease, *, increment: int) -> LeaseGrant:
        """Let the account live longer."""
        return await self.parts.credentials.renew(lease, increment=increment)

    async def revoke_lease(self, lease: Lease) -> None:
        """Remove the account."""
        await self.parts.credentials.revoke(lease)

    async def close(self) -> None:
        """Let go of the databases."""
        await self.parts.targets.close()
