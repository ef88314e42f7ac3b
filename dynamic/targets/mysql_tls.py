"""TLS to MySQL: verified, unless the operator says otherwise or no network lies between."""

import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from core.errors import InvalidRequestError
from dynamic.targets.pem_files import load_pair


class _Mode(Enum):
    OFF = "off"
    PREFERRED = "preferred"  # if the server has it; nothing is verified
    UNVERIFIED = "skip-verify"
    VERIFY_CA = "verify-ca"  # the chain, not the name
    VERIFIED = "true"


_GO = {  # the DSN's tls=
    "true": _Mode.VERIFIED,
    "false": _Mode.OFF,
    "skip-verify": _Mode.UNVERIFIED,
    "preferred": _Mode.PREFERRED,
}
_MYSQL = {  # ssl-mode= of MySQL's own clients
    "DISABLED": _Mode.OFF,
    "PREFERRED": _Mode.PREFERRED,
    "REQUIRED": _Mode.UNVERIFIED,
    "VERIFY_CA": _Mode.VERIFY_CA,
    "VERIFY_IDENTITY": _Mode.VERIFIED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How a connection is protected."""

    context: ssl.SSLContext
    is_required: bool
    server_name: str = ""  # that the certificate must have; empty: the host's

    @property
    def is_verified(self) -> bool:
        """Whether the server has shown who it is."""
        return self.is_required and self.context.verify_mode is ssl.CERT_REQUIRED


def tls_of(go_mode: str, ssl_mode: str, options: Mapping[str, Any], hosts: list[str]) -> Tls | None:
    """None for no TLS. `hosts`: names, addresses, paths of sockets. Raises InvalidRequestError."""
    ca, pair, name = (_text(options, field) for field in ("tls_ca", "tls_certificate_key", "tls_server_name"))
    skips = _flag(options, "tls_skip_verify")
    mode = _said(go_mode, ssl_mode)
    if mode is None:
        mode = _default(hosts, is_configured=bool(ca or pair or name or skips))
    elif mode is _Mode.OFF and (ca or pair or name or skips):
        raise InvalidRequestError("connection_url says that there is no TLS, and tls_ca or its kin that there is")
    if skips:
        mode = _Mode.UNVERIFIED
    if mode is _Mode.OFF:
        return None
    if ca and mode is _Mode.PREFERRED:
        mode = _Mode.VERIFIED  # there is something to verify it with
    return Tls(
        context=_context(mode, ca, pair),
        is_required=mode is not _Mode.PREFERRED,
        server_name=name,
    )


def _said(go_mode: str, ssl_mode: str) -> _Mode | None:
    if go_mode and ssl_mode:
        raise InvalidRequestError("connection_url has both tls and ssl-mode")
    if go_mode:
        if go_mode.lower() not in _GO:
            raise InvalidRequestError(f"tls in connection_url must be one of {', '.join(_GO)}")
        return _GO[go_mode.lower()]
    if ssl_mode:
        if ssl_mode.upper() not in _MYSQL:
            raise InvalidRequestError(f"ssl-mode in connection_url must be one of {', '.join(_MYSQL)}")
        return _MYSQL[ssl_mode.upper()]
    return None


def _default(hosts: list[str], *, is_configured: bool) -> _Mode:
    if is_configured or not all(map(_is_near, hosts)):
        return _Mode.VERIFIED
    return _Mode.OFF if all(host.startswith("/") for host in hosts) else _Mode.PREFERRED


def _is_near(host: str) -> bool:
    """Whether no network lies between: a socket, or this machine."""
    if host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _context(mode: _Mode, ca: str, pair: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=ca or None)
    except (ssl.SSLError, ValueError, TypeError):  # the last: not ASCII
        raise InvalidRequestError("tls_ca must be certificates in PEM") from None
    context.check_hostname = mode is _Mode.VERIFIED
    if mode in {_Mode.UNVERIFIED, _Mode.PREFERRED}:
        context.verify_mode = ssl.CERT_NONE
    if pair:
        if "ENCRYPTED" in pair:  # OpenSSL would ask at the terminal
            raise InvalidRequestError("the key in tls_certificate_key must not be encrypted")
        load_pair(context, pair, "")
    return context


def _text(options: Mapping[str, Any], name: str) -> str:
    value = options.get(name) or ""
    if not isinstance(value, str):
        raise InvalidRequestError(f"{name} must be text")
    return value.strip()


def _flag(options: Mapping[str, Any], name: str) -> bool:
    value = options.get(name, False)
    if isinstance(value, str) and value.lower() in {"true", "false", ""}:
        value = value.lower() == "true"
    if not isinstance(value, bool):
        raise InvalidRequestError(f"{name} must be true or false")
    return value
