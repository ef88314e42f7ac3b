"""What a webhook may be given: each check raises InvalidRequestError that says what to mend."""

import re
import ssl
from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from core.errors import InvalidRequestError

MAX_URL = 2048
MAX_CA_CERT = 16 * 1024
MAX_DESCRIPTION = 512
_MAX_PATTERNS = 64
_MAX_PATTERN = 1024
_VISIBLE = re.compile(r"[!-~]+")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


def check_name(name: str) -> None:
    """Letters, digits, and between them dots, dashes and underscores."""
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(
            "the name of a webhook has at most 64 letters, digits, dots, dashes and underscores, and begins with a "
            "letter, a digit or an underscore"
        )


def check_url(url: str) -> None:
    """Over TLS, unless it does not leave the machine. Who may write a webhook decides whom the appliance talks to."""
    if len(url) > MAX_URL or not _VISIBLE.fullmatch(url) or "\\" in url:
        raise InvalidRequestError(f"url must be at most {MAX_URL} visible ASCII characters; encode others with %")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise InvalidRequestError("url must be like https://hooks.example.com/mimir") from None
    if parts.scheme not in {"https", "http"} or not host or "%" in host or port == 0:
        raise InvalidRequestError("url must be like https://hooks.example.com/mimir")
    if "@" in parts.netloc:
        raise InvalidRequestError("url must not hold a user or password; the signature tells who sends")
    if "#" in url:
        raise InvalidRequestError("url must not have a fragment (#…): it is never sent")
    if parts.scheme == "http" and not _is_loopback(host):
        raise InvalidRequestError("url must begin with https://; http:// is for loopback addresses only")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def check_ca_cert(pem: str) -> None:
    """Certificates, and no private key among them."""
    if len(pem) > MAX_CA_CERT or "PRIVATE KEY" in pem:
        raise InvalidRequestError(f"ca_cert is at most {MAX_CA_CERT} characters of PEM certificates and nothing else")
    trusting(pem)


def trusting(pem: str) -> ssl.SSLContext:
    """A context for clients that trusts those authorities alone. Raises InvalidRequestError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError, TypeError):
        raise InvalidRequestError("ca_cert must be certificates in PEM (-----BEGIN CERTIFICATE-----)") from None
    return context


def check_patterns(patterns: Sequence[str], *, member: str) -> None:
    """Few, and short."""
    if len(patterns) > _MAX_PATTERNS or any(
        len(pattern) > _MAX_PATTERN or not (pattern.isprintable() or not pattern) for pattern in patterns
    ):
        raise InvalidRequestError(
            f"{member} may be {_MAX_PATTERNS} entries of at most {_MAX_PATTERN} printable characters each"
        )


def check_description(text: str) -> None:
    """One line."""
    if len(text) > MAX_DESCRIPTION or not (text.isprintable() or not text):
        raise InvalidRequestError(f"description is one line of at most {MAX_DESCRIPTION} characters")
