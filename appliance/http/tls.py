"""TLS contexts for listeners (RFC 9325): 1.2 with forward secrecy and AEAD, 1.3, and no renegotiation.

Client certificates are asked for where `tls_client_ca` names the authorities to accept, and never demanded. Python's
ssl module cannot ask for a certificate and leave its verification to the application, so without that file none is
asked for, and with it a certificate of another authority ends the handshake.
"""

import ssl
from pathlib import Path

from appliance.config import ListenerConfig
from core.errors import ConfigError

_TLS12_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def server_context(listener: ListenerConfig) -> ssl.SSLContext:
    """Read the listener's files. Raises ConfigError, which names the file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS12_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    _load_chain(context, listener)
    if listener.tls_client_ca:
        _load_client_ca(context, listener.tls_client_ca)
    return context


def _load_chain(context: ssl.SSLContext, listener: ListenerConfig) -> None:
    for path in (listener.tls_cert, listener.tls_key):
        _check_readable(path)
    try:
        context.load_cert_chain(listener.tls_cert, listener.tls_key, password=_no_passphrase)
    except ssl.SSLError as exc:
        raise ConfigError(
            f"the certificate {listener.tls_cert} and the key {listener.tls_key} are not a PEM chain and its "
            f"unencrypted private key: {exc.reason or 'not PEM'}"
        ) from exc


def _no_passphrase() -> str:
    """Instead of asking on the terminal: an encrypted key fails as a wrong passphrase does."""
    return ""


def _load_client_ca(context: ssl.SSLContext, path: str) -> None:
    _check_readable(path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as exc:
        raise ConfigError(f"the client authorities in {path} are not PEM certificates") from exc
    context.verify_mode = ssl.CERT_OPTIONAL


def _check_readable(path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as exc:
        raise ConfigError(f"cannot read the TLS file {path}: {exc.strerror}") from exc
