"""Why requests were refused: what `mimir policy explain REQUEST_ID` tells an operator, and the caller never learns.

All workers of a node map one file of fixed size on a memory file system and write into it without a lock; nothing of it
is durable. It holds names and paths, as the audit log does, and no secret. The place of a refusal follows from its
request id, so any worker finds it at once. A file of 512 sets with 8 places each; in a full set the oldest makes room,
but a caller that holds half of the set makes room among its own: who hammers the appliance cannot push out what others
were refused.

A place is: CRC-32 of what follows (4 bytes), length (4), when (8, nanoseconds), caller (4), then MessagePack.
Two writers of one place may tear it; then its checksum does not fit and it counts as empty.
"""

import mmap
import os
import struct
import zlib
from hashlib import blake2b
from pathlib import Path
from typing import Self

import msgspec

from appliance.access.verdicts import Refusal
from core.errors import ConfigError

_SETS, _WAYS, _PLACE = 512, 8, 1024
SIZE = _SETS * _WAYS * _PLACE
_HEADER = struct.Struct("<IIQI")
_ROOM = _PLACE - _HEADER.size
_SHARE = _WAYS // 2  # places of a set that one caller may fill while others want them
_AHEAD = 3600 * 10**9  # nanoseconds; what lies further ahead is of a clock that was set back, or of no clock at all


class Refused(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One refused request, and the rule that decided if one did."""

    request_id: str
    at: float  # epoch seconds
    path: str  # without the namespace
    operation: str
    reason: str = ""  # a sentence for operators
    namespace: str = ""  # path
    accessor: str = ""
    display_name: str = ""
    entity_id: str = ""
    address: str = ""
    policies: tuple[str, ...] = ()
    rule: str = ""
    policy: str = ""
    version: int = 0
    line: int = 0
    condition: str = ""


def refused_by(refusal: Refusal, request: Refused) -> Refused:
    """`request` with what the refusal says; the first of its rules stands for all."""
    first = refusal.rules[0] if refusal.rules else None
    return msgspec.structs.replace(
        request,
        reason=refusal.reason,
        rule=refusal.pattern,
        policy=first.policy if first else "",
        version=first.version if first else 0,
        line=first.line if first else 0,
        condition=refusal.condition,
    )


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Refused).decode


class RefusalLog:
    """One process's mapping of the node's file."""

    def __init__(self, page: mmap.mmap) -> None:
        self._page = page

    @classmethod
    def open(cls, path: Path | None = None) -> Self:
        """Map the file, made if it is not there; without a path, memory of this process alone. Raises ConfigError."""
        if path is None:
            return cls(mmap.mmap(-1, SIZE))
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(descriptor).st_size != SIZE:
                    os.ftruncate(descriptor, SIZE)
                return cls(mmap.mmap(descriptor, SIZE))
            finally:
                os.close(descriptor)
        except (OSError, ValueError) as exc:
            raise ConfigError(f"the file of refusals {path} cannot be mapped; is its directory writable?") from exc

    def close(self) -> None:
        """Unmap it."""
        self._page.close()

    def note(self, refused: Refused) -> None:
        """Keep it for a while. A few microseconds, no system call; long texts are cut."""
        body = _encode(refused)
        for longest in (120, 30):
            if len(body) > _ROOM:
                body = _encode(_cut(refused, longest))
        caller = zlib.crc32((refused.accessor or refused.address).encode())
        at = max(int(refused.at * 1e9), 1)
        content = _HEADER.pack(0, len(body), at, caller)[4:] + body
        place = self._victim(_first_place(refused.request_id), caller, at)
        self._page[place : place + 4 + len(content)] = struct.pack("<I", zlib.crc32(content)) + content

    def find(self, request_id: str) -> Refused | None:
        """What was noted of that request, by any worker; None when nothing was, or newer ones took its place."""
        first = _first_place(request_id)
        for place in range(first, first + _WAYS * _PLACE, _PLACE):
            refused = self._read(place)
            if refused is not None and refused.request_id == request_id:
                return refused
        return None

    def _victim(self, first: int, caller: int, now: int) -> int:
        """The place to write: an empty one or one of the future, else the oldest of the caller's own or of all."""
        held: list[tuple[int, int, int]] = []
        for place in range(first, first + _WAYS * _PLACE, _PLACE):
            _, _, at, owner = _HEADER.unpack_from(self._page, place)
            if at == 0 or at > now + _AHEAD:
                return place
            held.append((at, place, owner))
        own = [entry for entry in held if entry[2] == caller]
        return min(own if len(own) >= _SHARE else held)[1]

    def _read(self, place: int) -> Refused | None:
        checksum, length, at, _ = _HEADER.unpack_from(self._page, place)
        if at == 0 or length > _ROOM:
            return None
        content = bytes(self._page[place + 4 : place + _HEADER.size + length])
        if zlib.crc32(content) != checksum:
            return None
        try:
            return _decode(content[_HEADER.size - 4 :])
        except msgspec.MsgspecError:
            return None


def _first_place(request_id: str) -> int:
    # a hash, since the ids that are asked for are the caller's choice
    chosen = int.from_bytes(blake2b(request_id.encode(errors="replace"), digest_size=2).digest(), "little") % _SETS
    return chosen * _WAYS * _PLACE


def _cut(refused: Refused, longest: int) -> Refused:
    """With texts of so many bytes at most; `request_id` is ours and short."""
    cut = {name: _shortened(getattr(refused, name), longest) for name in _TEXTS}
    policies = tuple(_shortened(name, longest) for name in refused.policies[:4])
    if len(refused.policies) > len(policies):
        policies += ("…",)
    return msgspec.structs.replace(refused, policies=policies, **cut)


_TEXTS = ("path", "reason", "namespace", "display_name", "rule", "policy", "condition")


def _shortened(text: str, longest: int) -> str:
    return text if len(text.encode()) <= longest else text.encode()[: longest - 3].decode(errors="ignore") + "…"
