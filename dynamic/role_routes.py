"""roles/<name>: which accounts are made, and for how long."""

from typing import Any

from msgspec.structs import replace

from core.engine import Method, NoBody, Route
from core.errors import InvalidRequestError, NotFoundError
from core.protocols import Transaction
from core.requests import NO_CONTENT, Operation, Request, Response
from dynamic.bodies import ListBody, RoleBody, check_credential, statements_of
from dynamic.config_routes import NAME
from dynamic.parts import Parts
from dynamic.plugins import plugin_of
from dynamic.role import Role, decode_role, encode_role
from dynamic.store import ROLES, STATIC_ROLES
from dynamic.target import StatementKind

_KINDS = (
    StatementKind.CREATION,
    StatementKind.REVOCATION,
    StatementKind.ROLLBACK,
    StatementKind.RENEWAL,
    StatementKind.VERIFICATION,
)


class RoleRoutes:
    """Statements are checked when a role is written, so that requests do not fail for them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store = parts.store

    def routes(self) -> list[Route]:
        """Below the mount."""
        write = Method(handler=self._write, body=RoleBody, summary="Make or change a role")
        return [
            Route(
                pattern="roles",
                methods={Operation.LIST: Method(handler=self._list, body=ListBody, mutates=False, summary="Names")},
            ),
            Route(
                pattern="roles/{name}",
                methods={
                    Operation.READ: Method(handler=self._read, mutates=False, summary="A role"),
                    Operation.UPDATE: write,
                    Operation.CREATE: write,
                    Operation.DELETE: Method(handler=self._delete, summary="Delete a role; its leases live on"),
                },
                exists=self._exists,
                help="Which accounts are made on which database, and how long they live.",
            ),
        ]

    async def _list(self, _request: Request, body: ListBody) -> Response:
        names = await self._store.names(ROLES, after=body.after, limit=max(body.limit, 0))
        if not names:
            raise NotFoundError("")
        return Response(data={"keys": names})

    async def _exists(self, request: Request) -> bool:
        return await self._store.role(request.params["name"]) is not None

    async def _read(self, request: Request, _body: NoBody) -> Response:
        role = await self._store.role(request.params["name"])
        if role is None:
            raise NotFoundError("")
        return Response(data=shown(role))

    async def _write(self, request: Request, body: RoleBody) -> Response:
        name = request.params["name"]
        if not NAME.fullmatch(name):
            raise InvalidRequestError("a role's name has letters, digits, underscores, and hyphens and dots inside")
        wanted = merged(await self._store.role(name) or Role(name=name, db_name=""), body)
        warnings = await self._check(wanted)

        async def write(txn: Transaction) -> None:
            if await txn.get(STATIC_ROLES + name) is not None:
                raise InvalidRequestError("Role and Static Role names must be unique")
            entry = await txn.get(ROLES + name)
            present = decode_role(entry.value) if entry else Role(name=name, db_name="")
            await txn.put(ROLES + name, encode_role(merged(present, body)), cas=entry.revision if entry else 0)

        await self._store.transact(write)
        return Response(warnings=warnings or None)

    async def _check(self, role: Role) -> list[str]:
        if not role.db_name:
            raise InvalidRequestError("database name is required: db_name names a connection of config/")
        if role.default_ttl > role.longest:
            raise InvalidRequestError("default_ttl must not be longer than max_ttl")
        if role.password_policy:
            await self._parts.check_password_policy(role.password_policy)
        connection = await self._store.connection(role.db_name)
        if connection is None:
            return [f"there is no connection {role.db_name} yet: the statements were not checked"]
        check = plugin_of(connection.plugin_name).check_statements
        for kind in _KINDS:
            check(kind, getattr(role, kind.value))
        return []

    async def _delete(self, request: Request, _body: NoBody) -> Response:
        await self._store.storage.delete(ROLES + request.params["name"])
        return NO_CONTENT


def merged(before: Role, body: RoleBody) -> Role:
    """What was given, over what is there."""
    given: dict[str, Any] = {
        kind.value: statements_of(value, kind) for kind in _KINDS if (value := getattr(body, kind.value)) is not None
    }
    if body.db_name is not None:
        given["db_name"] = body.db_name
    for name in ("default_ttl", "max_ttl"):
        if (seconds := getattr(body, name)) is not None:
            given[name] = int(seconds)
    policy = check_credential(body.credential_type, body.credential_config)
    if policy is not None:
        given["password_policy"] = policy
    return replace(before, **given)


def shown(role: Role) -> dict[str, Any]:
    """As Vault answers it."""
    data: dict[str, Any] = {kind.value: list(getattr(role, kind.value)) for kind in _KINDS}
    data |= {
        "db_name": role.db_name,
        "default_ttl": role.default_ttl,
        "max_ttl": role.max_ttl,
        "credential_type": "password",
    }
    if role.password_policy:
        data["credential_config"] = {"password_policy": role.password_policy}
    return data
