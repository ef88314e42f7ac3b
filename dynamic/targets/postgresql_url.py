"""connection_url of PostgreSQL, and the TLS that follows from it."""

import ipaddress
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from core.errors import InvalidRequestError
from dynamic.target import ConnectionDetails
from dynamic.targets.pem_files import load_pair

_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_MARKS = ("{{username}}", "{{name}}", "{{password}}")
_WORDS = {"host": "host", "port": "port", "dbname": "database", "sslmode": "sslmode"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What a driver is given to connect: a DSN without credentials, and those apart."""

    dsn: str
    user: str
    password: str
    ssl: Any  # an SSLContext, or the name of a mode that the driver knows
    many_hosts: bool


def address_of(details: ConnectionDetails) -> Address:
    """Raises InvalidRequestError, in whose sentence nothing of the URL stands."""
    url = details.options.get("connection_url") or details.options.get("url")
    if not isinstance(url, str) or not url.strip():
        raise InvalidRequestError(
            "connection_url is required: postgresql://{{username}}:{{password}}@host:5432/database"
        )
    if any(not char.isprintable() for char in url):
        raise InvalidRequestError("connection_url has characters that no URL has")
    url = _without_marks(url if "://" in url else _from_words(url), details)
    try:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        user, password = parts.username, parts.password
        for host in parts.netloc.rpartition("@")[2].split(","):
            _ = urlsplit(f"//{host}").port  # raises for what is no number
    except ValueError:
        raise InvalidRequestError("connection_url is no URL: postgresql://user:password@host:5432/database") from None
    if parts.scheme not in {"postgres", "postgresql"}:
        raise InvalidRequestError("connection_url must begin with postgresql://")
    hosts = _hosts(parts.netloc.rpartition("@")[2], query)
    mode = query.pop("sslmode", "")
    for name in ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile", "service", "servicefile"):
        if name in query:
            raise InvalidRequestError(f"connection_url names a file of this machine ({name}): give tls_ca and its kin")
    netloc = parts.netloc.rpartition("@")[2]
    return Address(
        dsn=urlunsplit(("postgresql", netloc, parts.path, urlencode(query), "")),
        user=details.username or _unquoted(user),
        password=details.password or _unquoted(password),
        ssl=_tls(mode, hosts, details),
        many_hosts=len(hosts) > 1,
    )


def _without_marks(url: str, details: ConnectionDetails) -> str:
    """The URL as one can be parsed: braces are not for its parts."""
    for mark in _MARKS:
        given = details.password if mark == "{{password}}" else details.username
        if mark in url and not given:
            what = mark[2:-2].replace("name", "username") if mark == "{{name}}" else mark[2:-2]
            raise InvalidRequestError(f"connection_url has {mark}, and no {what} was given")
        url = url.replace(mark, mark[2:-2])
    return url


def _from_words(text: str) -> str:
    """`host=h port=5432 dbname=d sslmode=…` as a URL."""
    found: dict[str, str] = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        if not equals or name not in {*_WORDS, "user", "password"}:
            raise InvalidRequestError(
                "connection_url must be a URL: postgresql://{{username}}:{{password}}@host:5432/database"
            )
        found[name] = value.strip("'")
    query = {"sslmode": found["sslmode"]} if "sslmode" in found else {}
    host = found.get("host", "localhost")
    if host.startswith("/"):
        query["host"] = host
        host = ""
    port = f":{found['port']}" if found.get("port") else ""
    credentials = f"{found['user']}:{found.get('password', '')}@" if "user" in found else ""
    tail = f"?{urlencode(query)}" if query else ""
    return f"postgresql://{credentials}{host}{port}/{quote(found.get('dbname', 'postgres'))}{tail}"


def _hosts(netloc: str, query: dict[str, str]) -> list[str]:
    named = query.get("host") or netloc
    return [_host(one) for one in named.split(",")]


def _host(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def _is_near(host: str) -> bool:
    """Whether no network lies between: a socket, or this machine."""
    if not host or host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _tls(mode: str, hosts: list[str], details: ConnectionDetails) -> Any:
    """Verified, unless the URL says otherwise or no network lies between."""
    if mode and mode not in _MODES:
        raise InvalidRequestError(f"sslmode must be one of {', '.join(_MODES)}")
    ca = _pem(details, "tls_ca")
    certificate, key = _pem(details, "tls_certificate"), _pem(details, "private_key")
    if bool(certificate) != bool(key):
        raise InvalidRequestError("tls_certificate and private_key belong together")
    if not mode:
        mode = "verify-full" if ca or not all(map(_is_near, hosts)) else "prefer"
    if mode in {"disable", "allow", "prefer"} and not (ca or certificate):
        return mode
    return _context(mode, ca, certificate, key)


def _context(mode: str, ca: str, certificate: str, key: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=ca or None)
    except (ssl.SSLError, ValueError, TypeError):  # the last: not ASCII
        raise InvalidRequestError("tls_ca must be certificates in PEM") from None
    context.check_hostname = mode == "verify-full"
    if mode in {"require", "prefer", "allow"} and not ca:
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        load_pair(context, certificate, key)
    return context


def _pem(details: ConnectionDetails, name: str) -> str:
    value = details.options.get(name) or ""
    if not isinstance(value, str):
        raise InvalidRequestError(f"{name} must be PEM")
    return value


def _unquoted(text: str | None) -> str:
    return unquote(text or "")
