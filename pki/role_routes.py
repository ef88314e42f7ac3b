"""roles: make, change, read, list, delete."""

import re
from typing import Any

import msgspec

from core.engine import Method, NoBody, Route
from core.errors import InvalidRequestError, NotFoundError
from core.requests import NO_CONTENT, Operation, Request, Response
from pki.parts import Parts
from pki.role import Role
from pki.role_body import RoleBody, patched_role, role_of
from pki.store import RoleChange

_NAME = re.compile(r"\w(?:[\w.-]{0,253}\w)?", re.ASCII)


class ListBody(msgspec.Struct):
    """A page of names."""

    after: str = ""
    limit: int = 0


class RoleRoutes:
    """What a role allows is checked when it is written, so that requests do not fail for it."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store

    def routes(self) -> list[Route]:
        """Below the mount."""
        return [
            Route(
                pattern="roles",
                methods={
                    Operation.LIST: Method(handler=self._list, body=ListBody, mutates=False, summary="Names of roles")
                },
            ),
            Route(
                pattern="roles/{name}",
                methods={
                    Operation.READ: Method(handler=self._read, mutates=False, summary="A role"),
                    Operation.UPDATE: Method(handler=self._write, body=RoleBody, summary="Make a role"),
                    Operation.PATCH: Method(handler=self._patch, body=RoleBody, summary="Change members of a role"),
                    Operation.DELETE: Method(handler=self._delete, summary="Delete a role"),
                },
                exists=self._exists,
                help="What certificates of a role may say, and for how long they are valid.",
            ),
        ]

    async def _list(self, _request: Request, body: ListBody) -> Response:
        names = await self._store.role_names(after=body.after, limit=max(body.limit, 0))
        if not names:
            raise NotFoundError("")
        return Response(data={"keys": names})

    async def _exists(self, request: Request) -> bool:
        return await self._store.role(request.params["name"]) is not None

    async def _read(self, request: Request, _body: NoBody) -> Response:
        opened = await self._store.role(request.params["name"])
        if opened is None:
            raise NotFoundError("")
        return Response(data=role_data(opened.role))

    async def _write(self, request: Request, body: RoleBody) -> Response:
        name = request.params["name"]
        if not _NAME.fullmatch(name):
            raise InvalidRequestError("a role's name has letters, digits, underscores, and hyphens and dots inside")
        role, warnings = role_of(name, body, Role())

        async def write(change: RoleChange) -> None:
            await change.put(name, role)

        await self._store.change_role(write)
        return Response(data=role_data(role), warnings=[*await self._about_issuer(role), *warnings] or None)

    async def _patch(self, request: Request, body: RoleBody) -> Response:
        name = request.params["name"]

        async def write(change: RoleChange) -> tuple[Role, list[str]]:
            before = await change.get(name)
            if before is None:
                raise InvalidRequestError("Unable to fetch role entry to patch")
            role, warnings = patched_role(name, body, before, request.data)
            await change.put(name, role)
            return role, warnings

        role, warnings = await self._store.change_role(write)
        return Response(data=role_data(role), warnings=[*await self._about_issuer(role), *warnings] or None)

    async def _delete(self, request: Request, _body: NoBody) -> Response:
        await self._store.delete_role(request.params["name"])
        return NO_CONTENT

    async def _about_issuer(self, role: Role) -> list[str]:
        """The reference is resolved at use, so one that names nothing yet is no mistake."""
        try:
            (await self._store.authority()).issuer(role.issuer_ref)
        except InvalidRequestError:
            return ["the role's issuer is the default one, and there is none yet (config/issuers)"]
        except NotFoundError:
            return [f"the role's issuer is {role.issuer_ref[:64]!r}, and there is none of that name yet"]
        return []


def role_data(role: Role) -> dict[str, Any]:
    """As Vault answers it."""
    data: dict[str, Any] = msgspec.to_builtins(role)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in data.items()}
