"""Where a Redis or Valkey is and how it is reached: the fields of Vault's plugin, or a URL."""

import re
import ssl
from dataclasses import dataclass

from core.errors import InvalidRequestError
from dynamic.target import ConnectionDetails
from dynamic.targets.fields import Host, context_of, flag_of, hosts_of, number_of, text_of, url_of, without_marks
from dynamic.targets.pem_files import load_pair

_PORT = 6379
_EXAMPLE = "redis://host:6379 or rediss://h1:6379,h2:6379"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What a link is opened with. `tls` None: in the clear."""

    hosts: tuple[Host, ...]
    username: str
    password: str
    tls: ssl.SSLContext | None

    def __repr__(self) -> str:
        return f"Address({self.hosts})"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    hosts: tuple[Host, ...]
    username: str = ""
    password: str = ""
    tls: bool | None = None  # None: nothing was said


def address_of(details: ConnectionDetails) -> Address:
    """Raises InvalidRequestError, in whose sentence nothing secret stands."""
    place = _from_url(details) if text_of(details.options, "connection_url") else _from_fields(details)
    username = details.username or place.username or "default"
    password = details.password or place.password
    if not password:
        raise InvalidRequestError("password is required: that of the user that makes accounts")
    return Address(hosts=place.hosts, username=username, password=password, tls=_tls(details, place))


def _from_fields(details: ConnectionDetails) -> _Place:
    host = text_of(details.options, "host")
    if not host:
        raise InvalidRequestError(f"host is required, or connection_url: {_EXAMPLE}")
    port = number_of(details.options, "port", _PORT, most=65535)
    return _Place(hosts=hosts_of(host, field="host", port=port))


def _from_url(details: ConnectionDetails) -> _Place:
    if "host" in details.options or "port" in details.options:
        raise InvalidRequestError("connection_url has host and port in it: give one or the other")
    url = text_of(details.options, "connection_url")
    url = without_marks(url, username=details.username, password=details.password)
    parts = url_of(url, schemes=("redis", "rediss", "valkey", "valkeys"), example=_EXAMPLE)
    if parts.query:
        raise InvalidRequestError("connection_url takes no parameters: tls, insecure_tls and ca_cert are fields")
    if not re.fullmatch(r"[0-9]{0,6}", parts.path):
        raise InvalidRequestError("connection_url may end with the number of a database, and nothing else")
    hosts = hosts_of(parts.hosts, field="connection_url", port=_PORT)
    tls = parts.scheme in {"rediss", "valkeys"}
    return _Place(
        hosts=hosts,
        username=parts.username,
        password=parts.password,
        # redis:// over a network is too easily written by habit: there `tls` has to say it as well
        tls=True if tls else False if all(host.is_near for host in hosts) else None,
    )


def _tls(details: ConnectionDetails, place: _Place) -> ssl.SSLContext | None:
    """Verified, unless somebody says otherwise or no network lies between."""
    said = flag_of(details.options, "tls")
    insecure = bool(flag_of(details.options, "insecure_tls"))
    ca = text_of(details.options, "ca_cert") or text_of(details.options, "tls_ca")
    certificate, key = text_of(details.options, "tls_certificate"), text_of(details.options, "private_key")
    if bool(certificate) != bool(key):
        raise InvalidRequestError("tls_certificate and private_key belong together")
    _check_scheme(place, said, is_url=bool(text_of(details.options, "connection_url")))
    wanted = place.tls if said is None else said
    if wanted is None:
        wanted = bool(ca or insecure) or not all(host.is_near for host in place.hosts)
    if not wanted:
        if ca or certificate or insecure:
            raise InvalidRequestError("ca_cert, insecure_tls and tls_certificate are for connections with TLS")
        return None
    context = context_of(ca, verify=not insecure)
    if certificate:
        load_pair(context, certificate, key)
    return context


def _check_scheme(place: _Place, said: bool | None, *, is_url: bool) -> None:
    """What the URL and the field say must be one thing."""
    if not is_url:
        return
    if place.tls and said is False:
        raise InvalidRequestError("connection_url begins with rediss:// and tls is false: say one thing")
    if place.tls is False and said:
        raise InvalidRequestError("connection_url begins with redis:// and tls is true: write rediss://")
    if place.tls is None and said is not False:
        raise InvalidRequestError(
            "connection_url would carry passwords over a network in the clear: write rediss://, or tls=false as well"
        )
