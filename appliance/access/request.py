"""A request to the appliance's own engines (auth/token, sys), which may know more of the caller than engines do."""

from appliance.access.acl import Acl
from appliance.access.tokens import TokenEntry
from core.requests import Request


class AccessRequest(Request, kw_only=True):
    """With the caller's token, its entry as the request was admitted, and its access list."""

    token: str
    entry: TokenEntry
    acl: Acl


def as_access_request(request: Request) -> AccessRequest:
    """The request as the pipeline makes it for these engines; another one is a bug of ours."""
    if not isinstance(request, AccessRequest):
        raise RuntimeError("this engine needs an AccessRequest")  # noqa: TRY004 - misuse by our own code
    return request
