"""Provision a token: initialise it, and make a hardened KEK and an unclaimed escrow key inside."""

from dataclasses import dataclass
from pathlib import Path

from pkcs11.constants import Attribute, ObjectClass

from core.errors import HsmConfigError
from pkcs11_glue import escrow, kek
from pkcs11_glue.cryptoki import CryptokiError
from pkcs11_glue.errors import TokenMissingError, hsm_error
from pkcs11_glue.login import Login, log_in, node_lock
from pkcs11_glue.module import Module
from pkcs11_glue.session import HsmSession
from pkcs11_glue.settings import HsmSettings, PinSource
from pkcs11_glue.token_setup import initialize_token


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionedKeys:
    """The token's keys, and which of them are new."""

    serial: str
    kek_id: str
    escrow_id: str
    created: tuple[str, ...]


def provision_token(settings: HsmSettings, *, so_pin: PinSource) -> ProvisionedKeys:
    """Make what is missing of the token, its KEK and its escrow key. Raises HsmConfigError.

    For a one-shot process: it opens the module and finalises it.
    """
    module = Module(settings.module, settings.locking)
    created: list[str] = []
    # one provisioner at a time: a second one waits, then finds everything made
    with node_lock(settings.login_lock.with_name(settings.login_lock.name + ".provision")):
        try:
            login = log_in(module, settings, attempts=2)
        except HsmConfigError as exc:
            if not (isinstance(exc, TokenMissingError) or exc.code == "CKR_USER_PIN_NOT_INITIALIZED"):
                raise
            initialize_token(module, settings, so_pin=so_pin)
            created.append("token")
            login = log_in(module, settings)
        try:
            return _make_keys(login, settings.login_lock, created)
        except CryptokiError as exc:
            raise hsm_error(exc) from exc
        finally:
            module.finalize()


def _make_keys(login: Login, lock: Path, created: list[str]) -> ProvisionedKeys:
    with node_lock(lock):
        handle = login.module.open_session(login.token.slot, read_write=True)
        session = HsmSession(login.module.functions, handle)
        sweep_half_made(session)
        keks = kek.find_keks(session)
        new_token = not keks
        if new_token:
            kek.create_kek(session)
            created.append("kek")
            keks = kek.find_keks(session)
        kek.check_hardened(session, keks[-1])
        found = escrow.find_escrow(session) or escrow.find_unclaimed(session)
        # an old KEK without escrow key: a cluster declined escrow, and must not be offered it again
        if found is None and new_token:
            escrow.create_unclaimed(session)
            created.append("escrow key")
            found = escrow.find_unclaimed(session)
        return ProvisionedKeys(
            serial=login.token.serial,
            kek_id=keks[-1].kek_id,
            escrow_id=found.escrow_id if found else "",
            created=tuple(created),
        )


def sweep_half_made(session: HsmSession) -> int:
    """Destroy what a process that was killed while it made a token object left: secret keys with neither label nor id.

    Nothing of Mimir, and no key that anybody could look up, is like that. The caller holds the node's lock.
    """
    swept = 0
    for handle in session.find({Attribute.TOKEN: True, Attribute.CLASS: ObjectClass.SECRET_KEY}):
        if not session.attribute(handle, Attribute.LABEL) and not session.attribute(handle, Attribute.ID):
            session.destroy(handle)
            swept += 1
    return swept
