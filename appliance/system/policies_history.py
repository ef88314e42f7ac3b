"""`sys/policies/acl/<name>/versions`, `/diff` and `/rollback`: Mimir's own paths for what a policy was before.

A rule on `sys/policies/acl/*` matches these, too. So that a `deny` on one policy cannot be walked around, whoever looks
at its history must be allowed to read the policy itself, and whoever rolls it back, to write it.
"""

from collections import Counter
from difflib import unified_diff
from typing import Any

import msgspec

from appliance.access.policies import PolicyStore
from appliance.access.policy_versions import PolicyVersion
from appliance.access.request import AccessRequest, as_access_request
from appliance.system.policies import author_of, check_allowed, stored_name
from core.clock import rfc3339
from core.engine import Method, Route
from core.errors import InvalidRequestError, NotFoundError
from core.requests import Operation, Request, Response

_MAX_COMPARISONS = 1_000_000  # a second's work; versions of 2,000 rules that differ take a tenth


class DiffBody(msgspec.Struct):
    """Two versions. Without them: the newest, and the one before `to`."""

    from_: int = msgspec.field(name="from", default=0)
    to: int = 0


class RollbackBody(msgspec.Struct):
    """The version whose text is wanted back, and maybe the one that must be in force."""

    version: int = 0
    cas: int | None = None


class PolicyHistoryRoutes:
    """Lists, shows, compares and restores versions."""

    def __init__(self, policies: PolicyStore) -> None:
        self._policies = policies

    def routes(self) -> list[Route]:
        """Below sys/."""
        base = "policies/acl/{name}"
        listing = Method(handler=self.list_versions, mutates=False, summary="The versions that are kept, newest first.")
        reading = Method(handler=self.read_version, mutates=False, summary="One version with its text.")
        diff = Method(handler=self.diff, body=DiffBody, mutates=False, summary="What changed, as a unified diff.")
        rollback = Method(handler=self.roll_back, body=RollbackBody, summary="Take the text of an old one.")
        return [
            Route(
                pattern=f"{base}/versions",
                methods={Operation.LIST: listing, Operation.READ: listing},
                help="The history of a policy.",
            ),
            Route(pattern=f"{base}/versions/{{version}}", methods={Operation.READ: reading}, help="One version."),
            Route(pattern=f"{base}/diff", methods={Operation.READ: diff}, help="Two versions beside each other."),
            Route(pattern=f"{base}/rollback", methods={Operation.UPDATE: rollback}, help="Go back to a version."),
        ]

    async def list_versions(self, request: Request, _body: object) -> Response:
        """Who wrote what when; also of a deleted policy."""
        access, name = self._reader(request)
        found = await self._policies.versions(name, namespace=access.within.id)
        if not found:
            raise NotFoundError("")
        views = [_view(version) for version in found]
        info = {str(view["version"]): view for view in views}
        return Response(data={"keys": list(info), "key_info": info, "versions": views})

    async def read_version(self, request: Request, _body: object) -> Response:
        """The text is null for a deletion."""
        access, name = self._reader(request)
        number = request.params["version"]
        if not number.isascii() or not number.isdecimal() or len(number) > 10:
            raise InvalidRequestError("a version is a number")
        found = await self._find(access, name, int(number))
        return Response(data={**_view(found), "name": name, "policy": found.text})

    async def diff(self, request: Request, body: DiffBody) -> Response:
        """Unified, with three lines of context; empty when both texts are the same."""
        access, name = self._reader(request)
        to = body.to or await self._policies.latest(name, namespace=access.within.id)
        new = await self._find(access, name, to)
        start = body.from_ or to - 1
        old = await self._find(access, name, start) if start > 0 else None
        labels = (f"{name} version {start}" if old else "/dev/null", f"{name} version {to}")
        text = await self._policies.parse(unified, (old.text if old else None) or "", new.text or "", labels)
        return Response(data={"name": name, "from": start, "to": to, "diff": text})

    async def roll_back(self, request: Request, body: RollbackBody) -> Response:
        """In force on every worker when this returns."""
        access, name = as_access_request(request), stored_name(request)
        check_allowed(access, f"sys/policies/acl/{name}", "update")
        if body.version <= 0:
            raise InvalidRequestError("say which version: it is a number from 1 on")
        policy = await self._policies.roll_back(
            name, body.version, namespace=access.within.id, author=author_of(access), cas=body.cas
        )
        return Response(data={"name": name, "version": policy.version, "restored": body.version})

    async def _find(self, access: AccessRequest, name: str, number: int) -> PolicyVersion:
        found = await self._policies.version(name, number, namespace=access.within.id)
        if found is None:
            raise NotFoundError(f"there is no version {number} of this policy, or it is no longer kept")
        return found

    @staticmethod
    def _reader(request: Request) -> tuple[AccessRequest, str]:
        access, name = as_access_request(request), stored_name(request)
        check_allowed(access, f"sys/policies/acl/{name}", "read")
        return access, name


def _view(version: PolicyVersion) -> dict[str, Any]:
    return {
        "version": version.version,
        "event": version.event,
        "restored": version.restored or None,
        "written_at": rfc3339(version.written_at) if version.written_at else None,
        "author": msgspec.structs.asdict(version.author),
        "expiration": rfc3339(version.expires_at) if version.expires_at is not None else None,
    }


def unified(old: str, new: str, labels: tuple[str, str]) -> str:
    """As `diff -u` prints it, a missing line break at the end included. Raises InvalidRequestError if it takes long."""
    before, after = _lines(old), _lines(new)
    if _comparisons(before, after) > _MAX_COMPARISONS:
        raise InvalidRequestError("these versions have too many lines in common to compare them here; read them both")
    lines = unified_diff(before, after, *labels)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _comparisons(before: list[str], after: list[str]) -> int:
    """How many pairs of equal lines the comparison has to look at, which is what it spends its time on.

    It leaves out lines that make up more than a hundredth of a long text.
    """
    old, new = Counter(before), Counter(after)
    popular = len(after) // 100 + 1 if len(after) >= 200 else len(after)
    return sum(count * old[line] for line, count in new.items() if count <= popular)


def _lines(text: str) -> list[str]:
    """Split at line feeds alone: str.splitlines knows a dozen more."""
    lines = text.split("\n")
    return [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
