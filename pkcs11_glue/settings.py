"""Which HSM to open, and how."""

import os
from collections.abc import Mapping
from ctypes import Array, addressof, c_char, create_string_buffer, memset
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.errors import HsmConfigError

MAX_PIN_BYTES = 256


class PinBuffer:
    """A PIN in memory that can be wiped, as no Python `str` or `bytes` can."""

    __slots__ = ("_buffer", "length")

    def __init__(self, buffer: "Array[c_char]", length: int) -> None:
        self._buffer = buffer
        self.length = length

    @property
    def address(self) -> int:
        """Where C_Login finds it."""
        return addressof(self._buffer)

    def wipe(self) -> None:
        """Overwrite it."""
        memset(self._buffer, 0, len(self._buffer))

    def __repr__(self) -> str:
        return "PinBuffer(…)"


@dataclass(frozen=True, kw_only=True)
class PinSource:
    """Where the PIN is: a systemd credential, a file, or an environment variable; the first of them that is given.

    A credential is the file of that name in $CREDENTIALS_DIRECTORY (systemd.exec(5)). A last line end is not the PIN's.
    The environment can be read by every process of the same user and leaves copies in memory: for laptops and tests.
    """

    credential: str | None = None
    file: Path | None = None
    environment: str | None = None

    def read(self, environ: Mapping[str, str] | None = None) -> PinBuffer:
        """The PIN, for one login. Raises HsmConfigError that names the source, never its content."""
        environ = os.environ if environ is None else environ
        if self.credential is not None and "CREDENTIALS_DIRECTORY" in environ:
            return _read_file(Path(environ["CREDENTIALS_DIRECTORY"]) / self.credential)
        if self.file is not None:
            return _read_file(self.file)
        if self.environment is not None:
            return _read_environment(self.environment, environ)
        if self.credential is not None:
            raise HsmConfigError(f"no $CREDENTIALS_DIRECTORY to read the PIN credential {self.credential!r} from")
        raise HsmConfigError("no source for the HSM's PIN is set: name a systemd credential, a file or a variable")


def _read_file(path: Path) -> PinBuffer:
    buffer = create_string_buffer(MAX_PIN_BYTES + 2)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise HsmConfigError(f"the file with the HSM's PIN, {path}, cannot be read: {exc.strerror}") from exc
    try:
        length = os.readv(descriptor, [buffer])
    except OSError as exc:
        raise HsmConfigError(f"the file with the HSM's PIN, {path}, cannot be read: {exc.strerror}") from exc
    finally:
        os.close(descriptor)
    if length and buffer[length - 1] == b"\n":
        length -= 1
    return _checked(PinBuffer(buffer, length), f"the file with the HSM's PIN, {path},")


def _read_environment(name: str, environ: Mapping[str, str]) -> PinBuffer:
    value = environ.get(name)
    if value is None:
        raise HsmConfigError(f"the environment variable {name}, which should hold the HSM's PIN, is not set")
    pin = value.encode()
    return _checked(PinBuffer(create_string_buffer(pin), len(pin)), f"the environment variable {name}")


def _checked(pin: PinBuffer, source: str) -> PinBuffer:
    if not 0 < pin.length <= MAX_PIN_BYTES:
        pin.wipe()
        raise HsmConfigError(f"{source} does not hold a PIN of 1 to {MAX_PIN_BYTES} bytes")
    return pin


@dataclass(frozen=True, kw_only=True)
class HsmSettings:
    """Which module and token to open, and how to call it. Of label and serial, at least one is given."""

    module: Path
    pin: PinSource
    login_lock: Path  # held during C_Initialize and C_Login, and while token objects are made, by all of a node
    pin_refused: Path | None = None  # made when the token refuses the PIN: then no process of the node tries it again
    token_label: str | None = None
    token_serial: str | None = None
    mode: Literal["auto", "inline", "pool"] = "auto"
    pool_size: int = 32
    locking: Literal["os", "none"] = "os"  # "none" is for p11-kit-client only, which locks by itself
    handle_cache: int = 2000  # live keys; SoftHSM slows down above

    def __post_init__(self) -> None:
        if not self.token_label and not self.token_serial:
            raise HsmConfigError("name the HSM token by its label or its serial number")
        if self.pool_size < 1 or self.handle_cache < 1:
            raise HsmConfigError("the HSM's pool_size and handle_cache are at least 1")
