"""The live keys of this process: unwrapped keys by key_id, bounded, and bound to the module's epoch.

After C_Finalize object numbers start again, so a handle from before may name another tenant's key. Every entry carries
the epoch it was made in, and is not used in another.
"""

from collections.abc import Callable

from core.protocols import KeyKind, KeyUsage
from pkcs11_glue.software_key import SoftwareKey

_CIPHERS = (KeyKind.AES_128, KeyKind.AES_256)


class LiveKey:
    """A key ready for use: an object handle, or an opened software key (`sealed` custody)."""

    __slots__ = (
        "epoch",
        "handle",
        "is_cipher",
        "key_id",
        "kind",
        "modulus",
        "recent",
        "retired",
        "software",
        "usage",
        "users",
    )

    def __init__(
        self,
        *,
        key_id: str,
        kind: KeyKind,
        usage: KeyUsage,
        epoch: int,
        handle: int = 0,
        modulus: int = 0,
        software: SoftwareKey | None = None,
    ) -> None:
        self.key_id = key_id
        self.kind = kind
        self.usage = usage
        self.epoch = epoch
        self.handle = handle
        self.modulus = modulus  # of an RSA key that decrypts
        self.software = software
        # the common case, told by one look: an AEAD key inside the HSM that is used as it is
        self.is_cipher = usage is KeyUsage.ENCRYPT and kind in _CIPHERS and software is None
        self.recent = True  # used since the eviction hand last passed
        self.users = 0  # calls on threads; a key in use is destroyed when the last of them ends
        self.retired = False

    def __repr__(self) -> str:
        return f"LiveKey({self.key_id}, epoch {self.epoch})"


class HandleCache:
    """At most `capacity` live keys, for one event loop. Evicts by second chance: nearly LRU, free at a hit."""

    def __init__(self, capacity: int, destroy: Callable[[LiveKey], None]) -> None:
        self._capacity = capacity
        self._destroy = destroy
        self._live: dict[str, LiveKey] = {}
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._live)

    def get(self, key_id: str) -> LiveKey | None:
        """The live key, if it is of the present epoch."""
        live = self._live.get(key_id)
        if live is None or live.epoch != self.epoch:
            return None
        live.recent = True
        return live

    def put(self, live: LiveKey) -> LiveKey:
        """Keep it, and make room. A stale one is not kept. If another call was quicker, its key is answered."""
        if live.epoch != self.epoch:
            return live
        present = self.get(live.key_id)
        if present is not None:
            self.discard(live)
            return present
        while len(self._live) >= self._capacity:
            self._evict_one()
        self._live[live.key_id] = live
        return live

    def hold(self, live: LiveKey) -> None:
        """A call on a thread begins to use it."""
        live.users += 1

    def release(self, live: LiveKey) -> None:
        """That call has ended."""
        live.users -= 1
        if live.retired and not live.users:
            self._dispose(live)

    def drop_all(self) -> None:
        """Destroy every key."""
        keys, self._live = list(self._live.values()), {}
        for live in keys:
            self.discard(live)

    def start_epoch(self) -> None:
        """Forget everything: the module is, or will be, finalised, and has destroyed its objects itself."""
        self.epoch += 1
        self._live.clear()

    def discard(self, live: LiveKey) -> None:
        """Destroy a key, now or when the last call that uses it ends."""
        live.retired = True
        if not live.users:
            self._dispose(live)

    def _evict_one(self) -> None:
        while True:
            key_id, live = next(iter(self._live.items()))
            del self._live[key_id]
            if not live.recent:
                self.discard(live)
                return
            live.recent = False
            self._live[key_id] = live

    def _dispose(self, live: LiveKey) -> None:
        live.software = None
        if live.epoch == self.epoch and live.handle:
            self._destroy(live)
