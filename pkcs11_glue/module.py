"""A loaded PKCS#11 module: initialisation, tokens and sessions."""

from collections.abc import Iterator
from ctypes import addressof, c_ulong
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pkcs11_glue.cryptoki import (
    CKF_OS_LOCKING_OK,
    CKF_RW_SESSION,
    CKF_SERIAL_SESSION,
    CKF_TOKEN_INITIALIZED,
    CkInfo,
    CkInitializeArgs,
    CkTokenInfo,
    CryptokiError,
    Functions,
    padded_text,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInfo:
    """A token as its slot describes it."""

    slot: int
    label: str
    serial: str
    manufacturer: str
    model: str


class Module:
    """One module of this process. C_Initialize belongs to the process, so there is one Module for each library."""

    def __init__(self, path: Path, locking: Literal["os", "none"]) -> None:
        self.path = path
        self.functions = Functions(path)
        self._locking = locking
        self._initialized = False  # by us; another user of the library in this process is not ours to finalise

    def initialize(self) -> None:
        """C_Initialize; with OS locking, without which threads crash the module."""
        arguments = CkInitializeArgs(flags=CKF_OS_LOCKING_OK)
        self.functions.call("C_Initialize", None if self._locking == "none" else addressof(arguments))
        self._initialized = True

    def finalize(self) -> None:
        """C_Finalize. No other thread may be inside a call. A module that we did not initialise is left as it is."""
        if self._initialized:
            self._initialized = False
            self.functions.C_Finalize(None)

    def free_slot(self) -> int | None:
        """A slot whose token is not initialised."""
        return next((slot for slot in self._slots() if self.token_info(slot) is None), None)

    def library_text(self) -> str:
        """Manufacturer, description and version of the library."""
        info = CkInfo()
        self.functions.call("C_GetInfo", addressof(info))
        version = f"{info.library_version.major}.{info.library_version.minor}"
        texts = (padded_text(info.manufacturer_id), padded_text(info.library_description), version)
        return ", ".join(text for text in texts if text)

    def tokens(self) -> list[TokenInfo]:
        """Every initialised token that is present."""
        return [info for slot in self._slots() if (info := self.token_info(slot)) is not None]

    def token_info(self, slot: int) -> TokenInfo | None:
        """What the slot holds now; None for a token that is not initialised."""
        info = CkTokenInfo()
        self.functions.call("C_GetTokenInfo", slot, addressof(info))
        if not info.flags & CKF_TOKEN_INITIALIZED:
            return None
        return TokenInfo(
            slot=slot,
            label=padded_text(info.label),
            serial=padded_text(info.serial_number),
            manufacturer=padded_text(info.manufacturer_id),
            model=padded_text(info.model),
        )

    def mechanisms(self, slot: int) -> list[int]:
        """What the token claims to do. The flags of C_GetMechanismInfo are not asked: SoftHSM's are garbage."""
        count = c_ulong()
        self.functions.call("C_GetMechanismList", slot, None, addressof(count))
        values = (c_ulong * count.value)()
        self.functions.call("C_GetMechanismList", slot, addressof(values), addressof(count))
        return sorted(values[: count.value])

    def open_session(self, slot: int, *, read_write: bool = False) -> int:
        """A new session. The login of the process counts for it as well."""
        handle = c_ulong()
        flags = CKF_SERIAL_SESSION | (CKF_RW_SESSION if read_write else 0)
        self.functions.call("C_OpenSession", slot, flags, None, None, addressof(handle))
        return handle.value

    def _slots(self) -> Iterator[int]:
        count = c_ulong()
        self.functions.call("C_GetSlotList", 1, None, addressof(count))
        slots = (c_ulong * max(count.value, 1))()
        code = self.functions.C_GetSlotList(1, addressof(slots), addressof(count))
        if code:
            raise CryptokiError("C_GetSlotList", code)
        yield from slots[: count.value]
