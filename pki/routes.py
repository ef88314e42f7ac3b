"""pki as an engine: all routes of one mount."""

from collections.abc import Sequence

from core.engine import Engine, EngineContext, Measure, Route
from pki.crl_config_routes import CrlConfigRoutes
from pki.crl_routes import CrlRoutes
from pki.inventory_routes import InventoryRoutes
from pki.measuring import measures
from pki.parts import Parts, assemble
from pki.revoke_routes import RevokeRoutes
from pki.role_routes import RoleRoutes
from pki.tidy_routes import TidyRoutes


def create(context: EngineContext) -> Engine:
    """The entry point `pki`."""
    return PkiRoutes(assemble(context))


class PkiRoutes:
    """Everything below one mount."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.routes: Sequence[Route] = [
            *CrlConfigRoutes(parts).routes(),
            *CrlRoutes(parts).routes(),
            *InventoryRoutes(parts).routes(),
            *RevokeRoutes(parts).routes(),
            *RoleRoutes(parts).routes(),
            *TidyRoutes(parts).routes(),
        ]

    async def measures(self) -> Sequence[Measure]:
        """Certificates and issuers, for the metrics."""
        return await measures(self.parts.store, self.parts.clock)

    async def housekeep(self) -> None:
        """What is to be done without being asked, about once a minute."""
        try:
            await self.parts.crl_work.run()
        finally:
            await self.parts.intents.reconcile()
        await self.parts.tidy.work(until=self.parts.crl_work.is_due)

    def is_due(self) -> bool:
        """Whether a CRL is to be signed now, or tidying waits."""
        return self.parts.crl_work.is_due() or self.parts.tidy.is_due()

    async def close(self) -> None:
        """Nothing is held back."""
