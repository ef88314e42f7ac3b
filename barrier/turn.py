"""Whose turn it is to write, among the processes that share one SQLite file.

SQLite lets a waiting writer poll with ever longer pauses, and the one that writes already is always faster. Here
whoever waits holds the place of the next one, which the writer needs itself before it can write again: two processes
take turns, and none of several waits for ever.

This is a courtesy: SQLite's own lock guards the file. Where the lock file cannot be made, there are no turns.
"""

import asyncio
import contextlib
import fcntl
import os
import struct
import time

_LOCK = "hhqqi"  # struct flock of fcntl(2), on 64-bit Linux
_WRITING, _NEXT = 0, 1  # bytes of the file
_POLL = 0.001  # seconds; what is waited for takes about five


class Turn:
    """One process's place in the order. The lock file is made beside the database when it is first needed."""

    def __init__(self, database: str) -> None:
        self._path = f"{database}-turn"
        self._file: int | None = None

    async def take(self, until: float) -> None:
        """Wait for the turn, at most until that time of the monotonic clock; then go on without."""
        if self._file is None:
            with contextlib.suppress(OSError):
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if await self._lock(_NEXT, until):
            await self._lock(_WRITING, until)
            self._unlock(_NEXT)

    def leave(self) -> None:
        """It is somebody else's turn."""
        self._unlock(_WRITING)

    def close(self) -> None:
        """Close the lock file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    async def _lock(self, byte: int, until: float) -> bool:
        while self._file is not None:
            try:
                self._set(fcntl.F_WRLCK, byte)
            except BlockingIOError:
                if time.monotonic() >= until:
                    break
            except OSError:
                break  # a file system without locks
            else:
                return True
            await asyncio.sleep(_POLL)
        return False

    def _unlock(self, byte: int) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._set(fcntl.F_UNLCK, byte)

    def _set(self, kind: int, byte: int) -> None:
        # of the open file description: a second database of this process is somebody else
        if self._file is not None:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, struct.pack(_LOCK, kind, os.SEEK_SET, byte, 1, 0))
