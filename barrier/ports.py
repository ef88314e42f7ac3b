"""What the barrier asks of the HSM beyond making and using keys."""

from collections.abc import Collection
from typing import Protocol

from core.protocols import KeyCustodian, WrappedKey
from core.secret import Secret


class SealHsm(KeyCustodian, Protocol):
    """The HSM as the seal sees it. Calls may raise an HsmError."""

    @property
    def active_kek_id(self) -> str:
        """The KEK that new keys are wrapped under."""
        ...

    @property
    def kek_ids(self) -> Collection[str]:
        """Every KEK on the token."""
        ...

    @property
    def escrow_id(self) -> str:
        """The escrow key that new keys are wrapped under too; empty before its release, and when there is none."""
        ...

    def require_kek(self, kek_id: str) -> None:
        """Raise HsmConfigError when the token does not hold that KEK."""
        ...

    async def release_escrow_key(self) -> Secret:
        """The 32-byte value of the escrow key; keys made from now on are wrapped under it too.

        Can be repeated until `settle_escrow`. Raises HsmConfigError when the token has none, or had.
        """
        ...

    async def discard_escrow_key(self) -> None:
        """Escrow was declined; keys made from now on have no escrow blob. Can be repeated until `settle_escrow`."""
        ...

    async def settle_escrow(self) -> None:
        """What was released or discarded is committed: the value can never be released again. Idempotent."""
        ...

    async def escrow_challenge(self) -> tuple[bytes, bytes]:
        """A fresh throw-away value, and the same wrapped under the escrow key (RFC 3394)."""
        ...

    def set_sealing_key(self, key: WrappedKey) -> None:
        """What encrypts the keys that the token cannot hold itself (custody `sealed`)."""
        ...

    def expect_escrow(self, escrow_id: str) -> None:
        """Make no more keys unless they can be wrapped under this escrow key; "": the cluster declined escrow."""
        ...

    def drop_keys(self) -> None:
        """Destroy every session object and forget the sealing key."""
        ...
