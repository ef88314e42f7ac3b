"""warnings: what an operator should know before it hurts."""

from core.engine import Method, NoBody, Route
from core.requests import Operation, Request, Response
from pki.moments import format_moment
from pki.parts import Parts


class WarningRoutes:
    """The same as in the metrics and in the log, as a list."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._watch = parts.watch

    def routes(self) -> list[Route]:
        """Below the mount."""
        read = Method(handler=self._read, mutates=False, summary="Issuers, roles and CRLs that need attention")
        return [
            Route(
                pattern="warnings",
                methods={Operation.READ: read},
                help="Issuers that end soon, roles that their issuer cannot serve in full any more, overdue CRLs."
                " The soonest comes first.",
            )
        ]

    async def _read(self, _request: Request, _body: NoBody) -> Response:
        issuers = (await self._store.authority()).issuers
        rows = [
            {
                "kind": warned.kind,
                "issuer_id": warned.issuer_id,
                "issuer_name": issuers[warned.issuer_id].row.name if warned.issuer_id in issuers else "",
                "role": warned.role,
                "at": format_moment(max(warned.at, 0)),
                "sentence": warned.sentence,
            }
            for warned in await self._watch.warnings()
        ]
        return Response(data={"warnings": rows})
