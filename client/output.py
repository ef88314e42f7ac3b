"""Prints an answer in the format that was asked for."""

import errno
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from client import exact_json
from client.errors import LocalError
from client.table import duration, key_values
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer, JsonObject
    from client.session import Session


def show(session: "Session", answer: "Answer", as_table: Callable[["Answer"], str]) -> None:
    """The whole body as JSON or YAML, one field, or what `as_table` makes of it for people."""
    if session.field:
        write_field(find_field(answer.body, session.field), session.format)
    elif session.format != "table":
        write_line(serialised(answer.body, session.format))
    else:
        _show_warnings(answer.body)
        wrapped = answer.body.get("wrap_info")
        write_line(wrap_table(wrapped) if isinstance(wrapped, dict) else as_table(answer))


def show_value(session: "Session", value: "JsonObject", text: str) -> None:
    """A result that was made on this side: `text` for people, the value for programs."""
    if session.field:
        write_field(find_field(value, session.field), session.format)
    else:
        write_line(text if session.format == "table" else serialised(value, session.format))


def _show_warnings(body: "JsonObject") -> None:
    warnings = body.get("warnings")
    for warning in warnings if isinstance(warnings, list) else []:
        click.echo(f"WARNING: {printable(str(warning))}", err=True)


def serialised(value: Any, form: str) -> str:
    """JSON as `jq` likes it, or YAML; members keep the order in which they came."""
    if form == "json":
        return exact_json.dumps(value)
    from client.exact_yaml import dumps

    return dumps(value)


def wrap_table(wrapped: "JsonObject") -> str:
    """What a wrapped answer shows instead of its content."""
    rows = [("wrapping_token", wrapped.get("token")), ("wrapping_accessor", wrapped.get("accessor"))]
    rows += [("wrapping_token_ttl", duration(wrapped.get("ttl")))]
    rows += [(f"wrapping_token_{name}", wrapped.get(name)) for name in ("creation_time", "creation_path")]
    return key_values(rows)


_AUTH_FIELDS = {"token": "client_token", "token_accessor": "accessor", "token_policies": "policies"}
_WRAP_FIELDS = {"wrapping_token": "token", "wrapping_accessor": "accessor", "wrapping_token_ttl": "ttl"}


def find_field(body: "JsonObject", name: str) -> Any:
    """The member called `name`, wherever the tables show it: wrapping, login, data, or the body itself."""
    for member, names in (("wrap_info", _WRAP_FIELDS), ("auth", _AUTH_FIELDS)):
        part = body.get(member)
        if isinstance(part, dict) and names.get(name, name) in part:
            return part[names.get(name, name)]
    data = body.get("data")
    for part in (data, body):
        if isinstance(part, dict) and name in part:
            return part[name]
    raise LocalError(f"the answer has no field {name!r}: `-o json` shows those it has")


def write_field(value: Any, form: str) -> None:
    """A value alone: text as it is, so that a pipe gets its exact bytes; anything else as JSON or YAML."""
    if isinstance(value, str) and form == "table":
        write_exact(value.encode("utf-8", "surrogatepass"))
    else:
        write_line(serialised(value, "json" if form == "table" else form))


def write_line(text: str) -> None:
    """A line of text for standard output; what its encoding does not have is escaped."""
    encoding = (sys.stdout and sys.stdout.encoding) or "utf-8"
    _write_all(f"{text}\n".encode(encoding, "backslashreplace"))


def write_exact(content: bytes, *, newline: bool | None = None) -> None:
    """Bytes as they are; a line break follows only where a person reads them, unless `newline` decides."""
    _write_all(content)
    if newline or (newline is None and sys.stdout.isatty()):
        _write_all(b"\n")


def _write_all(content: bytes) -> None:
    """Write to the end or raise.

    Under PYTHONUNBUFFERED one write may take a part only (a full disk, a reader that goes away), and Python's own
    `print` would then lose the rest without an error.
    """
    if sys.stdout is None:
        raise LocalError("there is no standard output to write to")
    stream, rest = sys.stdout.buffer, memoryview(content)
    while rest:
        taken = stream.write(rest)
        if not taken:
            raise BlockingIOError(errno.EAGAIN, "it does not take any more")
        rest = rest[taken:]
    stream.flush()
