"""Fields of a connection as plugins read them: people write true as a word and a port as text, and hosts as a list."""

import ipaddress
import re
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from core.errors import InvalidRequestError

_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class Host:
    """Where a server listens."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"

    @property
    def is_near(self) -> bool:
        """Whether it is this machine, so that no network lies between."""
        if self.name == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.name).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """A URL with several hosts, which Python's urlsplit does not know. Credentials are unquoted."""

    scheme: str
    username: str
    password: str = field(repr=False)
    hosts: str
    path: str
    query: str


_URL = re.compile(r"([a-z+]+)://(?:([^/?#:]*)(?::([^/?#]*))?@)?([^/?#@]*)(?:/([^?#]*))?(?:\?([^#]*))?")


def url_of(text: str, *, schemes: Collection[str], example: str) -> Url:
    """Raises InvalidRequestError, in whose sentence nothing of the URL stands."""
    found = _URL.fullmatch(text)
    if found is None or found[1] not in schemes or not text.isprintable() or " " in text:
        raise InvalidRequestError(f"connection_url must be a URL such as {example}")
    scheme, username, password, hosts, path, query = (part or "" for part in found.groups())
    return Url(
        scheme=scheme, username=unquote(username), password=unquote(password), hosts=hosts, path=path, query=query
    )


def without_marks(url: str, *, username: str, password: str) -> str:
    """The URL as one can be parsed: braces are not for its parts, and what stands there is given apart."""
    for mark, field_name, given in (
        ("{{username}}", "username", username),
        ("{{name}}", "username", username),
        ("{{password}}", "password", password),
    ):
        if mark in url and not given:
            raise InvalidRequestError(f"connection_url has {mark}, and no {field_name} was given")
        url = url.replace(mark, field_name)
    return url


def text_of(options: Mapping[str, Any], name: str) -> str:
    """A string; "" when it is not there."""
    value = options.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidRequestError(f"{name} must be a string")
    return value.strip()


def flag_of(options: Mapping[str, Any], name: str) -> bool | None:
    """True or false, also as a word; None when it is not there."""
    value = options.get(name)
    if value is None or value == "":
        return None
    found = value if isinstance(value, bool) else _WORDS.get(str(value).strip().lower())
    if found is None:
        raise InvalidRequestError(f"{name} must be true or false")
    return found


def number_of(options: Mapping[str, Any], name: str, default: int, *, most: int) -> int:
    """A whole number from 1 to `most`."""
    value = options.get(name)
    if value is None or value == "":
        return default
    text = str(value).strip()
    if isinstance(value, bool | float) or not (text.isascii() and text.isdecimal()):
        raise InvalidRequestError(f"{name} must be a whole number")
    found = int(text[:12])
    if not 1 <= found <= most:
        raise InvalidRequestError(f"{name} must be between 1 and {most}")
    return found


def hosts_of(text: str, *, field: str, port: int) -> tuple[Host, ...]:
    """`h1:6379,h2` or `[::1]:6379`; `port` is that of hosts without one."""
    return tuple(_host(part.strip(), field, port) for part in text.split(","))


def _host(text: str, field: str, port: int) -> Host:
    if text.startswith("["):
        name, bracket, rest = text[1:].partition("]")
        colon, number = rest[:1], rest[1:]
        is_good = bool(bracket) and colon in {"", ":"} and _is_ipv6(name)
    elif text.count(":") > 1:  # an IPv6 address alone
        name, colon, number = text, "", ""
        is_good = _is_ipv6(name)
    else:
        name, colon, number = text.partition(":")
        is_good = bool(name) and name.isascii() and all(char.isalnum() or char in "-._" for char in name)
    if not is_good or (colon and not number):
        raise InvalidRequestError(f"{field} must name hosts: db1.example.com, or several as db1:{port},db2:{port}")
    return Host(name, number_of({"port": number}, "port", port, most=65535))


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False


def context_of(ca: str, *, verify: bool) -> ssl.SSLContext:
    """TLS with these CAs, or the system's. `verify=False` takes any certificate."""
    try:
        context = ssl.create_default_context(cadata=ca or None)
    except (ssl.SSLError, ValueError, TypeError):  # the last: not ASCII
        raise InvalidRequestError("the CA certificates must be PEM") from None
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
