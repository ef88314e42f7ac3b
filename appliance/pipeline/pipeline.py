"""The request pipeline: every request to the API, from the wire to an engine and back."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from time import perf_counter
from typing import Any, TypeVar

import msgspec

from appliance import envelope
from appliance.access.policies import PolicyStore
from appliance.access.refusals import Refused, refused_by
from appliance.access.subject import EntityView
from appliance.access.tokens import TokenEntry, TokenStore, check_address
from appliance.access.wrapping import is_own_unwrap
from appliance.audited_headers import AuditedHeaders
from appliance.http_errors import error_reply, log_fault, sentence_of
from appliance.identity.store import IdentityStore
from appliance.in_flight import InFlightRequests
from appliance.metrics import Counter
from appliance.node_shared import Shared
from appliance.pipeline.admissions import Admissions, Admitted
from appliance.pipeline.authorization import check_allowed, check_served, find_route, tell_access, tell_more
from appliance.pipeline.bodies import parse_data
from appliance.pipeline.exchange import Exchange, LastResponse, audit_request, audit_response, split_request
from appliance.pipeline.help import help_reply, open_help_reply
from appliance.pipeline.identity import Identities
from appliance.pipeline.lifecycle import Lifecycle
from appliance.pipeline.mounted import Mounted, MountedEngines
from appliance.pipeline.outcomes import Outcomes
from appliance.pipeline.parsing import Asked, parse_asked
from appliance.router import RouteTable
from appliance.settings import SystemSettings
from appliance.wire import WireReply, WireRequest
from audit.trail import AuditTrail
from core.bodies import parse_body
from core.clock import Clock
from core.engine import Method, NoBody, Route
from core.errors import (
    AuditUnavailableError,
    PermissionDeniedError,
    QuotaExceededError,
    SealedError,
    UnsupportedOperationError,
)
from core.ids import new_uuid
from core.requests import Operation, Response

_NO_BODY = NoBody()
T = TypeVar("T")


class Pipeline:
    """Answers the requests of one worker. What is known of a request is in its Exchange, nothing of it is in here."""

    def __init__(
        self,
        *,
        lifecycle: Lifecycle,
        sync: Callable[[], int],
        mounts: MountedEngines,
        tokens: TokenStore,
        policies: PolicyStore,
        trail: AuditTrail,
        open_routes: RouteTable,
        identities: Identities,
        admissions: Admissions,
        outcomes: Outcomes,
        entities: IdentityStore,
        settings: SystemSettings,
        audited: AuditedHeaders,
        shared: Shared,
        running: InFlightRequests,
        clock: Clock,
    ) -> None:
        """`sync` drops the cached entries that any process changed, and answers the change sequence.

        `open_routes` are served in every seal state under their full path ("sys/health"), without token and record.
        """
        self._lifecycle = lifecycle
        self._sync = sync
        self._seen = -1  # the change sequence at which mounts and audit devices were last found current
        self._mounts = mounts
        self._tokens = tokens
        self._policies = policies
        self._trail = trail
        self._open = {route.pattern: route for route in open_routes}
        self._identities = identities
        self._admissions = admissions
        self._outcomes = outcomes
        self._entities = entities
        self._settings = settings
        self._audited = audited
        self._running_now = running
        self._quotas = shared.quotas
        self._refusals = shared.refusals
        self._metrics = shared.metrics
        self._clock = clock
        self._running: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.in_flight = 0

    async def handle(self, wire: WireRequest) -> WireReply:
        """Answer one request. Only a cancellation is raised."""
        self.in_flight += 1
        metrics, begun = self._metrics, perf_counter()
        metrics.began()
        status, served = 0, _Served()
        self._running_now.began(served.request_id, wire, begun)
        try:
            reply = await self._serve(wire, served)
            status = reply.status
        except Exception as exc:  # noqa: BLE001 - the outermost frame of a request
            log_fault(exc, request_id=served.request_id)
            reply = error_reply(exc, request_id=served.request_id)
            status = reply.status
            self._count_failure(exc, served)
        finally:
            self._running_now.ended(served.request_id)
            metrics.ended(served.mount_type, status or 499, perf_counter() - begun)
            self.in_flight -= 1
            if self.in_flight == 0:
                self._idle.set()
        if served.headers:
            reply = msgspec.structs.replace(reply, headers=(*reply.headers, *served.headers))
        return reply if wire.method != "HEAD" else msgspec.structs.replace(reply, body=b"")

    def _count_failure(self, error: Exception, served: "_Served") -> None:
        if isinstance(error, QuotaExceededError):
            served.headers = self._quotas.refusal_headers(error)
        elif isinstance(error, AuditUnavailableError):
            self._metrics.count(Counter.AUDIT_FAILURES)

    async def drain(self) -> None:
        """Wait until no request is being served, and nothing that outlived its client."""
        while self.in_flight or self._running:
            if self._running:
                await asyncio.wait(self._running)
            else:
                self._idle.clear()
                await self._idle.wait()

    # --- the way, step by step ------------------------------------------------------------------------------------

    async def _serve(self, wire: WireRequest, served: "_Served") -> WireReply:
        asked, request_id = parse_asked(wire), served.request_id
        open_route = self._open.get(asked.url_path if asked.namespace else asked.path)
        if open_route is not None:
            return await self._serve_open(open_route, wire, asked, request_id)
        if wire.method == "HEAD":
            raise UnsupportedOperationError("")
        seen, lifecycle = self._sync(), self._lifecycle
        if seen != self._seen or not lifecycle.ready or not lifecycle.is_settled():
            await self._catch_up(seen)
        admitted = None if asked.wrap_ttl else self._admissions.find(asked, seen)
        if admitted is not None:
            exchange = self._known_exchange(wire, asked, request_id, admitted)
        else:
            exchange = self._new_exchange(wire, asked, request_id)
        mounted = exchange.mounted
        served.mount_type = exchange.mount_type
        if self._quotas.active:
            served.headers = self._check_quota(exchange)
        if mounted is None:
            return await self._admit(exchange, seen)
        mounted.users += 1
        try:
            if admitted is not None:
                return await self._execute(exchange, admitted.method)
            return await self._admit(exchange, seen)
        finally:
            if mounted.left():
                await self._mounts.leave(mounted)

    def _known_exchange(self, wire: WireRequest, asked: Asked, request_id: str, admitted: Admitted) -> Exchange:
        """With what admission found out for the request before."""
        data = _data_of(wire, asked, takes_bytes=admitted.method.takes_bytes)
        mounted, namespace, identity = admitted.mounted, admitted.namespace, admitted.identity
        request = split_request(wire, asked, mounted, request_id=request_id, data=data, namespace=namespace)
        request.params, request.caller = admitted.params, identity.caller
        return Exchange(
            wire,
            asked,
            mounted,
            request,
            namespace,
            route=admitted.route,
            identity=identity,
            acl=admitted.acl,
            granting=admitted.granting,
            records=admitted.records,
            now=self._clock.now(),
        )

    def _new_exchange(self, wire: WireRequest, asked: Asked, request_id: str) -> Exchange:
        """The request with its namespace and its mount, as far as there are any."""
        table = self._mounts.table
        namespace = table.resolve(asked.path)
        missing = asked.namespace not in table.namespaces
        mounted = None if missing else self._mounts.find(asked.path, namespace)
        own = mounted is not None and mounted.takes_bytes(asked.path[len(namespace.path) :], asked.operation)
        data = _data_of(wire, asked, takes_bytes=own)
        request = split_request(wire, asked, mounted, request_id=request_id, data=data, namespace=namespace)
        return Exchange(wire, asked, mounted, request, namespace, has_no_namespace=missing, now=self._clock.now())

    def _check_quota(self, exchange: Exchange) -> tuple[tuple[str, str], ...]:
        """Count the request; the headers of its answer. Raises QuotaExceededError for one too many."""
        request = exchange.request
        role = request.data.get("role") if exchange.mounted is not None and exchange.mounted.entry.is_auth else ""
        try:
            return self._quotas.check(
                namespace=exchange.namespace.path,
                mount=request.mount_path,
                path=request.path,
                role=role if isinstance(role, str) else "",
                address=request.client_address,
            )
        except QuotaExceededError as exc:
            self._metrics.count(Counter.RATE_LIMITED)
            if self._quotas.audits:
                self._record_request(exchange, refused=exc.sentence)
            raise

    async def _catch_up(self, seen: int) -> None:
        """Follow what any worker changed up to that change sequence."""
        if not self._is_current():
            await self._follow_others()
        self._seen = seen

    def _is_current(self) -> bool:
        """Whether no other worker changed the seal, the mounts or the audit devices before this request came."""
        lifecycle = self._lifecycle
        return (
            lifecycle.ready
            and lifecycle.is_settled()
            and self._mounts.is_current()
            and self._trail.current
            and self._settings.is_current()
        )

    async def _follow_others(self) -> None:
        """Do what they did. Raises SealedError when that was to seal."""
        if not self._lifecycle.is_settled():
            await self._lifecycle.settle()
            self._sync()
        if not self._lifecycle.ready:
            raise SealedError("")
        await self._mounts.refresh()
        await self._trail.sync()
        await self._settings.refresh()

    async def _admit(self, exchange: Exchange, seen: int) -> WireReply:
        """Route, token, policy; then the engine. A refusal is recorded like an answer."""
        try:
            find_route(exchange)
            if not self._identify(exchange):
                await self._authenticate(exchange)
            await check_allowed(exchange, self._policies)
            method = check_served(exchange)
        except Exception as exc:  # noqa: BLE001 - recorded and answered, whatever it is
            return await self._refuse(exchange, exc)
        mounted = exchange.mounted
        if method is None or mounted is None:
            return await self._answer_help(exchange)
        if mounted.is_built_in:
            tell_more(exchange)
        if not method.mutates:
            if exchange.identity is not None and self._sync() == seen:  # nothing changed while we looked
                until = self._tokens.live_until(exchange.identity.token)
                if exchange.acl is not None:
                    until = min(until, exchange.acl.until)
                self._admissions.note(exchange, method, sequence=seen, until=until)
            return await self._execute(exchange, method)
        if method.is_atomic:
            return await self._execute(exchange, method)
        mounted.users += 1  # one more: this may outlive its client, who counts as the other
        return await self._outlive_client(self._execute_and_leave(exchange, method, mounted))

    def _identify(self, exchange: Exchange) -> bool:
        """The token, unless the route asks for none; False when the store must be asked."""
        if exchange.route is not None and exchange.route.unauthenticated:
            return True
        if is_own_unwrap(exchange.request):
            return True
        if not exchange.asked.token:
            raise PermissionDeniedError("permission denied")
        token = self._tokens.peek(exchange.asked.token)
        if token is None:
            return False
        entity = None
        if token.entity_id:
            entity = self._entities.peek(token.entity_id)
            if entity is None:
                return False
        self._note_identity(exchange, token, entity)
        return True

    async def _authenticate(self, exchange: Exchange) -> None:
        """As `_identify`, asking the store. A use of a token is taken before anything else is looked at."""
        token = await self._tokens.authenticate(exchange.asked.token)
        entity = None
        if token.entity_id:
            entity = await self._entities.view(token.entity_id)
            if entity is None:
                raise PermissionDeniedError("permission denied")
        self._note_identity(exchange, token, entity)

    def _note_identity(self, exchange: Exchange, token: TokenEntry, entity: EntityView | None) -> None:
        """Raises PermissionDeniedError when the token is not for this namespace, this address or this entity."""
        home = self._mounts.table.namespaces_by_id.get(token.namespace)
        if home is None or not home.contains(exchange.namespace) or (entity is not None and entity.disabled):
            raise PermissionDeniedError("permission denied")
        if token.bound_cidrs:
            exchange.is_conditional = True
            check_address(token, exchange.wire.client_address)
        identity = self._identities.of(token, exchange.asked.token, entity)
        exchange.identity = identity
        exchange.request.caller = identity.caller

    async def _execute(self, exchange: Exchange, method: Method) -> WireReply:
        """Record, run the handler, record its answer; no reply leaves before both records are written."""
        request = exchange.request
        try:
            self._record_request(exchange)
            if method.mutates:
                await self._flush()
            body = _handed(exchange, method)
            response: Response
            if exchange.route is not None and exchange.route.login_name is not None:
                response = await self._outcomes.try_login(exchange, method.handler, body)
            else:
                response = await method.handler(request, body)
            if response.login is not None or response.lease is not None or exchange.asked.wrap_ttl:
                response = await self._outcomes.settle(exchange, response)
            if response.auth is not None:
                self._metrics.count(Counter.TOKENS)
            reply = envelope.reply(response, request_id=request.request_id, mount_type=exchange.mount_type)
            self._record_response(exchange, response)
        except asyncio.CancelledError:
            self._record_abandoned(exchange)
            raise
        except AuditUnavailableError:
            raise
        except BaseException as exc:  # noqa: BLE001 - recorded and answered, whatever it is
            return await self._answer_error(exchange, _fault(exc))
        if exchange.audit is not None:
            await self._trail.flush()
        if type(response) is LastResponse:
            await response.afterwards()
        return reply

    async def _answer_help(self, exchange: Exchange) -> WireReply:
        self._record_request(exchange)
        self._record_response(exchange, None)
        await self._flush()
        return help_reply(exchange)

    async def _refuse(self, exchange: Exchange, error: Exception) -> WireReply:
        """Record and answer a request that did not get to an engine."""
        sentence = sentence_of(error, request_id=exchange.request.request_id)
        self._record_request(exchange, refused=sentence or "not found")
        return await self._answer_error(exchange, error)

    def _note_refusal(self, exchange: Exchange) -> None:
        """Keep for operators why the policies refused it."""
        self._metrics.count(Counter.REFUSALS)
        identity = exchange.identity
        if identity is None:
            return
        refused = Refused(
            request_id=exchange.request.request_id,
            at=exchange.now,
            path=exchange.shown_path,
            operation=exchange.request.operation.word,
            namespace=exchange.namespace.path,
            accessor=identity.token.accessor,
            display_name=identity.token.display_name,
            entity_id=identity.token.entity_id,
            address=exchange.request.client_address,
            policies=identity.caller.policies,
        )
        self._refusals.note(refused if exchange.refusal is None else refused_by(exchange.refusal, refused))

    async def _answer_error(self, exchange: Exchange, error: Exception) -> WireReply:
        request_id = exchange.request.request_id
        if isinstance(error, PermissionDeniedError):
            self._note_refusal(exchange)
        log_fault(error, request_id=request_id)
        self._record_response(exchange, None, error=sentence_of(error, request_id=request_id) or "not found")
        await self._flush()
        return error_reply(error, request_id=request_id)

    # --- before anything is unsealed ------------------------------------------------------------------------------

    async def _serve_open(self, route: Route, wire: WireRequest, asked: Asked, request_id: str) -> WireReply:
        """A path that works in every seal state; it names no secret, so there is neither token nor record."""
        if asked.operation is Operation.HELP:
            return open_help_reply(route)
        method = route.methods.get(asked.operation)
        if method is None:
            raise UnsupportedOperationError("")
        data = parse_data(asked.operation, wire.body, wire.headers, asked.query)
        request = split_request(wire, asked, None, request_id=request_id, data=data)
        body = _NO_BODY if method.body is NoBody else parse_body(data, method.body)
        work = _coroutine(method.handler(request, body))
        response = await (self._outlive_client(work) if method.mutates else work)
        return envelope.reply(response, request_id=request_id, mount_type="system")

    # --- what outlives its client ---------------------------------------------------------------------------------

    async def _outlive_client(self, work: Coroutine[Any, Any, T]) -> T:
        """Something that writes is finished and recorded, even when the client goes away meanwhile."""
        return await asyncio.shield(self._run_beside(work))

    def _run_beside(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _execute_and_leave(self, exchange: Exchange, method: Method, mounted: Mounted) -> WireReply:
        try:
            return await self._execute(exchange, method)
        finally:
            if mounted.left():
                await self._mounts.leave(mounted)

    # --- audit ----------------------------------------------------------------------------------------------------

    def _record_request(self, exchange: Exchange, *, refused: str = "") -> None:
        """Buffer the request's record."""
        trail = self._trail
        if not trail.active:
            return
        identity = exchange.identity
        if identity is not None:
            exchange.who = identity.audit_refused() if refused else identity.audit(exchange.granting)
        exchange.audit = audit_request(exchange)
        if self._audited.active:
            exchange.audit.headers, exchange.audit.secret_headers = self._audited.select(exchange.wire.headers)
        trail.record_request(exchange.audit, exchange.who, error=refused)

    def _record_response(self, exchange: Exchange, response: Response | None, *, error: str = "") -> None:
        if exchange.audit is not None:
            recorded = audit_response(exchange, response) if response else None
            self._trail.record_response(exchange.audit, exchange.who, recorded, error=error)
            exchange.is_recorded = True

    def _record_abandoned(self, exchange: Exchange) -> None:
        """The client went away: a request that is on record gets its second record all the same."""
        if exchange.audit is None:
            return
        if not exchange.is_recorded:
            # nobody is left to be told that a device is full; the device says it itself
            with contextlib.suppress(AuditUnavailableError):
                self._record_response(exchange, None, error="the client went away before the answer")

    async def _flush(self) -> None:
        if self._trail.active:
            await self._trail.flush()


def _data_of(wire: WireRequest, asked: Asked, *, takes_bytes: bool) -> dict[str, Any]:
    """The members of the body, unless the method takes it as it is: then nothing of it is read here."""
    return {} if takes_bytes else parse_data(asked.operation, wire.body, wire.headers, asked.query)


def _handed(exchange: Exchange, method: Method) -> Any:
    """The body as the handler declares it. Raises InvalidRequestError."""
    if method.asks_access:
        tell_access(exchange)
    if method.asks_identity and exchange.identity is not None:
        exchange.request.identity = exchange.identity.templates
    return _NO_BODY if method.body is NoBody else parse_body(exchange.request.data, method.body)


class _Served:
    """What is known of a request for its answer's headers and the metrics, however it ends."""

    __slots__ = ("headers", "mount_type", "request_id")

    def __init__(self) -> None:
        self.request_id = new_uuid()
        self.mount_type = ""
        self.headers: tuple[tuple[str, str], ...] = ()


async def _coroutine(work: Awaitable[T]) -> T:
    """A handler may answer any awaitable; a task wants a coroutine."""
    return await work


def _fault(exc: BaseException) -> Exception:
    """What is answered. A panic of a library in Rust is no Exception; what ends a process goes on."""
    if isinstance(exc, Exception):
        return exc
    if isinstance(exc, SystemExit | KeyboardInterrupt | GeneratorExit):
        raise exc
    return RuntimeError(type(exc).__name__).with_traceback(exc.__traceback__)
