"""`sys/version-history`: which versions of the appliance have had this store, and since when."""

import contextlib

import msgspec

from appliance.system.within import check_root
from core.clock import Clock, rfc3339
from core.engine import Method, Route
from core.errors import CasMismatchError
from core.protocols import CoreStorage
from core.requests import Operation, Request, Response

_PREFIX = "core/versions/"


class _Installed(msgspec.Struct):
    version: str
    installed_at: float  # epoch seconds
    build_date: str = ""  # RFC 3339


class VersionHistory:
    """A part of the lifecycle: `open` writes the running version down when the store has not seen it yet."""

    def __init__(self, storage: CoreStorage, clock: Clock, *, version: str, build_date: str = "") -> None:
        self._storage = storage
        self._clock = clock
        self._version = version
        self._build_date = build_date

    async def open(self) -> None:
        """After unsealing."""
        path = _PREFIX + self._version
        if await self._storage.get(path) is not None:
            return
        row = _Installed(self._version, self._clock.now(), self._build_date)
        with contextlib.suppress(CasMismatchError):  # another worker was first
            await self._storage.put(path, msgspec.json.encode(row), cas=0)

    def close(self) -> None:
        """Nothing is kept in memory."""

    async def rows(self) -> list[_Installed]:
        """By the time they came."""
        found = []
        for name in await self._storage.list(_PREFIX):
            entry = await self._storage.get(_PREFIX + name)
            if entry is not None:
                found.append(msgspec.json.decode(entry.value, type=_Installed))
        return sorted(found, key=lambda row: row.installed_at)


class VersionRoutes:
    """One list."""

    def __init__(self, history: VersionHistory) -> None:
        self._history = history

    def routes(self) -> list[Route]:
        """Below sys/."""
        listed = Method(handler=self.listed, mutates=False, summary="Every version, the oldest first.")
        return [
            Route(
                pattern="version-history",
                methods={Operation.LIST: listed},
                help="The versions that this store has been served by.",
            )
        ]

    async def listed(self, request: Request, _body: object) -> Response:
        """Vault's fields."""
        check_root(request)
        rows = await self._history.rows()
        before = [None, *(row.version for row in rows)]
        info = {
            row.version: {
                "build_date": row.build_date,
                "commit_date": row.build_date,
                "previous_version": previous,
                "timestamp_installed": rfc3339(row.installed_at),
            }
            for row, previous in zip(rows, before, strict=False)
        }
        return Response(data={"keys": [row.version for row in rows], "key_info": info})
