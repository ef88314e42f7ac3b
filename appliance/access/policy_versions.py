"""The history of a policy: every text that was ever in force, with its author and time, up to `KEPT` of them.

Stored per version under "<namespace>policy-versions/<policy>/<ten digits>". Versions of one policy count up without a
gap, also across its deletion, which is itself an entry without a text. What a write replaces is thus never lost before
`KEPT` newer ones stand above it.
"""

from typing import Literal

import msgspec

from appliance.namespaces import data_prefix
from core.protocols import StorageView, Transaction

KEPT = 100  # versions of one policy, the one in force included

Event = Literal["written", "rolled back", "deleted"]


class Author(msgspec.Struct, frozen=True, kw_only=True):
    """Who wrote a version: names only."""

    display_name: str = ""
    accessor: str = ""
    entity_id: str = ""


NOBODY = Author()  # what the appliance itself wrote, and what was written before versions were kept


class PolicyVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version. `text` is None for a deletion."""

    version: int
    text: str | None
    author: Author = NOBODY
    written_at: float = 0  # epoch seconds; 0: not known
    event: Event = "written"
    restored: int = 0  # the version whose text a roll-back took
    expires_at: float | None = None
    format: int = 1


_decode = msgspec.json.Decoder(PolicyVersion).decode
_encode = msgspec.json.Encoder().encode


def _folder(namespace: str, name: str) -> str:
    return f"{data_prefix(namespace)}policy-versions/{name}/"


def _path(namespace: str, name: str, version: int) -> str:
    return f"{_folder(namespace, name)}{version:010d}"


async def latest_version(store: Transaction | StorageView, namespace: str, name: str) -> int:
    """The highest number that was given; 0 when there is no history."""
    names = await store.list(_folder(namespace, name))
    return int(names[-1]) if names else 0


async def add_version(txn: Transaction, namespace: str, name: str, version: PolicyVersion) -> None:
    """Append, and drop the one that is now too old. There are no gaps, so it is one at most."""
    await txn.put(_path(namespace, name, version.version), _encode(version))
    if version.version > KEPT:
        await txn.delete(_path(namespace, name, version.version - KEPT))


async def load_version(storage: StorageView, namespace: str, name: str, version: int) -> PolicyVersion | None:
    """One version; None when it never was, or is too old."""
    if not 0 < version < 10**10:
        return None
    entry = await storage.get(_path(namespace, name, version))
    return None if entry is None else _decode(entry.value)


async def load_versions(storage: StorageView, namespace: str, name: str) -> list[PolicyVersion]:
    """All that are kept, the newest first."""
    found = [
        await load_version(storage, namespace, name, int(number))
        for number in await storage.list(_folder(namespace, name))
    ]
    return [version for version in reversed(found) if version is not None]
