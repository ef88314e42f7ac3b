"""kv as an engine: all routes of one mount, of version 1 or 2 as its options say."""

from collections.abc import Sequence

from core.engine import Engine, EngineContext, Route
from core.errors import ConfigError
from kv.data_routes import DataRoutes
from kv.import_routes import ImportRoutes
from kv.metadata_routes import MetadataRoutes
from kv.parts import Parts, assemble


def create(context: EngineContext) -> Engine:
    """The entry point `kv`. Raises ConfigError for a version that there is none of."""
    version = context.mount.options.get("version", "") or "1"
    if version not in {"1", "2"}:
        raise ConfigError(f"kv has the versions 1 and 2, not {version!r}")
    return VersionedRoutes(assemble(context))


class VersionedRoutes:
    """Version 2."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.routes: Sequence[Route] = [
            *DataRoutes(parts).routes(),
            *MetadataRoutes(parts).routes(),
            *ImportRoutes(parts).routes(),
        ]

    async def close(self) -> None:
        """Nothing is held back."""
