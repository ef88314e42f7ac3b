"""A database of the tests' own: a plugin as a third party would write it, with its four methods and some of the others.

Servers live in this process, by the host of their URL; a test makes one go away, refuse, or wait.
"""

import asyncio
from importlib.metadata import EntryPoint

import pytest

from core.errors import InvalidRequestError
from dynamic import plugins
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

SERVERS: dict[str, "Server"] = {}


class Server:
    """What a server holds, and what is wrong with it."""

    def __init__(self, name: str) -> None:
        self.accounts: dict[str, str] = {"root": "first"}
        self.expiry: dict[str, int] = {}
        self.removals: list[Removal] = []
        self.calls: list[str] = []
        self.is_away = False
        self.refuses: set[str] = set()  # methods
        self.fails_after: set[str] = set()  # methods whose work is done, and whose answer never comes
        self.refuses_after: set[str] = set()  # methods of several statements, of which the last is refused
        self.keeps_dropped = False  # an account that was dropped still gets in
        self.gate: asyncio.Event | None = None  # calls wait for it
        self.visited = asyncio.Event()  # set by every call
        self.under_way = self.most_under_way = 0
        SERVERS[name] = self

    async def visit(self, method: str, username: str, password: str) -> None:
        """What every call meets first."""
        self.calls.append(method)
        self.visited.set()
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(0)
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.under_way -= 1
        if self.is_away:
            raise TargetAwayError("the database is away")
        if self.accounts.get(username) != password:
            raise TargetLoginError("the database refuses the user name or the password")
        if method in self.refuses:
            raise TargetRefusedError(f"the database refused {method}", detail=f"why it refused {method}")

    def lose_answer(self, method: str) -> None:
        """The connection breaks behind the work."""
        if method in self.fails_after:
            raise TargetAwayError("the database is away")
        if method in self.refuses_after:
            raise TargetRefusedError(f"the database refused {method}", detail=f"why it refused {method}")


class MemoryTarget(Target):
    """A connection to one."""

    def __init__(self, details: ConnectionDetails) -> None:
        url = str(details.options.get("connection_url", ""))
        if not url.startswith("memory://"):
            raise InvalidRequestError("connection_url must begin with memory://")
        self._server = SERVERS[url.removeprefix("memory://")]
        self._user = (details.username, details.password)
        self.is_closed = False

    async def create(self, account: NewAccount) -> None:
        await self._server.visit("create", *self._user)
        self._server.accounts[account.username] = account.password
        self._server.expiry[account.username] = account.expires_at
        self._server.lose_answer("create")

    async def renew(self, renewal: Renewal) -> None:
        await self._server.visit("renew", *self._user)
        self._server.expiry[renewal.username] = renewal.expires_at

    async def set_password(self, change: PasswordChange) -> None:
        await self._server.visit("set_password", *self._user)
        self._server.accounts[change.username] = change.password
        self._server.lose_answer("set_password")

    async def drop(self, removal: Removal) -> None:
        await self._server.visit("drop", *self._user)
        self._server.removals.append(removal)
        if not self._server.keeps_dropped:
            self._server.accounts.pop(removal.username, None)
        self._server.lose_answer("drop")

    async def check(self) -> None:
        await self._server.visit("check", *self._user)

    async def login(self, username: str, password: str) -> None:
        await self._server.visit("login", username, password)

    async def accounts(self, prefix: str) -> list[str]:
        await self._server.visit("accounts", *self._user)
        return sorted(name for name in self._server.accounts if name.startswith(prefix))

    async def close(self) -> None:
        self.is_closed = True


def check_statements(kind: StatementKind, statements: Statements) -> None:
    """Nothing is a statement here but `ok`."""
    if any(statement != "ok" for statement in statements):
        raise InvalidRequestError(f"{kind.value}: a statement is ok, or it is not")


PLUGIN = Plugin(type="memory", open=MemoryTarget, check_statements=check_statements, max_username=40)


@pytest.fixture
def memory_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin `memory`, as if a distribution had registered it."""
    point = EntryPoint("memory", f"{__name__}:PLUGIN", plugins.GROUP)
    known = plugins._points()
    monkeypatch.setattr(plugins, "_points", lambda: {**known, "memory": point})


@pytest.fixture
def server(memory_plugin: None) -> Server:
    """A server with one account, root."""
    return Server("db")
