"""Listings as clients ask for them and read them."""

import re
from typing import TypedDict

from core.errors import InvalidRequestError, NotFoundError
from core.requests import Request, Response


class Page(TypedDict):
    """The part of a listing that is wanted; `limit` 0 is all."""

    after: str
    limit: int


def page(request: Request) -> Page:
    """`after` and `limit` of the query. Raises InvalidRequestError."""
    text = request.query.get("limit") or "0"
    if not re.fullmatch(r"-?\d{1,9}", text, re.ASCII):
        raise InvalidRequestError("limit must be a whole number")
    return {"after": request.query.get("after", ""), "limit": max(0, int(text))}


def keys_response(names: list[str]) -> Response:
    """The names; without any Vault's empty 404, raised as NotFoundError."""
    if not names:
        raise NotFoundError("")
    return Response(data={"keys": names})
