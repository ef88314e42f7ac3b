"""MongoDB, by pymongo's asyncio client. Users have no end of their own, so there is nothing to renew."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pymongo import AsyncMongoClient, errors

from core.errors import InvalidRequestError
from dynamic.scrubbing import scrubbed
from dynamic.target import (
    ConnectionDetails,
    NewAccount,
    PasswordChange,
    Plugin,
    Removal,
    Renewal,
    StatementKind,
    Target,
    TargetAwayError,
    TargetLoginError,
    TargetRefusedError,
)
from dynamic.targets.fields import number_of
from dynamic.targets.mongodb_client import Client, open_client
from dynamic.targets.mongodb_statements import ADMIN, check_name, check_statements, parse_creation, parse_place
from dynamic.targets.mongodb_url import address_of, write_concern_of

_Document = dict[str, Any]


class _CutOffError(Exception):
    """The connection broke before the answer came."""


class _CodeError(TargetRefusedError):
    """A refusal, with MongoDB's number for it."""

    code = 0


_MAX_OPEN = 4  # connections
_USER_NOT_FOUND = 11
_UNAUTHORIZED = 13
_USER_EXISTS = 51003
_LOGIN_REFUSED = 18  # AuthenticationFailed


class MongoTarget(Target):
    """One server, replica set or cluster, through a client that opens when it is first used."""

    def __init__(self, details: ConnectionDetails) -> None:
        self._name = details.name
        self._address = address_of(details)
        self._write_concern = write_concern_of(details.options)
        self._most = number_of(details.options, "max_open_connections", _MAX_OPEN, most=100)
        self._client: Client | None = None

    # --- the four -------------------------------------------------------------------------------------------------

    async def create(self, account: NewAccount) -> None:
        """Make the user with the role's roles (createUser)."""
        database, roles = parse_creation(account.statements)
        check_name(account.username)
        command = {"createUser": account.username, "pwd": account.password, "roles": roles}
        what, hidden = "the role's creation statements", (account.password,)
        try:
            await self._write(database, command, what=what, hidden=hidden, again=False)
        except _CutOffError:
            await self._create_again(database, command, what, hidden)

    async def _create_again(self, database: str, command: _Document, what: str, hidden: tuple[str, ...]) -> None:
        """After a connection broke: it may have been made. Then its password, which nobody else knows, opens it."""
        try:
            await self._write(database, command, what=what, hidden=hidden, fine=(_USER_EXISTS,))
            await self._login(command["createUser"], command["pwd"], database)
        except TargetLoginError:
            raise TargetRefusedError(f"the database {self._name} has a user {command['createUser']} already") from None

    async def renew(self, renewal: Renewal) -> None:
        """Nothing: a user has no end."""

    async def set_password(self, change: PasswordChange) -> None:
        """Give the user another password (updateUser)."""
        check_name(change.username)
        database = parse_place(StatementKind.ROTATION, change.statements)
        if not database and change.username == self._address.username:
            database = self._address.auth_source
        database = database or await self._home(change.username)
        command = {"updateUser": change.username, "pwd": change.password}
        await self._write(database, command, what="a new password", hidden=(change.password,))

    async def drop(self, removal: Removal) -> None:
        """Remove the user (dropUser); its sessions are killed, and what is left of them may do nothing any more."""
        database = parse_place(StatementKind.REVOCATION, removal.statements) or await self._home(removal.username)
        what = "the removal of a user"
        await self._write(database, {"dropUser": removal.username}, what=what, fine=(_USER_NOT_FOUND,))
        kill = {"killAllSessions": [{"user": removal.username, "db": database}]}
        with contextlib.suppress(TargetRefusedError):  # the connection's user may lack killAnySession
            await self._run(ADMIN, kill, what="the end of sessions")

    # --- the others -----------------------------------------------------------------------------------------------

    async def check(self) -> None:
        """Reach the server; ping alone would be answered to everybody, but a connection is logged in first."""
        await self._run(ADMIN, {"ping": 1}, what="ping")

    async def login(self, username: str, password: str) -> None:
        """Log in and out, where the user is."""
        await self._login(username, password, await self._home(username))

    async def accounts(self, prefix: str) -> list[str]:
        """Users of all databases, by name."""
        wanted = {"$regex": "^" + re.escape(prefix)}
        found = await self._users({"user": wanted})
        return sorted({user["user"] for user in found if user["user"].startswith(prefix)})

    async def grants(self, username: str) -> list[str]:
        """Roles, with where they hold."""
        found = await self._users({"user": username})
        if not found:
            raise TargetRefusedError(f"there is no user {username}")
        return [
            f"{role['role']} on {role['db']} (user of {user['db']})"
            for user in found
            for role in sorted(user["roles"], key=lambda role: (role["db"], role["role"]))
        ]

    async def close(self) -> None:
        """Close the client; calls under way fail."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    # --- inside ---------------------------------------------------------------------------------------------------

    async def _users(self, wanted: _Document) -> list[_Document]:
        command = {"usersInfo": {"forAllDBs": True}, "filter": wanted}
        reply = await self._run(ADMIN, command, what="the list of users")
        return list(reply["users"])

    async def _home(self, username: str) -> str:
        """The database that a user is in, if that is one; admin for one that is nowhere."""
        try:
            homes = {user["db"] for user in await self._users({"user": username})}
        except _CodeError as exc:
            if exc.code != _UNAUTHORIZED:
                raise
            return ADMIN  # whoever may not look is told so by what comes next
        if not homes or ADMIN in homes:
            return ADMIN
        if len(homes) > 1:
            raise TargetRefusedError(
                f'users {username} are in several databases: statements must say in which, as {{"db": "admin"}}'
            )
        return str(homes.pop())

    async def _login(self, username: str, password: str, database: str) -> None:
        client = open_client(self._address, most=1, as_user=(username, password, database))
        try:
            with self._errors("the login", (password,)):
                await client.driver[ADMIN].command("ping")
        finally:
            await client.close()

    async def _write(self, database: str, command: _Document, **more: Any) -> None:
        """A command with the write concern. Raises TargetAwayError when too few members have taken it in time."""
        reply = await self._run(database, command | {"writeConcern": self._write_concern}, **more)
        if failure := reply.get("writeConcernError"):
            reason = scrubbed(failure.get("errmsg", ""), (command.get("pwd", ""), self._address.password))
            raise TargetAwayError(f"the database {self._name} has not copied a change to enough members: {reason}")

    async def _run(
        self,
        database: str,
        command: _Document,
        *,
        what: str,
        hidden: tuple[str, ...] = (),
        fine: tuple[int, ...] = (),
        again: bool = True,
    ) -> Mapping[str, Any]:
        """A command; once more when a connection breaks, unless `again` says that it is harmful to do it twice.

        Errors with the codes of `fine` are none.
        """
        with self._errors(what, hidden):
            opened = self._opened()[database]
            try:
                return await opened.command(command, allowable_errors=list(fine))
            except (errors.NetworkTimeout, errors.ServerSelectionTimeoutError):
                raise
            except errors.AutoReconnect:
                if not again:
                    raise _CutOffError from None
                return await opened.command(command, allowable_errors=list(fine))

    def _opened(self) -> AsyncMongoClient[_Document]:
        if self._client is None:
            try:
                self._client = open_client(self._address, most=self._most)
            except errors.ConfigurationError as exc:  # directConnection with several hosts, or so
                raise InvalidRequestError(f"connection_url: {scrubbed(exc, (self._address.password,))}") from None
        return self._client.driver

    @contextlib.contextmanager
    def _errors(self, what: str, hidden: tuple[str, ...]) -> Iterator[None]:
        """What pymongo raises, as the engine knows it; nothing of `hidden` stands in it."""
        hidden = (*hidden, self._address.password)
        try:
            yield
        except (errors.NetworkTimeout, errors.WaitQueueTimeoutError, errors.ExecutionTimeout):
            raise TargetAwayError(f"the database {self._name} did not answer in time") from None
        except errors.OperationFailure as exc:
            if exc.code == _LOGIN_REFUSED:
                raise TargetLoginError(f"the database {self._name} refuses the user name or the password") from None
            code = f"{exc.code} {(exc.details or {}).get('codeName', '')}".strip()
            sentence = f"the database {self._name} refused {what} ({code})"
            refused = _CodeError(sentence, detail=scrubbed(f"{code}: {_message(exc)}", hidden))
            refused.code = exc.code or 0
            raise refused from None
        except (errors.PyMongoError, OSError) as exc:
            raise TargetAwayError(
                f"the database {self._name} cannot be reached: {scrubbed(_message(exc), hidden)}"
            ) from None


def _message(exc: Exception) -> str:
    """What pymongo says, without its picture of the cluster and the whole reply of the server."""
    text = str(exc)
    for tail in (", Timeout: ", ", full error: ", " (configured timeouts: "):
        text = text.partition(tail)[0]
    return text


PLUGIN = Plugin(type="mongodb", open=MongoTarget, check_statements=check_statements, max_username=128)
