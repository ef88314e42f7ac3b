"""Redis and Valkey: ACL users, by redis-py.

A password never reaches the server when it is set: it is given as the SHA-256 digest that the server keeps anyway. ACL
users have no end of their own, so there is nothing to renew. They are no part of what a master copies to its replicas.
"""

import contextlib
import hashlib
from collections.abc import Iterator

from redis import exceptions as errors

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
    Statements,
    Target,
    TargetAwayError,
    TargetLoginError,
    TargetRefusedError,
)
from dynamic.targets.fields import number_of, text_of
from dynamic.targets.redis_address import address_of
from dynamic.targets.redis_link import Command, Link, Reply
from dynamic.targets.redis_rules import DEFAULT_RULES, check_name, check_statements, parse_commands, parse_rules

_MAX_OPEN = 4  # connections
_PERSIST: dict[str, Command] = {"": (), "REWRITE": ("CONFIG", "REWRITE"), "ACLFILE": ("ACL", "SAVE")}


class RedisTarget(Target):
    """One Redis or Valkey, or several hosts of which one is the master."""

    def __init__(self, details: ConnectionDetails) -> None:
        self._name = details.name
        address = address_of(details)
        check_name(address.username)
        self._own_password = address.password
        self._persist = _persistence(text_of(details.options, "persistence_mode"))
        self._link = Link(address, most=number_of(details.options, "max_open_connections", _MAX_OPEN, most=100))

    # --- the four -------------------------------------------------------------------------------------------------

    async def create(self, account: NewAccount) -> None:
        """ACL SETUSER with the role's rules; the server takes all of them or none."""
        rules = parse_rules(account.statements)
        check_name(account.username)
        what = "the role's creation statements"
        (found,) = await self._ask(("ACL", "GETUSER", account.username), what=what)
        if found is not None:  # SETUSER would change it. Names are random: nobody else makes this one meanwhile
            raise TargetRefusedError(f"the database {self._name} has a user {account.username} already")
        digest = _digest(account.password)
        wanted = ("ACL", "SETUSER", account.username, "reset", "on", digest, *rules)
        try:
            await self._ask(wanted, what=what, hidden=(account.password, digest))
            await self._save()
        except TargetRefusedError:
            with contextlib.suppress(TargetRefusedError):
                await self._ask(("ACL", "DELUSER", account.username), what="the removal of a user")
            raise

    async def renew(self, renewal: Renewal) -> None:
        """Nothing: an ACL user has no end."""

    async def set_password(self, change: PasswordChange) -> None:
        """Replace all passwords of a user by one."""
        check_name(change.username)
        digest, what = _digest(change.password), "a new password"
        (found,) = await self._ask(("ACL", "GETUSER", change.username), what=what)
        if found is None:  # SETUSER would make it
            raise TargetRefusedError(f"the database {self._name} has no user {change.username}")
        wanted = ("ACL", "SETUSER", change.username, "resetpass", digest)
        await self._ask(wanted, what=what, hidden=(change.password, digest))
        try:
            await self._save()
        except TargetRefusedError as exc:  # the new password is in force: "refused" would say that the old one is
            raise TargetAwayError(
                f"the new password is in force and could not be made to last: {exc.sentence}"
            ) from None

    async def drop(self, removal: Removal) -> None:
        """ACL DELUSER; the sessions of the user end with it, and CLIENT KILL says so to old servers."""
        kill, delete = ("CLIENT", "KILL", "USER", removal.username), ("ACL", "DELUSER", removal.username)
        with self._errors():
            _killed, deleted = await self._link.ask(kill, delete)  # there may be no such user to kill
        self._check([deleted], "the removal of a user")
        await self._save()

    # --- the others -----------------------------------------------------------------------------------------------

    async def check(self) -> None:
        """Reach the server, and see that what is changed can be made to last."""
        await self._ask(("ACL", "WHOAMI"), what="ACL WHOAMI")
        await self._save()

    async def login(self, username: str, password: str) -> None:
        """AUTH, and no more: the account may be allowed nothing."""
        with self._errors((password,)):
            await self._link.login(username, password)

    async def run_as(self, username: str, password: str, statements: Statements) -> None:
        """Log in, and ask the server whether the account may run the commands (ACL DRYRUN, Redis 7): none is run."""
        commands = parse_commands(statements)
        await self.login(username, password)
        trials = [("ACL", "DRYRUN", username, *command) for command in commands]
        for answer in await self._ask(*trials, what="the role's verify statements") if trials else []:
            if answer != "OK":
                sentence = f"the database {self._name} refused the role's verify statements (NOPERM)"
                raise TargetRefusedError(sentence, detail=scrubbed(answer, (password,)))

    async def accounts(self, prefix: str) -> list[str]:
        """ACL USERS."""
        (names,) = await self._ask(("ACL", "USERS"), what="the list of users")
        return sorted(name for name in names if name.startswith(prefix))

    async def grants(self, username: str) -> list[str]:
        """ACL GETUSER, without its passwords."""
        (found,) = await self._ask(("ACL", "GETUSER", username), what="the list of grants")
        if found is None:
            raise TargetRefusedError(f"there is no user {username}")
        return _described(found)

    async def close(self) -> None:
        """Close the connections; calls under way fail."""
        await self._link.close()

    # --- inside ---------------------------------------------------------------------------------------------------

    async def _save(self) -> None:
        """Make a change last, as the connection's persistence_mode says."""
        if self._persist:
            await self._ask(self._persist, what=" ".join(self._persist))

    async def _ask(self, *commands: Command, what: str, hidden: tuple[str, ...] = ()) -> list[Reply]:
        with self._errors(hidden):
            replies = await self._link.ask(*commands)
        self._check(replies, what, hidden)
        return replies

    def _check(self, replies: list[Reply], what: str, hidden: tuple[str, ...] = ()) -> None:
        """Raise TargetRefusedError for a command that the server refused."""
        for reply in replies:
            if isinstance(reply, errors.ResponseError):
                detail = scrubbed(reply, (*hidden, self._own_password))
                code = "NOPERM" if isinstance(reply, errors.NoPermissionError) else "ERR"
                raise TargetRefusedError(f"the database {self._name} refused {what} ({code})", detail=detail)

    @contextlib.contextmanager
    def _errors(self, hidden: tuple[str, ...] = ()) -> Iterator[None]:
        """redis-py's errors as the engine knows them; nothing of `hidden` stands in them."""
        try:
            yield
        except errors.AuthenticationError:
            raise TargetLoginError(f"the database {self._name} refuses the user name or the password") from None
        except errors.ResponseError as exc:
            detail = scrubbed(exc, (*hidden, self._own_password))
            raise TargetRefusedError(f"the database {self._name} refused a connection", detail=detail) from None
        except (errors.TimeoutError, TimeoutError):
            raise TargetAwayError(f"the database {self._name} did not answer in time") from None
        except (errors.RedisError, OSError) as exc:
            reason = scrubbed(exc, (*hidden, self._own_password))
            raise TargetAwayError(f"the database {self._name} cannot be reached: {reason}") from None


def _digest(password: str) -> str:
    """The password as ACL SETUSER takes it in place of `>password`."""
    return "#" + hashlib.sha256(password.encode()).hexdigest()


def _persistence(word: str) -> Command:
    found = _PERSIST.get(word.upper())
    if found is None:
        raise InvalidRequestError("persistence_mode must be REWRITE (redis.conf) or ACLFILE, or be left out")
    return found


def _described(reply: list[Reply]) -> list[str]:
    """A line for each member: `flags: on`, `commands: -@all +@read`, `keys: ~cache:*`."""
    members = dict(zip(reply[::2], reply[1::2], strict=True))
    lines = []
    for name in ("flags", "commands", "keys", "channels"):
        value = members.get(name) or ""
        lines.append(f"{name}: {' '.join(value) if isinstance(value, list) else value}".rstrip())
    for selector in members.get("selectors") or []:
        parts = dict(zip(selector[::2], selector[1::2], strict=True))
        lines.append("selector: " + " ".join(str(part) for part in parts.values() if part))
    return lines


PLUGIN = Plugin(
    type="redis",
    open=RedisTarget,
    check_statements=check_statements,
    max_username=128,
    default_statements={StatementKind.CREATION: DEFAULT_RULES},
)
