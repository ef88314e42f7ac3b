"""connection_url of MySQL: the DSN of Go's driver, as Vault's documents print it, or a URL.

    {{username}}:{{password}}@tcp(127.0.0.1:3306)/shop?tls=true       github.com/go-sql-driver/mysql, "DSN"
    {{username}}@unix(/run/mysqld/mysqld.sock)/
    mysql://{{username}}:{{password}}@db1:3306,db2:3306/shop          hosts are tried in order

User and password are given to the driver apart: no character of theirs needs escaping.
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from core.errors import InvalidRequestError
from dynamic.target import ConnectionDetails
from dynamic.targets.mysql_tls import Tls, tls_of

_DEFAULT_PORT = 3306
_SHAPE = (
    "connection_url must look like {{username}}:{{password}}@tcp(host:3306)/database or mysql://…@host:3306/database"
)
_SCHEMES = ("mysql", "mariadb")
_MARKS = {"{{username}}": "username", "{{name}}": "username", "{{password}}": "password"}
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_NETWORK = re.compile(r"(?P<kind>tcp6?|unix)(\((?P<address>[^()]*)\))?")
# Those of Go's driver that change nothing here: how it reads values, and limits that the engine sets itself.
_WITHOUT_EFFECT = (
    "allowNativePasswords", "charset", "checkConnLiveness", "clientFoundRows", "collation", "columnsWithAlias",
    "interpolateParams", "loc", "maxAllowedPacket", "multiStatements", "parseTime", "readTimeout", "rejectReadOnly",
    "timeTruncate", "timeout", "writeTimeout",
)  # fmt: skip
_KNOWN = frozenset({*_WITHOUT_EFFECT, "tls", "ssl-mode", "allowCleartextPasswords"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Where one server listens."""

    name: str = "localhost"
    port: int = _DEFAULT_PORT
    socket: str = ""  # a path; then the others say nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What is needed to connect."""

    hosts: tuple[Host, ...]
    database: str
    user: str
    password: str
    tls: Tls | None
    sends_clear_passwords: bool  # where a server asks for that (PAM, LDAP, IAM); over verified TLS only

    def __repr__(self) -> str:
        return f"Address({len(self.hosts)} hosts)"


@dataclass(frozen=True, slots=True)
class _Parts:
    credentials: str
    hosts: tuple[Host, ...]
    database: str
    query: str
    is_escaped: bool  # credentials, with %


def address_of(details: ConnectionDetails) -> Address:
    """Raises InvalidRequestError, in whose sentence nothing of the URL stands."""
    url = details.options.get("connection_url") or details.options.get("url")
    if not isinstance(url, str) or not url.strip():
        raise InvalidRequestError("connection_url cannot be empty; " + _SHAPE)
    url = url.strip()
    if any(not char.isprintable() for char in url):
        raise InvalidRequestError("connection_url has characters that no URL has")
    parts = _parts(_without_marks(url, details))
    user, password = _credentials(parts)
    options = _options(parts.query)
    address = Address(
        hosts=parts.hosts,
        database=_database(parts.database),
        user=details.username or user,
        password=details.password or password,
        tls=tls_of(
            options.get("tls", ""), options.get("ssl-mode", ""), details.options, [_reached(one) for one in parts.hosts]
        ),
        sends_clear_passwords=options.get("allowCleartextPasswords") == "true",
    )
    if not address.user:
        raise InvalidRequestError("username is required")
    if "\0" in address.user + address.password:
        raise InvalidRequestError("username and password cannot hold a NUL character")
    return address


def _without_marks(url: str, details: ConnectionDetails) -> str:
    """The marks stand for what is given apart; here they stand for nothing."""
    for mark, field in _MARKS.items():
        if mark in url and not getattr(details, field):
            raise InvalidRequestError(f"connection_url has {mark}, and no {field} was given")
        url = url.replace(mark, "")
    if "{{" in url or "}}" in url:
        raise InvalidRequestError("connection_url has a placeholder other than {{username}} and {{password}}")
    return url


def _parts(url: str) -> _Parts:
    scheme, mark, rest = url.partition("://")
    if mark and scheme.isalnum():
        if scheme not in _SCHEMES:
            raise InvalidRequestError("connection_url must begin with mysql:// or mariadb://, or be a DSN")
        front, _, query = rest.partition("?")
        authority, _, database = front.partition("/")
        credentials, _, netloc = authority.rpartition("@")
        return _Parts(credentials, _hosts(netloc), database, query, is_escaped=True)
    before, _, query = _question(url)
    front, slash, database = before.rpartition("/")  # a socket's path has slashes, too: the last one counts
    if not slash or ")" in database:
        raise InvalidRequestError(_SHAPE + "; the slash before the database's name is missing")
    credentials, _, network = front.rpartition("@")
    return _Parts(credentials, _network(network), database, query, is_escaped=False)


def _question(dsn: str) -> tuple[str, str, str]:
    """Parameters begin at the first question mark behind the address: one may stand in a password."""
    start = max(dsn.rfind(")"), dsn.rfind("@"), 0)
    head, mark, query = dsn[start:].partition("?")
    return dsn[:start] + head, mark, query


def _network(text: str) -> tuple[Host, ...]:
    if not text:
        return (Host(name="127.0.0.1"),)
    found = _NETWORK.fullmatch(text)
    if found is None:
        raise InvalidRequestError(_SHAPE + "; the network is tcp(host:port) or unix(/path)")
    address = found["address"] or ""
    if found["kind"] != "unix":
        return _hosts(address or "127.0.0.1")
    if not address.startswith("/") or len(address.encode()) > 107:
        raise InvalidRequestError("connection_url names a socket by an absolute path of at most 107 bytes: unix(/path)")
    return (Host(socket=address),)


def _hosts(text: str) -> tuple[Host, ...]:
    if not text:
        raise InvalidRequestError("connection_url names no host")
    return tuple(_host(one.strip()) for one in text.split(","))


def _host(text: str) -> Host:
    if text.startswith("["):
        name, _, rest = text[1:].partition("]")
        if not re.fullmatch(r"[0-9A-Fa-f:.]+", name) or (rest and not rest.startswith(":")):
            raise InvalidRequestError("connection_url has an IPv6 address that is none: [::1]:3306")
        return Host(name=name, port=_port(rest[1:]))
    name, _, port = text.partition(":")
    if not _HOST_NAME.fullmatch(name) or len(name) > 255:
        raise InvalidRequestError("connection_url has a host name with characters that no host name has")
    return Host(name=name, port=_port(port))


def _port(text: str) -> int:
    if not text:
        return _DEFAULT_PORT
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise InvalidRequestError("connection_url has a port that is no number between 1 and 65535")
    return int(text)


def _credentials(parts: _Parts) -> tuple[str, str]:
    user, _, password = parts.credentials.partition(":")
    return (unquote(user), unquote(password)) if parts.is_escaped else (user, password)


def _database(text: str) -> str:
    name = unquote(text)
    if "/" in name or len(name) > 64 or any(not char.isprintable() for char in name):
        raise InvalidRequestError("connection_url has a name of a database that none has")
    return name


def _options(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise InvalidRequestError("connection_url has parameters that are not name=value&name=value") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidRequestError("connection_url has a parameter twice")
    if not found.keys() <= _KNOWN:
        raise InvalidRequestError(
            f"connection_url has a parameter that is not known here; known are {', '.join(sorted(_KNOWN))}"
        )
    return found


def _reached(host: Host) -> str:
    return host.socket or host.name
