"""The escrow key as words for people: SLIP-39, one group, no passphrase.

Whoever has a quorum of the words gets the value back with `shamir_mnemonic.combine_mnemonics(words)`; nothing of
Mimir is needed for it.
"""

from shamir_mnemonic import MnemonicError, combine_mnemonics, generate_mnemonics

from barrier.share_counts import ShareCounts
from core.errors import InvalidRequestError
from core.secret import Secret

VALUE_BYTES = 32


def split_escrow(value: Secret, counts: ShareCounts) -> list[str]:
    """One line of 33 words for each holder."""
    if len(value) != VALUE_BYTES:
        raise RuntimeError("an escrow value has 32 bytes")
    [words] = generate_mnemonics(1, [(counts.threshold, counts.shares)], value.expose())
    return words


def recover_escrow(words: list[str]) -> Secret:
    """The escrow value from exactly a quorum of lines. Raises InvalidRequestError, which does not repeat the words."""
    try:
        value = combine_mnemonics(words)
    except (MnemonicError, ValueError) as exc:
        raise InvalidRequestError("these escrow words do not fit together; check the spelling and the quorum") from exc
    if len(value) != VALUE_BYTES:
        raise InvalidRequestError("these words are SLIP-39 shares of something else than an escrow key")
    return Secret(value)
