"""What a CK_RV means for the caller: try again, wait for the module to be re-opened, or call the operator."""

from enum import Enum

from core.errors import CiphertextError, HsmConfigError, HsmError, HsmGoneError, HsmRetryError
from pkcs11_glue.cryptoki import CryptokiError

# PKCS#11 2.40, section 11.1
CKR_NAMES = {
    0x01: "CKR_CANCEL",
    0x02: "CKR_HOST_MEMORY",
    0x03: "CKR_SLOT_ID_INVALID",
    0x05: "CKR_GENERAL_ERROR",
    0x06: "CKR_FUNCTION_FAILED",
    0x07: "CKR_ARGUMENTS_BAD",
    0x08: "CKR_NO_EVENT",
    0x09: "CKR_NEED_TO_CREATE_THREADS",
    0x0A: "CKR_CANT_LOCK",
    0x10: "CKR_ATTRIBUTE_READ_ONLY",
    0x11: "CKR_ATTRIBUTE_SENSITIVE",
    0x12: "CKR_ATTRIBUTE_TYPE_INVALID",
    0x13: "CKR_ATTRIBUTE_VALUE_INVALID",
    0x1B: "CKR_ACTION_PROHIBITED",
    0x20: "CKR_DATA_INVALID",
    0x21: "CKR_DATA_LEN_RANGE",
    0x30: "CKR_DEVICE_ERROR",
    0x31: "CKR_DEVICE_MEMORY",
    0x32: "CKR_DEVICE_REMOVED",
    0x35: "CKR_AEAD_DECRYPT_FAILED",
    0x40: "CKR_ENCRYPTED_DATA_INVALID",
    0x41: "CKR_ENCRYPTED_DATA_LEN_RANGE",
    0x50: "CKR_FUNCTION_CANCELED",
    0x51: "CKR_FUNCTION_NOT_PARALLEL",
    0x54: "CKR_FUNCTION_NOT_SUPPORTED",
    0x60: "CKR_KEY_HANDLE_INVALID",
    0x62: "CKR_KEY_SIZE_RANGE",
    0x63: "CKR_KEY_TYPE_INCONSISTENT",
    0x64: "CKR_KEY_NOT_NEEDED",
    0x65: "CKR_KEY_CHANGED",
    0x66: "CKR_KEY_NEEDED",
    0x67: "CKR_KEY_INDIGESTIBLE",
    0x68: "CKR_KEY_FUNCTION_NOT_PERMITTED",
    0x69: "CKR_KEY_NOT_WRAPPABLE",
    0x6A: "CKR_KEY_UNEXTRACTABLE",
    0x70: "CKR_MECHANISM_INVALID",
    0x71: "CKR_MECHANISM_PARAM_INVALID",
    0x82: "CKR_OBJECT_HANDLE_INVALID",
    0x90: "CKR_OPERATION_ACTIVE",
    0x91: "CKR_OPERATION_NOT_INITIALIZED",
    0xA0: "CKR_PIN_INCORRECT",
    0xA1: "CKR_PIN_INVALID",
    0xA2: "CKR_PIN_LEN_RANGE",
    0xA3: "CKR_PIN_EXPIRED",
    0xA4: "CKR_PIN_LOCKED",
    0xB0: "CKR_SESSION_CLOSED",
    0xB1: "CKR_SESSION_COUNT",
    0xB3: "CKR_SESSION_HANDLE_INVALID",
    0xB4: "CKR_SESSION_PARALLEL_NOT_SUPPORTED",
    0xB5: "CKR_SESSION_READ_ONLY",
    0xB6: "CKR_SESSION_EXISTS",
    0xB7: "CKR_SESSION_READ_ONLY_EXISTS",
    0xB8: "CKR_SESSION_READ_WRITE_SO_EXISTS",
    0xC0: "CKR_SIGNATURE_INVALID",
    0xC1: "CKR_SIGNATURE_LEN_RANGE",
    0xD0: "CKR_TEMPLATE_INCOMPLETE",
    0xD1: "CKR_TEMPLATE_INCONSISTENT",
    0xE0: "CKR_TOKEN_NOT_PRESENT",
    0xE1: "CKR_TOKEN_NOT_RECOGNIZED",
    0xE2: "CKR_TOKEN_WRITE_PROTECTED",
    0xF0: "CKR_UNWRAPPING_KEY_HANDLE_INVALID",
    0xF1: "CKR_UNWRAPPING_KEY_SIZE_RANGE",
    0xF2: "CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT",
    0x100: "CKR_USER_ALREADY_LOGGED_IN",
    0x101: "CKR_USER_NOT_LOGGED_IN",
    0x102: "CKR_USER_PIN_NOT_INITIALIZED",
    0x103: "CKR_USER_TYPE_INVALID",
    0x104: "CKR_USER_ANOTHER_ALREADY_LOGGED_IN",
    0x105: "CKR_USER_TOO_MANY_TYPES",
    0x110: "CKR_WRAPPED_KEY_INVALID",
    0x112: "CKR_WRAPPED_KEY_LEN_RANGE",
    0x113: "CKR_WRAPPING_KEY_HANDLE_INVALID",
    0x114: "CKR_WRAPPING_KEY_SIZE_RANGE",
    0x115: "CKR_WRAPPING_KEY_TYPE_INCONSISTENT",
    0x120: "CKR_RANDOM_SEED_NOT_SUPPORTED",
    0x121: "CKR_RANDOM_NO_RNG",
    0x130: "CKR_DOMAIN_PARAMS_INVALID",
    0x140: "CKR_CURVE_NOT_SUPPORTED",
    0x150: "CKR_BUFFER_TOO_SMALL",
    0x160: "CKR_SAVED_STATE_INVALID",
    0x170: "CKR_INFORMATION_SENSITIVE",
    0x180: "CKR_STATE_UNSAVEABLE",
    0x190: "CKR_CRYPTOKI_NOT_INITIALIZED",
    0x191: "CKR_CRYPTOKI_ALREADY_INITIALIZED",
    0x1A0: "CKR_MUTEX_BAD",
    0x1A1: "CKR_MUTEX_NOT_LOCKED",
    0x200: "CKR_FUNCTION_REJECTED",
}
_CODES = {name: code for code, name in CKR_NAMES.items()}


def _codes(*names: str) -> frozenset[int]:
    return frozenset(_CODES[f"CKR_{name}"] for name in names)


class Verdict(Enum):
    """What to do about a failed call."""

    RETRY = "retry"
    REOPEN = "reopen"
    GIVE_UP = "give up"
    UNCLEAR = "unclear"  # SoftHSM says CKR_GENERAL_ERROR for a forged tag and for a lost token alike: test, then decide


REOPEN_CODES = _codes(
    "HOST_MEMORY",  # session objects are what fills memory, and re-opening drops them
    "DEVICE_MEMORY",
    "SLOT_ID_INVALID",
    "DEVICE_ERROR",
    "DEVICE_REMOVED",
    "KEY_HANDLE_INVALID",
    "OBJECT_HANDLE_INVALID",
    "OPERATION_ACTIVE",
    "OPERATION_NOT_INITIALIZED",
    "SESSION_CLOSED",
    "SESSION_HANDLE_INVALID",
    "TOKEN_NOT_PRESENT",
    "TOKEN_NOT_RECOGNIZED",
    "UNWRAPPING_KEY_HANDLE_INVALID",
    "WRAPPING_KEY_HANDLE_INVALID",
    "USER_NOT_LOGGED_IN",
    "CRYPTOKI_NOT_INITIALIZED",
)
RETRY_CODES = _codes("CANCEL", "FUNCTION_CANCELED", "SESSION_COUNT", "CANT_LOCK", "MUTEX_BAD", "MUTEX_NOT_LOCKED")
UNCLEAR_CODES = _codes("GENERAL_ERROR", "FUNCTION_FAILED", "FUNCTION_REJECTED", "BUFFER_TOO_SMALL")
PIN_CODES = _codes("PIN_INCORRECT", "PIN_INVALID", "PIN_LEN_RANGE", "PIN_EXPIRED", "PIN_LOCKED")
# what another process's C_Login makes of a C_Initialize at the same moment: passes by itself
START_RACE_CODES = _codes("GENERAL_ERROR", "TOKEN_NOT_PRESENT", "TOKEN_NOT_RECOGNIZED", "USER_PIN_NOT_INITIALIZED")
# what C_Decrypt says of a ciphertext that does not authenticate
BAD_CIPHERTEXT_CODES = _codes(
    "ENCRYPTED_DATA_INVALID",
    "ENCRYPTED_DATA_LEN_RANGE",
    "AEAD_DECRYPT_FAILED",
    "DATA_INVALID",
    "DATA_LEN_RANGE",
    "SIGNATURE_INVALID",
)
# what C_UnwrapKey says of a blob that is damaged, or was made under another key
BAD_BLOB_CODES = BAD_CIPHERTEXT_CODES | _codes("WRAPPED_KEY_INVALID", "WRAPPED_KEY_LEN_RANGE", "ARGUMENTS_BAD")


class PinRefusedError(HsmConfigError):
    """The token refuses the PIN. Final: another try could lock the token."""


class TokenMissingError(HsmConfigError):
    """No slot holds the wanted token now."""


def code_name(code: int) -> str:
    """`CKR_DEVICE_ERROR`, or `CKR_VENDOR 0x80000001`."""
    return CKR_NAMES.get(code) or f"CKR_VENDOR 0x{code:x}"


def verdict(code: int) -> Verdict:
    """What to do about `code`. Codes we do not know (vendor codes) are unclear."""
    if code in REOPEN_CODES:
        return Verdict.REOPEN
    if code in RETRY_CODES:
        return Verdict.RETRY
    if code in UNCLEAR_CODES or code not in CKR_NAMES:
        return Verdict.UNCLEAR
    return Verdict.GIVE_UP


def hsm_error(error: CryptokiError, *, healthy: bool | None = None) -> HsmError:
    """The error a caller of the glue gets. `healthy` says what a known-answer test found, if one was made."""
    name, decision = code_name(error.code), verdict(error.code)
    if decision is Verdict.UNCLEAR:
        decision = Verdict.REOPEN if healthy is False else Verdict.RETRY
    where = f"{error.function} answered {name}"
    match decision:
        case Verdict.REOPEN:
            return gone(name)
        case Verdict.RETRY:
            return HsmRetryError(f"the HSM failed on this call ({where}); try again", code=name)
        case _:
            return HsmConfigError(f"the HSM refuses this operation ({where})", code=name)


def closed() -> HsmGoneError:
    """The answer after `Hsm.close`."""
    return HsmGoneError("the HSM is closed: the appliance is stopping", code="closed")


def gone(code: str) -> HsmGoneError:
    """The answer while the token cannot be used."""
    return HsmGoneError(f"the HSM is not reachable ({code}); it is being re-opened, try again shortly", code=code)


def bad_ciphertext() -> CiphertextError:
    """The one error for malformed, forged and foreign ciphertexts, whoever executes the key."""
    return CiphertextError("the ciphertext is malformed, was altered, or belongs to another key or context")
