"""Names of accounts: `v-<role>-<random><tag>`, or what a connection's own template makes.

The tag is a MAC over the rest of the name under a key of the mount. So accounts of this mount can be told from those of
another appliance on the same database, also after a restore from a backup that knows nothing of them.
"""

import os
import string

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from core.ids import random_base62
from core.protocols import DecodedCache, Entry, StorageView, Transaction
from dynamic.target import Plugin
from dynamic.username_template import parse_template

SECRET = "secret"  # noqa: S105 - a path
PREFIX = "v-"
_RANDOM = 10  # characters: 59 bits
_TAG = 6  # characters: 35 bits, against coincidence
_LONGEST_ROLE = 40
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase


class Usernames:
    """Makes and recognises them."""

    def __init__(self, storage: StorageView) -> None:
        self._storage = storage
        self._secrets: DecodedCache[bytes] = storage.decoded_cache(_load_secret, capacity=1)

    async def make(self, plugin: Plugin, *, role: str, display_name: str, template: str = "") -> str:
        """A new name. Raises InvalidRequestError where a template makes none that the database takes."""
        if template:
            return parse_template(template, longest=plugin.max_username).render(role=role, display_name=display_name)
        room = min(plugin.max_username - len(PREFIX) - 1 - _RANDOM - _TAG, _LONGEST_ROLE)
        if room < 1:  # MySQL's names of at most 16 characters: no role in them
            name = PREFIX + random_base62(plugin.max_username - len(PREFIX) - _TAG)
        else:
            name = f"{PREFIX}{role[:room]}-{random_base62(_RANDOM)}"
        return name + _tag(await self._secret(), name)

    async def is_own(self, username: str) -> bool:
        """Whether this mount made the name, by its tag."""
        name, tag = username[:-_TAG], username[-_TAG:]
        return name.startswith(PREFIX) and _tag(await self._secret(), name) == tag

    async def _secret(self) -> bytes:
        found = self._secrets.peek(SECRET) or await self._secrets.get(SECRET)
        return await self._storage.transact(_made_secret) if found is None else found


async def _made_secret(txn: Transaction) -> bytes:
    entry = await txn.get(SECRET)
    if entry is not None:
        return entry.value
    secret = os.urandom(32)
    await txn.put(SECRET, secret, cas=0)
    return secret


async def _load_secret(_storage: StorageView, _path: str, entry: Entry) -> bytes:
    return entry.value


def _tag(secret: bytes, name: str) -> str:
    mac = HMAC(secret, hashes.SHA256())
    mac.update(name.encode())
    number = int.from_bytes(mac.finalize()[:8], "big")
    letters = []
    for _ in range(_TAG):
        number, place = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[place])
    return "".join(letters)
