"""connection_url of MongoDB, and what the driver is given for it."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from core.errors import InvalidRequestError
from dynamic.target import ConnectionDetails
from dynamic.targets.fields import context_of, flag_of, hosts_of, number_of, text_of, url_of, without_marks
from dynamic.targets.mongodb_statements import ADMIN
from dynamic.targets.pem_files import load_pair

_EXAMPLE = "mongodb://{{username}}:{{password}}@h1:27017,h2/admin?tls=true"
_WEAKER = ("tlsInsecure", "tlsAllowInvalidCertificates", "tlsAllowInvalidHostnames")
_FLAGS = ("tls", "directConnection", "loadBalanced", *_WEAKER)
_NUMBERS = ("serverSelectionTimeoutMS", "connectTimeoutMS", "socketTimeoutMS")
_NAMES = ("authSource", "authMechanism", "replicaSet", "srvServiceName")
_UNUSED = ("retryWrites", "retryReads", "appName", "w", "wtimeoutMS", "journal", "readPreference", "maxPoolSize")
_KNOWN = {name.lower(): name for name in (*_FLAGS, *_NUMBERS, *_NAMES, *_UNUSED)} | {"ssl": "tls"}
_MECHANISMS = ("DEFAULT", "SCRAM-SHA-1", "SCRAM-SHA-256", "MONGODB-X509")
_LONGEST = 10_000  # milliseconds
_PEM_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What a client is made of."""

    hosts: list[str]  # h1:27017, or one mongodb+srv://name
    username: str
    password: str
    auth_source: str
    options: Mapping[str, Any] = field(repr=False)  # of the driver
    ca: str = ""  # PEM
    certificate_key: str = field(default="", repr=False)  # PEM

    def __repr__(self) -> str:
        return f"Address({self.hosts})"


def address_of(details: ConnectionDetails) -> Address:
    """Raises InvalidRequestError, in whose sentence nothing of the URL stands."""
    url = text_of(details.options, "connection_url")
    if not url:
        raise InvalidRequestError(f"connection_url is required: {_EXAMPLE}")
    url = without_marks(url, username=details.username, password=details.password)
    parts = url_of(url, schemes=("mongodb", "mongodb+srv"), example=_EXAMPLE)
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise InvalidRequestError("connection_url: what follows the ? must be like tls=true&replicaSet=rs0") from None
    options = _options(pairs)
    hosts, is_near = _hosts(parts.scheme, parts.hosts)
    source = str(options.pop("authSource", "")) or unquote(parts.path) or ADMIN
    address = Address(
        hosts=hosts,
        username=details.username or parts.username,
        password=details.password or parts.password,
        auth_source=source,
        options=_tls(options, details, is_near=is_near),
        ca=text_of(details.options, "tls_ca"),
        certificate_key=text_of(details.options, "tls_certificate_key"),
    )
    _check_credentials(address)
    return address


def write_concern_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """For createUser and its kin; Vault's members {"w", "wmode", "wtimeout", "j"}. The default: most members."""
    text = text_of(options, "write_concern")
    if not text:
        return {"w": "majority", "wtimeout": 10_000}
    try:
        given = msgspec.json.decode(
            text if text.startswith("{") else base64.b64decode(text, validate=True), type=_WriteConcern
        )
    except (msgspec.DecodeError, binascii.Error, ValueError):
        raise InvalidRequestError('write_concern must be JSON: {"wmode": "majority", "wtimeout": 5000}') from None
    found: dict[str, Any] = {"w": given.wmode or ("majority" if given.w is None else given.w)}
    if given.wtimeout:
        found["wtimeout"] = given.wtimeout
    if given.j or given.fsync:
        found["j"] = True
    return found


class _WriteConcern(msgspec.Struct, forbid_unknown_fields=True):
    w: int | str | None = None
    wmode: str = ""
    rmode: str = ""  # of reads, which are not made here
    wtimeout: int = 0  # milliseconds
    fsync: bool = False
    j: bool = False


def _hosts(scheme: str, netloc: str) -> tuple[list[str], bool]:
    hosts = hosts_of(netloc, field="connection_url", port=27017)
    if scheme == "mongodb":
        return [str(host) for host in hosts], all(host.is_near for host in hosts)
    if len(hosts) != 1 or ":" in netloc:
        raise InvalidRequestError("connection_url with mongodb+srv:// names one host, and no port")
    return [f"mongodb+srv://{hosts[0].name}/"], False


def _options(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Those of the URL that make sense here, by MongoDB's own names."""
    found: dict[str, Any] = {}
    for given, value in pairs:
        name = _KNOWN.get(given.lower())
        if name is None:
            raise InvalidRequestError(
                f"connection_url has a parameter that is not taken here: {given[:40]!r}"
                " (certificates are given as tls_ca and tls_certificate_key)"
            )
        if name in found:
            raise InvalidRequestError(f"connection_url says {name} twice")
        found[name] = _option(name, value)
    return {name: value for name, value in found.items() if name not in _UNUSED}


def _option(name: str, value: str) -> Any:
    if name in _FLAGS:
        return bool(flag_of({name: value}, name))
    if name in _NUMBERS:
        return number_of({name: value}, name, _LONGEST, most=_LONGEST)
    if not value:
        raise InvalidRequestError(f"connection_url: {name} is empty")
    if name == "authMechanism" and value not in _MECHANISMS:
        raise InvalidRequestError(f"connection_url: authMechanism must be one of {', '.join(_MECHANISMS)}")
    return value


def _tls(options: dict[str, Any], details: ConnectionDetails, *, is_near: bool) -> dict[str, Any]:
    """Verified, unless the URL says otherwise or no network lies between."""
    ca, pair = text_of(details.options, "tls_ca"), text_of(details.options, "tls_certificate_key")
    weaker = [name for name in _WEAKER if name in options]
    wanted = options.setdefault("tls", bool(ca or pair or weaker) or not is_near)
    if not wanted:
        if ca or pair or weaker:
            raise InvalidRequestError("connection_url says tls=false, and TLS is configured beside it: say one thing")
        return options
    if "tlsInsecure" in weaker and len(weaker) > 1:
        raise InvalidRequestError("connection_url: tlsInsecure says it all")
    context = context_of(ca, verify=True)
    if pair:
        key = _PEM_KEY.search(pair)
        if key is None:
            raise InvalidRequestError("tls_certificate_key must be PEM: a certificate and its private key")
        load_pair(context, _PEM_KEY.sub("", pair), key[0])
    return options


def _check_credentials(address: Address) -> None:
    by_certificate = address.options.get("authMechanism") == "MONGODB-X509"
    if by_certificate and not address.certificate_key:
        raise InvalidRequestError("authMechanism=MONGODB-X509 needs tls_certificate_key")
    if not by_certificate and not (address.username and address.password):
        raise InvalidRequestError("username and password are required: those of the user that makes accounts")
