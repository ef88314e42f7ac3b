"""In which namespace a request to sys/ is made."""

from appliance.access.request import AccessRequest
from appliance.namespaces import ROOT, Namespace
from core.errors import UnsupportedPathError
from core.requests import Request


def namespace_of(request: Request) -> Namespace:
    """The namespace the request is made in; the root for one without a token."""
    return request.within if isinstance(request, AccessRequest) else ROOT


def check_root(request: Request) -> None:
    """Raise UnsupportedPathError unless the request is made in the root namespace: the setting is the appliance's."""
    if not namespace_of(request).is_root or request.namespace:
        raise UnsupportedPathError("this is set for the whole appliance; ask for it in the root namespace")
