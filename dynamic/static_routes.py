"""static-roles/<name>, static-creds/<name>, rotate-role/<name>."""

from typing import Any

import msgspec
from msgspec.structs import replace

from core.bodies import Duration, StringMap
from core.clock import rfc3339
from core.engine import Method, NoBody, Route
from core.errors import InvalidRequestError, NotFoundError, PermissionDeniedError
from core.ids import new_uuid
from core.protocols import Transaction
from core.requests import NO_CONTENT, Access, Operation, Request, Response
from dynamic.bodies import ListBody, check_credential, statements_of
from dynamic.config_routes import NAME
from dynamic.connection import unknown_connection
from dynamic.parts import Parts
from dynamic.plugins import plugin_of
from dynamic.static_index import Holder, hold, holder_of, reindex
from dynamic.static_role import Phase, StaticRole, decode_static_role, encode_static_role
from dynamic.static_schedule import CLAIM, check_schedule, is_claimed, next_rotation
from dynamic.store import ROLES, STATIC_ROLES
from dynamic.target import StatementKind

_MAX_USERNAME = 255
_MAKING = 2 * CLAIM  # seconds for which a request that makes a role holds its accounts
_FIXED = ("db_name", "username", "alternate_username")


class StaticRoleBody(msgspec.Struct, kw_only=True):
    """Members of a static role; None: not given."""

    db_name: str | None = None
    username: str | None = None
    alternate_username: str | None = None
    kv_path: str | None = None
    rotation_statements: Any = None
    rotation_period: Duration | None = None
    rotation_schedule: str | None = None
    rotation_window: Duration | None = None
    credential_type: str | None = None
    credential_config: StringMap | None = None
    skip_import_rotation: bool = False
    self_managed_password: str = ""

    def __repr__(self) -> str:
        return "StaticRoleBody(…)"


class StaticRoutes:
    """Accounts that exist, and whose passwords Mimir changes."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store = parts.store
        self._clock = parts.clock

    def routes(self) -> list[Route]:
        """Below the mount."""
        write = Method(
            handler=self._write,
            body=StaticRoleBody,
            statuses=(503,),
            asks_access=True,
            summary="Make or change a static role",
        )
        return [
            Route(
                pattern="static-roles",
                methods={Operation.LIST: Method(handler=self._list, body=ListBody, mutates=False, summary="Names")},
            ),
            Route(
                pattern="static-roles/{name}",
                methods={
                    Operation.READ: Method(handler=self._read, mutates=False, summary="A static role"),
                    Operation.UPDATE: write,
                    Operation.CREATE: write,
                    Operation.DELETE: Method(handler=self._delete, summary="Leave the account to itself again"),
                },
                exists=self._exists,
                help="An account of the database whose password is changed on schedule.",
            ),
            Route(
                pattern="static-creds/{name}",
                methods={Operation.READ: Method(handler=self._creds, mutates=False, summary="The present password")},
            ),
            Route(
                pattern="rotate-role/{name}",
                methods={
                    Operation.UPDATE: Method(handler=self._rotate, statuses=(503,), summary="Change the password now")
                },
            ),
        ]

    async def _list(self, _request: Request, body: ListBody) -> Response:
        names = await self._store.names(STATIC_ROLES, after=body.after, limit=max(body.limit, 0))
        if not names:
            raise NotFoundError("")
        return Response(data={"keys": names})

    async def _exists(self, request: Request) -> bool:
        return await self._store.static_role(request.params["name"]) is not None

    async def _read(self, request: Request, _body: NoBody) -> Response:
        role = await self._store.static_role(request.params["name"])
        if role is None:
            raise NotFoundError("")
        return Response(data=shown(role))

    async def _creds(self, request: Request, _body: NoBody) -> Response:
        name = request.params["name"]
        role = await self._store.static_role(name)
        if role is None:
            raise InvalidRequestError(f"unknown role: {name}")
        connection = await self._store.connection(role.db_name)
        if connection is None:
            raise unknown_connection(role.db_name)
        connection.check_allows(name)
        if role.current is None:
            raise InvalidRequestError(
                f"the password of {name} is not known before its first rotation (rotate-role/{name})"
            )
        return Response(data=creds(role, role.current.username, role.current.password, int(self._clock.now())))

    async def _rotate(self, request: Request, _body: NoBody) -> Response:
        await self._parts.static_rotation.rotate(request.params["name"])
        return NO_CONTENT

    async def _delete(self, request: Request, _body: NoBody) -> Response:
        """The account stays, with the password it has; a rotation under way finds no role any more.

        It may still set its password: as long as it could, nobody makes another role of the account.
        """
        name = request.params["name"]
        now = int(self._clock.now())

        async def work(txn: Transaction) -> None:
            entry = await txn.get(STATIC_ROLES + name)
            if entry is None:
                return
            role = decode_static_role(entry.value)
            await reindex(txn, role, None, now=now)
            await self._release(txn, role, "")
            if is_claimed(role, now=now):
                for username in _accounts(role):
                    rotating = Holder(role=name, maker=role.owner, until=role.claimed_until)
                    await hold(txn, role.db_name, username, rotating)
            await txn.delete(STATIC_ROLES + name)

        await self._store.transact(work)
        return NO_CONTENT

    async def _write(self, request: Request, body: StaticRoleBody) -> Response:
        name = request.params["name"]
        if not NAME.fullmatch(name):
            raise InvalidRequestError("a role's name has letters, digits, underscores, and hyphens and dots inside")
        if body.self_managed_password:
            raise InvalidRequestError("self_managed_password is not supported: the connection's user changes passwords")
        before = await self._store.static_role(name)
        wanted = merged(before, name, body)
        warnings = await self._check(wanted)
        if wanted.kv_path and (before is None or before.kv_path != wanted.kv_path):
            self._check_deposit(wanted.kv_path, request.access)
        if before is None:
            await self._create(wanted, skip_rotation=body.skip_import_rotation)
        else:
            await self._change(name, body)
        return Response(warnings=warnings or None)

    def _check_deposit(self, path: str, access: Access | None) -> None:
        """Whoever has secrets written somewhere must be allowed to write there."""
        place = self._parts.deposits.place_of(path)
        if access is None or not access.allows_elsewhere(place, "update", "create"):
            raise PermissionDeniedError("permission denied")

    async def _create(self, role: StaticRole, *, skip_rotation: bool) -> None:
        """The account's password is changed first, so that a role whose account cannot be had is never stored.

        Meanwhile the account is held, so that of many requests one alone changes it. Who dies in between leaves an
        account with a password that nobody knows.
        """
        maker = new_uuid()
        now = int(self._clock.now())
        await self._store.transact(lambda txn: self._hold(txn, role, maker, now))
        try:
            if skip_rotation:
                made = replace(role, next_rotation=next_rotation(role, now=now))
            else:
                made = await self._parts.static_rotation.first_password(role)
            await self._store.transact(lambda txn: self._store_made(txn, made, maker))
        except BaseException:
            await self._store.transact(lambda txn: self._release(txn, role, maker))
            raise
        await self._parts.static_rotation.deposit(role.name)

    async def _hold(self, txn: Transaction, role: StaticRole, maker: str, now: int) -> None:
        await _check_free(txn, role.name)
        for username in _accounts(role):
            holder = await holder_of(txn, role.db_name, username)
            if holder is not None and (not holder.maker or now < holder.until <= now + _MAKING):
                being = "is being made, or was deleted while it was rotated" if holder.maker else "rotates it already"
                raise InvalidRequestError(f"the account {username} belongs to one static role: {holder.role} {being}")
            await hold(txn, role.db_name, username, Holder(role=role.name, maker=maker, until=now + _MAKING))

    async def _store_made(self, txn: Transaction, made: StaticRole, maker: str) -> None:
        await _check_free(txn, made.name)
        for username in _accounts(made):
            holder = await holder_of(txn, made.db_name, username)
            if holder is None or holder.maker != maker:
                raise InvalidRequestError(f"making {made.name} took so long that another request has taken {username}")
            await hold(txn, made.db_name, username, Holder(role=made.name))
        await reindex(txn, None, made, now=int(self._clock.now()))
        await txn.put(STATIC_ROLES + made.name, encode_static_role(made), cas=0)

    @staticmethod
    async def _release(txn: Transaction, role: StaticRole, maker: str) -> None:
        for username in _accounts(role):
            holder = await holder_of(txn, role.db_name, username)
            if holder is not None and (holder.role, holder.maker) == (role.name, maker):
                await hold(txn, role.db_name, username, None)

    async def _change(self, name: str, body: StaticRoleBody) -> None:
        now = int(self._clock.now())

        def work(before: StaticRole) -> StaticRole:
            after = merged(before, name, body)
            check_schedule(after)
            if before.kv_path != after.kv_path:
                after = replace(after, kv_written=0)
            if before.rotation_schedule != after.rotation_schedule:
                return replace(after, next_rotation=next_rotation(after, now=now))
            if before.rotation_period != after.rotation_period:
                return replace(after, next_rotation=next_rotation(after, now=before.rotated_at or now))
            return after

        await self._parts.static_rotation.change(name, work)
        await self._parts.static_rotation.deposit(name)

    async def _check(self, role: StaticRole) -> list[str]:
        if not role.db_name:
            raise InvalidRequestError("database name is required: db_name names a connection of config/")
        if not role.username:
            raise InvalidRequestError("username is a required field to create a static account")
        if role.alternate_username == role.username:
            raise InvalidRequestError("alternate_username must be another account than username")
        for username in (role.username, role.alternate_username):
            if len(username) > _MAX_USERNAME or not (username.isprintable() or not username):
                raise InvalidRequestError(f"a username is printable and has at most {_MAX_USERNAME} characters")
        check_schedule(role)
        if role.password_policy:
            await self._parts.check_password_policy(role.password_policy)
        connection = await self._store.connection(role.db_name)
        if connection is None:
            return [f"there is no connection {role.db_name} yet: the statements were not checked"]
        if connection.username in {role.username, role.alternate_username}:
            raise InvalidRequestError(
                "the connection's own user is rotated by rotate-root, and cannot be a static role"
            )
        plugin_of(connection.plugin_name).check_statements(StatementKind.ROTATION, role.rotation_statements)
        return []


def _accounts(role: StaticRole) -> list[str]:
    return [username for username in (role.username, role.alternate_username) if username]


async def _check_free(txn: Transaction, name: str) -> None:
    if await txn.get(ROLES + name) is not None:
        raise InvalidRequestError("Role and Static Role names must be unique")
    if await txn.get(STATIC_ROLES + name) is not None:
        raise InvalidRequestError(f"the static role {name} was made by another request meanwhile")


def merged(before: StaticRole | None, name: str, body: StaticRoleBody) -> StaticRole:
    """What was given, over what is there. Raises InvalidRequestError for what cannot be changed any more."""
    accounts = {field: value for field in _FIXED if (value := getattr(body, field)) is not None}
    if before is not None:
        for field, value in accounts.items():
            if value != getattr(before, field):
                raise InvalidRequestError(f"cannot update static account {field}: delete the role and make another")
    changes: dict[str, Any] = accounts | _given_times(body)
    if body.kv_path is not None:
        changes["kv_path"] = body.kv_path.strip("/")
    if body.rotation_statements is not None:
        changes["rotation_statements"] = statements_of(body.rotation_statements, StatementKind.ROTATION)
    policy = check_credential(body.credential_type, body.credential_config)
    if policy is not None:
        changes["password_policy"] = policy
    return replace(before or StaticRole(name=name, db_name="", username=""), **changes)


def _given_times(body: StaticRoleBody) -> dict[str, Any]:
    """Period or schedule: whichever is given ends the other."""
    changes: dict[str, Any] = {}
    if body.rotation_period is not None:
        changes["rotation_period"] = int(body.rotation_period)
        if body.rotation_period and body.rotation_schedule is None:
            changes |= {"rotation_schedule": "", "rotation_window": 0}
    if body.rotation_schedule is not None:
        changes["rotation_schedule"] = " ".join(body.rotation_schedule.split())
        if body.rotation_schedule and body.rotation_period is None:
            changes["rotation_period"] = 0
    if body.rotation_window is not None:
        changes["rotation_window"] = int(body.rotation_window)
    return changes


def shown(role: StaticRole) -> dict[str, Any]:
    """As Vault answers it, and how its rotation stands."""
    data: dict[str, Any] = {
        "db_name": role.db_name,
        "username": role.username,
        "rotation_statements": list(role.rotation_statements),
        "credential_type": "password",
    }
    data |= _times(role)
    if role.alternate_username:
        data["alternate_username"] = role.alternate_username
    if role.kv_path:
        data["kv_path"] = role.kv_path
    if role.password_policy:
        data["credential_config"] = {"password_policy": role.password_policy}
    data["next_vault_rotation"] = rfc3339(role.retry_at or role.next_rotation)
    if role.phase is not Phase.IDLE:
        data["rotation_phase"] = role.phase.value
    if role.error:
        data |= {"rotation_attempts": role.attempts, "rotation_error": role.error}
    return data


def creds(role: StaticRole, username: str, password: str, now: int) -> dict[str, Any]:
    """As Vault answers them; `ttl` counts down to the next rotation."""
    ttl = role.next_rotation - now
    return {"username": username, "password": password, "ttl": max(ttl, 0)} | _times(role)


def _times(role: StaticRole) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if role.rotation_schedule:
        found["rotation_schedule"] = role.rotation_schedule
        if role.rotation_window:
            found["rotation_window"] = role.rotation_window
    else:
        found["rotation_period"] = role.rotation_period
    if role.rotated_at:
        found["last_vault_rotation"] = rfc3339(role.rotated_at)
    return found
