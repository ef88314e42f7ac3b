"""The page that every process of a node maps: what changed, and whether the appliance is sealed.

Layout, in native 64-bit words: magic, format, sequence, floor, seal word, then from byte 4096 the ring of 65,536
hashes. The change with sequence number `n` (counted from 1) is in slot `(n - 1) % 65536`. The seal word is the seal
generation, shifted left by one, and the flag "sealed by the operator" in its lowest bit, so that both change in one
store.

A writer appends hashes first and advances the sequence last, under a lock that the kernel drops when the writer dies:
a reader never sees a sequence number whose hash is not there.
"""

import fcntl
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Self

from core.errors import ConfigError

CAPACITY = 65_536
# a writer may have overwritten this many slots past the sequence that a reader sees
MAX_BATCH = CAPACITY // 2
# more names than this take the writer's event loop longer (1 us each) than reloading its caches takes the others
MAX_NAMED = 4096

_MAGIC = int.from_bytes(b"mimirchg", "little")
_FORMAT = 1
_MAGIC_AT, _FORMAT_AT, SEQUENCE, _FLOOR, SEAL, _RING = 0, 1, 2, 3, 4, 512
_SIZE = _RING * 8 + CAPACITY * 8


def path_hash(path: str) -> int:
    """Eight bytes of BLAKE2b (RFC 7693): two paths that collide cost a needless reload, nothing else."""
    return int.from_bytes(blake2b(path.encode(), digest_size=8).digest(), "little")


class ChangeRing:
    """One process's mapping of the shared page."""

    def __init__(self, path: Path, page: mmap.mmap, lock: int) -> None:
        self.path = path
        self._page = page
        self._lock = lock
        self.words = memoryview(page).cast("Q")  # public for the one comparison that every request makes

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Self:
        """Make the page anew and map it; for the supervisor, before it spawns anybody. Raises ConfigError."""
        page = bytearray(_SIZE)
        words = memoryview(page).cast("Q")
        words[_MAGIC_AT], words[_FORMAT_AT] = _MAGIC, _FORMAT
        fresh = Path(f"{os.fspath(path)}.new")
        try:
            fresh.unlink(missing_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(page)
            fresh.replace(path)
        except OSError as exc:
            raise ConfigError(f"the change ring {os.fspath(path)} cannot be made: {exc.strerror}") from exc
        return cls.open(path)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Map the page that the supervisor made. Raises ConfigError."""
        try:
            with Path(path).open("r+b") as file:
                page = mmap.mmap(file.fileno(), _SIZE)
            lock = os.open(f"{os.fspath(path)}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except (OSError, ValueError) as exc:
            raise ConfigError(
                f"the change ring {os.fspath(path)} cannot be mapped; is the supervisor running?"
            ) from exc
        ring = cls(Path(path), page, lock)
        if (ring.words[_MAGIC_AT], ring.words[_FORMAT_AT]) != (_MAGIC, _FORMAT):
            ring.close()
            raise ConfigError(f"{os.fspath(path)} is not a change ring of this version")
        return ring

    def close(self) -> None:
        """Unmap the page."""
        self.words.release()
        self._page.close()
        os.close(self._lock)

    # --- changed entries ------------------------------------------------------------------------------------------

    @property
    def sequence(self) -> int:
        """The number of the last change."""
        return self.words[SEQUENCE]

    def publish(self, paths: Sequence[str]) -> None:
        """Tell every process that these entries changed; returns when all can see it."""
        if len(paths) > MAX_NAMED:
            self.publish_all()
        elif paths:
            hashes = [path_hash(path) for path in paths]
            with self._writing():
                self._append(hashes)

    def publish_all(self) -> None:
        """Tell every process to drop all it knows: somebody may have died between a commit and `publish`."""
        with self._writing():
            after = self.words[SEQUENCE] + 1
            self.words[_FLOOR] = after
            self._barrier()
            self.words[SEQUENCE] = after

    def since(self, seen: int) -> list[int] | None:
        """The hashes of what changed after `seen`; None when that is no longer known, so that everything must go."""
        words = self.words
        now = words[SEQUENCE]
        if now == seen:
            return []
        if seen > now or seen < words[_FLOOR] or now - seen > MAX_BATCH:
            return None
        hashes = [words[_RING + number % CAPACITY] for number in range(seen, now)]
        if words[SEQUENCE] - seen > MAX_BATCH:
            return None  # a writer came round while we read
        return hashes

    def _append(self, hashes: list[int]) -> None:
        last = self.words[SEQUENCE]
        for number, value in enumerate(hashes, last):
            self.words[_RING + number % CAPACITY] = value
        self._barrier()
        self.words[SEQUENCE] = last + len(hashes)

    # --- the seal word --------------------------------------------------------------------------------------------

    @property
    def seal_word(self) -> int:
        """Changes whenever the seal does; for a comparison with the one seen last."""
        return self.words[SEAL]

    @property
    def sealed_by_operator(self) -> bool:
        """Whether `sys/seal` was called and nobody has unsealed since; forgotten when the service restarts."""
        return bool(self.words[SEAL] & 1)

    def bump_seal(self, *, sealed_by_operator: bool | None = None) -> None:
        """Make every process look at the seal again; None leaves the flag as it is."""
        with self._writing():
            word = self.words[SEAL]
            flag = word & 1 if sealed_by_operator is None else int(sealed_by_operator)
            self.words[SEAL] = ((word >> 1) + 1) << 1 | flag

    # --- writers --------------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[None]:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _barrier(self) -> None:
        """Order the stores before it and after it: a system call is a full barrier, and Python has no other."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
