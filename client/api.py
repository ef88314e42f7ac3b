"""Vault's API as four verbs on paths, with the envelope taken off and errors turned into sentences."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from client import exact_json
from client.endpoint import Endpoint
from client.errors import LocalError, NoAnswerError
from client.refusals import refusal
from client.transport import MAX_ANSWER, RawAnswer, TlsOptions, exchange, opened

if TYPE_CHECKING:
    from http.client import HTTPResponse

JsonObject = dict[str, Any]  # the API's own shapes differ by path; commands pick the members they print


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the appliance said."""

    status: int
    body: JsonObject  # {} for 204

    @property
    def data(self) -> JsonObject:
        """The `data` member, or {}."""
        data = self.body.get("data")
        return data if isinstance(data, dict) else {}

    @property
    def auth(self) -> JsonObject:
        """The `auth` member, or {}."""
        auth = self.body.get("auth")
        return auth if isinstance(auth, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One appliance, one token. The token is asked for when a request needs it."""

    endpoint: Endpoint
    tls: TlsOptions
    timeout: float  # seconds
    load_token: Callable[[], str]
    namespace: str = ""
    wrap_ttl: str = ""
    extra_headers: Mapping[str, str] = field(default_factory=dict)

    def read(self, path: str, query: dict[str, str] | None = None) -> Answer:
        """GET a path."""
        return self.request("GET", path, query=query)

    def list(self, path: str) -> Answer:
        """GET a path with list=true, which every proxy on the way lets through, unlike the method LIST."""
        return self.request("GET", path, query={"list": "true"})

    def write(self, path: str, body: JsonObject | None = None) -> Answer:
        """PUT a body."""
        return self.request("PUT", path, body=body if body is not None else {})

    def merge(self, path: str, body: JsonObject) -> Answer:
        """PATCH a path with a JSON merge patch (RFC 7396)."""
        return self.request("PATCH", path, body=body)

    def delete(self, path: str, query: dict[str, str] | None = None) -> Answer:
        """DELETE a path."""
        return self.request("DELETE", path, query=query)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: JsonObject | None = None,
        query: dict[str, str] | None = None,
        authenticated: bool = True,
        partial: bool = False,
        denied: Callable[[], str] | None = None,
    ) -> Answer:
        """One exchange. `partial` lets a 4xx through that carries `data`: a batch of which some items failed.

        `denied` tells what to do about a 403, where the command knows better than that its token may be the reason.
        """
        path = self._cleaned(path)
        token = self.load_token() if authenticated else ""
        raw = self._exchange(
            method,
            self.endpoint.target(path, query or {}),
            headers=self._headers(token, has_body=body is not None, is_patch=method == "PATCH"),
            body=None if body is None else _encoded(body),
        )
        return self._answer(raw, path=path, token_sent=bool(token), partial=partial, denied=denied)

    def _cleaned(self, path: str) -> str:
        return clean_path(path)

    def _exchange(self, method: str, target: str, *, headers: dict[str, str], body: bytes | None) -> RawAnswer:
        return exchange(
            self.endpoint, self.tls, timeout=self.timeout, method=method, target=target, headers=headers, body=body
        )

    @contextlib.contextmanager
    def stream(self, path: str, query: dict[str, str], headers: Mapping[str, str]) -> "Iterator[HTTPResponse]":
        """GET an answer that goes on; a refusal is raised as of every request."""
        path, token = clean_path(path), self.load_token()
        target = self.endpoint.target(path, query)
        sent = self._headers(token, has_body=False, is_patch=False) | dict(headers)
        with opened(self.endpoint, self.tls, timeout=self.timeout, target=target, headers=sent) as response:
            if response.status >= 300:
                raw = RawAnswer(status=response.status, headers=response.headers, body=response.read(MAX_ANSWER))
                self._answer(raw, path=path, token_sent=bool(token), partial=False, denied=None)
            yield response

    def _headers(self, token: str, *, has_body: bool, is_patch: bool) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "mimir-cli", "X-Vault-Request": "true"}
        headers |= self.extra_headers
        if has_body:
            headers["Content-Type"] = "application/merge-patch+json" if is_patch else "application/json"
        if token:
            headers["X-Vault-Token"] = header_value(token, what="token")
        if self.namespace:
            headers["X-Vault-Namespace"] = header_value(self.namespace.strip("/"), what="namespace")
        if self.wrap_ttl:
            headers["X-Vault-Wrap-TTL"] = header_value(self.wrap_ttl, what="wrap TTL")
        return headers

    def _answer(
        self, raw: RawAnswer, *, path: str, token_sent: bool, partial: bool, denied: Callable[[], str] | None
    ) -> Answer:
        if raw.status < 300:
            return Answer(status=raw.status, body=parse_body(raw, self.endpoint))
        try:
            body: JsonObject = parse_body(raw, self.endpoint)
        except NoAnswerError:
            body = {}
        if partial and raw.status < 500 and isinstance(body.get("data"), dict):
            return Answer(status=raw.status, body=body)
        request_id = raw.headers.get("X-Request-Id") or body.get("request_id") or ""
        raise refusal(
            raw.status,
            body,
            path=path,
            request_id=str(request_id),
            token_sent=token_sent,
            location=raw.headers.get("Location") or "",
            denied=denied,
        )


def _encoded(body: JsonObject) -> bytes:
    try:
        return exact_json.compact(body)
    except exact_json.NestingError as exc:
        raise LocalError("the values are nested too deeply to be sent") from exc


def parse_body(raw: RawAnswer, endpoint: Endpoint) -> JsonObject:
    """The JSON object of an answer; {} for an empty one."""
    if not raw.body.strip():
        return {}
    try:
        body = exact_json.loads(raw.body)
    except ValueError as exc:
        raise NoAnswerError(
            f"{endpoint.address} answered with status {raw.status}, but not in JSON: is it Mimir? Check MIMIR_ADDR"
        ) from exc
    if not isinstance(body, dict):
        raise NoAnswerError(f"{endpoint.address} answered with JSON that is no object: is it Mimir? Check MIMIR_ADDR")
    return body


def clean_path(path: str) -> str:
    """An API path without the leading slash and `v1/` that people copy from documents."""
    path = path.strip().lstrip("/").removeprefix("v1/")
    if not path:
        raise LocalError("the path is empty: write it as `sys/mounts` or `transit/keys/orders`")
    if any(part in {".", ".."} for part in path.split("/")):
        raise LocalError("the path holds `.` or `..` as a part, which proxies on the way would resolve")
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in path):
        raise LocalError("the path holds a control character, which has no place in it")
    return path


def header_value(text: str, *, what: str) -> str:
    """The text, if HTTP can carry it as it stands. It is not repeated in the error: it may be a secret."""
    if not text.isascii() or not text.isprintable() or text != text.strip():
        raise LocalError(f"the {what} holds a character that HTTP cannot carry (a line break, perhaps): set it anew")
    return text
