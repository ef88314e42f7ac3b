"""Where the next page begins, so that the caller cannot tell: it may be a name that the caller must not know.

AES-256-GCM (SP 800-38D) under a key of the mount's own, which the first cursor makes and the barrier keeps; the name is
padded, so that its length does not show either. It authorises nothing: each page shows what its caller may see.
"""

import base64
import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import CasMismatchError, InvalidRequestError
from core.protocols import Entry, StorageView

_KEY = "cursor-key"
_NONCE = 12
_BLOCK = 128  # bytes, to which a name is padded
_DOMAIN = b"mimir kv cursor 1"


class Cursors:
    """Makes and reads the cursors of one mount."""

    def __init__(self, storage: StorageView) -> None:
        self._storage = storage
        self._ciphers = storage.decoded_cache(_load_cipher, capacity=1)

    async def hide(self, name: str) -> str:
        """The cursor of a position."""
        cipher, nonce, plain = await self._cipher(), os.urandom(_NONCE), name.encode()
        padded = plain.ljust(len(plain) // _BLOCK * _BLOCK + _BLOCK, b"\0")
        return base64.urlsafe_b64encode(nonce + cipher.encrypt(nonce, padded, _DOMAIN)).decode().rstrip("=")

    async def reveal(self, cursor: str) -> str:
        """Undo `hide`; "" is the beginning. Raises InvalidRequestError for what is no cursor of this mount."""
        if not cursor:
            return ""
        try:
            sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            cipher = await self._ciphers.get(_KEY)
            if cipher is not None:
                return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], _DOMAIN).rstrip(b"\0").decode()
        except (binascii.Error, ValueError, InvalidTag):
            pass
        raise InvalidRequestError("after must be what an earlier answer of this mount gave as next")

    async def _cipher(self) -> AESGCM:
        cipher = await self._ciphers.get(_KEY)
        while cipher is None:
            await self._make_key()
            cipher = await self._ciphers.get(_KEY)
        return cipher

    async def _make_key(self) -> None:
        try:
            await self._storage.put(_KEY, os.urandom(32), cas=0)
        except CasMismatchError:  # another worker was faster
            return


async def _load_cipher(_view: StorageView, _path: str, entry: Entry) -> AESGCM:
    return AESGCM(entry.value)
