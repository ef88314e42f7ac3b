"""Certificates as leases: as long as the certificate, never renewed, and revoked with it."""

import pytest

from core.engine import Lease
from core.errors import InvalidRequestError
from core.requests import LeaseGrant
from pki.certificates import State
from pki.issuing import Issued
from pki.plan import Origin
from tests.unit.pki.pki_mount import Mount
from tests.unit.pki.test_pki_issuing import leaf_plan


class Leased:
    """A certificate of an hour in a mount, and what keeps its lease."""

    def __init__(self, mount: Mount, issued: Issued) -> None:
        self.mount = mount
        self.issued = issued
        self.leases = mount.parts.leases

    async def state(self) -> State | None:
        known = await self.mount.parts.store.certificate(self.issued.serial)
        return None if known is None else known.state

    def lease(self, grant: LeaseGrant) -> Lease:
        return Lease(
            lease_id="pki/issue/web/x",
            path="issue/web",
            internal=grant.internal,
            issued_at=int(self.mount.clock.now()),
            ttl=grant.ttl,
            max_ttl=grant.max_ttl,
        )


async def leased(*, no_store: bool = False) -> Leased:
    mount = Mount()
    await mount.seed_root()
    authority = await mount.parts.store.authority()
    plan, origin = await leaf_plan(mount), Origin(way="issue", no_store=no_store)
    return Leased(mount, await mount.parts.issuing.issue(plan, authority.issuer("default"), authority, origin))


async def test_a_lease_is_as_long_as_its_certificate_and_not_renewable() -> None:
    made = await leased()
    grant = made.leases.grant(made.issued)
    assert (grant.ttl, grant.max_ttl, grant.renewable) == (3600, 3600, False)
    with pytest.raises(InvalidRequestError, match="issue another"):
        made.leases.renew(made.lease(grant))


async def test_a_revoked_lease_revokes_its_certificate() -> None:
    made = await leased()
    await made.leases.revoke(made.lease(made.leases.grant(made.issued)))
    assert await made.state() is State.REVOKED


async def test_a_lease_that_ends_with_its_certificate_revokes_nothing() -> None:
    made = await leased()
    grant = made.leases.grant(made.issued)
    made.mount.clock.advance(3600)
    await made.leases.revoke(made.lease(grant))
    assert await made.state() is State.ISSUED


async def test_what_was_not_stored_cannot_be_revoked_and_its_lease_is_given_up_all_the_same() -> None:
    made = await leased(no_store=True)
    await made.leases.revoke(made.lease(made.leases.grant(made.issued)))
    assert await made.state() is None
