"""A request to the appliance's own engines (auth/token, sys), which may know more of the caller than engines do."""

from appliance.access.acl import Acl
from appliance.access.subject import Facts, Subject
from appliance.access.tokens import TokenEntry
from appliance.namespaces import ROOT, Namespace
from core.requests import Request


class AccessRequest(Request, kw_only=True):
    """With the caller's token, its entry as the request was admitted, and its access list.

    `within` is the namespace that the request is made in: the token's own or one below it. Paths that are asked of
    `acl` begin with `within.path`.
    """

    token: str
    entry: TokenEntry
    acl: Acl
    subject: Subject | None = None
    facts: Facts | None = None
    within: Namespace = ROOT


def as_access_request(request: Request) -> AccessRequest:
    """The request as the pipeline makes it for these engines; another one is a bug of ours."""
    if not isinstance(request, AccessRequest):
        raise RuntimeError("this engine needs an AccessRequest")  # noqa: TRY004 - misuse by our own code
    return request
