"""`sys/leases` and its older forms: looking leases up, renewing and revoking them; and the jobs that revoke many.

The ids of tokens that login methods made begin with auth/. They are the token store's.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from appliance.access.request import AccessRequest, as_access_request
from appliance.access.tokens import TokenEntry
from appliance.leases.counts import LeaseCounts
from appliance.leases.entries import LeaseEntry
from appliance.leases.jobs import JobKind, LeaseJob
from appliance.leases.operations import LeaseOperations
from core.bodies import Duration
from core.clock import Clock, rfc3339
from core.engine import Handler, Method, NoBody, Route
from core.errors import InvalidRequestError, NotFoundError, PermissionDeniedError
from core.requests import NO_CONTENT, Operation, Request, Response

_DEFAULT_LIMIT = 10_000  # irrevocable leases of one answer; Vault's number
_LIMIT_DIGITS = 10


class LeaseBody(msgspec.Struct):
    """Names a lease; in the path or here."""

    lease_id: str = ""


class RenewLeaseBody(LeaseBody):
    """`increment`: seconds wanted from now on; 0 for what it was granted with."""

    increment: Duration = Duration()


class RevokeLeaseBody(LeaseBody):
    """`sync`: answer when the engine has taken back what it granted."""

    sync: bool = True


class RevokePrefixBody(msgspec.Struct):
    """`sync`: answer when all leases are revoked."""

    sync: bool = True


class RevokeByBody(msgspec.Struct):
    """Whose leases: those that an entity's tokens asked for, or those of one target ("orders-db") of a mount."""

    entity_id: str = ""
    target: str = ""
    mount: str = ""
    sync: bool = True


class CountBody(msgspec.Struct):
    """`type`: irrevocable, or all."""

    type: str = ""
    include_child_namespaces: bool = False


class ListBody(CountBody):
    """`limit`: how many at most; "none" for all."""

    limit: str | int = ""


class LeaseRoutes:
    """What clients and operators do with leases."""

    def __init__(
        self,
        operations: LeaseOperations,
        counts: LeaseCounts,
        clock: Clock,
        *,
        mount_paths: Callable[[str], list[str]],
    ) -> None:
        self._mount_paths = mount_paths  # by the path of a namespace
        self._operations = operations
        self._counts = counts
        self._clock = clock

    def routes(self) -> list[Route]:
        """Below sys/."""
        return [
            self._lookup_route(),
            Route(
                pattern="leases/lookup/{prefix...}",
                methods={Operation.LIST: Method(handler=self.list_below, mutates=False, summary="Leases below it.")},
                help="The leases below a prefix.",
                sudo=True,
            ),
            *self._both("renew", self.renew, RenewLeaseBody, "Renew a lease.", rest="lease_id"),
            *self._both("revoke", self.revoke, RevokeLeaseBody, "Revoke a lease.", rest="lease_id"),
            *self._prefix("revoke-prefix", self.revoke_prefix, RevokePrefixBody, "Revoke all leases below a prefix."),
            *self._prefix(
                "revoke-force", self.revoke_force, RevokePrefixBody, "Forget all leases below a prefix, revoked or not."
            ),
            _update(
                "leases/revoke-by",
                self.revoke_by,
                RevokeByBody,
                "Revoke the leases of an entity, or of a target.",
                sudo=True,
            ),
            _update("leases/tidy", self.tidy, NoBody, "Revoke leases whose token is gone."),
            _read("leases/count", self.count, CountBody, "How many leases there are."),
            _read("leases", self.list_irrevocable, ListBody, "The leases that could not be revoked.", sudo=True),
            Route(
                pattern="leases/jobs",
                methods={Operation.LIST: Method(handler=self.list_jobs, mutates=False, summary="Recent jobs.")},
                help="Revocations of many leases; Mimir's own.",
            ),
            _read("leases/jobs/{job_id}", self.read_job, NoBody, "How far one revocation of many leases is."),
        ]

    def _lookup_route(self) -> Route:
        look = Method(handler=self.lookup, body=LeaseBody, mutates=False, summary="What is known of a lease.")
        top = Method(handler=self.list_top, mutates=False, summary="The folders of leases; needs sudo.")
        return Route(
            pattern="leases/lookup",
            methods={Operation.UPDATE: look, Operation.LIST: top},
            help="A lease, named in the body.",
        )

    @staticmethod
    def _both(verb: str, handler: Handler, body: type[msgspec.Struct], text: str, *, rest: str) -> list[Route]:
        """The newer and the older path, each with the id in the body and in the path."""
        patterns = [f"{top}{verb}{tail}" for top in ("leases/", "") for tail in ("", f"/{{{rest}...}}")]
        return [_update(pattern, handler, body, text) for pattern in patterns]

    @staticmethod
    def _prefix(verb: str, handler: Handler, body: type[msgspec.Struct], text: str) -> list[Route]:
        return [_update(f"{top}{verb}/{{prefix...}}", handler, body, text, sudo=True) for top in ("leases/", "")]

    # --- looking --------------------------------------------------------------------------------------------------

    async def lookup(self, request: Request, body: LeaseBody) -> Response:
        """Times and renewability."""
        if not body.lease_id:
            raise InvalidRequestError("lease_id must be specified")
        found = await self._operations.lookup(body.lease_id, within=as_access_request(request).within)
        if found is None:
            raise InvalidRequestError("invalid lease")
        now = int(self._clock.now())
        view = _token_view(found, now) if isinstance(found, TokenEntry) else _lease_view(found, now)
        return Response(data={"id": body.lease_id} | view)

    async def list_top(self, request: Request, _body: object) -> Response:
        """The folders of the namespace; as below, with sudo."""
        asked = as_access_request(request)
        if not asked.acl.allows(f"{asked.within.path}sys/leases/lookup/", "list", sudo=True):
            raise PermissionDeniedError("permission denied")
        return await self._names("", asked)

    async def list_below(self, request: Request, _body: object) -> Response:
        """Names right below the prefix; a folder ends in "/"."""
        return await self._names(request.params["prefix"], as_access_request(request))

    async def _names(self, prefix: str, request: AccessRequest) -> Response:
        names = await self._operations.names(prefix, within=request.within)
        if not names:
            raise NotFoundError("")
        return Response(data={"keys": names})

    async def count(self, request: Request, body: CountBody) -> Response:
        """By mount."""
        within = as_access_request(request).within
        if body.type == "all":
            counts = await self._counts.by_mount(within, children=body.include_child_namespaces)
        elif body.type == "irrevocable":
            counts = {}
            for accessor, _ in await self._counts.irrevocable(within, children=body.include_child_namespaces):
                counts[accessor] = counts.get(accessor, 0) + 1
        else:
            raise InvalidRequestError("type must be irrevocable or all")
        return Response(data={"lease_count": sum(counts.values()), "counts": counts})

    async def list_irrevocable(self, request: Request, body: ListBody) -> Response:
        """Each with its mount's accessor and the reason."""
        if body.type != "irrevocable":
            raise InvalidRequestError("type must be irrevocable")
        limit = _limit(body.limit)
        within = as_access_request(request).within
        found = await self._counts.irrevocable(within, children=body.include_child_namespaces)
        shown = found if limit is None else found[:limit]
        leases = [{"lease_id": lease.lease_id, "mount_id": accessor, "error": lease.error} for accessor, lease in shown]
        warnings = None
        if len(shown) < len(found):
            warnings = ["Command halted because many irrevocable leases were found; set limit=none to see all of them."]
        return Response(data={"lease_count": len(shown), "leases": leases}, warnings=warnings)

    # --- changing -------------------------------------------------------------------------------------------------

    async def renew(self, request: Request, body: RenewLeaseBody) -> Response:
        """The lease with its new duration."""
        lease_id = _lease_id(request, body)
        within = as_access_request(request).within
        grant, warnings = await self._operations.renew(lease_id, within=within, increment=body.increment)
        return Response(lease=grant, warnings=list(warnings))

    async def revoke(self, request: Request, body: RevokeLeaseBody) -> Response:
        """Absent is as good."""
        within = as_access_request(request).within
        await self._operations.revoke(_lease_id(request, body), within=within, wait=body.sync)
        return NO_CONTENT if body.sync else Response(status=202)

    async def revoke_prefix(self, request: Request, body: RevokePrefixBody) -> Response:
        """Refused at once; the answer waits for the engines only with sync."""
        return await self._revoke_below(as_access_request(request), wait=body.sync, force=False)

    async def revoke_force(self, request: Request, body: RevokePrefixBody) -> Response:
        """What the engines could not take back is forgotten. That it need not wait is Mimir's own."""
        return await self._revoke_below(as_access_request(request), wait=body.sync, force=True)

    async def _revoke_below(self, request: AccessRequest, *, wait: bool, force: bool) -> Response:
        prefix = request.params["prefix"].strip("/")
        if not prefix:
            raise InvalidRequestError("a prefix of lease ids must be given in the path")
        job = await self._operations.revoke_below(
            prefix, within=request.within, by=request.entry.display_name, wait=wait, force=force
        )
        if wait:
            return NO_CONTENT
        return Response(status=202, data={"job_id": job.job_id} if job else None)

    async def revoke_by(self, request: Request, body: RevokeByBody) -> Response:
        """As for a prefix; Mimir's own."""
        asked = as_access_request(request)
        if bool(body.entity_id) == bool(body.target):
            raise InvalidRequestError("name either entity_id, or target and mount")
        if bool(body.mount.strip("/")) != bool(body.target):
            raise InvalidRequestError(
                'target goes with the mount it is of: {"target": "orders-db", "mount": "database/"}'
            )
        if body.mount and body.mount.strip("/") + "/" not in self._mount_paths(asked.within.path):
            raise InvalidRequestError("there is no mount at that path in this namespace")
        job = await self._operations.revoke_selected(
            within=asked.within,
            by=asked.entry.display_name,
            mount=body.mount,
            entity=body.entity_id,
            target=body.target,
            wait=body.sync,
        )
        if body.sync:
            return NO_CONTENT
        return Response(status=202, data={"job_id": job.job_id} if job else None)

    async def tidy(self, request: Request, _body: object) -> Response:
        """Started here, done by the housekeeper."""
        asked = as_access_request(request)
        job = await self._operations.tidy(within=asked.within, by=asked.entry.display_name)
        told = "Tidy operation successfully started; sys/leases/jobs/ shows how far it is."
        return Response(status=202, data={"job_id": job.job_id}, warnings=[told])

    # --- jobs -----------------------------------------------------------------------------------------------------

    async def list_jobs(self, request: Request, _body: object) -> Response:
        """Those under way and those of the last day."""
        jobs = await self._operations.jobs(within=as_access_request(request).within)
        if not jobs:
            raise NotFoundError("")
        keys = [job.job_id for job in jobs]
        return Response(data={"keys": keys, "key_info": {job.job_id: _job_view(job) for job in jobs}})

    async def read_job(self, request: Request, _body: object) -> Response:
        """One of them."""
        jobs = await self._operations.jobs(within=as_access_request(request).within)
        job = next((job for job in jobs if job.job_id == request.params["job_id"]), None)
        if job is None:
            raise NotFoundError("")
        return Response(data=_job_view(job))


def _lease_id(request: Request, body: LeaseBody) -> str:
    """Policies speak of the path: a body that names another lease would get around them."""
    named = request.params.get("lease_id", "")
    if named and body.lease_id not in {"", named}:
        raise InvalidRequestError("the path and lease_id name different leases; send one of them")
    if not named and not body.lease_id:
        raise InvalidRequestError("lease_id must be specified")
    return named or body.lease_id


def _limit(text: str | int) -> int | None:
    if text == "none":
        return None
    if text == "":
        return _DEFAULT_LIMIT
    if isinstance(text, str) and not (text.isdecimal() and len(text) <= _LIMIT_DIGITS):
        raise InvalidRequestError('limit must be a whole number or "none"')
    limit = int(text)
    if not 1 <= limit <= 2**31:
        raise InvalidRequestError("limit must be at least 1")
    return limit


def _lease_view(entry: LeaseEntry, now: int) -> dict[str, Any]:
    return {
        "issue_time": rfc3339(entry.issue_time),
        "expire_time": rfc3339(entry.expires_at),
        "last_renewal": rfc3339(entry.last_renewal) if entry.last_renewal else None,
        "renewable": entry.renewable and entry.is_live(now),
        "ttl": max(entry.expires_at - now, 0),
        "path": entry.request_path,
    }


def _token_view(entry: TokenEntry, now: int) -> dict[str, Any]:
    return {
        "issue_time": rfc3339(entry.issue_time),
        "expire_time": rfc3339(entry.expires_at) if entry.expires_at else None,
        "last_renewal": rfc3339(entry.last_renewal) if entry.last_renewal else None,
        "renewable": entry.renewable,
        "ttl": max(entry.expires_at - now, 0) if entry.expires_at else 0,
        "path": entry.path,
    }


def _job_view(job: LeaseJob) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "kind": _kind(job),
        "prefix": job.prefix,
        **({"entity_id": job.entity} if job.entity else {}),
        **({"target": job.target} if job.target else {}),
        **({"scanned": job.scanned} if job.is_selective else {}),
        "force": job.force,
        "state": "finished" if job.finished else "running",
        "total": job.total,
        "done": job.done,
        "failed": job.failed,
        "started": rfc3339(job.started),
        "finished": rfc3339(job.finished) if job.finished else None,
        "started_by": job.by,
    }


def _kind(job: LeaseJob) -> str:
    if job.kind is JobKind.TIDY:
        return "tidy"
    return "revoke-by" if job.is_selective else "revoke-prefix"


def _update(pattern: str, handler: Handler, body: type[msgspec.Struct], text: str, *, sudo: bool = False) -> Route:
    method = Method(handler=handler, body=body, summary=text, statuses=(202,))  # work that goes on beside
    return Route(pattern=pattern, methods={Operation.UPDATE: method}, help=text, sudo=sudo)


def _read(pattern: str, handler: Handler, body: type[msgspec.Struct], text: str, *, sudo: bool = False) -> Route:
    method = Method(handler=handler, body=body, mutates=False, summary=text)
    return Route(pattern=pattern, methods={Operation.READ: method}, help=text, sudo=sudo)
