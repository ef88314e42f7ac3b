"""Where keys come from, and the one way out: generated, imported, exported, in the custody asked for."""

import asyncio
import os

from core.errors import HsmConfigError, InvalidRequestError, KeyPolicyError, SealedError
from core.protocols import Custody, KeyKind, KeyUsage, WrappedKey
from core.secret import Secret
from pkcs11_glue import keys, sealed, software, templates
from pkcs11_glue.escrow import EscrowKey
from pkcs11_glue.live_keys import LiveKeys

SLOW_KINDS = frozenset({*templates.RSA_BITS, KeyKind.EC_P384, KeyKind.EC_P521})


class KeyBirth:
    """Makes keys over one link."""

    def __init__(self, live_keys: LiveKeys) -> None:
        self._keys = live_keys
        self.expected_escrow: str | None = None  # None: no cluster is open, so nothing is known

    async def generate(self, kind: KeyKind, *, usage: KeyUsage, custody: Custody | None, size: int) -> WrappedKey:
        """As KeyCustodian.generate_key."""
        await self._keys.link.renewed()
        keys.check_usage(kind, usage)
        if size and kind is not KeyKind.HMAC:
            raise InvalidRequestError(f"a key of type {kind.value} has one size only; only HMAC keys have a choice")
        is_faithful = kind is not KeyKind.HMAC or templates.can_wrap_faithfully(
            kind, size or templates.SECRET_BYTES[kind]
        )
        if self._place(kind, usage, custody, is_faithful=is_faithful) is Custody.SEALED:
            return await self._generate_sealed(kind, usage, size)
        under = self._wrapping_keys()
        return await self._keys.run(
            lambda operations: keys.generate(operations, kind, usage=usage, under=under, size=size),
            slow=kind in SLOW_KINDS,
        )

    async def take_over(
        self, kind: KeyKind, material: Secret, *, usage: KeyUsage, custody: Custody | None
    ) -> WrappedKey:
        """As KeyCustodian.import_key."""
        keys.check_usage(kind, usage)
        checked = await self._checked(kind, material)
        await self._keys.link.renewed()
        is_faithful = checked.public_key is not None or (
            kind in templates.SECRET_BYTES and templates.can_wrap_faithfully(kind, len(material.expose()))
        )
        if self._place(kind, usage, custody, is_faithful=is_faithful) is Custody.SEALED:
            return await self._seal(kind, checked, usage)
        under = self._wrapping_keys()
        return await self._keys.run(
            lambda operations: keys.take_over(
                operations, kind, checked.secret, usage=usage, under=under, public_key=checked.public_key
            ),
            slow=kind in SLOW_KINDS,
        )

    def _place(self, kind: KeyKind, usage: KeyUsage, wanted: Custody | None, *, is_faithful: bool) -> Custody:
        """Where a new key goes. Raises KeyPolicyError when it was to be in the HSM and cannot."""
        possible = self._keys.link.connection.custody_of(kind, usage)
        if possible is Custody.HSM and not is_faithful:
            possible = Custody.SEALED
            reason = "only HMAC keys of 64 to 512 bytes, in multiples of 8, come back from its key wrapping unchanged"
        else:
            reason = "its self-test did not prove that it can"
        if wanted is Custody.HSM and possible is not Custody.HSM:
            raise KeyPolicyError(
                f"the HSM cannot hold this key of type {kind.value} with the usage {usage.value}: {reason};"
                " ask for sealed custody, where the mount does not require the HSM"
            )
        return wanted or possible

    # --- in the HSM -----------------------------------------------------------------------------------------------

    def _wrapping_keys(self) -> keys.WrappingKeys:
        return keys.WrappingKeys(kek=self._keys.link.connection.active_kek, escrow=self._escrow_at_birth())

    def escrow(self) -> EscrowKey | None:
        """The escrow key in service, if there is one."""
        return self._keys.link.run_inline(lambda _: self._keys.link.connection.refresh_escrow())

    def _escrow_at_birth(self) -> EscrowKey | None:
        """What a new key is wrapped under beside the KEK. Raises HsmConfigError when the cluster's is not there."""
        expected = self.expected_escrow
        if expected == "":
            return None
        found = self.escrow()
        if expected is not None and (found is None or found.escrow_id != expected):
            present = found.escrow_id if found else "none"
            raise HsmConfigError(
                f"this cluster's keys are escrowed under {expected}, and the HSM token holds the escrow key {present}:"
                " no key is made that could not be recovered; restore the token. Existing keys work"
            )
        return found

    # --- sealed ---------------------------------------------------------------------------------------------------

    async def _generate_sealed(self, kind: KeyKind, usage: KeyUsage, size: int) -> WrappedKey:
        self._active_sealing()
        if software.is_made_in_software(kind):  # without the HSM's generator, and too slow for the event loop
            material = await asyncio.to_thread(software.new_material, kind, os.urandom)
        else:
            material = await self._keys.run(lambda o: software.new_material(kind, o.session.random, size=size))
        return await self._seal(kind, await self._checked(kind, material), usage)

    async def _seal(self, kind: KeyKind, material: software.CheckedMaterial, usage: KeyUsage) -> WrappedKey:
        sealing = self._active_sealing()
        live = await self._keys.get(sealing)
        return await self._keys.use(
            live,
            lambda operations: sealed.seal(
                operations, kind, material, usage=usage, sealing_key_id=sealing.key_id, sealing_handle=live.handle
            ),
        )

    async def _checked(self, kind: KeyKind, material: Secret) -> software.CheckedMaterial:
        """Raises InvalidRequestError. The primes of an RSA key are proved outside the event loop."""
        if kind in templates.RSA_BITS:
            return await asyncio.to_thread(software.checked_material, kind, material)
        return software.checked_material(kind, material)

    async def export(self, key: WrappedKey) -> Secret:
        """As KeyCustodian.export_key."""
        if key.custody is not Custody.SEALED:
            raise KeyPolicyError("this key is in the HSM and cannot leave it")
        sealing = await self._keys.get(self._keys.sealing_key(key.kek_id))
        return await self._keys.use(sealing, lambda operations: sealed.open_material(operations, key, sealing.handle))

    def _active_sealing(self) -> WrappedKey:
        if self._keys.active_sealing is None:
            raise SealedError("keys of sealed custody can be made only while the appliance is unsealed")
        return self._keys.active_sealing
