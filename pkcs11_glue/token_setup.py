"""Initialise a new token: label, SO PIN and user PIN.

By C_InitToken and not by softhsm2-util, which takes PINs on its command line, where everybody on the machine sees them.
"""

from ctypes import addressof, create_string_buffer

from core.errors import HsmConfigError
from pkcs11_glue.cryptoki import CKU_SO, CryptokiError
from pkcs11_glue.errors import code_name
from pkcs11_glue.module import Module
from pkcs11_glue.settings import HsmSettings, PinSource

LABEL_BYTES = 32


def initialize_token(module: Module, settings: HsmSettings, *, so_pin: PinSource) -> None:
    """Make the token of that label in the first free slot, or finish one whose making was interrupted.

    The module is not initialised when this is called, nor afterwards. The caller holds the provisioner's lock.
    """
    label = settings.token_label
    if not label:
        raise HsmConfigError("a new token needs a label")
    try:
        module.initialize()
        _initialize(module, label, so_pin)
        module.finalize()  # SoftHSM moves a new token to another slot when it looks again
        module.initialize()
        _set_user_pin(module, label, settings.pin, so_pin)
    except CryptokiError as exc:
        name = code_name(exc.code)
        raise HsmConfigError(f"the token could not be initialised: {exc.function} answered {name}", code=name) from exc
    finally:
        module.finalize()


def _initialize(module: Module, label: str, so_pin: PinSource) -> None:
    if any(token.label == label for token in module.tokens()):
        return
    slot = module.free_slot()
    if slot is None:
        raise HsmConfigError(
            "the module has no slot with an uninitialised token; initialise one with the HSM's own tool"
        )
    padded = create_string_buffer(label.encode().ljust(LABEL_BYTES), LABEL_BYTES)
    pin = so_pin.read()
    try:
        module.functions.call("C_InitToken", slot, pin.address, pin.length, addressof(padded))
    finally:
        pin.wipe()


def _set_user_pin(module: Module, label: str, user_pin: PinSource, so_pin: PinSource) -> None:
    slot = next(token.slot for token in module.tokens() if token.label == label)
    session = module.open_session(slot, read_write=True)
    pin = so_pin.read()
    try:
        module.functions.call("C_Login", session, CKU_SO, pin.address, pin.length)
    finally:
        pin.wipe()
    pin = user_pin.read()
    try:
        module.functions.call("C_InitPIN", session, pin.address, pin.length)
    finally:
        pin.wipe()
