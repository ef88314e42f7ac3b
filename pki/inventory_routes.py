"""inventory: the certificates of the mount, searched and counted."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from core.bodies import Duration
from core.engine import Method, Route
from core.errors import InvalidRequestError
from core.requests import Operation, Request, Response
from pki.authority import Authority
from pki.certificates import CATALOG, Known, State
from pki.inventory import STATES, Sought, search
from pki.parts import Parts

_DEFAULT_LIMIT, _MOST = 100, 1000


class InventoryBody(msgspec.Struct):
    """What is looked for; all of it must hold."""

    san: str = ""
    role: str = ""
    issuer: str = ""
    requester: str = ""
    state: str = "valid"
    expiring: Duration | None = None
    after: str = ""
    limit: int = _DEFAULT_LIMIT


class InventoryRoutes:
    """Served by indexes, whatever is asked, and by pages: one answer never takes long."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._clock = parts.clock

    def routes(self) -> list[Route]:
        """Below the mount."""
        return [
            Route(
                pattern="inventory",
                methods={
                    Operation.READ: Method(
                        handler=self._search,
                        body=InventoryBody,
                        mutates=False,
                        summary="Certificates by name, role, issuer, requester, state and end",
                    )
                },
                help='Choose by `san` (a name or a pattern, "web*"), `role`, `issuer`, `requester`, `expiring` (ends'
                f' within: "7d") and `state` ({", ".join(STATES)}). The first to end comes first; pages with `limit`'
                " and `after`, which is the `next` of the page before.",
            )
        ]

    async def _search(self, _request: Request, body: InventoryBody) -> Response:
        authority = await self._store.authority()
        now = int(self._clock.now())
        page = await search(
            lambda query: self._store.storage.find_rows(CATALOG, query),
            _sought(body, authority, now),
            now=now,
            after=body.after,
            limit=_limit(body.limit),
        )
        rows = [_row(known, authority, now) for known in page.found]
        return Response(data={"certificates": rows, "next": page.next})


def _sought(body: InventoryBody, authority: Authority, now: int) -> Sought:
    if body.state not in STATES:
        raise InvalidRequestError(f"state must be one of {', '.join(STATES)}")
    return Sought(
        san=body.san,
        role=body.role,
        issuer_id=authority.issuer(body.issuer).issuer_id if body.issuer else "",
        requester=body.requester,
        state=body.state,
        ends_before=None if body.expiring is None else now + body.expiring,
    )


def _limit(limit: int) -> int:
    if not 1 <= limit <= _MOST:
        raise InvalidRequestError(f"limit must be 1 to {_MOST}")
    return limit


def _row(known: Known, authority: Authority, now: int) -> dict[str, Any]:
    body = known.body
    issuer = authority.issuers.get(body.issuer_id)
    return {
        "serial_number": known.serial,
        "common_name": body.common_name,
        "names": list(body.names),
        "role": body.role,
        "way": body.way,
        "issuer_id": body.issuer_id,
        "issuer_name": "" if issuer is None else issuer.row.name,
        "requester": body.requester,
        "entity_id": body.entity_id,
        "is_ca": body.is_ca,
        "state": _state(known, now),
        "issued_at": _time(body.issued_at),
        "not_after": _time(known.not_after),
        "expiration": known.not_after,
        "revocation_time": body.revoked_at,
        "reason": body.reason,
    }


def _state(known: Known, now: int) -> str:
    if known.state is State.ISSUED:
        return "valid" if known.not_after > now else "expired"
    return known.state.name.lower()


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else ""
