"""Cryptoki's C interface (PKCS#11 2.40): its structures, and the functions as the module's own list gives them.

The calls go through the function list at every call, so what stands in the list is what runs: a shim in front of the
module (tracing, injected faults) needs nothing but to write its address there. ADR 0001 says why we call C directly.
"""

from ctypes import CDLL, CFUNCTYPE, Structure, addressof, byref, c_char_p, c_ubyte, c_ulong, c_void_p, sizeof
from pathlib import Path
from typing import Any

from core.errors import HsmConfigError

CKF_OS_LOCKING_OK = 0x2
CKF_RW_SESSION = 0x2
CKF_SERIAL_SESSION = 0x4
CKF_TOKEN_INITIALIZED = 0x400
CKU_SO = 0
CKU_USER = 1
UNAVAILABLE = c_ulong(-1).value  # CK_UNAVAILABLE_INFORMATION


class CkVersion(Structure):
    """CK_VERSION."""

    _fields_ = (("major", c_ubyte), ("minor", c_ubyte))


class CkInfo(Structure):
    """CK_INFO."""

    _fields_ = (
        ("cryptoki_version", CkVersion),
        ("manufacturer_id", c_ubyte * 32),
        ("flags", c_ulong),
        ("library_description", c_ubyte * 32),
        ("library_version", CkVersion),
    )


class CkTokenInfo(Structure):
    """CK_TOKEN_INFO."""

    _fields_ = (
        ("label", c_ubyte * 32),
        ("manufacturer_id", c_ubyte * 32),
        ("model", c_ubyte * 16),
        ("serial_number", c_ubyte * 16),
        ("flags", c_ulong),
        ("counters", c_ulong * 10),  # session counts, PIN lengths and memory sizes: none of them is reliable
        ("hardware_version", CkVersion),
        ("firmware_version", CkVersion),
        ("utc_time", c_ubyte * 16),
    )


class CkInitializeArgs(Structure):
    """CK_C_INITIALIZE_ARGS."""

    _fields_ = (
        ("create_mutex", c_void_p),
        ("destroy_mutex", c_void_p),
        ("lock_mutex", c_void_p),
        ("unlock_mutex", c_void_p),
        ("flags", c_ulong),
        ("reserved", c_void_p),
    )


class CkAttribute(Structure):
    """CK_ATTRIBUTE."""

    _fields_ = (("type", c_ulong), ("value", c_void_p), ("length", c_ulong))


class CkMechanism(Structure):
    """CK_MECHANISM."""

    _fields_ = (("mechanism", c_ulong), ("parameter", c_void_p), ("parameter_length", c_ulong))


class CkGcmParams(Structure):
    """CK_GCM_PARAMS (2.40 errata and 3.0: with the length of the IV in bits)."""

    _fields_ = (
        ("iv", c_char_p),
        ("iv_length", c_ulong),
        ("iv_bits", c_ulong),
        ("associated_data", c_char_p),
        ("associated_data_length", c_ulong),
        ("tag_bits", c_ulong),
    )


class CkRsaPssParams(Structure):
    """CK_RSA_PKCS_PSS_PARAMS."""

    _fields_ = (("hash_mechanism", c_ulong), ("mgf", c_ulong), ("salt_length", c_ulong))


class CkRsaOaepParams(Structure):
    """CK_RSA_PKCS_OAEP_PARAMS."""

    _fields_ = (
        ("hash_mechanism", c_ulong),
        ("mgf", c_ulong),
        ("source", c_ulong),
        ("label", c_char_p),
        ("label_length", c_ulong),
    )


class CkKeyDerivationStringData(Structure):
    """CK_KEY_DERIVATION_STRING_DATA."""

    _fields_ = (("data", c_char_p), ("length", c_ulong))


_FLAG, _NUMBER, _POINTER, _BYTES = c_ubyte, c_ulong, c_void_p, c_char_p

# name: place in CK_FUNCTION_LIST, argument types. _BYTES is a pointer that Python `bytes` may be passed for.
_FUNCTIONS: dict[str, tuple[int, tuple[Any, ...]]] = {
    "C_Initialize": (0, (_POINTER,)),
    "C_Finalize": (1, (_POINTER,)),
    "C_GetInfo": (2, (_POINTER,)),
    "C_GetSlotList": (4, (_FLAG, _POINTER, _POINTER)),
    "C_GetTokenInfo": (6, (_NUMBER, _POINTER)),
    "C_GetMechanismList": (7, (_NUMBER, _POINTER, _POINTER)),
    "C_InitToken": (9, (_NUMBER, _POINTER, _NUMBER, _POINTER)),
    "C_InitPIN": (10, (_NUMBER, _POINTER, _NUMBER)),
    "C_OpenSession": (12, (_NUMBER, _NUMBER, _POINTER, _POINTER, _POINTER)),
    "C_CloseSession": (13, (_NUMBER,)),
    "C_Login": (18, (_NUMBER, _NUMBER, _POINTER, _NUMBER)),
    "C_CreateObject": (20, (_NUMBER, _POINTER, _NUMBER, _POINTER)),
    "C_DestroyObject": (22, (_NUMBER, _NUMBER)),
    "C_GetAttributeValue": (24, (_NUMBER, _NUMBER, _POINTER, _NUMBER)),
    "C_FindObjectsInit": (26, (_NUMBER, _POINTER, _NUMBER)),
    "C_FindObjects": (27, (_NUMBER, _POINTER, _NUMBER, _POINTER)),
    "C_FindObjectsFinal": (28, (_NUMBER,)),
    "C_EncryptInit": (29, (_NUMBER, _POINTER, _NUMBER)),
    "C_Encrypt": (30, (_NUMBER, _BYTES, _NUMBER, _POINTER, _POINTER)),
    "C_DecryptInit": (33, (_NUMBER, _POINTER, _NUMBER)),
    "C_Decrypt": (34, (_NUMBER, _BYTES, _NUMBER, _POINTER, _POINTER)),
    "C_SignInit": (42, (_NUMBER, _POINTER, _NUMBER)),
    "C_Sign": (43, (_NUMBER, _BYTES, _NUMBER, _POINTER, _POINTER)),
    "C_GenerateKey": (58, (_NUMBER, _POINTER, _POINTER, _NUMBER, _POINTER)),
    "C_GenerateKeyPair": (59, (_NUMBER, _POINTER, _POINTER, _NUMBER, _POINTER, _NUMBER, _POINTER, _POINTER)),
    "C_WrapKey": (60, (_NUMBER, _POINTER, _NUMBER, _NUMBER, _POINTER, _POINTER)),
    "C_UnwrapKey": (61, (_NUMBER, _POINTER, _NUMBER, _BYTES, _NUMBER, _POINTER, _NUMBER, _POINTER)),
    "C_DeriveKey": (62, (_NUMBER, _POINTER, _NUMBER, _POINTER, _NUMBER, _POINTER)),
    "C_GenerateRandom": (64, (_NUMBER, _POINTER, _NUMBER)),
}


class CryptokiError(Exception):
    """A function answered something else than CKR_OK. Internal: `pkcs11_glue.errors` translates it."""

    def __init__(self, function: str, code: int) -> None:
        super().__init__(f"{function}: 0x{code:x}")
        self.function = function
        self.code = code


class Functions:
    """The C functions of one module; each answers its CK_RV as an int."""

    C_Initialize: Any
    C_Finalize: Any
    C_GetInfo: Any
    C_GetSlotList: Any
    C_GetTokenInfo: Any
    C_GetMechanismList: Any
    C_InitToken: Any
    C_InitPIN: Any
    C_OpenSession: Any
    C_CloseSession: Any
    C_Login: Any
    C_CreateObject: Any
    C_DestroyObject: Any
    C_GetAttributeValue: Any
    C_FindObjectsInit: Any
    C_FindObjects: Any
    C_FindObjectsFinal: Any
    C_EncryptInit: Any
    C_Encrypt: Any
    C_DecryptInit: Any
    C_Decrypt: Any
    C_SignInit: Any
    C_Sign: Any
    C_GenerateKey: Any
    C_GenerateKeyPair: Any
    C_WrapKey: Any
    C_UnwrapKey: Any
    C_DeriveKey: Any
    C_GenerateRandom: Any

    def __init__(self, path: Path) -> None:
        """Load the shared object and read its list; nothing is initialised. Raises HsmConfigError."""
        self._library = _load(path)
        first = _function_list(self._library, path) + sizeof(c_void_p)  # CK_VERSION, padded, stands before the pointers
        for name, (place, arguments) in _FUNCTIONS.items():
            # from_address, not the address itself: ctypes then reads the pointer from the list at each call
            prototype = CFUNCTYPE(c_ulong, *arguments)
            setattr(self, name, prototype.from_address(first + place * sizeof(c_void_p)))

    def call(self, name: str, *arguments: object) -> None:
        """Call a function; anything but CKR_OK is a CryptokiError that names it."""
        code = getattr(self, name)(*arguments)
        if code:
            raise CryptokiError(name, code)


def _load(path: Path) -> CDLL:
    if not path.is_file():
        raise HsmConfigError(f"the PKCS#11 module {path} does not exist; set the path of your HSM's library")
    try:
        return CDLL(str(path))
    except OSError as exc:
        raise HsmConfigError(f"the PKCS#11 module {path} cannot be loaded: {exc}") from exc


def _function_list(library: CDLL, path: Path) -> int:
    """Where the list stands. Some modules export nothing but this one function."""
    try:
        get_function_list = library.C_GetFunctionList
    except AttributeError as exc:
        raise HsmConfigError(f"{path} is a shared library, but not a PKCS#11 module") from exc
    pointer = c_void_p()
    get_function_list.restype = c_ulong
    code = get_function_list(byref(pointer))
    if code or not pointer.value:
        raise HsmConfigError(f"the PKCS#11 module {path} gives no function list (0x{code:x})")
    return pointer.value


def mechanism(kind: int, parameter: Structure | None = None) -> CkMechanism:
    """A CK_MECHANISM; the caller keeps `parameter` alive as long as it."""
    if parameter is None:
        return CkMechanism(int(kind), None, 0)
    return CkMechanism(int(kind), addressof(parameter), sizeof(parameter))


def padded_text(field: Any) -> str:
    """The text of a fixed-length, blank-padded field (ctypes gives arrays no common static type)."""
    return bytes(field).split(b"\0")[0].decode("utf-8", "replace").rstrip()
