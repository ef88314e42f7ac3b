"""The audit trail of one process: every enabled device, and the promise that no answer leaves without a record."""

import contextlib
import os
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import msgspec

from audit.device import NO_RESPONSE, DeviceRecord, FileBusyError, FileDevice, Record
from audit.options import parse_file_options
from audit.records import AuditAuth, AuditRequest, AuditResponse
from audit.turns import BUSY_LIMIT, Pace, Turns
from core.clock import Clock
from core.errors import AuditUnavailableError, CasMismatchError, InvalidRequestError
from core.ids import new_uuid
from core.protocols import Entry, StorageView, Transaction

TABLE = "devices"
_TEST_PATH = "sys/audit/test"

_decode = msgspec.msgpack.Decoder(tuple[DeviceRecord, ...]).decode
_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """A device as `sys/audit` lists it."""

    type: str
    description: str
    options: dict[str, str]
    local: bool
    path: str
    accessor: str


class AuditTrail:
    """The devices of the audit table, opened by this process.

    Records are formatted and written at the end of the event-loop turn, with one system call per device
    (`audit.turns`). A request passes when at least one device took its records (Vault's rule). A device that cannot be
    written to is tried again at every flush and recovers by itself; meanwhile its records wait, up to a limit.
    """

    def __init__(
        self,
        storage: StorageView,
        clock: Clock,
        *,
        process: str,
        monotonic: Callable[[], float] = time.monotonic,
        pace: Pace | None = None,
    ) -> None:
        """`storage` is the audit table's own view; `process` ("worker-0") names the writer in the chains."""
        self._storage = storage
        self._clock = clock
        self._monotonic = monotonic
        self._writer = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in process)[:64]
        self._table = storage.decoded_cache(_load_table, capacity=2)
        self._seen: tuple[DeviceRecord, ...] | None = None
        self._devices: dict[str, FileDevice] = {}
        pace = Pace(monotonic) if pace is None else pace
        self._turns = Turns(self._present, self._unavailable, pace=pace, monotonic=monotonic)

    def _present(self) -> Collection[FileDevice]:
        return self._devices.values()

    # --- the table ------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open every device; after unseal. A device that fails does not stop this: it refuses requests until mended."""
        if await self._storage.get(TABLE) is None:
            with contextlib.suppress(CasMismatchError):  # another worker was first
                await self._storage.put(TABLE, _encode(()), cas=0)
        await self.sync()

    async def close(self) -> None:
        """Write what is buffered and let go of every device; at seal."""
        self._turns.close("the appliance is being sealed")
        for device in self._devices.values():
            device.close()
        self._devices = {}
        self._seen = None

    @property
    def active(self) -> bool:
        """Whether any device is enabled."""
        return bool(self._devices)

    @property
    def current(self) -> bool:
        """Whether the devices are those of the table, as far as this process knows; when not, `sync`."""
        return self._seen is not None and self._table.peek(TABLE) is self._seen

    async def sync(self) -> None:
        """Open and close devices as the table says; one comparison when nothing changed."""
        if self.current:
            return
        table = await self._table.get(TABLE) or ()
        self._apply(table)

    def _apply(self, table: tuple[DeviceRecord, ...]) -> None:
        self._turns.finish()
        kept = {device.record.accessor: device for device in self._devices.values()}
        self._devices = {}
        for record in table:
            device = kept.pop(record.accessor, None)
            self._devices[record.path] = self._device(record) if device is None else device
        self._seen = table
        for device in kept.values():
            device.close()

    def _device(self, record: DeviceRecord) -> FileDevice:
        return FileDevice(record, writer=self._writer, monotonic=self._monotonic)

    def devices(self) -> Mapping[str, DeviceInfo]:
        """What is enabled, by path ("file/")."""
        return {path: _info(device.record) for path, device in sorted(self._devices.items())}

    async def enable(
        self,
        path: str,
        *,
        type: str,  # noqa: A002 - Vault's word
        description: str = "",
        options: Mapping[str, str] | None = None,
        local: bool = False,
    ) -> None:
        """Enable a device, after a test record was written to it.

        Raises InvalidRequestError: path in use, unknown type, bad options, or a file that cannot be written.
        """
        if type != "file":
            raise InvalidRequestError('unknown backend type; the type of an audit device is "file"')
        record = DeviceRecord(
            path=_clean_path(path),
            type=type,
            description=description,
            options=dict(options or {}),
            local=local,
            accessor=f"audit_file_{os.urandom(4).hex()}",
            key=os.urandom(32),
        )
        parse_file_options(record.options)
        await self.sync()
        _check_free(self._devices, record.path)
        device = self._device(record)
        self._write_test_record(device)

        async def add(txn: Transaction) -> None:
            table = await _read_table(txn)
            _check_free([known.path for known in table], record.path)
            await txn.put(TABLE, _encode((*table, record)))

        try:
            await self._storage.transact(add)
            self._devices[record.path] = device
            await self.sync()
        except BaseException:
            if self._devices.get(record.path) is device:
                del self._devices[record.path]
            device.close()
            raise

    def _write_test_record(self, device: FileDevice) -> None:
        probe = AuditRequest(request_id=new_uuid(), operation="update", path=_TEST_PATH)
        device.add((self._clock.now(), probe, None, NO_RESPONSE, ""))
        deadline = self._monotonic() + BUSY_LIMIT
        try:
            device.open(make_directory=True)
            while True:
                try:
                    return device.write()
                except FileBusyError:
                    if self._monotonic() > deadline:
                        raise
        except OSError as exc:
            device.reopen()
            raise InvalidRequestError(f"the audit device was not enabled: {_reason(device, exc)}") from exc

    async def disable(self, path: str) -> bool:
        """Disable a device; whether there was one."""
        path = _clean_path(path)

        async def remove(txn: Transaction) -> bool:
            table = await _read_table(txn)
            rest = tuple(known for known in table if known.path != path)
            if len(rest) == len(table):
                return False
            await txn.put(TABLE, _encode(rest))
            return True

        removed = await self._storage.transact(remove)
        await self.sync()
        return removed

    def hash(self, path: str, text: str) -> str:
        """`hmac-sha256:<hex>`: how that device writes `text`. Raises InvalidRequestError for an unknown device."""
        device = self._devices.get(_clean_path(path))
        if device is None:
            raise InvalidRequestError("unknown audit backend")
        return device.hash_text(text)

    # --- records --------------------------------------------------------------------------------------------------

    def record_request(self, request: AuditRequest, auth: AuditAuth | None = None, *, error: str = "") -> None:
        """Buffer the record of a request; it is written at the end of this turn, whatever becomes of the caller.

        Raises AuditUnavailableError when every device is down and has no room left.
        """
        if self._devices:
            self._add((self._clock.now(), request, auth, NO_RESPONSE, error))

    def record_response(
        self,
        request: AuditRequest,
        auth: AuditAuth | None = None,
        response: AuditResponse | None = None,
        *,
        error: str = "",
    ) -> None:
        """Buffer the record of a response, as `record_request`."""
        if self._devices:
            self._add((self._clock.now(), request, auth, response, error))

    def _add(self, record: Record) -> None:
        taken = False
        for device in self._devices.values():
            taken |= device.add(record)
        self._turns.schedule()
        if not taken:
            raise AuditUnavailableError(self._unavailable([]))

    async def flush(self) -> None:
        """Return when every record made so far is written. Raises AuditUnavailableError: then refuse the request."""
        await self._turns.flush()

    def _unavailable(self, failed: list[tuple[FileDevice, OSError]]) -> str:
        if failed:
            reasons = "; ".join(_reason(device, exc) for device, exc in failed)
        else:
            reasons = "no device could be written to for some time, and what may wait in memory is full"
        return f"no audit device took the record, so the request is refused: {reasons}"

    def reopen(self) -> None:
        """Let go of the files, so that the next record opens them by name. Rotation is noticed without it."""
        self._turns.finish()
        for device in self._devices.values():
            device.reopen()


async def _load_table(_view: StorageView, _path: str, entry: Entry) -> tuple[DeviceRecord, ...]:
    return _decode(entry.value)


async def _read_table(txn: Transaction) -> tuple[DeviceRecord, ...]:
    entry = await txn.get(TABLE)
    return () if entry is None else _decode(entry.value)


def _info(record: DeviceRecord) -> DeviceInfo:
    return DeviceInfo(
        type=record.type,
        description=record.description,
        options=dict(record.options),
        local=record.local,
        path=record.path,
        accessor=record.accessor,
    )


def _clean_path(path: str) -> str:
    """`file` and `file/` are one device, whose path is `file/`."""
    clean = path.strip("/")
    if not clean or not clean.isprintable():
        raise InvalidRequestError("the path of an audit device must be printable and not empty")
    return clean + "/"


def _check_free(taken: "Mapping[str, object] | list[str]", path: str) -> None:
    for known in taken:
        if known.startswith(path) or path.startswith(known):
            raise InvalidRequestError(f"path already in use: {known}")


def _reason(device: FileDevice, error: OSError) -> str:
    """Which device and file, and what the system said."""
    file_path = device.record.options.get("file_path", device.record.options.get("path", ""))
    what = error.strerror or "it failed"
    return f"{device.record.path} cannot write to {file_path} ({what})"
