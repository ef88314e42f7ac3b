"""Telling systemd how the service is: sd_notify(3), without the library."""

import contextlib
import os
import socket


class ServiceManager:
    """The manager that started us, or nobody: then nothing happens."""

    def __init__(self, environ: os._Environ[str] | dict[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        microseconds = environ.get("WATCHDOG_USEC", "")
        mine = environ.get("WATCHDOG_PID", "") in {"", str(os.getpid())}
        self.watchdog_seconds = int(microseconds) / 1e6 if microseconds.isdigit() and mine else 0.0

    def notify(self, *assignments: str) -> None:
        """Send `READY=1`, `STATUS=…`, `STOPPING=1`, `WATCHDOG=1`."""
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto("\n".join(assignments).encode(), self._address)
