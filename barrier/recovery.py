"""Recovery keys as Vault's API gives them: shares of a key that decrypts nothing and authorises an operator.

A share is 33 bytes: 32 of SLIP-39 share value, then the share's index (SLIP-39 numbers from 0, we from 1, since an
index of zero looks like padding). Splitting and its digest are shamir-mnemonic's; the recovery key stands where SLIP-39
has the encrypted master secret, without the passphrase step that would come before it.
"""

import hashlib
import hmac
import os
from collections.abc import Sequence

import msgspec
from shamir_mnemonic import MnemonicError, Share
from shamir_mnemonic.shamir import EncryptedMasterSecret, ShareGroup, recover_ems, split_ems

from barrier.share_counts import MAX_SHARES, ShareCounts
from core.errors import InvalidRequestError
from core.secret import Secret

KEY_BYTES = 32
SHARE_BYTES = KEY_BYTES + 1

_IDENTIFIER = 0  # all shares of one cluster have the same; the check value tells clusters apart
_DOMAIN = b"mimir recovery key 1\0"


class RecoveryCheck(msgspec.Struct, frozen=True):
    """What a recovery key is verified against; stored HSM-encrypted."""

    key: bytes
    mac: bytes

    def __repr__(self) -> str:
        return "RecoveryCheck(…)"


def new_recovery_key() -> tuple[Secret, RecoveryCheck]:
    """A fresh key, and its check value."""
    recovery_key, check_key = os.urandom(KEY_BYTES), os.urandom(KEY_BYTES)
    return Secret(recovery_key), RecoveryCheck(check_key, _mac(check_key, recovery_key))


def is_recovery_key(check: RecoveryCheck, recovery_key: Secret) -> bool:
    """Whether this is the key of that check value."""
    return hmac.compare_digest(check.mac, _mac(check.key, recovery_key.expose()))


def _mac(check_key: bytes, recovery_key: bytes) -> bytes:
    return hmac.digest(check_key, _DOMAIN + recovery_key, hashlib.sha256)


def split_recovery_key(recovery_key: Secret, counts: ShareCounts) -> list[Secret]:
    """The shares, 33 bytes each."""
    secret = EncryptedMasterSecret(_IDENTIFIER, True, 0, recovery_key.expose())
    [group] = split_ems(1, [(counts.threshold, counts.shares)], secret)
    return [Secret(share.value + bytes([share.index + 1])) for share in group]


def check_share(share: Secret) -> None:
    """Raise InvalidRequestError unless it looks like a share."""
    raw = share.expose()
    if len(raw) != SHARE_BYTES or not 1 <= raw[-1] <= MAX_SHARES:
        raise InvalidRequestError(
            f"a recovery key is {SHARE_BYTES} bytes, in hexadecimal or base64, as init printed it"
        )


def combine_shares(shares: Sequence[Secret], counts: ShareCounts) -> Secret | None:
    """The recovery key, or None when the shares are not of one key."""
    group = ShareGroup()
    try:
        for share in shares:
            raw = share.expose()
            group.add(Share(_IDENTIFIER, True, 0, 0, 1, 1, raw[-1] - 1, counts.threshold, raw[:-1]))
        return Secret(recover_ems({0: group}).ciphertext)
    except MnemonicError:
        return None
