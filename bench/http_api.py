"""The little of Vault's HTTP API that the benches call, one connection a client."""

import http.client
import json
from collections.abc import Mapping
from typing import Any, Self


class ApiError(Exception):
    """The server answered with an error, or not at all."""


class Api:
    """A client on one keep-alive connection; not for use by several threads."""

    def __init__(self, address: str, token: str = "") -> None:
        self.address = address
        self._connection = http.client.HTTPConnection(address, timeout=30)
        self.token = token

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """The decoded body of a 200, 202 or 204. `path` is below /v1/."""
        payload = None if body is None else json.dumps(body).encode()
        status, answer = self._exchange(method, f"/v1/{path}", payload)
        if status not in {200, 202, 204}:
            raise ApiError(f"{method} {path}: HTTP {status} {answer[:400].decode(errors='replace')}")
        return json.loads(answer) if answer else {}

    def post(self, path: str, octets: bytes, content_type: str) -> bytes:
        """What a 200 answers to a body that is no JSON."""
        status, answer = self._exchange("POST", f"/v1/{path}", octets, {"Content-Type": content_type})
        if status != 200:
            raise ApiError(f"POST {path}: HTTP {status} {answer[:400].decode(errors='replace')}")
        return answer

    def fetch(self, path: str) -> bytes:
        """What a 200 or 204 answers to a GET, as it is."""
        status, answer = self._exchange("GET", f"/v1/{path}", None)
        if status not in {200, 204}:
            raise ApiError(f"GET {path}: HTTP {status} {answer[:400].decode(errors='replace')}")
        return answer

    def find(self, path: str) -> dict[str, Any]:
        """The decoded body of a GET; empty when there is no such thing."""
        status, answer = self._exchange("GET", f"/v1/{path}", None)
        if status == 404:
            return {}
        if status != 200:
            raise ApiError(f"GET {path}: HTTP {status} {answer[:400].decode(errors='replace')}")
        return dict(json.loads(answer))

    def health(self) -> int:
        """The status of sys/health; 0 while nobody answers."""
        try:
            return self._exchange("GET", "/v1/sys/health", None)[0]
        except ApiError:
            return 0

    def _exchange(
        self, method: str, target: str, payload: bytes | None, more: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        headers = {**(more or {}), **({"X-Vault-Token": self.token} if self.token else {})}
        try:
            self._connection.request(method, target, body=payload, headers=headers)
            response = self._connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise ApiError(f"{method} {target}: {error!r}") from error
