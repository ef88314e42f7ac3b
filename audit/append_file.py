"""A file that several processes append whole lines to, and that comes back by itself after a fault.

Every write is one `write(2)` under `flock(2)`. A write that was cut short (a full disk, a killed process) leaves a torn
piece without a newline at the end; nothing is ever truncated. Whoever writes next, of any process, finds under
the lock that the file does not end in a newline, and starts with one: the torn piece becomes a line of its own, which
is no record, and its record is written again in full.
"""

import contextlib
import errno
import fcntl
import os
import select
import stat
import time
from collections.abc import Sequence

from audit.options import DISCARD, STDOUT, FileOptions

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_LOCK_TRIES = 50  # about 30 µs: what another worker needs for its write
_STALLED_MS = 1000
_LOOK_EVERY = 0.01  # seconds between looks whether the path names another file by now; the renamed one loses nothing
_STDOUT_FD = 1


class FileBusyError(OSError):
    """Another process holds the lock on the file; try again in a moment."""


class AppendFile:
    """One audit file, open or not. Its calls raise OSError."""

    def __init__(self, options: FileOptions) -> None:
        self._options = options
        self._fd = -1
        self._regular = False
        self._identity = (0, 0)
        self._look_at = 0.0
        self._end = 0  # where our last write ended, if it ended well
        self._size = 0  # of the file, while it is locked
        self.fresh = False  # the file is another one, or emptied, since the last look: a new chain begins

    @property
    def path(self) -> str:
        """As the operator named it."""
        return self._options.file_path

    def open(self, *, make_directory: bool = False) -> None:
        """Open or create the file. Not through a symbolic link, and nothing but files and character devices."""
        self.close()
        if self.path in {STDOUT, DISCARD}:
            self._fd = os.dup(_STDOUT_FD) if self.path == STDOUT else os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            self._regular = False
            return
        if make_directory:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120 - plain strings
        mode = self._options.mode
        fd = os.open(self.path, _FLAGS, 0o600 if mode is None else mode)
        try:
            self._adopt(fd)
        except BaseException:
            os.close(fd)
            raise

    def _adopt(self, fd: int) -> None:
        found = os.fstat(fd)
        self._regular = stat.S_ISREG(found.st_mode)
        if not self._regular and not stat.S_ISCHR(found.st_mode):
            raise OSError(errno.EINVAL, "neither a file nor a character device", self.path)
        mode = self._options.mode
        if self._regular and mode is not None and stat.S_IMODE(found.st_mode) != mode:
            os.fchmod(fd, mode)
        identity = (found.st_dev, found.st_ino)
        if identity != self._identity:
            self.fresh, self._end = True, 0
        self._fd, self._identity = fd, identity
        self._look_at = 0.0

    def close(self) -> None:
        """Close it; `append` opens it again."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with contextlib.suppress(OSError):  # a late write error of some file systems
                os.close(fd)

    @property
    def is_open(self) -> bool:
        """Whether there is a descriptor."""
        return self._fd >= 0

    def is_same(self) -> bool:
        """Whether the path still names the file that is open; not after it was removed or moved away."""
        if not self._regular:
            return True
        try:
            if os.fstat(self._fd).st_nlink == 0:
                return False  # removed: what is written now would be lost
            now = time.monotonic()
            if now < self._look_at:
                return True
            self._look_at = now + _LOOK_EVERY
            found = os.stat(self.path, follow_symlinks=False)  # noqa: PTH116 - half the cost of a Path
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def lock(self) -> None:
        """Take the file for this process and look at its end. Raises FileBusyError at once, never waits long."""
        if not self._regular:
            return
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                continue
        else:
            raise FileBusyError(errno.EWOULDBLOCK, "another process holds a lock on the file", self.path)
        try:
            self._size = os.lseek(self._fd, 0, os.SEEK_END)
        except OSError:
            self.unlock()
            raise
        if self._size < self._end:
            self.fresh, self._end = True, 0  # emptied under us (logrotate's copytruncate)

    def unlock(self) -> None:
        """Give it back."""
        if self._regular and self._fd >= 0:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def append(self, lines: Sequence[bytes]) -> tuple[int, OSError | None]:
        """Write the lines, which end in a newline each; how many are whole in the file, and what stopped the rest.

        To be called between `lock` and `unlock`.
        """
        if not self._regular:
            return self._append_to_stream(lines)
        start = b"\n" if self._is_torn() else b""
        block = start + b"".join(lines)
        self._end = 0  # unless this goes well, look for a torn piece before the next write
        try:
            written = os.write(self._fd, block)
        except OSError as exc:
            return 0, exc
        if written == len(block):
            self._end = self._size + written
            return len(lines), None
        return _whole_lines(lines, written - len(start)), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)

    def _is_torn(self) -> bool:
        return self._size not in {0, self._end} and os.pread(self._fd, 1, self._size - 1) != b"\n"

    def _append_to_stream(self, lines: Sequence[bytes]) -> tuple[int, OSError | None]:
        """Line by line, which a pipe keeps whole up to 4 KiB (PIPE_BUF) when several workers write to it."""
        for done, line in enumerate(lines):
            try:
                self._write_stream(line)
            except OSError as exc:
                return done, exc
        return len(lines), None

    def _write_stream(self, line: bytes) -> None:
        """To a terminal, pipe or device, which may take a piece at a time, but not nothing for a second."""
        rest = memoryview(line)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                if not poll.poll(_STALLED_MS):
                    raise


def _whole_lines(lines: Sequence[bytes], written: int) -> int:
    """How many lines are complete in the first `written` bytes; a newline may be what is missing."""
    count = end = 0
    for line in lines:
        end += len(line)
        if written < end - 1:
            break
        count += 1
    return count
