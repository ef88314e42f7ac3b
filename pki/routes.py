"""pki as an engine: all routes of one mount."""

from collections.abc import Sequence

from core.engine import Engine, EngineContext, Lease, Measure, Route
from core.requests import LeaseGrant
from pki.config_routes import ConfigRoutes
from pki.crl_config_routes import CrlConfigRoutes
from pki.crl_routes import CrlRoutes
from pki.fetch_routes import FetchRoutes
from pki.import_routes import ImportRoutes
from pki.intermediate_routes import IntermediateRoutes
from pki.inventory_routes import InventoryRoutes
from pki.issue_routes import IssueRoutes
from pki.issuer_routes import IssuerRoutes
from pki.key_routes import KeyRoutes
from pki.ocsp_routes import OcspRoutes
from pki.parts import Parts, assemble
from pki.revoke_routes import RevokeRoutes
from pki.role_routes import RoleRoutes
from pki.root_routes import RootRoutes
from pki.sign_ca_routes import SignCaRoutes
from pki.tidy_routes import TidyRoutes
from pki.warning_routes import WarningRoutes


def create(context: EngineContext) -> Engine:
    """The entry point `pki`."""
    return PkiRoutes(assemble(context))


class PkiRoutes:
    """Everything below one mount."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.routes: Sequence[Route] = [
            *ConfigRoutes(parts).routes(),
            *CrlConfigRoutes(parts).routes(),
            *CrlRoutes(parts).routes(),
            *FetchRoutes(parts).routes(),
            *ImportRoutes(parts).routes(),
            *IntermediateRoutes(parts).routes(),
            *InventoryRoutes(parts).routes(),
            *IssueRoutes(parts).routes(),
            *IssuerRoutes(parts).routes(),
            *KeyRoutes(parts).routes(),
            *OcspRoutes(parts).routes(),
            *RevokeRoutes(parts).routes(),
            *RoleRoutes(parts).routes(),
            *RootRoutes(parts).routes(),
            *SignCaRoutes(parts).routes(),
            *TidyRoutes(parts).routes(),
            *WarningRoutes(parts).routes(),
        ]

    async def measures(self) -> Sequence[Measure]:
        """Certificates and issuers, for the metrics."""
        return await self.parts.measuring.measures()

    async def housekeep(self) -> None:
        """What is to be done without being asked, about once a minute."""
        try:
            await self.parts.crl_work.run()
        finally:
            await self._look_after_the_rest()
        await self.parts.tidy.work(until=self.parts.crl_work.is_due)

    async def _look_after_the_rest(self) -> None:
        try:
            await self.parts.ocsp_delegates.run()
        finally:
            await self.parts.intents.reconcile()
            await self.parts.watch.log()

    def is_due(self) -> bool:
        """Whether a CRL is to be signed now, a responder is to be made, or tidying waits."""
        parts = self.parts
        return parts.crl_work.is_due() or parts.ocsp_delegates.is_due() or parts.tidy.is_due()

    async def renew_lease(self, lease: Lease, *, increment: int) -> LeaseGrant:
        """Refused: a certificate cannot be made longer."""
        del increment
        return self.parts.leases.renew(lease)

    async def revoke_lease(self, lease: Lease) -> None:
        """Revoke the certificate that was leased."""
        await self.parts.leases.revoke(lease)

    async def close(self) -> None:
        """Wait for the rows that are being written."""
        await self.parts.issuing.close()
