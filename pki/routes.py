"""pki as an engine: all routes of one mount."""

from collections.abc import Sequence

from core.engine import Engine, EngineContext, Measure, Route
from pki.intermediate_routes import IntermediateRoutes
from pki.inventory_routes import InventoryRoutes
from pki.issue_routes import IssueRoutes
from pki.measuring import measures
from pki.parts import Parts, assemble
from pki.role_routes import RoleRoutes
from pki.root_routes import RootRoutes
from pki.sign_ca_routes import SignCaRoutes


def create(context: EngineContext) -> Engine:
    """The entry point `pki`."""
    return PkiRoutes(assemble(context))


class PkiRoutes:
    """Everything below one mount."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.routes: Sequence[Route] = [
            *IntermediateRoutes(parts).routes(),
            *InventoryRoutes(parts).routes(),
            *IssueRoutes(parts).routes(),
            *RoleRoutes(parts).routes(),
            *RootRoutes(parts).routes(),
            *SignCaRoutes(parts).routes(),
        ]

    async def measures(self) -> Sequence[Measure]:
        """Certificates and issuers, for the metrics."""
        return await measures(self.parts.store, self.parts.clock)

    async def housekeep(self) -> None:
        """What is to be done without being asked, about once a minute."""
        await self.parts.intents.reconcile()

    async def close(self) -> None:
        """Nothing is held back."""
