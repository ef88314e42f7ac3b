"""Initialise, find the token, log in: one process of the node at a time.

SoftHSM rewrites its token file in place during C_Login, and a C_Initialize of another process at that moment sees no
token, a token without PIN, or CKR_GENERAL_ERROR. So both happen under a file lock, and are tried again.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from core.errors import HsmConfigError
from pkcs11_glue.cryptoki import CKU_USER, CryptokiError
from pkcs11_glue.errors import PIN_CODES, START_RACE_CODES, PinRefusedError, TokenMissingError, code_name
from pkcs11_glue.module import Module, TokenInfo
from pkcs11_glue.settings import HsmSettings

ATTEMPTS = 5
FIRST_PAUSE = 0.01  # seconds; doubled after each attempt
PATIENCE = 0.25  # seconds; a login takes some milliseconds, on a busy machine some tens


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A token this process is logged in to.

    `session` is never closed: closing the last session logs the process out and kills its private session objects.
    """

    module: Module
    token: TokenInfo
    session: int


@contextmanager
def node_lock(path: Path) -> Iterator[None]:
    """The node's lock around logins and changes of token objects."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise HsmConfigError(f"the HSM login lock {path} cannot be opened: {exc.strerror}") from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def without_logins(path: Path) -> Iterator[None]:
    """While no other process of the node logs in; or, if that takes long, as it is (blocking, PATIENCE at most)."""
    with ExitStack() as stack:
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            end = time.monotonic() + PATIENCE
            while not _has_locked(descriptor) and time.monotonic() < end:
                time.sleep(0.002)
        yield


def _has_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def log_in(module: Module, settings: HsmSettings, *, attempts: int = ATTEMPTS) -> Login:
    """C_Initialize and C_Login. Raises HsmConfigError; the module is left uninitialised then."""
    with node_lock(settings.login_lock):
        _check_not_refused(settings)
        pause = FIRST_PAUSE
        for remaining in reversed(range(attempts)):
            try:
                return _attempt(module, settings)
            except (CryptokiError, TokenMissingError) as exc:
                module.finalize()
                if not remaining or not _may_pass(exc):
                    raise _refusal(exc, settings) from exc
            except BaseException as exc:
                module.finalize()
                if isinstance(exc, PinRefusedError) and settings.pin_refused is not None:
                    _note_refusal(settings.pin_refused, exc)
                raise
            time.sleep(pause)
            pause *= 2
    raise RuntimeError("log_in was asked for no attempt")


def _attempt(module: Module, settings: HsmSettings) -> Login:
    module.initialize()
    token = find_token(module, label=settings.token_label, serial=settings.token_serial)
    session = module.open_session(token.slot)
    pin = settings.pin.read()
    try:
        code = module.functions.C_Login(session, CKU_USER, pin.address, pin.length)
    finally:
        pin.wipe()
    if code in PIN_CODES:
        raise PinRefusedError(
            f"the HSM token {token.label!r} refuses the PIN ({code_name(code)}); it was tried once and will not be"
            " tried again: mend the PIN, then restart",
            code=code_name(code),
        )
    if code:
        raise CryptokiError("C_Login", code)
    return Login(module=module, token=token, session=session)


def _check_not_refused(settings: HsmSettings) -> None:
    """Raise PinRefusedError when another process of the node, or a predecessor of this one, was refused the PIN.

    A token counts wrong PINs and locks itself. Workers start side by side and are started again when they end, so that
    one try for each process would be several for the token.
    """
    if settings.pin_refused is None or not settings.pin_refused.exists():
        return
    code = settings.pin_refused.read_text(encoding="ascii", errors="replace").strip()
    raise PinRefusedError(
        f"the HSM token refused the PIN ({code}) to another process of this server, so it is not tried again:"
        " mend the PIN, then restart",
        code=code,
    )


def _note_refusal(note: Path, error: PinRefusedError) -> None:
    with suppress(OSError):  # the refusal itself must reach the operator
        note.write_text(error.code, encoding="ascii")


def find_token(module: Module, *, label: str | None, serial: str | None) -> TokenInfo:
    """The one token of that label and serial (None: any). Raises TokenMissingError that names those present."""
    present = module.tokens()
    found = [t for t in present if label in {None, t.label} and serial in {None, t.serial}]
    if len(found) == 1:
        return found[0]
    wanted = " and ".join(f"{what} {value!r}" for what, value in (("label", label), ("serial", serial)) if value)
    if found:
        raise TokenMissingError(
            f"{len(found)} HSM tokens have the {wanted}; name the one you mean by its serial number"
        )
    seen = ", ".join(f"{t.label!r} (serial {t.serial})" for t in present) or "none"
    raise TokenMissingError(f"{module.path} shows no HSM token with the {wanted}; tokens present: {seen}")


def _may_pass(exc: CryptokiError | TokenMissingError) -> bool:
    return isinstance(exc, TokenMissingError) or exc.code in START_RACE_CODES


def _refusal(exc: CryptokiError | TokenMissingError, settings: HsmSettings) -> HsmConfigError:
    if isinstance(exc, TokenMissingError):
        return exc
    name = code_name(exc.code)
    return HsmConfigError(
        f"the HSM token cannot be opened: {exc.function} of {settings.module} answered {name};"
        " is its storage there, and may this user read it?",
        code=name,
    )
