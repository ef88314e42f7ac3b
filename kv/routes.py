"""kv as an engine: all routes of one mount, of version 1 or 2 as its options say."""

from collections.abc import Mapping, Sequence

from core.engine import Engine, EngineContext, Route
from core.errors import ConfigError
from kv import exact_json
from kv.config_routes import ConfigRoutes
from kv.data_routes import DataRoutes
from kv.import_routes import ImportRoutes
from kv.invalid_routes import InvalidRoutes
from kv.metadata_routes import MetadataRoutes
from kv.names import checked_name
from kv.parts import Parts, assemble
from kv.report_routes import ReportRoutes
from kv.search_routes import SearchRoutes
from kv.secret import Author
from kv.stage_routes import StageRoutes
from kv.subkeys_routes import SubkeysRoutes
from kv.unversioned_routes import UnversionedRoutes


def create(context: EngineContext) -> Engine:
    """The entry point `kv`. Raises ConfigError for a version that there is none of."""
    version = context.mount.options.get("version", "") or "1"
    if version not in {"1", "2"}:
        raise ConfigError(f"kv has the versions 1 and 2, not {version!r}")
    parts = assemble(context)
    return VersionedRoutes(parts) if version == "2" else PlainRoutes(parts)


class VersionedRoutes:
    """Version 2."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.routes: Sequence[Route] = [
            *DataRoutes(parts).routes(),
            *MetadataRoutes(parts).routes(),
            *ConfigRoutes(parts).routes(),
            *SubkeysRoutes(parts).routes(),
            *StageRoutes(parts).routes(),
            *ReportRoutes(parts).routes(),
            *SearchRoutes(parts).routes(),
            *ImportRoutes(parts).routes(),
            *InvalidRoutes().routes(),
        ]

    def deposit_path(self, name: str) -> str:
        """Where a caller would write it: policies speak of that path."""
        return f"data/{checked_name(name)}"

    async def deposit(self, name: str, data: Mapping[str, str], *, by: str) -> None:
        """A version that another engine makes, as `core.engine.DepositTaker`."""
        await self.parts.engine.put(checked_name(name), exact_json.encode(dict(data)), author=Author(by, "", "", ""))

    async def tend(self) -> None:
        """Write down who has read."""
        await self.parts.reads.tend()

    async def close(self) -> None:
        """Nothing is held back but what `tend` writes."""


class PlainRoutes:
    """Version 1."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.routes: Sequence[Route] = UnversionedRoutes(parts).routes()

    def deposit_path(self, name: str) -> str:
        """Where a caller would write it: policies speak of that path."""
        return f"data/{checked_name(name)}"

    async def deposit(self, name: str, data: Mapping[str, str], *, by: str) -> None:
        """A version that another engine makes, as `core.engine.DepositTaker`."""
        await self.parts.engine.put(checked_name(name), exact_json.encode(dict(data)), author=Author(by, "", "", ""))

    async def tend(self) -> None:
        """Write down who has read."""
        await self.parts.reads.tend()

    async def close(self) -> None:
        """Nothing is held back but what `tend` writes."""
