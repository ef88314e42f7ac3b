"""What `?help=1` says about a path, from the same declarations that serve it."""

import msgspec

from appliance.pipeline.exchange import Exchange
from appliance.wire import WireReply
from core.engine import Route


def help_reply(exchange: Exchange) -> WireReply:
    """Vault's shape: the text, and what else to look at."""
    route = exchange.route
    text = _describe(route) if route is not None else _overview(exchange)
    return WireReply(200, msgspec.json.encode({"help": text, "see_also": None}) + b"\n")


def _overview(exchange: Exchange) -> str:
    if exchange.mounted is None:
        return ""
    entry = exchange.mounted.entry
    paths = "\n".join(f"    {entry.path}{route.pattern}\n        {route.help}" for route in exchange.mounted.routes)
    return f"The {entry.type} engine at {entry.path}\n\n## PATHS\n\n{paths}\n"


def _describe(route: Route) -> str:
    lines = [f"    {operation.value:8}{method.summary}" for operation, method in route.methods.items()]
    return f"{route.help}\n\n## OPERATIONS\n\n" + "\n".join(lines) + "\n"
