"""Admissions of a moment ago: the same token doing the same at the same path again, with nothing changed in between.

Whether a request is admitted depends on what is stored (mounts, routes, token, policies, whether the object exists) and
on the time (expiry of the token or an ancestor). While the change sequence stands still, nothing stored has changed in
any process; so an answer is good until the next commit of anybody, until the first expiry, or until the seal. Whatever
depends on more than token, operation and path (a client's address, the time of day, the body) is not noted: the
exchange says `is_conditional` then.
"""

from collections.abc import Mapping

import msgspec

from appliance.access.acl import Acl
from appliance.namespaces import Namespace
from appliance.pipeline.exchange import Exchange
from appliance.pipeline.identity import Identity
from appliance.pipeline.mounted import Mounted
from appliance.pipeline.parsing import Asked
from audit.records import AuditRequest
from core.clock import Clock
from core.engine import Method, Route
from core.requests import Operation

_CAPACITY = 4096
_LONGEST_PATH = 512


class Admitted(msgspec.Struct, frozen=True):
    """What admission found out."""

    mounted: Mounted
    route: Route
    params: Mapping[str, str]
    identity: Identity
    acl: Acl
    namespace: Namespace
    granting: tuple[str, ...]  # policies, for the audit record
    method: Method
    until: float  # epoch seconds: the first expiry among the token, its ancestors and the policies
    records: dict[str, AuditRequest] = {}  # without request id and data, by the client's address


class Admissions:
    """Those of one worker at one change sequence."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sequence = -1
        self._known: dict[tuple[str, str, Operation], Admitted] = {}

    def find(self, asked: Asked, sequence: int) -> Admitted | None:
        """What was found out for such a request, if it still holds."""
        if sequence != self._sequence:
            self._known.clear()
            self._sequence = sequence
            return None
        found = self._known.get((asked.token, asked.path, asked.operation))
        if found is None or found.mounted.retired or found.until <= self._clock.now():
            return None
        # a header may divide the same path where there is no namespace
        return found if found.namespace.path.startswith(asked.namespace) else None

    def note(self, exchange: Exchange, method: Method, *, sequence: int, until: float) -> None:
        """Remember an admission that was found at `sequence`, all of it.

        Only what reads, at an engine: the appliance's own engines want to know more of each request.
        """
        if exchange.is_conditional:
            return
        asked, mounted = exchange.asked, exchange.mounted
        if sequence != self._sequence or method.mutates or asked.query or len(asked.path) > _LONGEST_PATH:
            return
        if mounted is None or mounted.is_built_in or exchange.request.operation is not asked.operation:
            return
        if exchange.route is None or exchange.identity is None or exchange.acl is None:
            return
        if len(self._known) >= _CAPACITY:
            self._known.clear()
        self._known[asked.token, asked.path, asked.operation] = Admitted(
            mounted,
            exchange.route,
            exchange.request.params,
            exchange.identity,
            exchange.acl,
            exchange.namespace,
            exchange.granting,
            method,
            until,
        )

    async def open(self) -> None:
        """They come with the requests."""

    def close(self) -> None:
        """Forget all; at seal."""
        self._known.clear()
