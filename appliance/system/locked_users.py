"""`sys/locked-users`: names that were refused after too many failed logins, and how they get in again."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from appliance.access.lockouts import Lockouts, LoginName
from appliance.access.request import as_access_request
from appliance.namespaces import Namespace
from core.engine import Method, NoBody, Route
from core.requests import NO_CONTENT, Operation, Request, Response

NamespacesBelow = Callable[[Namespace], Iterable[Namespace]]


class LockedUsersBody(msgspec.Struct):
    """What to list."""

    mount_accessor: str = ""


class LockedUserRoutes:
    """Of the namespace a request is made in and, for listing, those below it."""

    def __init__(self, lockouts: Lockouts, namespaces_below: NamespacesBelow) -> None:
        self._lockouts = lockouts
        self._namespaces_below = namespaces_below

    def routes(self) -> list[Route]:
        """Below sys/."""
        return [
            Route(
                pattern="locked-users",
                methods={
                    Operation.READ: Method(
                        handler=self._list, body=LockedUsersBody, mutates=False, summary="Names that are locked now"
                    )
                },
                help="Names that are refused for a while, after too many failed logins.",
            ),
            Route(
                pattern="locked-users/{mount_accessor}/unlock/{name...}",
                methods={Operation.UPDATE: Method(handler=self._unlock, body=NoBody, summary="Unlock a name")},
                help="Lets a locked name try again at once.",
            ),
        ]

    async def _list(self, request: Request, body: LockedUsersBody) -> Response:
        within = as_access_request(request).within
        wanted = body.mount_accessor or request.query.get("mount_accessor", "")
        found = []
        for namespace in [within] if wanted else [within, *self._namespaces_below(within)]:
            locked = await self._lockouts.locked(namespace.id)
            mounts = {mount: names for mount, names in locked.items() if wanted in {"", mount}}
            if mounts:
                found.append(_described(namespace, mounts))
        found.sort(key=lambda one: (-one["counts"], one["namespace_path"]))
        return Response(data={"by_namespace": found, "total": sum(one["counts"] for one in found)})

    async def _unlock(self, request: Request, _body: NoBody) -> Response:
        params, within = request.params, as_access_request(request).within
        who = LoginName(namespace=within.id, mount=params["mount_accessor"], name=params["name"])
        await self._lockouts.unlock(who)
        return NO_CONTENT


def _described(namespace: Namespace, mounts: dict[str, list[str]]) -> dict[str, Any]:
    """One namespace, its mounts with the most locked names first."""
    rows = [
        {"mount_accessor": mount, "counts": len(names), "alias_identifiers": names} for mount, names in mounts.items()
    ]
    rows.sort(key=lambda row: (-len(mounts[str(row["mount_accessor"])]), str(row["mount_accessor"])))
    return {
        "namespace_id": namespace.id,
        "namespace_path": namespace.path,
        "counts": sum(len(names) for names in mounts.values()),
        "mount_accessors": rows,
    }
