"""Whose turn it is to write, among the processes that share one SQLite file.

SQLite lets a waiting writer poll with ever longer pauses, and the one that writes already is always faster. Here
whoever waits holds the place of the next one, which the writer needs itself before it can write again: two processes
take turns, and none of several waits for ever. The next one hears a bell, those behind it poll.

This is a courtesy: SQLite's own lock guards the file. Where the lock file cannot be made, there are no turns.
"""

import asyncio
import contextlib
import fcntl
import os
import struct
import time

from barrier.bell import Bell

_LOCK = "hhqqi"  # struct flock of fcntl(2), on 64-bit Linux
_WRITING, _NEXT = 0, 1  # bytes of the file
_POLL = 0.001  # seconds; of those behind the next one


class Turn:
    """One process's place in the order. The lock file is made beside the database when it is first needed."""

    def __init__(self, database: str) -> None:
        self._path = f"{database}-turn"
        self._file: int | None = None
        self._bell: Bell | None = None
        self._is_mine = False

    async def take(self, until: float) -> None:
        """Wait for the turn, at most until that time of the monotonic clock; then go on without."""
        if self._file is None:
            with contextlib.suppress(OSError):
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                self._bell = Bell(self._file)
        if await self._lock(_NEXT, until):
            self._is_mine = self._try(_WRITING) or await self._wait_for_bell(until)
            self._unlock(_NEXT)

    def leave(self) -> None:
        """It is somebody else's turn; from any thread, and as often as one likes."""
        if self._is_mine:
            self._is_mine = False
            self._unlock(_WRITING)
            if self._bell is not None:
                self._bell.ring()

    def close(self) -> None:
        """Close the lock file."""
        if self._bell is not None:
            self._bell.close()
            self._bell = None
        if self._file is not None:
            os.close(self._file)
            self._file = None

    async def _lock(self, byte: int, until: float) -> bool:
        while not self._try(byte):
            if self._file is None or time.monotonic() >= until:
                return False
            await asyncio.sleep(_POLL)
        return True

    async def _wait_for_bell(self, until: float) -> bool:
        """Wait to write, as the next one, so that nobody else listens."""
        bell = self._bell
        if bell is None:
            return False
        bell.listen()
        try:
            while not self._try(_WRITING):
                if time.monotonic() >= until:
                    return False
                await bell.wait()
            return True
        finally:
            bell.ignore()

    def _try(self, byte: int) -> bool:
        """Whether the lock is ours now, or cannot be had at all, on a file system without locks."""
        try:
            self._set(fcntl.F_WRLCK, byte)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return self._file is not None

    def _unlock(self, byte: int) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._set(fcntl.F_UNLCK, byte)

    def _set(self, kind: int, byte: int) -> None:
        # of the open file description: a second database of this process is somebody else
        if self._file is not None:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, struct.pack(_LOCK, kind, os.SEEK_SET, byte, 1, 0))
