"""Certificates as leases, for roles with `generate_lease`: a lease that is revoked takes its certificate with it."""

from core.clock import Clock
from core.engine import Lease
from core.errors import InvalidRequestError
from core.requests import LeaseGrant
from pki.certificates import State
from pki.issuing import Issued
from pki.revoking import Revoking
from pki.store import PkiStore

_SERIAL = "serial_number"


class Leases:
    """Those of one mount."""

    def __init__(self, store: PkiStore, clock: Clock, revoking: Revoking) -> None:
        self._store = store
        self._clock = clock
        self._revoking = revoking

    def grant(self, issued: Issued) -> LeaseGrant:
        """The lease of a certificate: as long as it is valid, if the mount allows leases so long."""
        ttl = max(1, issued.not_after - int(self._clock.now()))
        return LeaseGrant(ttl=ttl, max_ttl=ttl, internal={_SERIAL: issued.serial})

    def renew(self, lease: Lease) -> LeaseGrant:
        """A certificate cannot be made longer; a new one has to be asked for."""
        raise InvalidRequestError(
            f"the lease {lease.lease_id} is of a certificate, which is not renewed: issue another"
        )

    async def revoke(self, lease: Lease) -> None:
        """Revoke the certificate. One that is over needs it no more, and one that was not stored cannot be revoked."""
        known = await self._store.certificate(str(lease.internal.get(_SERIAL, "")))
        if known is not None and known.state is State.ISSUED and known.not_after > self._clock.now():
            await self._revoking.revoke(known.serial)
