"""What one node owns before any child runs: its directories, its lock, its addresses, its environment."""

import contextlib
import fcntl
import os
import socket
import time
from pathlib import Path

import msgspec

from appliance.config import Config, ListenerConfig
from appliance.http.addresses import bind_shared, bind_unix, check_free
from core.errors import ConfigError

_PATIENCE = 3.0  # seconds: the children of a killed predecessor need a moment to die


def make_directories(config: Config) -> None:
    """Data and runtime directories, for this user only. Raises ConfigError."""
    directories = [config.server.data_dir, config.server.runtime_dir]
    if config.development:
        directories.append(config.hsm.softhsm_token_dir)
    for directory in directories:
        try:
            Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigError(f"cannot make the directory {directory}: {exc.strerror}") from exc
        if not os.access(directory, os.W_OK | os.X_OK):
            raise ConfigError(f"the directory {directory} is not writable for this user")


def lock_data_directory(config: Config) -> int:
    """Take the exclusive lock of the data directory: a descriptor, for children to inherit, who hold the lock too.

    Raises ConfigError when another server, or what is left of one, holds it.
    """
    path = Path(config.server.data_dir) / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise ConfigError(f"cannot open the lock {path}: {exc.strerror}; it must belong to this user") from exc
    deadline = time.monotonic() + _PATIENCE
    while not _try_lock(descriptor):
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        if time.monotonic() > deadline or _is_alive(holder):
            os.close(descriptor)
            raise ConfigError(
                f"another mimir server (process {holder or 'unknown'}) uses {config.server.data_dir}: stop it first, "
                "or give this one a data directory of its own"
            )
        time.sleep(0.02)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def forget_refused_pin(config: Config) -> None:
    """A restart of the service is the operator's word that the PIN may be tried again, once."""
    config.pin_refused_path.unlink(missing_ok=True)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(process: str) -> bool:
    """Whether that supervisor runs; its children alone hold the lock only until the kernel has ended them."""
    if not process.isdigit():
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def child_environment(config: Config) -> dict[str, str]:
    """What children need in their environment: where `softhsm.provisioning` left SoftHSM's configuration."""
    token_dir = config.hsm.softhsm_token_dir
    return {"SOFTHSM2_CONF": str(Path(token_dir) / "softhsm2.conf")} if token_dir else {}


class Addresses:
    """The node's addresses, held for as long as it runs, so that no other program takes them while a worker restarts.

    A TCP address is bound but not listened on: workers bind it too (SO_REUSEPORT) and get all connections. A unix
    socket is bound here and inherited by every worker.
    """

    def __init__(self, listeners: tuple[ListenerConfig, ...]) -> None:
        self._listeners = listeners
        self._sockets: list[socket.socket] = []

    def reserve(self) -> tuple[ListenerConfig, ...]:
        """Bind them all; the listeners with the ports that port 0 became. Raises ConfigError."""
        resolved = []
        for listener in self._listeners:
            if listener.unix_path:
                self._sockets.append(bind_unix(listener))
                resolved.append(listener)
                continue
            check_free(listener)
            bound = bind_shared(listener)
            self._sockets.append(bound)
            port = bound.getsockname()[1]
            host = listener.address.rpartition(":")[0]
            resolved.append(msgspec.structs.replace(listener, address=f"{host}:{port}"))
        return tuple(resolved)

    def inherited(self) -> dict[int, int]:
        """Descriptors of the unix sockets, by the listener's position."""
        return {
            position: bound.fileno() for position, bound in enumerate(self._sockets) if bound.family == socket.AF_UNIX
        }

    def release(self) -> None:
        """Give them up; unix sockets disappear."""
        for listener, bound in zip(self._listeners, self._sockets, strict=False):
            bound.close()
            if listener.unix_path:
                with contextlib.suppress(OSError):
                    Path(listener.unix_path).unlink()
        self._sockets = []
