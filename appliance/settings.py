"""What operators set at run time for the appliance as a whole: CORS, audited headers, UI headers, quotas, rotation.

All of it is one small sealed entry, so that one comparison tells a worker whether it still knows the present settings,
and a request that meets none of them reads attributes of memory alone.
"""

import contextlib
from collections.abc import Callable

import msgspec

from core.errors import CasMismatchError
from core.protocols import CoreStorage, CoreTransaction, Entry, StorageView

ENTRY = "core/settings"
# NIST SP 800-38D, 8.3: at most 2^32 invocations with random nonces; Vault stops at nine tenths
MAX_OPERATIONS = 3_865_470_566
DEFAULT_EXEMPT = (
    "sys/generate-recovery-token/attempt",
    "sys/generate-recovery-token/update",
    "sys/generate-root/attempt",
    "sys/generate-root/update",
    "sys/health",
    "sys/internal/ui/mounts",
    "sys/seal-status",
    "sys/unseal",
)


class Cors(msgspec.Struct, frozen=True, kw_only=True):
    """Which pages of other origins may call the API; without origins none may."""

    allowed_origins: tuple[str, ...] = ()
    allowed_headers: tuple[str, ...] = ()  # beside those that are always allowed
    allow_credentials: bool = False


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """A rate-limit quota. The three parts of `path` are found out when it is written."""

    name: str
    path: str  # as it was given, the namespace included: "", "team-a/", "team-a/secret/", "secret/data/x*"
    namespace: str = ""  # "team-a/"
    mount: str = ""  # "secret/"
    rest: str = ""  # "data/x*"
    role: str = ""
    rate: float  # requests of one client address in one interval
    interval: int = 1  # seconds
    block_interval: int = 0  # seconds
    inheritable: bool = False


class QuotaConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for all quotas. An exempt path may end in `*`."""

    exempt_paths: tuple[str, ...] = DEFAULT_EXEMPT
    audit_logging: bool = False
    response_headers: bool = False


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """When the barrier's keyring gets a new term by itself."""

    enabled: bool = True
    max_operations: int = MAX_OPERATIONS
    interval: int = 0  # seconds; 0: whatever its age


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The sealed entry."""

    cors: Cors = Cors()
    audited_headers: dict[str, bool] = {}  # name in lower case; whether the value is written as a keyed hash
    ui_headers: dict[str, tuple[str, ...]] = {}
    quotas: dict[str, RateLimit] = {}
    quota_config: QuotaConfig = QuotaConfig()
    rotation: Rotation = Rotation()
    format: int = 1


class SystemSettings:
    """The settings as this worker knows them, kept current as the mount table is: `is_current`, `refresh`.

    A part of the lifecycle: `open` after unsealing, `close` at seal.
    """

    def __init__(self, storage: CoreStorage) -> None:
        self._storage = storage
        self._cache = storage.decoded_cache(_load, capacity=1)
        self._seen: Settings | None = None
        self._watchers: list[Callable[[Settings], None]] = []
        self.value = Settings()

    def watch(self, watcher: Callable[[Settings], None]) -> None:
        """Have `watcher` called with the settings whenever they are new."""
        self._watchers.append(watcher)

    async def open(self) -> None:
        """Read them; at the first time also make the entry, so that there is something to compare with."""
        if await self._storage.get(ENTRY) is None:
            with contextlib.suppress(CasMismatchError):  # another worker was first
                await self._storage.put(ENTRY, msgspec.json.encode(Settings()), cas=0)
        await self.refresh()

    def close(self) -> None:
        """Forget them."""
        self._seen = None
        self._apply(Settings())

    def is_current(self) -> bool:
        """Whether no worker has changed them since the last `refresh`; no I/O."""
        return self._seen is not None and self._cache.peek(ENTRY) is self._seen

    async def refresh(self) -> None:
        """Read them, when they are not current."""
        if self.is_current():
            return
        self._seen = await self._cache.get(ENTRY)
        self._apply(self._seen or Settings())

    async def change(self, alter: Callable[[Settings], Settings]) -> Settings:
        """Replace them by what `alter` makes of the present ones, in one transaction; in force here on return."""

        async def body(txn: CoreTransaction) -> Settings:
            entry = await txn.get(ENTRY)
            before = _decode(entry.value) if entry else Settings()
            after = alter(before)
            if after != before:
                await txn.put(ENTRY, msgspec.json.encode(after))
            return after

        changed = await self._storage.transact(body)
        await self.refresh()
        return changed

    def _apply(self, settings: Settings) -> None:
        self.value = settings
        for watcher in self._watchers:
            watcher(settings)


_decode = msgspec.json.Decoder(Settings).decode


async def _load(_storage: StorageView, _path: str, entry: Entry) -> Settings:
    return _decode(entry.value)
