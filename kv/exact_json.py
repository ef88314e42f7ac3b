"""JSON whose numbers keep every digit: 1.10, 1e400 and 12345678901234567890 come out as they went in.

A float becomes the text it is written as (`msgspec.Raw`), which the encoder writes unchanged; whole numbers are
Python's, which have no limit. Objects keep their order; of a name that is there twice, the last member counts.
"""

from typing import Any

import msgspec

from core.errors import InvalidRequestError
from core.requests import Request

Json = dict[str, Any]


class _Body(msgspec.Struct):
    """A request body of which one member is wanted exactly."""

    data: Json | None = None


def _number(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


_decode = msgspec.json.Decoder(Json, float_hook=_number).decode
_decode_body = msgspec.json.Decoder(_Body, float_hook=_number).decode
encode = msgspec.json.Encoder().encode


def decode(text: bytes) -> Json:
    """A stored object."""
    return _decode(text)


def _is_object(body: bytes) -> bool:
    """As the pipeline sees it: behind JSON's own spaces; behind others, as bytes.lstrip knows them, it is a form."""
    return body.lstrip(b" \t\r\n").startswith(b"{")


def whole_body(request: Request) -> Json:
    """The body of a request, exactly; of a form what was understood of it."""
    if not _is_object(request.body):
        return request.data
    return _decode(request.body)


def data_member(request: Request) -> Json:
    """The member `data` of the body. Raises InvalidRequestError when there is none, or it is no object."""
    try:
        data = _decode_body(request.body).data if _is_object(request.body) else None
    except msgspec.ValidationError:
        raise InvalidRequestError("data must be a JSON object of names and values") from None
    if data is None:
        raise InvalidRequestError("no data provided")
    return data


def merge_patch(target: Json, patch: Json) -> Json:
    """JSON Merge Patch (RFC 7396, 2): null removes a member, objects are merged, everything else replaces."""
    merged = dict(target)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            before = merged.get(name)
            merged[name] = merge_patch(before if isinstance(before, dict) else {}, value)
        else:
            merged[name] = value
    return merged


def subkeys(value: Json, depth: int) -> Json:
    """Names without values: objects stay, down to `depth` levels (0: all of them), everything else is null."""
    return {
        name: subkeys(member, depth - 1 if depth else 0) if isinstance(member, dict) and member and depth != 1 else None
        for name, member in value.items()
    }
