"""`sys/events/subscribe/<event types>`: an answer that goes on."""

from appliance.access.request import as_access_request
from appliance.access.subject import Facts
from appliance.events.access import Gate, SubscriberAccess
from appliance.events.hub import EventHub
from appliance.events.selection import parse_after, parse_selection
from appliance.pipeline.exchange import StreamResponse
from core.engine import Method, Route
from core.errors import InvalidRequestError
from core.requests import Operation, Request, Response

_SUMMARY = (
    "Events as they happen, as server-sent events or over a WebSocket. Begins behind the message that Last-Event-ID or "
    "?after= names; ?path_prefix= and ?namespaces= choose among those that the caller may see."
)
# behind which event it begins: who loses the connection before the first message goes on with ?after= this
POSITION = "X-Mimir-Event-Position"


class EventRoutes:
    """In every namespace: its own events and those of the namespaces inside it."""

    def __init__(self, hub: EventHub, gate: Gate) -> None:
        self._hub = hub
        self._gate = gate

    def routes(self) -> list[Route]:
        """Below sys/."""
        return [
            Route(
                pattern="events/subscribe/{types...}",
                methods={Operation.READ: Method(handler=self.subscribe, mutates=False, summary=_SUMMARY)},
                help="Subscribe to events whose type matches a pattern: kv-v2/data-write, kv-v2/*, *.",
            )
        ]

    async def subscribe(self, request: Request, _body: object) -> Response:
        """Begin to tell the caller what it asks for and may see."""
        asked = as_access_request(request)
        if asked.facts is not None and asked.facts.wrap_ttl:
            raise InvalidRequestError("a subscription goes on and cannot be wrapped; leave X-Vault-Wrap-TTL out")
        selection = parse_selection(request.params["types"], request.query, namespace=request.namespace)
        after = parse_after(request.query.get("after") or request.headers.get("Last-Event-ID") or "")
        path = request.namespace + request.mount_path + request.path
        facts = Facts(now=self._gate.now(), address=request.client_address, headers=request.headers, data={})
        access = SubscriberAccess(self._gate, asked.token, facts, path=path)
        stream = await self._hub.subscribe(selection, access, token=asked.token, after=after)
        return StreamResponse(stream=stream, headers=((POSITION, str(stream.begins_behind)),))
