"""Watches a mount for what `pki.warnings` warns of: for who asks, for the metrics, and in the log."""

import asyncio

import structlog

from core.clock import Clock
from core.engine import MountInfo
from pki.authority import Authority
from pki.crl_scope import scopes, signer_among
from pki.crl_store import CrlStore
from pki.moments import parse_moment
from pki.role import Role
from pki.store import PkiStore
from pki.warnings import CrlState, RoleNeed, Warned, warnings_of

log = structlog.get_logger("mimir.pki")

_KEPT = 60  # seconds for which an answer is as good as new
_SAID_AGAIN = 86400  # seconds after which a warning is logged again
_PAGE = 100  # roles between two turns of the event loop
_MOST_ROLES = 10_000  # those behind are not looked at


class Watch:
    """One worker's eyes on one mount."""

    def __init__(self, store: PkiStore, crls: CrlStore, clock: Clock, mount: MountInfo) -> None:
        self._store = store
        self._crls = crls
        self._clock = clock
        self._mount = mount
        self._found: tuple[float, Authority, list[Warned]] | None = None
        self._said: dict[tuple[str, str, str], float] = {}

    async def warnings(self) -> list[Warned]:
        """The soonest first."""
        authority, now = await self._store.authority(), self._clock.now()
        if self._found is not None:
            at, of, found = self._found
            if of is authority and at <= now < at + _KEPT:
                return found
        needs = await self._needs(authority)
        found = warnings_of(authority, needs, await self.crls(), now=int(now))
        self._found = (now, authority, found)
        return found

    async def log(self) -> None:
        """One line for each warning, once a day."""
        now, found = self._clock.now(), await self.warnings()
        self._said = {key: at for key, at in self._said.items() if now - at < _SAID_AGAIN}
        for warned in found:
            key = (warned.kind, warned.issuer_id, warned.role)
            if key not in self._said:
                self._said[key] = now
                log.warning(warned.sentence, mount=self._mount.path, kind=warned.kind, issuer_id=warned.issuer_id)

    async def _needs(self, authority: Authority) -> list[RoleNeed]:
        if not authority.issuers:
            return []
        found: list[RoleNeed] = []
        after = ""
        while len(found) < _MOST_ROLES:
            names = await self._store.role_names(after=after, limit=_PAGE)
            for name in names:
                opened = await self._store.role(name)
                if opened is not None:
                    found.append(self._need(name, opened.role))
            if len(names) < _PAGE:
                break
            after = names[-1]
            await asyncio.sleep(0)
        return found

    def _need(self, name: str, role: Role) -> RoleNeed:
        longest = role.max_ttl or self._mount.max_lease_ttl
        if role.not_after:
            longest = max(0, parse_moment(role.not_after, "not_after") - int(self._clock.now()))
        return RoleNeed(name, role.issuer_ref, longest)

    async def crls(self) -> list[CrlState]:
        """The full CRLs that are served, each of one of its issuers."""
        found, authority = [], await self._store.authority()
        for scope, issuers in scopes(authority).items():
            signer = signer_among(issuers)
            head = await self._crls.head(scope)
            if signer is not None and head.full is not None:
                found.append(CrlState(signer.issuer_id, head.full.next_update))
        return found
