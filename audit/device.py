"""A file device: formats records under its own key, chains them, and keeps what could not be written yet."""

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from audit.append_file import AppendFile, FileBusyError
from audit.chain import ChainState, new_chain, seal_lines
from audit.hashing import Hasher
from audit.lines import LineFormat
from audit.options import parse_file_options
from audit.records import AuditAuth, AuditRequest, AuditResponse
from core.secret import Secret

BACKLOG_BYTES = 8 * 2**20  # about 5,000 records; what comes after while the device is down is counted as lost
_MOST_FRESH = 1_000  # records that wait unformatted while others are written
_FIRST_PAUSE = 0.05  # seconds until a failed open is tried again; doubles
_LONGEST_PAUSE = 1.0
_CLOSING_TRIES = 20  # at seal, for 20 ms, while another worker has the file
_PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EAGAIN, errno.EINTR})  # the descriptor stays good


NO_RESPONSE = AuditResponse()  # in the place of the response: this is the record of a request
Record = tuple[float, AuditRequest, AuditAuth | None, AuditResponse | None, str]  # the first: epoch seconds


class DeviceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A device as the audit table holds it, sealed: the key is in it."""

    path: str  # "file/"
    type: str
    description: str
    options: dict[str, str]
    local: bool
    accessor: str
    key: bytes

    def __repr__(self) -> str:
        return f"DeviceRecord({self.path})"


@dataclass(slots=True, kw_only=True)
class Batch:
    """Lines on their way to the file, and what became of them."""

    lines: list[bytes]
    lost: int  # records before them
    done: int = 0  # lines that are whole in the file
    error: OSError | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all of them are in the file."""
        return self.done == len(self.lines)


class FileDevice:
    """One enabled device in one process. `write` and `write_batch` are what touches the file."""

    def __init__(self, record: DeviceRecord, *, writer: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        options = parse_file_options(record.options)
        hasher = Hasher(Secret(record.key))
        self.record = record
        self.hash_text = hasher.text
        self.lost = 0  # records since the last line that found no place in the backlog
        self._format = LineFormat(hasher, hmac_accessor=options.hmac_accessor)
        self._prefix = options.prefix.encode()
        self._file = AppendFile(options)
        self._writer = writer
        self._chain = new_chain(writer)
        self._fresh: list[Record] = []
        self._backlog: list[bytes] = []
        self._backlog_bytes = 0
        self._is_writing = False  # the lines at the front of the backlog are on their way
        self._monotonic = monotonic
        self._retry_at = 0.0
        self._pause = 0.0
        self._reason: OSError | None = None

    @property
    def pending(self) -> bool:
        """Whether records wait to be written."""
        return bool(self._fresh or self._backlog)

    def add(self, record: Record) -> bool:
        """Buffer a record; False when there is no room.

        Records of this turn, and those that come while a batch is on its way, are formatted together when they are
        written: what runs in a row runs twice as fast. While the device is down they are formatted at once, since then
        their size decides.
        """
        if not self._backlog or (self._is_writing and len(self._fresh) < _MOST_FRESH):
            self._fresh.append(record)
            return True
        self._format_fresh()
        line = self._line(record)
        if self._backlog_bytes + len(line) > BACKLOG_BYTES:
            self.lost += 1
            return False
        self._keep(line)
        return True

    def _format_fresh(self) -> None:
        fresh, self._fresh = self._fresh, []
        for record in fresh:
            self._keep(self._line(record))

    def _line(self, record: Record) -> bytes:
        now, request, auth, response, error = record
        if response is NO_RESPONSE:
            line = self._format.request(now, request, auth, error)
        else:
            line = self._format.response(now, request, auth, response, error)
        return self._prefix + line if self._prefix else line

    def _keep(self, line: bytes) -> None:
        self._backlog.append(line)
        self._backlog_bytes += len(line)

    def open(self, *, make_directory: bool = False) -> None:
        """Open the file now, so that a fault shows. Raises OSError."""
        self._file.open(make_directory=make_directory)

    def write(self) -> None:
        """Append everything that is buffered with one system call. Raises OSError; FileBusyError: ask again soon."""
        batch = self.begin()
        try:
            self.write_batch(batch)
        finally:
            self.settle(batch)
        if batch.error is not None:
            raise batch.error

    def begin(self) -> Batch:
        """What is to be written now. `write_batch` comes next, in any thread, and then `settle`; nothing between."""
        self._format_fresh()
        self._is_writing = True
        return Batch(lines=list(self._backlog), lost=self.lost)

    def write_batch(self, batch: Batch) -> None:
        """Append the lines with one system call, and note in the batch how far that went."""
        try:
            self._make_ready()
            self._file.lock()
        except OSError as exc:
            batch.error = exc
            return
        try:
            self._append(batch)
        finally:
            self._file.unlock()
        if batch.error is not None and batch.error.errno not in _PASSING:
            self._file.close()

    def settle(self, batch: Batch) -> None:
        """What was not written waits for the next time."""
        self._is_writing = False
        if batch.done:
            self.lost -= batch.lost
            self._backlog_bytes -= sum(map(len, self._backlog[: batch.done]))
            del self._backlog[: batch.done]

    def _make_ready(self) -> None:
        """Open the file if it is not, or if its path names another one by now; after a failure, with back-off."""
        if self._file.is_open and self._file.is_same():
            return
        if self._reason is not None and self._monotonic() < self._retry_at:
            raise self._reason
        try:
            self._file.open()
        except OSError as exc:
            self._pause = min(self._pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE)
            self._retry_at = self._monotonic() + self._pause
            self._reason = exc
            raise
        self._pause, self._reason = 0.0, None

    def _append(self, batch: Batch) -> None:
        """Chain and write; what was not written leaves no trace in the chain."""
        if self._file.fresh:
            self._chain, self._file.fresh = new_chain(self._writer, previous=self._chain.previous), False
        lines, hashes = seal_lines(self._chain, batch.lines, lost=batch.lost)
        batch.done, batch.error = self._file.append(lines)
        if batch.done:
            self._chain = ChainState(self._chain.chain_id, self._chain.seq + batch.done, hashes[batch.done - 1])

    def reopen(self) -> None:
        """Let go of the file; the next write opens whatever has its name then."""
        self._file.close()
        self._reason = None

    def close(self) -> None:
        """Write what is left, if that is possible, and let go."""
        for _ in range(_CLOSING_TRIES if self.pending else 0):
            try:
                self.write()
            except FileBusyError:
                time.sleep(0.001)
                continue
            except OSError:
                pass  # refused already to whoever waited for these records
            break
        self._file.close()


__all__ = ["NO_RESPONSE", "Batch", "DeviceRecord", "FileBusyError", "FileDevice", "Record"]
