"""Client certificates for TLS: Python's ssl takes them from files only, so they are in one for a moment."""

import os
import ssl

from core.errors import InvalidRequestError


def load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Give the context a certificate with its key, both PEM, by a file in memory without a name (memfd_create(2))."""
    memory = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        os.write(memory, f"{certificate.strip()}\n{key.strip()}\n".encode())
        # with a password for an encrypted key, if a wrong one: OpenSSL would ask at the terminal, and wait
        context.load_cert_chain(f"/proc/self/fd/{memory}", password="")
    except (ssl.SSLError, ValueError):
        raise InvalidRequestError("the client certificate and its key must be PEM and belong together") from None
    finally:
        os.close(memory)
