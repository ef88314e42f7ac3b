"""The hash chain through the lines of one writer, by which an outsider sees what was changed.

Every line of an audit file is one JSON object whose last member is `chain`:

    …,"chain":{"id":"worker-0.4f1c…","seq":2,"hash":"<64 hex digits>"}}

A chain is what one process wrote to one file; several processes append to the same file, so chains interleave, and
each is followed by its `id`. `seq` counts from 1 without gaps. `hash` is

    SHA-256( hash of the line before in this chain, as 64 ASCII hex digits  ||  this line without `,"hash":"…"` )

over the line's bytes without the newline. The first line of a chain also has `"previous":"<64 hex digits>"` before
`hash`, which takes the place of the line before: zeros when the process starts, or the last hash that the same process
wrote to the file it left (log rotation). `"lost":<n>` after `seq` says that n records before this one could not be kept
while the device could not be written to.

So a changed, removed, moved or inserted line shows (`audit.verifier`). What the chain alone cannot show is that the
last lines of a chain, or a whole one, are missing; for that, keep copies of the last hash elsewhere.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

NO_HASH = "0" * 64

TAIL = re.compile(
    rb',"chain":\{"id":"([A-Za-z0-9._-]{1,128})","seq":([1-9][0-9]{0,18})(?:,"lost":([1-9][0-9]{0,18}))?'
    rb'(?:,"previous":"([0-9a-f]{64})")?,"hash":"([0-9a-f]{64})"\}\}\Z'
)
_EMPTY = sha256()  # a copy of it costs a quarter of a new one, which looks its algorithm up
HASH_LENGTH = len(',"hash":""') + 64


def line_hash(previous: str, unhashed: bytes) -> str:
    """The hash of a line, given the one before and the line without its own."""
    return sha256(previous.encode() + unhashed).hexdigest()


@dataclass(frozen=True, slots=True)
class ChainState:
    """Where a chain stands: what the next line needs to know."""

    chain_id: str
    seq: int
    previous: str


def new_chain(writer: str, *, previous: str = NO_HASH) -> ChainState:
    """A chain before its first line; `writer` is the process's name, made unique by this start."""
    return ChainState(f"{writer}.{os.urandom(8).hex()}", 0, previous)


def seal_lines(state: ChainState, bodies: Iterable[bytes], *, lost: int = 0) -> tuple[list[bytes], list[str]]:
    """Whole lines with their newlines, and the hash of each.

    A body is a JSON object without its closing brace. `lost` is noted in the first line.
    """
    opening = f',"chain":{{"id":"{state.chain_id}","seq":'.encode()
    seq, previous = state.seq, state.previous.encode()
    lines: list[bytes] = []
    hashes: list[str] = []
    for body in bodies:
        seq += 1
        tail = b"%b%d" % (opening, seq)
        if lost:
            tail += b',"lost":%d' % lost
            lost = 0
        if seq == 1:
            tail += b',"previous":"%b"' % previous
        hashed = _EMPTY.copy()  # in pieces: a line has a kilobyte, and is copied once, not three times
        hashed.update(previous)
        hashed.update(body)
        hashed.update(tail + b"}}")
        digest = hashed.hexdigest()
        previous = digest.encode()
        lines.append(b'%b%b,"hash":"%b"}}\n' % (body, tail, previous))
        hashes.append(digest)
    return lines, hashes
