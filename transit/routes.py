"""Transit as an engine: all routes of one mount."""

from collections.abc import Sequence

from core.engine import Engine, EngineContext, Route
from transit.data_routes import DataRoutes
from transit.key_routes import KeyRoutes
from transit.mac_routes import MacRoutes
from transit.parts import Parts, assemble
from transit.signature_routes import SignatureRoutes
from transit.tool_routes import ToolRoutes
from transit.transport_routes import TransportRoutes


def create(context: EngineContext) -> Engine:
    """The entry point `transit`."""
    return TransitRoutes(assemble(context))


class TransitRoutes:
    """The routes of one mount."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.routes: Sequence[Route] = [
            *KeyRoutes(parts).routes(),
            *DataRoutes(parts).routes(),
            *TransportRoutes(parts).routes(),
            *SignatureRoutes(parts).routes(),
            *MacRoutes(parts).routes(),
            *ToolRoutes(parts).routes(),
        ]

    async def housekeep(self) -> None:
        """Rotate the keys that are due."""
        await self.parts.rotations.rotate()

    async def close(self) -> None:
        """Give back reserved encryptions."""
        await self.parts.counters.close()
