"""What can be asked about leases by id or by prefix: of leases proper, and of the tokens that stand below auth/."""

import msgspec

from appliance.access.tokens import TokenEntry
from appliance.leases.entries import LeaseEntry, record_path
from appliance.leases.jobs import TOKENS, JobKind, LeaseJob
from appliance.leases.store import LeaseStore, is_of_tokens
from appliance.leases.worker import LeasedTokens
from appliance.namespaces import Namespace
from core.errors import InvalidRequestError
from core.protocols import CoreStorage, Record
from core.requests import LeaseGrant


class LeaseOperations:
    """Each takes the namespace that the request was made in; what is outside of it does not exist."""

    def __init__(self, storage: CoreStorage, leases: LeaseStore, tokens: LeasedTokens) -> None:
        self._storage = storage
        self._leases = leases
        self._tokens = tokens

    async def lookup(self, lease_id: str, *, within: Namespace) -> LeaseEntry | TokenEntry | None:
        """A live lease or token."""
        if not is_of_tokens(lease_id):
            return await self._leases.lookup(lease_id, within=within)
        record = await self._token_record(lease_id, within)
        if record is None:
            return None
        return await self._tokens.find_accessor(msgspec.json.decode(record.body, type=TokenEntry).accessor)

    async def names(self, prefix: str, *, within: Namespace) -> list[str]:
        """Names right below the prefix."""
        return await self._leases.names(prefix, within=within)

    async def renew(self, lease_id: str, *, within: Namespace, increment: int) -> tuple[LeaseGrant, tuple[str, ...]]:
        """The lease as renewed, and warnings."""
        if is_of_tokens(lease_id):
            known = await self._token_record(lease_id, within) is not None
            raise InvalidRequestError("tokens cannot be renewed through this endpoint" if known else "lease not found")
        return await self._leases.renew(lease_id, within=within, increment=increment)

    async def revoke(self, lease_id: str, *, within: Namespace, wait: bool) -> None:
        """Revoke a lease or a token; that there is none is as good."""
        if not is_of_tokens(lease_id):
            await self._leases.revoke(lease_id, within=within, wait=wait)
            return
        record = await self._token_record(lease_id, within)
        if record is not None:
            await self._tokens.revoke(record.record_id)

    async def revoke_below(
        self, prefix: str, *, within: Namespace, by: str, wait: bool = True, force: bool = False
    ) -> LeaseJob | None:
        """Revoke everything below a prefix; the job that does it, None when `prefix` is the id of one lease.

        Refused from now on, whenever the engines are asked. With `wait` they have been; raises InvalidRequestError
        when some failed, whose leases the housekeeper tries again.
        """
        kind = JobKind.LEASES
        if is_of_tokens(f"{prefix}/"):
            kind = JobKind.TOKENS
            if await self._token_record(prefix, within) is not None:
                await self.revoke(prefix, within=within, wait=wait)
                return None
        elif prefix and await self._leases.revoke(prefix, within=within, wait=wait, force=force):
            return None
        folder = f"{prefix.strip('/')}/" if prefix else ""
        table = self._leases.jobs
        job = await table.start(kind, namespace=within.id, prefix=folder, by=by, force=force, claimed=wait)
        return await self._finished(job) if wait else job

    async def revoke_selected(
        self, *, within: Namespace, by: str, mount: str = "", entity: str = "", target: str = "", wait: bool = True
    ) -> LeaseJob | None:
        """As `revoke_below`, of leases that an entity's tokens asked for, or that open one target of a mount."""
        folder = f"{mount.strip('/')}/" if mount else ""
        job = await self._leases.jobs.start(
            JobKind.LEASES,
            namespace=within.id,
            prefix=folder,
            by=by,
            claimed=wait,
            entity=entity,
            target=target,
        )
        return await self._finished(job) if wait else job

    async def _finished(self, job: LeaseJob) -> LeaseJob | None:
        done = await self._leases.worker.finish(job.job_id)
        if done is not None and done.failed and not job.force:
            raise InvalidRequestError(
                f"failed to revoke {done.failed} of {done.done + done.failed} leases; all of them are refused from now "
                "on, and what failed is tried again"
            )
        return done

    async def tidy(self, *, within: Namespace, by: str) -> LeaseJob:
        """Look for leases whose token is gone; refused while one of these is under way."""
        running = [job for job in await self.jobs(within=within) if job.kind is JobKind.TIDY and not job.finished]
        if any(job.namespace == within.id for job in running):
            raise InvalidRequestError("tidy operation on leases is already in progress")
        return await self._leases.jobs.start(JobKind.TIDY, namespace=within.id, prefix="", by=by)

    async def jobs(self, *, within: Namespace) -> list[LeaseJob]:
        """Those of the namespace and of all below it."""
        return [job for job in await self._leases.jobs.all() if self._leases.is_within(job.namespace, within)]

    async def _token_record(self, lease_id: str, within: Namespace) -> Record | None:
        """The record of the token that stands at exactly this place of the namespace."""
        record_id = lease_id.rpartition("/")[2]
        record = await self._storage.get_record(TOKENS, record_id) if record_id else None
        if record is None or record.path != record_path(within.id, lease_id):
            return None
        return record
