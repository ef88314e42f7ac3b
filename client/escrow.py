"""Escrow shares (SLIP-39 words) and the proof that a quorum of them makes the escrow key.

The words and the key they make stay in this process: the appliance sends a random value wrapped under the escrow key
(RFC 3394) and its SHA-256, and the key proves itself by unwrapping the one to the other.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from client.errors import LocalError, NoAnswerError

KEY_SIZES = (16, 32)  # what SLIP-39 shares of 20 and 33 words carry
WORD_COUNTS = (20, 33)


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """A random value under the escrow key, and its digest."""

    escrow_id: str
    wrapped: bytes
    digest: bytes  # SHA-256


class EscrowShare:
    """One share, its words checked as far as one share can be. `name` says which it is, without its words."""

    def __init__(self, words: str, *, name: str) -> None:
        self.name = name
        self._mnemonic = " ".join(words.lower().split())
        self._share = _parse_share(self._mnemonic, name=name)

    @property
    def threshold(self) -> int:
        """How many shares make the key."""
        return int(self._share.member_threshold)

    @property
    def index(self) -> int:
        """Which share of its set it is."""
        return int(self._share.index)

    @property
    def group(self) -> tuple[object, ...]:
        """What all shares of one set have in common."""
        return tuple(self._share.group_parameters())

    def is_of_set(self, other: "EscrowShare") -> bool:
        """Whether both were made together."""
        return self.group == other.group

    def expose(self) -> str:
        """The words."""
        return self._mnemonic

    def __repr__(self) -> str:
        return f"EscrowShare({self.name!r}, …)"


def _parse_share(mnemonic: str, *, name: str) -> Any:
    from shamir_mnemonic import MnemonicError, Share
    from shamir_mnemonic.wordlist import WORD_INDEX_MAP

    words = mnemonic.split()
    unknown = [str(place) for place, word in enumerate(words, start=1) if word not in WORD_INDEX_MAP]
    if unknown:
        raise LocalError(
            f"{name}: word {', '.join(unknown)} is not in the SLIP-39 list of words: compare with the paper"
        )
    if len(words) not in WORD_COUNTS:
        raise LocalError(
            f"{name} has {len(words)} words, but a share has 33 (or 20, of a 128-bit key): compare with the paper"
        )
    try:
        return Share.from_mnemonic(mnemonic)
    except MnemonicError as exc:
        raise LocalError(
            f"{name}: its checksum fails: a word is wrong, or two are exchanged: compare with the paper"
        ) from exc


def check_set(shares: Sequence[EscrowShare]) -> None:
    """All of one set, none twice, enough of them; LocalError says which is not so."""
    if not shares:
        raise LocalError("no escrow share was given: one share a line on standard input, or --share-file")
    seen: dict[int, EscrowShare] = {}
    for share in shares:
        if not share.is_of_set(shares[0]):
            raise LocalError(f"{share.name} is of another set than {shares[0].name}: they were not made together")
        if share.index in seen:
            raise LocalError(f"{share.name} is the same share as {seen[share.index].name}: another holder's is needed")
        seen[share.index] = share
    needed = shares[0].threshold
    if len(shares) < needed:
        raise LocalError(
            f"{needed} different shares are needed, and {len(shares)} given: bring {needed - len(shares)} more"
        )


def combine(shares: Sequence[EscrowShare]) -> bytes:
    """The key that the shares make. More than the quorum are all used, in overlapping quorums that must agree."""
    check_set(shares)
    needed = shares[0].threshold
    keys = {_combine_quorum(shares[start : start + needed]) for start in range(len(shares) - needed + 1)}
    if len(keys) != 1:
        raise LocalError("these shares do not fit each other: at least one was altered in spite of its checksum")
    return keys.pop()


def _combine_quorum(shares: Sequence[EscrowShare]) -> bytes:
    from shamir_mnemonic import MnemonicError, combine_mnemonics

    try:
        return bytes(combine_mnemonics([share.expose() for share in shares]))
    except MnemonicError as exc:
        raise LocalError(
            "these shares do not fit each other: at least one was altered in spite of its checksum"
        ) from exc


def parse_challenge(data: dict[str, Any]) -> Challenge:
    """What sys/escrow/challenge answered."""
    try:
        wrapped = base64.b64decode(data["wrapped"], validate=True)
        digest = bytes.fromhex(data["digest"])
    except (KeyError, TypeError, ValueError, binascii.Error) as exc:
        raise NoAnswerError(
            "the appliance sent no escrow challenge that can be used: is it Mimir, and of this version?"
        ) from exc
    if len(digest) != hashlib.sha256().digest_size:
        raise NoAnswerError("the appliance sent an escrow challenge whose digest is no SHA-256")
    return Challenge(escrow_id=str(data.get("escrow_id", "")), wrapped=wrapped, digest=digest)


def check_key(key: bytes, challenge: Challenge) -> None:
    """Unwrap the challenge with the key and compare; LocalError when it is another key."""
    from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

    other = LocalError(
        f"the words are right, but they make another key than the escrow key {challenge.escrow_id} of this appliance: "
        "they belong to another cluster, or to an escrow key that was replaced"
    )
    if len(key) not in KEY_SIZES:
        raise other
    try:
        value = aes_key_unwrap(key, challenge.wrapped)
    except (InvalidUnwrap, ValueError) as exc:
        raise other from exc
    if not hmac.compare_digest(hashlib.sha256(value).digest(), challenge.digest):
        raise other
