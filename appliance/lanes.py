"""A memory-mapped file that the processes of a node count in: one lane for each, which it alone writes and all read.

So nothing on a request's way takes a lock or makes a system call. Which lanes are taken is said by locks that the
kernel drops when a process dies: its successor goes on with the numbers that stand there. Lanes that nobody took are
holes in the file and cost nothing.

Layout, in native 64-bit words: how many lanes were ever taken, 511 words of nothing, then the lanes.
"""

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from core.errors import ConfigError

LANES = 128
_HEAD = 512  # words
_LOCK = "hhqqi"  # struct flock of fcntl(2), on 64-bit Linux


class Lanes:
    """One process's mapping, and its own lane."""

    def __init__(self, descriptor: int, page: mmap.mmap, *, lane_words: int, own: int | None) -> None:
        self._descriptor = descriptor
        self._page = page
        self._lane_words = lane_words
        self._lane = own
        self.words = memoryview(page).cast("Q")

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, lane_words: int, reader: bool = False) -> Self:
        """Map the file, make it when it is not there, and take a free lane. A `reader` takes none.

        Files of another layout need another name: nobody may shorten what others have mapped. Raises ConfigError.
        """
        size = (_HEAD + LANES * lane_words) * 8
        try:
            descriptor = os.open(Path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if os.fstat(descriptor).st_size < size:
                os.ftruncate(descriptor, size)
            page = mmap.mmap(descriptor, size)
        except OSError as exc:
            raise ConfigError(f"{os.fspath(path)} cannot be mapped: {exc.strerror}") from exc
        lanes = cls(descriptor, page, lane_words=lane_words, own=None)
        if not reader:
            try:
                lanes._take()
            except BaseException:
                lanes.close()
                raise
        return lanes

    def _take(self) -> None:
        for lane in range(LANES):
            if self._lock(lane):
                self._lane = lane
                break
        else:
            raise ConfigError(f"more than {LANES} processes of one node count in the same file; run fewer workers")
        try:
            # what is written must have its room: a full file system would end the process with SIGBUS later
            os.posix_fallocate(self._descriptor, 0, _HEAD * 8)
            os.posix_fallocate(self._descriptor, self._start(self._lane) * 8, self._lane_words * 8)
        except OSError as exc:
            raise ConfigError(f"there is no room for the counters of this process: {exc.strerror}") from exc
        with self.alone():
            self.words[0] = max(self.words[0], self._lane + 1)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes that start now out: for what is written into the head once."""
        fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLKW, _flock(fcntl.F_WRLCK, LANES))
        try:
            yield
        finally:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK, LANES))

    def close(self) -> None:
        """Unmap the file and give the lane back."""
        self.words.release()
        self._page.close()
        os.close(self._descriptor)

    @property
    def own(self) -> int:
        """Where the own lane begins in `words`."""
        if self._lane is None:
            raise RuntimeError("a reader has no lane")
        return self._start(self._lane)

    def starts(self) -> range:
        """Where each lane that was ever taken begins."""
        used = min(self.words[0], LANES)
        return range(_HEAD, self._start(used), self._lane_words)

    def live_starts(self) -> Iterator[int]:
        """The lanes of processes that run; a system call for each."""
        for number, start in enumerate(self.starts()):
            if number == self._lane or self._is_locked(number):
                yield start

    def _start(self, lane: int) -> int:
        return _HEAD + lane * self._lane_words

    def _lock(self, lane: int) -> bool:
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _flock(fcntl.F_WRLCK, lane))
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _is_locked(self, lane: int) -> bool:
        found = fcntl.fcntl(self._descriptor, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK, lane))
        return int(struct.unpack(_LOCK, found)[0]) != fcntl.F_UNLCK


def _flock(kind: int, lane: int) -> bytes:
    """One byte of the file stands for the lane of that number, and one more for the head."""
    return struct.pack(_LOCK, kind, os.SEEK_SET, lane, 1, 0)
