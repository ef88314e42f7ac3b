"""The request body as a JSON object, whatever form the client chose."""

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any
from urllib.parse import parse_qs

import msgspec

from core.errors import InvalidRequestError, RequestTooLargeError, UnsupportedMediaTypeError
from core.requests import Operation

MAX_BODY = 32 * 1024 * 1024  # bytes; Vault's default, too
MAX_DEPTH = 64
_MAX_FORM_FIELDS = 1000


def _number(text: str) -> float | str:
    """A number beyond what a float holds stays the text it is: who needs its digits reads the body itself."""
    value = float(text)
    return value if isfinite(value) else text


_decode = msgspec.json.Decoder().decode
_decode_large = msgspec.json.Decoder(float_hook=_number).decode
_WITH_BODY = frozenset((Operation.UPDATE, Operation.PATCH))  # of these no handler reads the query
_NESTED = frozenset((dict, list))  # what the decoder makes of objects and arrays
_POSITION = re.compile(r"\(byte (\d+)\)")


def parse_data(
    operation: Operation, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]
) -> dict[str, Any]:
    """The members of the body; of the query where the operation has no body, as Vault does.

    Where both are there, the query counts: it is what handlers read, so it is what policies and the audit log see.
    Raises InvalidRequestError that names a position in the body and never its content.
    """
    if operation is Operation.PATCH:
        _check_patch_type(headers)
    if not body:
        return dict(query) if operation is not Operation.UPDATE else {}
    data = _parse_body(body, headers)
    return data if operation in _WITH_BODY else {**data, **query}


def _parse_body(body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    if len(body) > MAX_BODY:
        raise RequestTooLargeError(f"the request body is larger than {MAX_BODY} bytes")
    # curl -d sends JSON under the type of a form
    if (
        body[0] not in b"{[ \r\n\t"
        and body != b"null"
        and headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")
    ):
        return _parse_form(body)
    return _parse_object(body)


def _check_patch_type(headers: Mapping[str, str]) -> None:
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/merge-patch+json":
        raise UnsupportedMediaTypeError("PATCH requires Content-Type: application/merge-patch+json")


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        data = _decode_any(body)
    except msgspec.DecodeError as exc:
        raise InvalidRequestError(_what_is_wrong(str(exc), body)) from None
    except UnicodeDecodeError:
        raise InvalidRequestError(f"the request body is not UTF-8 at byte {_not_utf8_at(body)}") from None
    except RecursionError:
        raise InvalidRequestError(f"the request body is nested deeper than {MAX_DEPTH} levels") from None
    if data is None:
        return {}
    if type(data) is not dict:
        raise InvalidRequestError("the request body must be a JSON object")
    if not _NESTED.isdisjoint(map(type, data.values())):
        _check_depth(data)
    return data


def _decode_any(body: bytes) -> Any:
    try:
        return _decode(body)
    except msgspec.ValidationError:  # a number that no float can hold
        return _decode_large(body)


def _what_is_wrong(problem: str, body: bytes) -> str:
    if not body.strip():
        return "the request body is blank; send a JSON object or nothing"
    if position := _POSITION.search(problem):
        return f"the request body is not valid JSON at byte {position[1]}"
    if "truncated" in problem:
        return f"the request body is not valid JSON: it ends too early, at byte {len(body)}"
    return "the request body is not valid JSON"


def _not_utf8_at(body: bytes) -> int:
    """Counted from the start of the body; the decoder counts from the start of the string."""
    try:
        body.decode()
    except UnicodeDecodeError as exc:
        return exc.start
    return 0


def _check_depth(data: dict[str, Any]) -> None:
    """Level by level through what the decoder made, which holds nothing but dicts and lists to go into."""
    level: list[Any] = [data]
    for _ in range(MAX_DEPTH):
        level = [
            member
            for value in level
            for member in (value.values() if type(value) is dict else value)
            if type(member) in _NESTED
        ]
        if not level:
            return
    raise InvalidRequestError(f"the request body is nested deeper than {MAX_DEPTH} levels")


def _parse_form(body: bytes) -> dict[str, Any]:
    try:
        # strict: what has no "=" is no field, and would stand in the audit log as a name, which is not hashed
        fields = parse_qs(
            body.decode(),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MAX_FORM_FIELDS,
        )
    except ValueError:  # of which UnicodeDecodeError is one
        raise InvalidRequestError(
            f"the body is neither JSON nor a form of name=value in UTF-8 with at most {_MAX_FORM_FIELDS} fields"
        ) from None
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}
