"""Binding the addresses that the configuration names."""

import socket
from pathlib import Path

from appliance.config import ListenerConfig
from core.errors import ConfigError


def bind_shared(config: ListenerConfig) -> socket.socket:
    """Bind a TCP address that other processes of this user share. Raises ConfigError."""
    return _bind(config, shared=True)


def check_free(config: ListenerConfig) -> None:
    """Refuse an address that any process listens on, also one of this user. Raises ConfigError."""
    _bind(config, shared=False).close()


def _bind(config: ListenerConfig, *, shared: bool) -> socket.socket:
    host, port = config.host_and_port
    dual = not host and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual or ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        bound.bind(("::" if dual else host, port))
        bound.setblocking(False)
    except OSError as exc:
        bound.close()
        raise ConfigError(f"cannot listen on {config.address}: {(exc.strerror or str(exc)).lower()}") from exc
    return bound


def bind_unix(config: ListenerConfig) -> socket.socket:
    """Bind a unix socket for its owner and group, in place of one that nobody listens on. Raises ConfigError."""
    path = config.unix_path
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_stale(path):
            Path(path).unlink()
        bound.bind(path)
        Path(path).chmod(0o660)
        bound.setblocking(False)
    except OSError as exc:
        bound.close()
        raise ConfigError(f"cannot listen on {config.address}: {(exc.strerror or str(exc)).lower()}") from exc
    return bound


def _is_stale(path: str) -> bool:
    if not Path(path).exists():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
    return False
