"""A worker whose caches have not heard yet of what another one committed: refusals that say so, never a fault."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from core.errors import IntegrityError
from core.protocols import Entry, StorageView
from core.requests import Operation
from tests.support.memory_storage import MemoryStorage
from tests.unit.transit.transit_mount import Mount
from transit.errors import UnknownKeyError
from transit.store import KeyStore


class _Deaf:
    """A storage or view whose caches keep what they have read once."""

    def __init__(self, view: StorageView) -> None:
        self._view = view

    def view(self, prefix: str) -> "_Deaf":
        return _Deaf(cast("MemoryStorage", self._view).view(prefix))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)

    def decoded_cache(self, load: Callable[..., Awaitable[Any]], **_bounds: Any) -> "_Kept":
        return _Kept(self._view, load)


class _Kept:
    def __init__(self, view: StorageView, load: Callable[..., Awaitable[Any]]) -> None:
        self._view, self._load = view, load
        self._values: dict[str, Any] = {}

    def peek(self, path: str) -> Any:
        return self._values.get(path)

    async def get(self, path: str) -> Any:
        if path not in self._values:
            entry: Entry | None = await self._view.get(path)
            self._values[path] = None if entry is None else await self._load(self._view, path, entry)
        return self._values[path]


@pytest.fixture
async def deaf(mount: Mount) -> KeyStore:
    """Has the key `k` with versions 1 and 2 in memory, and has read neither version."""
    await mount.write("keys/k")
    await mount.write("keys/k/rotate")
    await mount.write("keys/k/config", min_decryption_version=2, min_encryption_version=2, deletion_allowed=True)
    store = KeyStore(_Deaf(mount.parts.storage))
    await store.open("k")
    return store


async def test_a_version_that_was_trimmed_unheard(mount: Mount, deaf: KeyStore) -> None:
    await mount.write("keys/k/trim", min_available_version=2)
    with pytest.raises(UnknownKeyError, match="trimmed while it was used"):
        await deaf.version(await deaf.open("k"), 1)
    assert (await deaf.version(await deaf.open("k"), 2)).key is not None


@pytest.mark.parametrize("recreated", [False, True])
async def test_a_key_that_was_deleted_unheard(mount: Mount, deaf: KeyStore, recreated: bool) -> None:
    await mount.call(Operation.DELETE, "keys/k")
    if recreated:
        await mount.write("keys/k")
    with pytest.raises(UnknownKeyError, match="deleted, replaced"):
        await deaf.version(await deaf.open("k"), 1)


async def test_a_version_row_that_is_lost_is_a_fault(mount: Mount, deaf: KeyStore) -> None:
    await mount.parts.storage.delete("versions/k/00000002")
    with pytest.raises(IntegrityError, match="does not hold a version"):
        await deaf.version(await deaf.open("k"), 2)


async def test_what_another_worker_set_in_the_mounts_config_stays(mount: Mount) -> None:
    deaf = Mount(cast("MemoryStorage", _Deaf(mount.storage)), mount.keys, mount.clock)
    assert await deaf.read("config/keys") == {"disable_upsert": False, "require_custody": ""}
    await mount.write("config/keys", require_custody="hsm")
    await deaf.write("config/keys", disable_upsert=True)
    assert await mount.read("config/keys") == {"disable_upsert": True, "require_custody": "hsm"}
