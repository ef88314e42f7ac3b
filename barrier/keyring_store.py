"""The keyring in the store: loaded, rotated, and its encryptions counted."""

import msgspec

from barrier.connection import Statements
from barrier.keyring import MAX_ENCRYPTIONS, Keyring
from barrier.seal_table import KEYRING, USAGE, SealRecords, Usage, decode, load_plain, store_plain
from core.errors import IntegrityError

# A process takes so many encryptions in advance: the count is never too low, and a crash wastes no more than this.
RESERVED_AT_ONCE = 65_536


async def load_keyring(connection: Statements, records: SealRecords) -> Keyring:
    """The keyring. Raises IntegrityError."""
    stored = await records.load(connection, KEYRING)
    if stored is None:
        raise IntegrityError("seal/keyring is missing: the row was deleted; restore the database from a backup")
    return Keyring.from_secret(stored)


async def store_keyring(connection: Statements, records: SealRecords, keyring: Keyring) -> None:
    """Write the keyring, encrypted inside the HSM."""
    await records.store(connection, KEYRING, keyring.to_secret())


async def rotate_keyring(connection: Statements, records: SealRecords, *, now: float) -> Keyring:
    """Add a term, which encrypts from now on; older ones still decrypt."""
    keyring = (await load_keyring(connection, records)).rotated(now=now)
    await store_keyring(connection, records, keyring)
    return keyring


async def load_usage(connection: Statements, term: int) -> int:
    """How many encryptions under `term` have been reserved."""
    raw = await load_plain(connection, USAGE)
    usage = None if raw is None else decode(Usage, raw, USAGE)
    return usage.reserved if usage is not None and usage.term == term else 0


async def reserve_encryptions(connection: Statements, records: SealRecords, *, now: float) -> Keyring:
    """The present keyring with a fresh budget, rotated first if its active term has served enough."""
    keyring = await load_keyring(connection, records)
    reserved = await load_usage(connection, keyring.term) + RESERVED_AT_ONCE
    if reserved > MAX_ENCRYPTIONS:
        keyring = await rotate_keyring(connection, records, now=now)
        reserved = RESERVED_AT_ONCE
    await store_plain(connection, USAGE, msgspec.json.encode(Usage(term=keyring.term, reserved=reserved)))
    keyring.budget = RESERVED_AT_ONCE
    return keyring
