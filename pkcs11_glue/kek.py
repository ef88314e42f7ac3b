"""The key-encryption keys of a token: made hardened, found at start, and proven hardened before use."""

import os
import re
from ctypes import addressof
from dataclasses import dataclass

from pkcs11.constants import Attribute, ObjectClass
from pkcs11.mechanisms import Mechanism

from core.errors import HsmConfigError
from core.protocols import KeyKind, KeyUsage
from pkcs11_glue import templates
from pkcs11_glue.cryptoki import CryptokiError, mechanism
from pkcs11_glue.errors import Verdict, verdict
from pkcs11_glue.session import HsmSession, destroy_all

KEY_ID_BYTES = 16
LABEL_PREFIX = "mimir-kek-"
_LABEL = re.compile(rf"{LABEL_PREFIX}([1-9][0-9]{{0,8}})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kek:
    """A KEK in the token. `kek_id` is the hex form of its CKA_ID, `number` the one in its label."""

    kek_id: str
    number: int
    handle: int


def create_kek(session: HsmSession, *, number: int = 1) -> str:
    """Generate a hardened KEK as a token object (the session is read-write); answers its kek_id."""
    key_id = os.urandom(KEY_ID_BYTES)
    template = templates.kek(key_id=key_id, label=f"{LABEL_PREFIX}{number}") | {Attribute.VALUE_LEN: 32}
    session.generate_secret(Mechanism.AES_KEY_GEN, template)
    return key_id.hex()


def find_keks(session: HsmSession) -> list[Kek]:
    """Every KEK of the token, the newest last."""
    handles = session.find({Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.TOKEN: True, Attribute.UNWRAP: True})
    found = []
    for handle in handles:
        label = session.attribute(handle, Attribute.LABEL).decode("utf-8", "replace")
        if match := _LABEL.fullmatch(label):
            key_id = session.attribute(handle, Attribute.ID)
            found.append(Kek(kek_id=key_id.hex(), number=int(match[1]), handle=handle))
    return sorted(found, key=lambda kek: kek.number)


def check_hardened(session: HsmSession, kek: Kek) -> None:
    """Try what a hardened KEK must refuse. Raises HsmConfigError naming what it allowed.

    The policy cannot be read back reliably, so it is proven: on a fresh key, wrapped for this purpose alone.
    """
    _check_flags(session, kek)
    _check_no_cipher(session, kek)
    probe = session.generate_secret(Mechanism.AES_KEY_GEN, templates.newborn_secret(KeyKind.AES_256))
    try:
        wrapped = session.wrap(Mechanism.AES_KEY_WRAP, kek.handle, probe)
    finally:
        session.destroy(probe)
    _check_unwrap(session, kek, wrapped)


def _check_flags(session: HsmSession, kek: Kek) -> None:
    required = {
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        Attribute.MODIFIABLE: False,
        Attribute.COPYABLE: False,
    }
    for name, value in required.items():
        if session.attribute(kek.handle, name) != bytes((value,)):
            raise _not_hardened(kek, f"its {name.name} is not {value}")


def _check_no_cipher(session: HsmSession, kek: Kek) -> None:
    functions = session.functions
    how = mechanism(Mechanism.AES_ECB)
    for name in ("C_EncryptInit", "C_DecryptInit"):
        try:
            functions.call(name, session.handle, addressof(how), kek.handle)
        except CryptokiError as exc:
            _check_is_refusal(exc)
        else:
            raise _not_hardened(kek, "it encrypts and decrypts data")


def _check_unwrap(session: HsmSession, kek: Kek, wrapped: bytes) -> None:
    good = templates.working(KeyKind.AES_256, KeyUsage.ENCRYPT)
    # that the honest unwrap succeeds gives the refusals below their meaning
    session.destroy(session.unwrap(Mechanism.AES_KEY_WRAP, kek.handle, wrapped, good))
    for forbidden in ({Attribute.SENSITIVE: False}, {Attribute.EXTRACTABLE: True}):
        try:
            leaked = session.unwrap(Mechanism.AES_KEY_WRAP, kek.handle, wrapped, good | forbidden)
        except CryptokiError as exc:
            _check_is_refusal(exc)
        else:
            destroy_all(session, [leaked])
            name, value = next(iter(forbidden.items()))
            raise _not_hardened(kek, f"it unwraps keys with {name.name} {value}, so they could be read in clear")


def _check_is_refusal(error: CryptokiError) -> None:
    """A failing HSM is no proof of a policy."""
    if verdict(error.code) is not Verdict.GIVE_UP:
        raise error


def _not_hardened(kek: Kek, finding: str) -> HsmConfigError:
    return HsmConfigError(
        f"the KEK {kek.kek_id} (label {LABEL_PREFIX}{kek.number}) is not hardened: {finding}; it is not used."
        " Provision a token with the templates of docs/hsm-setup.md"
    )
