"""When records are written: what the devices were given in one turn of the event loop goes out with one write each.

As a rule that happens on the loop: a write to the page cache takes some microseconds. While a file system makes writers
wait (another file's fsync, a disk that is busy), it happens in a thread, and the loop serves who does not wait for
it. One write is under way at a time; what comes meanwhile goes out with the next.
"""

import asyncio
import concurrent.futures
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from audit.device import Batch, FileBusyError, FileDevice
from core.errors import AuditUnavailableError

BUSY_LIMIT = 2.0  # seconds; a lock that is held longer than this is a fault, not a neighbour
_BUSY_PAUSE = 0.0003  # seconds until a file that another process has locked is tried again
_QUICK = 0.001  # seconds that a write may take: a process that must wait for the processor takes as long
_WINDOW = 1.0  # seconds
_MUCH = 0.1  # seconds of slow writes in a window: then they go to the thread
_SLOW_FOR = 2.0  # seconds that they stay there before the loop tries again

Failed = list[tuple[FileDevice, OSError]]


class Pace:
    """Whether writes have made the loop wait lately."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._slow_until = self._window_ends = self._waited = 0.0

    @property
    def is_slow(self) -> bool:
        """Then a thread writes."""
        return self._monotonic() < self._slow_until

    def note(self, took: float) -> None:
        """The loop has waited so long for a write."""
        if took < _QUICK:
            return
        now = self._monotonic()
        if now >= self._window_ends:
            self._window_ends, self._waited = now + _WINDOW, 0.0
        self._waited += took
        if self._waited > _MUCH:
            self._slow_until, self._window_ends = now + _SLOW_FOR, 0.0


class _Flight:
    """The batches of one turn on their way, and who waits for them."""

    def __init__(self, pending: Sequence[FileDevice], waiting: list[asyncio.Future[None]], *, is_taken: bool) -> None:
        self.batches = [(device, device.begin()) for device in pending]
        self.waiting = waiting
        self.landing: concurrent.futures.Future[None] | None = None  # of one in the thread
        self.fault: BaseException | None = None  # of ours
        self._is_taken = is_taken

    def write(self, *, patience: float = 0.0) -> None:
        """From any thread; with `patience` seconds for a lock that another process holds."""
        try:
            for device, batch in self.batches:
                _write(device, batch, time.monotonic() + patience)
        except BaseException as exc:  # noqa: BLE001 - raised again where those who wait are told
            self.fault = exc

    @property
    def is_taken(self) -> bool:
        """Whether one device at least has every record that was made before."""
        return self._is_taken or any(batch.is_whole for _, batch in self.batches)

    @property
    def failed(self) -> Failed:
        """What was in the way."""
        return [(device, batch.error) for device, batch in self.batches if batch.error is not None]


class Turns:
    """Those of one process. `devices`: the present ones. `refusal`: the sentence for who cannot be recorded."""

    def __init__(
        self,
        devices: Callable[[], Collection[FileDevice]],
        refusal: Callable[[Failed], str],
        *,
        pace: Pace,
        monotonic: Callable[[], float],
    ) -> None:
        self._devices = devices
        self._refusal = refusal
        self._pace = pace
        self._monotonic = monotonic
        self._waiting: list[asyncio.Future[None]] = []
        self._scheduled: asyncio.Handle | None = None
        self._flight: _Flight | None = None  # in the thread
        self._comes_again = False  # something was added meanwhile
        self._thread: ThreadPoolExecutor | None = None
        self._busy_since: float | None = None

    def schedule(self) -> None:
        """A device was given something: it is written at the end of this turn."""
        if self._scheduled is None:
            self._scheduled = asyncio.get_running_loop().call_soon(self._turn)

    async def flush(self) -> None:
        """Return when every record made so far is written. Raises AuditUnavailableError."""
        if self._scheduled is None:
            if self._flight is None and self._is_taken():
                return
            self.schedule()
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        await done

    def finish(self) -> None:
        """Wait (blocking) for what is under way, so that nobody else uses the files."""
        flight = self._flight
        if flight is not None and flight.landing is not None:
            concurrent.futures.wait([flight.landing])
            self._land(flight)

    def close(self, refusal: str) -> None:
        """Write what is buffered; who still waits then is told `refusal`."""
        self.finish()
        if self._cancel():
            self._write_here()
        if self._cancel():  # the file is locked by another process
            waiting, self._waiting = self._waiting, []
            _wake(waiting, refusal)
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    def _cancel(self) -> bool:
        """Whether a turn was to come."""
        scheduled, self._scheduled = self._scheduled, None
        if scheduled is not None:
            scheduled.cancel()
        return scheduled is not None

    # --- a turn ---------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        self._scheduled = None
        if self._flight is not None:
            self._comes_again = True
        elif self._pace.is_slow:
            self._write_there()
        else:
            self._write_here()

    def _take_off(self) -> _Flight:
        waiting, self._waiting = self._waiting, []
        is_taken = self._is_taken()
        return _Flight([device for device in self._devices() if device.pending], waiting, is_taken=is_taken)

    def _write_here(self) -> None:
        flight = self._take_off()
        begin = self._monotonic()
        flight.write()
        self._pace.note(self._monotonic() - begin)
        self._land(flight)

    def _write_there(self) -> None:
        flight = self._take_off()
        if not flight.batches:
            self._land(flight)
            return
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit-writer")
        self._flight = flight
        flight.landing = self._thread.submit(flight.write, patience=BUSY_LIMIT)
        flight.landing.add_done_callback(lambda _done: _call(loop, self._land_unless_done, flight))

    def _land_unless_done(self, flight: _Flight) -> None:
        if self._flight is flight:
            self._land(flight)

    def _land(self, flight: _Flight) -> None:
        """Wake who waits; a locked file is tried again shortly."""
        self._flight = None
        for device, batch in flight.batches:
            device.settle(batch)
        if self._comes_again:
            self._comes_again = False
            self.schedule()
        taken, failed = flight.is_taken, flight.failed
        if not any(isinstance(exc, FileBusyError) for _, exc in failed):
            self._busy_since = None
        elif flight.landing is None and self._wait_for_lock() and not taken:  # the thread has waited already
            self._waiting = [*flight.waiting, *self._waiting]
            return
        _wake(flight.waiting, "" if taken else self._refusal(failed))
        if flight.fault is not None:
            raise flight.fault

    def _is_taken(self) -> bool:
        """Whether one device at least has written every record it was given."""
        devices = self._devices()
        return not devices or any(not device.pending for device in devices)

    def _wait_for_lock(self) -> bool:
        now = self._monotonic()
        if self._busy_since is None:
            self._busy_since = now
        if now - self._busy_since > BUSY_LIMIT:
            return False
        if self._scheduled is None:
            self._scheduled = asyncio.get_running_loop().call_later(_BUSY_PAUSE, self._turn)
        return True


def _write(device: FileDevice, batch: Batch, deadline: float) -> None:
    device.write_batch(batch)
    while isinstance(batch.error, FileBusyError) and time.monotonic() < deadline:
        time.sleep(_BUSY_PAUSE)
        batch.error = None
        device.write_batch(batch)


def _wake(waiting: list[asyncio.Future[None]], refusal: str) -> None:
    for done in waiting:
        if done.done():
            continue  # its request was cancelled
        if refusal:
            done.set_exception(AuditUnavailableError(refusal))
            done.exception()  # seen: a caller that is cancelled now leaves no complaint behind
        else:
            done.set_result(None)


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[[_Flight], None], flight: _Flight) -> None:
    """In the loop's thread; `close` has waited for what ends when there is no loop any more."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback, flight)
