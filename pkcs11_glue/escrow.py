"""The escrow key's life: unclaimed after provisioning, released as a value during init, hardened from then on.

    unclaimed (extractable, wraps only)  --claim-->    hardened beside it (wraps only)  --settle-->  hardened
                                         --discard-->  unclaimed, no hardened one        --settle-->  none

Claim and discard can be repeated until the cluster is committed; settle, after the commit, destroys the unclaimed key.
So an init that is killed anywhere leaves a state from which the next one goes on, and no value is lost with it.
Hardened and unclaimed key have the same CKA_ID and value.
"""

import os
from dataclasses import dataclass

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from pkcs11.constants import Attribute, ObjectClass
from pkcs11.mechanisms import Mechanism

from core.errors import HsmConfigError
from core.protocols import KeyKind, KeyUsage
from core.secret import Secret
from pkcs11_glue import templates
from pkcs11_glue.kek import KEY_ID_BYTES
from pkcs11_glue.session import HsmSession

UNCLAIMED_LABEL = "mimir-escrow-unclaimed"
LABEL = "mimir-escrow"


@dataclass(frozen=True, slots=True, kw_only=True)
class EscrowKey:
    """An escrow key in the token. `escrow_id` is the hex form of its CKA_ID."""

    escrow_id: str
    handle: int


def create_unclaimed(session: HsmSession) -> str:
    """Generate an escrow key whose value can be released once; answers its escrow_id."""
    key_id = os.urandom(KEY_ID_BYTES)
    template = templates.unclaimed_escrow(key_id=key_id, label=UNCLAIMED_LABEL) | {Attribute.VALUE_LEN: 32}
    session.generate_secret(Mechanism.AES_KEY_GEN, template)
    return key_id.hex()


def find_escrow(session: HsmSession) -> EscrowKey | None:
    """The escrow key in service."""
    return _find(session, LABEL)


def find_unclaimed(session: HsmSession) -> EscrowKey | None:
    """The escrow key that no cluster has claimed yet."""
    return _find(session, UNCLAIMED_LABEL)


def claim(session: HsmSession) -> Secret:
    """Read the value and make the hardened key. The session is read-write and the node's lock is held."""
    unclaimed = find_unclaimed(session)
    if unclaimed is None:
        raise _nothing_to_claim(session)
    value = _read_value(session, unclaimed)
    hardened = find_escrow(session)
    if hardened is None:
        template = templates.escrow(key_id=bytes.fromhex(unclaimed.escrow_id), label=LABEL)
        handle = session.create(template | {Attribute.VALUE: value.expose()})
        hardened = EscrowKey(escrow_id=unclaimed.escrow_id, handle=handle)
    _check_same_key(session, hardened, unclaimed, value)
    return value


def discard(session: HsmSession) -> None:
    """This cluster declines escrow: no hardened key. The session is read-write and the node's lock held."""
    hardened = find_escrow(session)
    if hardened is None:
        return
    if find_unclaimed(session) is None:
        raise _already_claimed()
    session.functions.call("C_DestroyObject", session.handle, hardened.handle)


def settle(session: HsmSession) -> None:
    """The cluster is committed: its value, or its refusal of one, is final. Read-write session, node's lock held."""
    unclaimed = find_unclaimed(session)
    if unclaimed is not None:
        session.functions.call("C_DestroyObject", session.handle, unclaimed.handle)


def challenge(session: HsmSession, escrow: EscrowKey) -> tuple[bytes, bytes]:
    """A fresh random value, and its wrapping (RFC 3394) under the escrow key: only the right words unwrap it."""
    value = session.random(32)
    return value, wrap_value(session, escrow, value)


def wrap_value(session: HsmSession, escrow: EscrowKey, value: bytes) -> bytes:
    """Wrap key material that was made outside (a multiple of 8 bytes) under the escrow key."""
    template = templates.imported_secret(KeyKind.HMAC, value, KeyUsage.MAC, extractable=True)
    handle = session.create(template)
    try:
        return session.wrap(Mechanism.AES_KEY_WRAP, escrow.handle, handle)
    finally:
        session.destroy(handle)


def _find(session: HsmSession, label: str) -> EscrowKey | None:
    found = session.find({Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.TOKEN: True, Attribute.LABEL: label})
    if not found:
        return None
    if len(found) > 1:
        raise HsmConfigError(f"the HSM token holds {len(found)} keys with the label {label}; there must be one")
    return EscrowKey(escrow_id=session.attribute(found[0], Attribute.ID).hex(), handle=found[0])


def _read_value(session: HsmSession, unclaimed: EscrowKey) -> Secret:
    """Wrap it under a key whose value we know, and undo RFC 3394 here."""
    transport = os.urandom(32)
    wrapper = session.create(templates.throwaway_wrapper(transport))
    try:
        wrapped = session.wrap(Mechanism.AES_KEY_WRAP, wrapper, unclaimed.handle)
    finally:
        session.destroy(wrapper)
    try:
        return Secret(aes_key_unwrap(transport, wrapped))
    except InvalidUnwrap as exc:
        raise HsmConfigError("the HSM's AES_KEY_WRAP is not that of RFC 3394; escrow is not possible with it") from exc


def _check_same_key(session: HsmSession, hardened: EscrowKey, unclaimed: EscrowKey, value: Secret) -> None:
    sample, wrapped = challenge(session, hardened)
    if hardened.escrow_id != unclaimed.escrow_id or aes_key_wrap(value.expose(), sample) != wrapped:
        raise HsmConfigError(
            "the HSM token holds an escrow key of one cluster and an unclaimed one of another;"
            f" remove the one with the label {UNCLAIMED_LABEL}"
        )


def _nothing_to_claim(session: HsmSession) -> HsmConfigError:
    if find_escrow(session) is not None:
        return _already_claimed()
    return HsmConfigError(
        "this HSM token has no escrow key to release; provision one, or initialise the cluster without escrow shares"
    )


def _already_claimed() -> HsmConfigError:
    return HsmConfigError(
        "the escrow key of this HSM token was released already: the token belongs to an initialised cluster."
        " Initialise a new cluster on a freshly provisioned token"
    )
