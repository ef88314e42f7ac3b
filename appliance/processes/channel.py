"""What a child and the supervisor say to each other: one JSON object a line, over a socket pair.

The supervisor says `go` once; the child reports `ready`, then `beat` about once a second with a line for `systemctl
status`, or `failed` with a sentence and its exit code.
"""

import os
import socket
from typing import Literal

import msgspec

from appliance.config import Config
from core.errors import ConfigError, IntegrityError, MimirError, OperatorError

EX_SOFTWARE = 70  # sysexits.h: our own fault
EX_TEMPFAIL = 75  # may work later
EX_CONFIG = 78  # somebody must mend something

BEAT_EVERY = 1.0  # seconds
GO = b"go\n"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a child."""

    kind: Literal["ready", "beat", "failed"]
    text: str = ""
    code: int = 0


def failure(exc: MimirError) -> Report:
    """A child's last words, from an error it could not start with."""
    if isinstance(exc, ConfigError | IntegrityError):
        code = EX_CONFIG
    else:
        code = EX_TEMPFAIL if isinstance(exc, OperatorError) else EX_SOFTWARE
    return Report(kind="failed", text=exc.sentence, code=code)


class ChildEnd:
    """The child's end of the pair."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)

    def wait_go(self) -> bool:
        """Block until the supervisor says so; False when it never will."""
        return self._socket.recv(len(GO)) == GO

    def send(self, report: Report) -> None:
        """Report. A supervisor that is gone takes this process with it anyway."""
        try:
            self._socket.sendall(msgspec.json.encode(report) + b"\n")
        except OSError:
            return

    def close(self) -> None:
        """Say no more."""
        self._socket.close()


def read_config(descriptor: int) -> Config:
    """From the anonymous file that the supervisor made; its offset is shared with others, so it is not used."""
    os.set_inheritable(descriptor, False)
    return Config.decode(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
