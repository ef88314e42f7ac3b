"""report: secrets that somebody should look after, a page at a time."""

from core.durations import parse_duration
from core.engine import Method, NoBody, Route
from core.errors import InvalidRequestError
from core.requests import Operation, Request, Response
from kv.parts import Parts
from kv.report import DEFAULT_UNREAD, Row, Wanted, reasons, row_of
from kv.walk import access_of, span_of, walk

_FLAGS = {"true": True, "1": True, "false": False, "0": False}


class ReportRoutes:
    """Asks the policies at metadata/ for each secret."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._engine = parts.engine
        self._reads = parts.reads
        self._cursors = parts.cursors

    def routes(self) -> list[Route]:
        """Below the mount."""
        return [
            Route(
                pattern="report",
                methods={
                    Operation.READ: Method(
                        handler=self._report,
                        mutates=False,
                        asks_access=True,
                        summary="Secrets that are overdue, without owner, never read or not for long",
                    )
                },
                help="Choose by `overdue`, `no_owner`, `never_read` and `unread_for`; without them it is all four."
                " Shows secrets whose metadata the caller may read, by pages with `prefix`, `limit` and `after`.",
            )
        ]

    async def _report(self, request: Request, _body: NoBody) -> Response:
        wanted, span, access = wanted_of(request), await span_of(request, self._cursors), access_of(request)
        page = await walk(
            self._store,
            span,
            is_visible=lambda name: access.allows(f"metadata/{name}", "read"),
            look=lambda name: self._look(name, wanted),
        )
        after = await self._cursors.hide(page.last) if page.last else ""
        return Response(data={"secrets": page.rows, "next": after})

    async def _look(self, name: str, wanted: Wanted) -> Row | None:
        secret = await self._store.glance(name)
        if secret is None:  # it went away meanwhile
            return None
        last = await self._reads.last(secret.secret_id) if wanted.asks_reads else None
        why = reasons(secret, last, wanted, self._engine.now())
        if not why:
            return None
        if not wanted.asks_reads:
            last = await self._reads.last(secret.secret_id)
        return row_of(name, secret, why, last)


def wanted_of(request: Request) -> Wanted:
    """The kinds of the query; what is not said is left out where something is asked for. Raises InvalidRequestError."""
    given = {name: _flag(request, name) for name in ("overdue", "no_owner", "never_read")}
    unread_for = _unread_for(request)
    is_asked = unread_for > 0 or any(given.values())
    overdue, no_owner, never_read = (not is_asked if flag is None else flag for flag in given.values())
    return Wanted(overdue, no_owner, never_read, unread_for or (0 if is_asked else DEFAULT_UNREAD))


def _flag(request: Request, name: str) -> bool | None:
    text = request.query.get(name, "").lower()
    if text and text not in _FLAGS:
        raise InvalidRequestError(f"{name} must be true or false")
    return _FLAGS.get(text)


def _unread_for(request: Request) -> int:
    text = request.query.get("unread_for", "")
    seconds = parse_duration(text, field="unread_for")
    if text and seconds <= 0:
        raise InvalidRequestError("unread_for must be a duration like 90d")
    return seconds
