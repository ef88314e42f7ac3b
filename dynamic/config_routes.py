"""config/<name>: connections to databases. reset/<name> opens one anew in every worker."""

import re
from typing import Any

from msgspec.structs import replace

from core.engine import Method, NoBody, Route
from core.errors import InvalidRequestError, NotFoundError
from core.protocols import Transaction
from core.requests import NO_CONTENT, Operation, Request, Response
from dynamic.bodies import ConnectionBody, ListBody, options_of, statements_of
from dynamic.connection import Connection, decode_connection, encode_connection, unknown_connection
from dynamic.parts import Parts
from dynamic.plugins import check_plugin, plugin_of
from dynamic.reconcile import RESULTS
from dynamic.static_index import holder_of
from dynamic.store import CONNECTIONS
from dynamic.target import StatementKind, TargetAwayError, TargetLoginError
from dynamic.username_template import parse_template

NAME = re.compile(r"\w(?:[\w.-]{0,253}\w)?", re.ASCII)

_HIDDEN = "xxxxx"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_WORD = re.compile(
    r"""((?:^|[?&;\s])(?:\w*[_.-])?(?:ssl|tls)?(?:password|passwd|pwd|passphrase|secret|token)\s*=\s*)"""
    r"""('(?:[^'\\]|\\.)*'?|[^&;\s]+)""",
    re.IGNORECASE,
)


class ConfigRoutes:
    """A connection is tried when it is written, unless the caller says otherwise."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store = parts.store

    def routes(self) -> list[Route]:
        """Below the mount."""
        write = Method(handler=self._write, body=ConnectionBody, summary="Configure a connection")
        return [
            Route(
                pattern="config",
                methods={Operation.LIST: Method(handler=self._list, body=ListBody, mutates=False, summary="Names")},
            ),
            Route(
                pattern="config/{name}",
                methods={
                    Operation.READ: Method(handler=self._read, mutates=False, summary="A connection, without secrets"),
                    Operation.UPDATE: write,
                    Operation.CREATE: write,
                    Operation.DELETE: Method(handler=self._delete, summary="Delete a connection"),
                },
                exists=self._exists,
                help="How a database is reached, and as whom. The password is never shown again.",
            ),
            Route(
                pattern="reset/{name}",
                methods={
                    Operation.UPDATE: Method(handler=self._reset, summary="Close the connection and open it anew")
                },
            ),
        ]

    async def _list(self, _request: Request, body: ListBody) -> Response:
        names = await self._store.names(CONNECTIONS, after=body.after, limit=max(body.limit, 0))
        if not names:
            raise NotFoundError("")
        return Response(data={"keys": names})

    async def _exists(self, request: Request) -> bool:
        return await self._store.connection(request.params["name"]) is not None

    async def _read(self, request: Request, _body: NoBody) -> Response:
        connection = await self._store.connection(request.params["name"])
        if connection is None:
            raise NotFoundError("")
        return Response(data=shown(connection))

    async def _write(self, request: Request, body: ConnectionBody) -> Response:
        name = request.params["name"]
        if not NAME.fullmatch(name):
            raise InvalidRequestError(
                "the name of a connection has letters, digits, underscores, and hyphens and dots inside"
            )
        now = int(self._parts.clock.now())
        before = await self._store.connection(name)
        wanted = merged(before or Connection(name=name, plugin_name=""), body, options_of(request.data), now=now)
        await self._check(wanted, verify=body.verify_connection)

        async def write(txn: Transaction) -> None:
            entry = await txn.get(CONNECTIONS + name)
            present = decode_connection(entry.value) if entry else Connection(name=name, plugin_name="")
            changed = merged(present, body, options_of(request.data), now=now)
            holder = await holder_of(txn, name, changed.username) if changed.username else None
            if holder is not None and (not holder.maker or holder.until > now):
                raise InvalidRequestError(
                    f"{changed.username} is the account of the static role {holder.role}, which changes its password:"
                    " give the connection an account of its own"
                )
            await txn.put(CONNECTIONS + name, encode_connection(changed), cas=entry.revision if entry else 0)

        await self._store.transact(write)
        return Response(warnings=_warnings(wanted) or None)

    async def _check(self, wanted: Connection, *, verify: bool) -> None:
        check_plugin(wanted.plugin_name)
        plugin = plugin_of(wanted.plugin_name)
        plugin.check_statements(StatementKind.ROOT_ROTATION, wanted.root_rotation_statements)
        if wanted.username_template:
            _check_template(wanted.username_template, longest=plugin.max_username)
        if wanted.password_policy:
            await self._parts.check_password_policy(wanted.password_policy)
        trial = await self._parts.targets.open_with(wanted, wanted.password)  # raises for what it does not understand
        try:
            if verify:
                await trial.check()
        except (TargetAwayError, TargetLoginError) as exc:
            raise InvalidRequestError(
                f"error creating database object: {exc.sentence} (verify_connection=false stores it untried)"
            ) from None
        finally:
            await trial.close()

    async def _delete(self, request: Request, _body: NoBody) -> Response:
        name = request.params["name"]

        async def work(txn: Transaction) -> None:
            await txn.delete(CONNECTIONS + name)
            await txn.delete(RESULTS + name)

        await self._store.transact(work)
        await self._parts.targets.forget(name)
        return NO_CONTENT

    async def _reset(self, request: Request, _body: NoBody) -> Response:
        name = request.params["name"]

        async def write(txn: Transaction) -> None:
            entry = await txn.get(CONNECTIONS + name)
            if entry is None:
                raise unknown_connection(name)
            connection = decode_connection(entry.value)
            connection = replace(connection, epoch=connection.epoch + 1)
            await txn.put(CONNECTIONS + name, encode_connection(connection), cas=entry.revision)

        await self._store.transact(write)
        await self._parts.targets.run(name, lambda target: target.check())
        return NO_CONTENT


def merged(before: Connection, body: ConnectionBody, options: dict[str, Any], *, now: int) -> Connection:
    """What was given, over what is there. A new password ends a rotation that is under way."""
    given: dict[str, Any] = {
        field: tuple(value) if isinstance(value, list) else value
        for field in ("plugin_version", "allowed_roles", "password_policy", "username_template", "username")
        if (value := getattr(body, field)) is not None
    }
    if plugin := body.plugin_name or body.plugin:
        given["plugin_name"] = plugin
    for field in ("root_rotation_ttl", "reconcile_interval"):
        if (seconds := getattr(body, field)) is not None:
            given[field] = int(seconds)
    if body.root_rotation_statements is not None:
        given["root_rotation_statements"] = statements_of(body.root_rotation_statements, StatementKind.ROOT_ROTATION)
    if body.password is not None and body.password != before.password:
        given |= {"password": body.password, "pending_password": "", "pending_since": 0, "rotated_at": 0}
    return replace(before, options=before.options | options, written_at=now, epoch=before.epoch + 1, **given)


def shown(connection: Connection) -> dict[str, Any]:
    """As Vault answers it; secrets are left out, also one that stands in a URL."""
    secret = set(plugin_of(connection.plugin_name).secret_options)
    details = {name: value for name, value in connection.options.items() if name not in secret}
    for name in ("connection_url", "url"):
        if isinstance(details.get(name), str):
            details[name] = without_password(details[name])
    if connection.username:
        details["username"] = connection.username
    if connection.username_template:
        details["username_template"] = connection.username_template
    data: dict[str, Any] = {
        "plugin_name": connection.plugin_name,
        "plugin_version": connection.plugin_version,
        "connection_details": details,
        "allowed_roles": list(connection.allowed_roles),
        "root_credentials_rotate_statements": list(connection.root_rotation_statements),
        "password_policy": connection.password_policy,
        "root_rotation_ttl": connection.root_rotation_ttl,
        "reconcile_interval": connection.reconcile_interval,
    }
    if connection.rotated_at:
        data["last_root_rotation"] = connection.rotated_at
    if connection.rotation_error:
        data["root_rotation_error"] = connection.rotation_error
    return data


def _check_template(text: str, *, longest: int) -> None:
    """Of two accounts of one name the end of one would be the end of the other, so names must differ by themselves."""
    template = parse_template(text, longest=longest)
    first, second = (template.render(role="role", display_name="token") for _ in range(2))
    if first == second:
        raise InvalidRequestError("username_template makes the same name again: put {{random 20}} or {{uuid}} into it")


def without_password(url: str) -> str:
    """A URL as it may be shown: Go's `Redacted`, which writes xxxxx, also for words as PASSWORD=…; templates stay."""
    scheme = found.group() if (found := _SCHEME.match(url)) else ""
    head, at, rest = url.removeprefix(scheme).rpartition("@")
    name, colon, password = head.partition(":")
    if at and colon and not password.startswith("{{"):
        url = f"{scheme}{name}:{_HIDDEN}@{rest}"
    return _WORD.sub(lambda word: word[1] + (word[2] if word[2].lstrip("'").startswith("{{") else _HIDDEN), url)


def _warnings(connection: Connection) -> list[str]:
    found = []
    url = connection.options.get("connection_url", "")
    if isinstance(url, str) and without_password(url) != url:
        found.append(
            "the connection URL holds the password itself, so it cannot be rotated: write {{username}} and"
            " {{password}} there, and give username and password"
        )
    if connection.root_rotation_ttl and not (connection.username and connection.password):
        found.append("root_rotation_ttl has no effect without username and password")
    return found
