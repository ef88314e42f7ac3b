"""`sys/experiments`: there are none; clients ask all the same."""

from core.engine import Method, Route
from core.requests import Operation, Request, Response


class ExperimentRoutes:
    """One answer."""

    def routes(self) -> list[Route]:
        """Below sys/."""
        read = Method(handler=self.read, mutates=False, summary="Two empty lists.")
        return [Route(pattern="experiments", methods={Operation.READ: read}, help="Experimental features.")]

    async def read(self, _request: Request, _body: object) -> Response:
        """Vault's members."""
        return Response(data={"available": [], "enabled": []})
