"""What a client learns of a fault of ours, and what the log does."""

import structlog
from aiohttp.http_parser import RawRequestMessage

from appliance.http.replies import error_reply
from appliance.logging import code_path
from appliance.wire import WireReply
from core.ids import new_uuid

log = structlog.get_logger("mimir.http")


def internal_error(message: RawRequestMessage, exc: BaseException) -> WireReply:
    """Log it; the answer tells the id to look for."""
    reply = error_reply(500, "internal error")
    reply.headers = (("X-Request-Id", log_fault(message, exc)),)
    return reply


def log_fault(message: RawRequestMessage, exc: BaseException) -> str:
    """Log where it was raised, and nothing of what it says; returns the id it is logged under."""
    request_id = new_uuid()
    log.error(
        "request failed",
        request_id=request_id,
        method=message.method,
        path=message.path.partition("?")[0],
        exception=type(exc).__qualname__,
        where=code_path(exc),
    )
    return request_id
