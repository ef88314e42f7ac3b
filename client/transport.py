"""One HTTP exchange with the appliance, over TCP, TLS or a Unix socket.

`ssl` is imported for https only, and there are no retries:
a write whose answer was lost may have been carried out.
"""

import contextlib
import http.client
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from client.endpoint import Endpoint
from client.errors import CliError, LocalError, NoAnswerError

if TYPE_CHECKING:
    import ssl

MAX_ANSWER = 256 * 1024 * 1024  # far above the appliance's own 32 MiB limit for requests, below what would hurt here


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """Whom to trust, and who we are, when the address is https."""

    ca_cert: str = ""
    ca_path: str = ""
    client_cert: str = ""
    client_key: str = ""
    server_name: str = ""
    skip_verify: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAnswer:
    """Status, headers and body as they came."""

    status: int
    headers: "http.client.HTTPMessage"
    body: bytes


class _Connection(http.client.HTTPConnection):
    """A connection to an endpoint of any scheme."""

    def __init__(self, endpoint: Endpoint, tls: TlsOptions, *, timeout: float) -> None:
        super().__init__(endpoint.host, endpoint.port or None, timeout=timeout)
        self._endpoint = endpoint
        self._tls = tls
        self._context = tls_context(tls) if endpoint.scheme == "https" else None

    def connect(self) -> None:
        if self._endpoint.scheme == "unix":
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._endpoint.socket_path)
            return
        super().connect()
        if self._context is not None:
            name = self._tls.server_name or self._endpoint.host
            self.sock = self._context.wrap_socket(self.sock, server_hostname=name)


def tls_context(tls: TlsOptions) -> "ssl.SSLContext":
    """Certificates as the options say; LocalError names the file that cannot be used."""
    import ssl

    try:
        context = ssl.create_default_context(cafile=tls.ca_cert or None, capath=tls.ca_path or None)
    except (OSError, ValueError) as exc:
        raise LocalError(f"the CA certificate {tls.ca_cert or tls.ca_path} cannot be used: {_why(exc)}") from exc
    if tls.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.client_key and not tls.client_cert:
        raise LocalError("a client key needs its certificate: set --client-cert or MIMIR_CLIENT_CERT too")
    if tls.client_cert:
        try:
            context.load_cert_chain(tls.client_cert, tls.client_key or None)
        except (OSError, ValueError) as exc:
            raise LocalError(f"the client certificate {tls.client_cert} cannot be used: {_why(exc)}") from exc
    return context


def exchange(
    endpoint: Endpoint,
    tls: TlsOptions,
    *,
    timeout: float,
    method: str,
    target: str,
    headers: dict[str, str],
    body: bytes | None,
) -> RawAnswer:
    """Send one request and read its whole answer, or raise NoAnswerError with what to do about it."""
    connection = _Connection(endpoint, tls, timeout=timeout)
    try:
        return _exchanged(connection, endpoint, method, target, headers=headers, body=body)
    except (OSError, http.client.HTTPException) as exc:
        raise no_answer(endpoint, exc, timeout=timeout) from exc
    finally:
        connection.close()


def _exchanged(
    connection: _Connection,
    endpoint: Endpoint,
    method: str,
    target: str,
    *,
    headers: dict[str, str],
    body: bytes | None,
) -> RawAnswer:
    connection.request(method, target, body=body, headers=headers)
    response = connection.getresponse()
    content = response.read(MAX_ANSWER + 1)
    if response.length:  # what Content-Length promised and a read with a limit does not miss
        raise http.client.IncompleteRead(b"", response.length)
    if len(content) > MAX_ANSWER:
        raise NoAnswerError(f"the answer of {endpoint.address} is larger than {MAX_ANSWER >> 20} MiB")
    return RawAnswer(status=response.status, headers=response.headers, body=content)


class KeptConnection:
    """As `exchange`, for many requests one after another over one connection; of one thread."""

    def __init__(self, endpoint: Endpoint, tls: TlsOptions, *, timeout: float) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._connection = _Connection(endpoint, tls, timeout=timeout)

    def exchange(self, method: str, target: str, *, headers: dict[str, str], body: bytes | None) -> RawAnswer:
        """For requests that may be repeated: a connection that the other side closed meanwhile is opened anew."""
        for attempt in (1, 2):
            was_open = self._connection.sock is not None
            try:
                return _exchanged(self._connection, self._endpoint, method, target, headers=headers, body=body)
            except (OSError, http.client.HTTPException) as exc:
                self._connection.close()
                lost = isinstance(exc, http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError)
                if attempt == 2 or not was_open or not lost:
                    raise no_answer(self._endpoint, exc, timeout=self._timeout) from exc
            except NoAnswerError:
                self._connection.close()
                raise
        raise RuntimeError("unreachable")

    def close(self) -> None:
        """Let it go."""
        self._connection.close()


@contextlib.contextmanager
def opened(
    endpoint: Endpoint, tls: TlsOptions, *, timeout: float, target: str, headers: dict[str, str]
) -> "Iterator[http.client.HTTPResponse]":
    """GET an answer that goes on, to be read while it comes; NoAnswerError when it does not come, or breaks off.

    `timeout` is the longest silence.
    """
    connection = _Connection(endpoint, tls, timeout=timeout)
    try:
        connection.request("GET", target, headers=headers)
        yield connection.getresponse()
    except (OSError, http.client.HTTPException) as exc:
        raise no_answer(endpoint, exc, timeout=timeout) from exc
    finally:
        connection.close()


def no_answer(endpoint: Endpoint, exc: Exception, *, timeout: float) -> CliError:
    """The sentence for what went wrong between here and the appliance."""
    where = endpoint.address
    if isinstance(exc, TimeoutError):
        return NoAnswerError(
            f"no answer from {where} within {timeout:g} s, and the request may still be carried out: "
            "look at `mimir status`, or give it more time with MIMIR_CLIENT_TIMEOUT"
        )
    if isinstance(exc, (ConnectionRefusedError, FileNotFoundError)):
        return NoAnswerError(
            f"no Mimir answers at {where}: is `mimir server` running there? Set MIMIR_ADDR if it listens elsewhere"
        )
    if isinstance(exc, http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError):
        return NoAnswerError(f"{where} closed the connection without an answer: {_scheme_hint(endpoint)}")
    return _broken_answer(endpoint, exc) if isinstance(exc, http.client.HTTPException) else _unreachable(endpoint, exc)


def _broken_answer(endpoint: Endpoint, exc: http.client.HTTPException) -> CliError:
    where = endpoint.address
    if isinstance(exc, http.client.IncompleteRead):
        return NoAnswerError(
            f"the connection to {where} broke in the middle of the answer; the request may have been carried out"
        )
    return NoAnswerError(f"what answers at {where} does not speak HTTP: {_scheme_hint(endpoint)}")


def _unreachable(endpoint: Endpoint, exc: Exception) -> CliError:
    where = endpoint.address
    if isinstance(exc, socket.gaierror):
        return NoAnswerError(f"the host {endpoint.host} is not known: check MIMIR_ADDR ({where})")
    reason = getattr(exc, "verify_message", "")  # ssl.SSLCertVerificationError, without importing ssl
    if reason:
        return NoAnswerError(
            f"the certificate of {where} is not trusted ({reason}): give its CA with --ca-cert or MIMIR_CACERT"
        )
    if type(exc).__module__ == "ssl":
        return NoAnswerError(f"TLS with {where} failed ({_why(exc)}): {_scheme_hint(endpoint)}")
    return NoAnswerError(f"{where} cannot be reached ({_why(exc)}): check MIMIR_ADDR")


def _scheme_hint(endpoint: Endpoint) -> str:
    if endpoint.scheme == "http":
        return "is it an https:// address, or another service?"
    return "is it an http:// address, or another service?" if endpoint.scheme == "https" else "is it Mimir's socket?"


def _why(exc: Exception) -> str:
    text = getattr(exc, "reason", None) or getattr(exc, "strerror", None) or str(exc)
    return str(text) or type(exc).__name__
