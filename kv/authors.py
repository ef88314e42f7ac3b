"""Who makes a version, as it is kept with it: names, never the token."""

from core.errors import InvalidRequestError
from core.requests import Request
from kv.secret import Author

MAX_REASON = 512  # characters
_HEADERS = ("X-Mimir-Reason", "X-Vault-Reason")


def author_of(request: Request) -> Author:
    """The caller, from where, and why if the request says so. Raises InvalidRequestError for an endless reason."""
    reason = next(filter(None, map(request.headers.get, _HEADERS)), "")
    if len(reason) > MAX_REASON:
        raise InvalidRequestError(f"the reason has at most {MAX_REASON} characters")
    if not reason.isprintable():
        raise InvalidRequestError("the reason holds a character that cannot be printed")
    caller = request.caller
    if caller is None:
        return Author("", "", request.client_address, reason)
    return Author(caller.display_name, caller.entity_id, request.client_address, reason)
