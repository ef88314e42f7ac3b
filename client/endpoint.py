"""Where the appliance listens: `http://host:port`, `https://host`, `unix:///path/to.sock`."""

from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from client.errors import LocalError

DEFAULT_ADDRESS = "http://127.0.0.1:8200"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SAFE_IN_PATH = "/:@!$&'()*+,;=~"  # RFC 3986, 3.3: pchar


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An address, taken apart."""

    address: str  # as the user wrote it
    scheme: str  # http, https, unix
    host: str = "localhost"
    port: int = 0
    socket_path: str = ""
    prefix: str = ""  # for an appliance behind a path of a reverse proxy; without a trailing slash

    def target(self, path: str, query: dict[str, str]) -> str:
        """The request target for an API path, percent-encoded; what is not UTF-8 goes out as the bytes it was."""
        encoded = quote(path.encode("utf-8", "surrogateescape"), safe=_SAFE_IN_PATH)
        question = f"?{urlencode(query, errors='surrogateescape')}" if query else ""
        return f"{self.prefix}/v1/{encoded}{question}"


def parse_address(text: str) -> Endpoint:
    """Take an address apart; LocalError says how to write it."""
    if not text.isprintable() or " " in text:
        raise _malformed("it holds a blank or a control character")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as exc:
        raise _malformed("its host or port is not valid") from exc
    if parts.username is not None or parts.password is not None:
        raise _malformed("credentials do not belong into it")  # and are not repeated in the sentence
    if parts.scheme == "unix":
        return _unix(text, parts)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise _malformed(f"{text!r} is not one")
    if parts.query or parts.fragment:
        raise _malformed("a query or fragment does not belong into it")
    return Endpoint(
        address=text.rstrip("/"),
        scheme=parts.scheme,
        host=parts.hostname,
        port=port if port is not None else _DEFAULT_PORTS[parts.scheme],
        prefix=quote(parts.path.rstrip("/"), safe="/%"),
    )


def _unix(text: str, parts: SplitResult) -> Endpoint:
    if parts.netloc or not parts.path.startswith("/"):
        raise _malformed("a socket is written with its absolute path, as unix:///run/mimir/mimir.sock")
    return Endpoint(address=text, scheme="unix", socket_path=parts.path)


def _malformed(why: str) -> LocalError:
    return LocalError(
        f"the address of the appliance (--address, MIMIR_ADDR or VAULT_ADDR) cannot be used: {why}; "
        f"write it as {DEFAULT_ADDRESS}, https://mimir.example:8200 or unix:///run/mimir.sock"
    )
