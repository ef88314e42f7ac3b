"""What `?help=1` says about a path, from the same declarations that serve it."""

from types import NoneType
from typing import get_args, get_origin

import msgspec

from appliance.pipeline.exchange import Exchange
from appliance.wire import WireReply
from core.bodies import Base64Bytes, Duration, StringList, StringMap
from core.engine import Method, NoBody, Route

_WORDS: dict[object, str] = {
    bool: "true or false",
    int: "number",
    float: "number",
    str: "text",
    Duration: "duration",
    Base64Bytes: "base64",
    StringList: "list",
    StringMap: "object",
    NoneType: "",
    msgspec.UnsetType: "",
}


def help_reply(exchange: Exchange) -> WireReply:
    """Of a path below a mount, or of the mount."""
    mount = exchange.mounted.entry.full_path if exchange.mounted is not None else ""
    if exchange.route is None or not exchange.request.path:
        return _reply(_overview(exchange))
    return _reply(_describe(exchange.route, mount))


def open_help_reply(route: Route) -> WireReply:
    """Of a path that is served in every seal state; its pattern is the whole path."""
    return _reply(_describe(route, "", is_open=True))


def _reply(text: str) -> WireReply:
    """Vault's shape: the text, and what else to look at."""
    return WireReply(200, msgspec.json.encode({"help": text, "see_also": None}) + b"\n")


def _overview(exchange: Exchange) -> str:
    if exchange.mounted is None:
        return ""
    entry = exchange.mounted.entry
    kind = "login method" if entry.is_auth else "engine"
    paths = "\n".join(f"    {entry.path}{route.pattern}\n        {route.help}" for route in exchange.mounted.routes)
    return f"The {entry.type} {kind} at {entry.full_path}\n\n## PATHS\n\n{paths}\n"


def _describe(route: Route, mount: str, *, is_open: bool = False) -> str:
    parts = [f"Path: {mount}{route.pattern}", route.help]
    if route.sudo:
        parts.append("A policy must grant `sudo` on it besides.")
    if route.unauthenticated or is_open:
        parts.append("No token is needed.")
    lines = [f"    {operation.value:8}{method.summary}" for operation, method in route.methods.items()]
    parts.append("## OPERATIONS\n\n" + "\n".join(lines))
    if members := _members(list(route.methods.values())):
        parts.append("## PARAMETERS\n\n" + "\n".join(f"    {name} ({kind})" for name, kind in members.items()))
    return "\n\n".join(parts) + "\n"


def _members(methods: list[Method]) -> dict[str, str]:
    """Of the bodies that the operations take: what can be given, and what it is."""
    found: dict[str, str] = {}
    for body in dict.fromkeys(method.body for method in methods if method.body is not NoBody):
        for member in msgspec.structs.fields(body):
            kind = _kind(member.type)
            found.setdefault(member.encode_name, f"{kind}, required" if member.required else kind)
    return found


def _kind(annotation: object) -> str:
    """One word for a type; what may be written in several ways is text."""
    origin = get_origin(annotation)
    if origin is list:
        return "list"
    if origin is dict:
        return "object"
    choices = get_args(annotation) or (annotation,)
    names = {_WORDS.get(choice) or ("" if choice in _WORDS else _kind_of_other(choice)) for choice in choices} - {""}
    return names.pop() if len(names) == 1 else "text"


def _kind_of_other(annotation: object) -> str:
    return _kind(annotation) if get_origin(annotation) is not None else "object"
