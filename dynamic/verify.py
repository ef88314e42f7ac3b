"""Proof that a role works: an account is made, logged in with, looked at, removed, and proved to be shut out."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from core.errors import InvalidRequestError, MimirError
from core.requests import Caller
from dynamic.credentials import Credentials, Made
from dynamic.open_targets import OpenTargets
from dynamic.role import Role
from dynamic.target import TargetLoginError, TargetRefusedError

_UNSUPPORTED = "the plugin of this database has no"


class Verification:
    """One run for one role; steps that a plugin cannot do are skipped, with the reason."""

    def __init__(self, credentials: Credentials, targets: OpenTargets, role: Role) -> None:
        self._credentials = credentials
        self._targets = targets
        self._role = role
        self.steps: list[dict[str, Any]] = []
        self.grants: list[str] = []

    async def run(self, caller: Caller | None, *, reference: str) -> dict[str, Any]:
        """What was done, and whether all of it went well. No password is in it; nothing is left behind."""
        made: list[Made] = []

        async def make() -> str:
            made.append(await self._credentials.make(self._role, caller, reference=reference))
            return f"an account for {made[0].grant.ttl} s, {made[0].username}"

        if await self._step("create", make):
            await self._use(made[0])
        return {
            "role": self._role.name,
            "connection": self._role.db_name,
            "username": made[0].username if made else "",
            "ok": all(step["ok"] for step in self.steps),
            "steps": self.steps,
            "grants": self.grants,
        }

    async def _use(self, made: Made) -> None:
        await self._step("login", lambda: self._login(made))
        await self._step("grants", lambda: self._list_grants(made))
        if self._role.verify_statements:
            await self._step("statements", lambda: self._run_statements(made))
        if await self._step("revoke", lambda: self._remove(made)):
            await self._step("refused", lambda: self._is_refused(made))

    async def _step(self, name: str, work: Callable[[], Awaitable[str]]) -> bool:
        begin = time.monotonic()
        step: dict[str, Any] = {"step": name, "ok": True, "detail": ""}
        try:
            step["detail"] = await work()
        except MimirError as exc:
            step["detail"] = exc.sentence
            step["skipped"] = exc.sentence.startswith(_UNSUPPORTED) and not isinstance(exc, TargetRefusedError)
            step["ok"] = step["skipped"]
        step["duration_ms"] = round((time.monotonic() - begin) * 1000, 1)
        self.steps.append(step)
        return bool(step["ok"])

    async def _login(self, made: Made) -> str:
        await self._targets.run(self._role.db_name, lambda target: target.login(made.username, made.password))
        return "the database lets it in"

    async def _list_grants(self, made: Made) -> str:
        self.grants = await self._targets.run(self._role.db_name, lambda target: target.grants(made.username))
        if not self.grants:
            raise InvalidRequestError("the account may do nothing at all")
        return f"{len(self.grants)} lines"

    async def _run_statements(self, made: Made) -> str:
        statements = self._role.verify_statements
        await self._targets.run(
            self._role.db_name, lambda target: target.run_as(made.username, made.password, statements)
        )
        return f"{len(statements)} run as the account, and rolled back"

    async def _remove(self, made: Made) -> str:
        await self._credentials.remove(self._role, made.username)
        return "the account is removed"

    async def _is_refused(self, made: Made) -> str:
        """On a fresh look: the login must fail now."""
        try:
            await self._targets.run(self._role.db_name, lambda target: target.login(made.username, made.password))
        except TargetLoginError:
            return "the database does not let it in any more"
        raise InvalidRequestError("the database still lets the removed account in")
