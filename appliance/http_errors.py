"""Errors as HTTP sees them: the one place that knows status codes."""

import time
import traceback

import msgspec
import structlog

from appliance.system.errors import PreflightDeniedError
from appliance.wire import WireReply
from core.errors import (
    CallerError,
    ConfigError,
    HsmError,
    IntegrityError,
    MimirError,
    NotFoundError,
    NotInitializedError,
    OperatorError,
    PermissionDeniedError,
    QuotaExceededError,
    RequestTooLargeError,
    SealedError,
    UnsupportedMediaTypeError,
    UnsupportedOperationError,
    UnsupportedPathError,
)

_STATUS: dict[type[MimirError], int] = {
    CallerError: 400,
    PermissionDeniedError: 403,
    QuotaExceededError: 429,
    PreflightDeniedError: 403,
    NotFoundError: 404,
    UnsupportedPathError: 404,
    UnsupportedOperationError: 405,
    RequestTooLargeError: 413,
    UnsupportedMediaTypeError: 415,
    OperatorError: 503,
    IntegrityError: 500,
}
# What is said where the error brings no sentence of its own. A NotFoundError without one is Vault's empty list.
_DEFAULTS: dict[type[MimirError], str] = {
    PermissionDeniedError: "permission denied",
    UnsupportedPathError: "unsupported path",
    UnsupportedOperationError: "unsupported operation",
    SealedError: "Vault is sealed",
    NotInitializedError: "Vault is sealed",
    HsmError: "the HSM is not available; try again shortly",
    ConfigError: "the appliance is not configured for this",
}
# The caller never learns which of several reasons it was (Vault's text, word for word).
_SAME_FOR_ALL = (PermissionDeniedError, SealedError, NotInitializedError)

_RETELL = 60.0  # seconds
_told: dict[type[OperatorError], float] = {}  # when each kind was last written to the log

_encode = msgspec.json.Encoder().encode
_log = structlog.get_logger("mimir.pipeline")


def status_of(error: BaseException) -> int:
    """The status code of an error; 500 for what nobody raised on purpose."""
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)


def sentence_of(error: BaseException, *, request_id: str) -> str:
    """What the caller reads; of an unknown exception only where to look it up."""
    if not isinstance(error, MimirError):
        return f"internal error; the log has more under request id {request_id}"
    if not isinstance(error, _SAME_FOR_ALL) and error.sentence:
        return error.sentence
    return next((_DEFAULTS[kind] for kind in type(error).__mro__ if kind in _DEFAULTS), "")


def error_reply(error: BaseException, *, request_id: str) -> WireReply:
    """`{"errors": [...]}` with the status that fits."""
    sentence = sentence_of(error, request_id=request_id)
    body = {"errors": [sentence] if sentence else []}
    if isinstance(error, PermissionDeniedError):  # for `mimir policy explain`
        return WireReply(403, _encode({**body, "request_id": request_id}) + b"\n")
    return WireReply(status_of(error), _encode(body) + b"\n")


def log_fault(error: BaseException, *, request_id: str) -> None:
    """Write down a fault of ours: where it happened, and no value of any variable or message.

    Of what the operator must mend, once a minute: every request fails of it.
    """
    if isinstance(error, OperatorError):
        _tell_operator(error, request_id)
    if status_of(error) != 500:
        return
    if isinstance(error, MimirError):
        _log.error("integrity fault", request_id=request_id, sentence=error.sentence)
    else:
        _log.error("internal error", request_id=request_id, trace=_trace(error))


def _tell_operator(error: OperatorError, request_id: str) -> None:
    kind, now = type(error), time.monotonic()
    if isinstance(error, SealedError | NotInitializedError) or now - _told.get(kind, -_RETELL) < _RETELL:
        return
    _told[kind] = now
    _log.error("requests are refused", request_id=request_id, reason=error.sentence)


def _trace(error: BaseException) -> str:
    """The frames of an exception and its causes. Messages stay out: a ValueError quotes the value it dislikes."""
    parts: list[str] = []
    chain: BaseException | None = error
    while chain is not None and len(parts) < 10:
        parts.append(
            f"{type(chain).__module__}.{type(chain).__qualname__}\n"
            + "".join(traceback.format_tb(chain.__traceback__, limit=-20))
        )
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
    return "caused by ".join(parts)
