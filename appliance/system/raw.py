"""Answers outside Vault's envelope."""

from typing import Any

import msgspec

from core.requests import RawBody, Response

_encode = msgspec.json.Encoder().encode


def raw_json(body: dict[str, Any], *, status: int | None = None) -> Response:
    """`body` as it is, with Vault's newline behind it."""
    return Response(raw=RawBody(body=_encode(body) + b"\n"), status=status)
