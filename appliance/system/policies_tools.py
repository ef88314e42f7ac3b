"""`sys/policies/test`, `explain`, `lint` and `format`: what operators ask about policies. Nothing is stored.

An identity is an entity, an alias or a role; failing those, the policy of that name.
"""

from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import Any

import msgspec

from appliance.access.acl import ROOT_ACL, Acl
from appliance.access.conditions import REASON_HEADERS
from appliance.access.policies import PolicyStore
from appliance.access.policy_format import format_policy
from appliance.access.policy_lint import Finding, MountView, lint_rules
from appliance.access.policy_text import parse_policy
from appliance.access.policy_trial import Outcome, try_action
from appliance.access.refusals import RefusalLog, Refused
from appliance.access.request import AccessRequest, as_access_request
from appliance.access.rules import CAPABILITIES
from appliance.access.subject import ROOT_NAMESPACE, EntityView, Facts, Subject
from appliance.access.verdicts import RuleRef
from appliance.namespaces import Namespace
from appliance.system.policies import check_allowed, parse_time, plain_text
from core.bodies import Duration, StringList, StringMap
from core.clock import Clock, rfc3339
from core.engine import Handler, Method, Route
from core.errors import InvalidRequestError, NotFoundError
from core.requests import Operation, Request, Response

# an entity, or the policies of a role, or both: an entity with what its logins would give its tokens
Identity = EntityView | tuple[str, ...] | Subject
FindIdentity = Callable[[str, str], Awaitable[Identity | None]]  # namespace id, name
MountsOf = Callable[[Namespace], Sequence[MountView]]

_ACTIONS = CAPABILITIES - {"deny"}


class TrialBody(msgspec.Struct):
    """Who (or `policies` instead) would do what where, when, from which address, with which headers and body.

    `at` is RFC 3339 or epoch seconds, by default now. An action is a capability.
    """

    identity: str = ""
    policies: StringList = msgspec.field(default_factory=StringList)
    path: str = ""
    action: str = ""
    at: str | int = ""
    from_: str = msgspec.field(name="from", default="")
    headers: StringMap = msgspec.field(default_factory=StringMap)
    reason: str = ""
    data: dict[str, Any] = msgspec.field(default_factory=dict)
    wrap_ttl: Duration = Duration()


class TextBody(msgspec.Struct):
    """The text of a policy, or the name of a stored one; with both, the name that the text is meant for."""

    policy: str = ""
    name: str = ""


class PolicyToolRoutes:
    """Tries, explains, lints and formats."""

    def __init__(
        self,
        policies: PolicyStore,
        clock: Clock,
        refusals: RefusalLog,
        *,
        find_identity: FindIdentity,
        mounts_of: MountsOf,
    ) -> None:
        self._policies = policies
        self._clock = clock
        self._refusals = refusals
        self._find_identity = find_identity
        self._mounts_of = mounts_of

    def routes(self) -> list[Route]:
        """Below sys/."""
        explain = Method(handler=self.explain, mutates=False, summary="Why a request was refused.")
        return [
            _tool("policies/test", self.test, TrialBody, "Whether an identity may do something, and why."),
            _tool("policies/lint", self.lint, TextBody, "What is probably wrong with a policy."),
            _tool("policies/format", self.format, TextBody, "A policy in its canonical layout."),
            Route(pattern="policies/explain/{request_id}", methods={Operation.READ: explain}, help=explain.summary),
        ]

    # --- trying ---------------------------------------------------------------------------------------------------

    async def test(self, request: Request, body: TrialBody) -> Response:
        """Decided by the access list that the identity's requests meet, at the namespace of this request."""
        within = as_access_request(request).within
        path = body.path.strip().removeprefix("/").removeprefix("v1/")
        if not path:
            raise InvalidRequestError("say which path, as in database/creds/orders-api")
        if body.action not in _ACTIONS:
            raise InvalidRequestError(f"the action must be one of {', '.join(sorted(_ACTIONS))}")
        facts = self._facts(body)
        kind, subject = await self._subject(within, body)
        outcome = await self._try(subject, within.path + path, body.action, facts)
        identity = {"kind": kind, "name": body.identity, "policies": _names(subject)}
        return Response(data={"path": path, "action": body.action, "identity": identity, **_outcome_view(outcome)})

    async def _try(self, subject: Subject, path: str, capability: str, facts: Facts) -> Outcome:
        entity = subject.entity
        if entity is not None and entity.disabled:
            return Outcome(allowed=False, kind="disabled", reason="the entity is disabled")
        sources = await self._policies.sources(subject)
        acl = Acl(sources, entity=entity, now=facts.now)
        if "root" in subject.policies and subject.namespace == ROOT_NAMESPACE:
            acl = ROOT_ACL
        return try_action(acl, sources, path=path, capability=capability, facts=facts, entity=entity)

    def _facts(self, body: TrialBody) -> Facts:
        if body.from_:
            _check_address(body.from_)
        headers = {name.lower(): value for name, value in body.headers.items()}
        if body.reason:
            headers[REASON_HEADERS[0].lower()] = body.reason
        at = parse_time(body.at, field="at")
        return Facts(
            now=self._clock.now() if at is None else at,
            address=body.from_,
            headers=_Headers(headers),
            data=body.data,
            wrap_ttl=body.wrap_ttl,
        )

    async def _subject(self, within: Namespace, body: TrialBody) -> tuple[str, Subject]:
        """Whom the access list is for. Every login gives "default", so an entity has it, too."""
        if bool(body.identity) == bool(body.policies):
            raise InvalidRequestError("say who: identity or policies, one of them")
        if body.policies:
            return "policies", _subject_of(within, [name.lower() for name in body.policies])
        found = await self._find_identity(within.id, body.identity)
        if isinstance(found, Subject):
            return ("role" if found.entity is None else "entity"), found
        if isinstance(found, EntityView):
            return "entity", Subject(namespace=within.id, policies=("default",), entity=found)
        if found is not None:
            return "role", _subject_of(within, found)
        policy = await self._policies.get(body.identity, namespace=within.id)
        if policy is None:
            raise InvalidRequestError(f"there is no entity, alias, role or policy named {body.identity[:64]!r} here")
        return "policy", _subject_of(within, [policy.name])

    # --- explaining -----------------------------------------------------------------------------------------------

    async def explain(self, request: Request, _body: object) -> Response:
        """Refusals of this namespace and those below it, on this node, as long as they are kept."""
        refused = self._refusals.find(request.params["request_id"])
        within = as_access_request(request).within
        if refused is None or not refused.namespace.startswith(within.path):
            raise NotFoundError(
                "no refusal is noted under that request id: it was not refused by a policy, was on another node, "
                "or too many were refused since"
            )
        return Response(data=_refused_view(refused))

    # --- reading texts --------------------------------------------------------------------------------------------

    async def lint(self, request: Request, body: TextBody) -> Response:
        """Of a text, or of a stored policy that the caller may read. A text that does not parse is a finding, too."""
        access = as_access_request(request)
        name, text = await self._text(access, body)
        mounts, namespace, now = self._mounts_of(access.within), access.within.path, self._clock.now()

        def look() -> list[Finding]:
            return lint_rules(parse_policy(name, text), mounts=mounts, namespace=namespace, now=now)

        try:
            findings = await self._policies.parse(look)
        except InvalidRequestError as exc:
            findings = [Finding(line=0, severity="error", rule="invalid", path="", message=exc.sentence)]
        return Response(data={"findings": [msgspec.structs.asdict(finding) for finding in findings]})

    async def format(self, request: Request, body: TextBody) -> Response:
        """The text anew, and whether that changed it."""
        name, text = await self._text(as_access_request(request), body)
        formatted = await self._policies.parse(format_policy, name, text)
        return Response(data={"policy": formatted, "changed": formatted != text})

    async def _text(self, access: AccessRequest, body: TextBody) -> tuple[str, str]:
        name = body.name.strip().lower()
        if body.policy:
            return name, plain_text(body.policy)
        if not name:
            raise InvalidRequestError("send the text of a policy, or the name of a stored one")
        check_allowed(access, f"sys/policies/acl/{name}", "read")
        policy = await self._policies.get(name, namespace=access.within.id)
        if policy is None or not policy.text:
            raise NotFoundError(f"there is no policy {name[:64]!r} here")
        return name, policy.text


def _check_address(text: str) -> None:
    try:
        ip_address(text)
    except ValueError:
        raise InvalidRequestError("from must be an address like 10.0.0.1") from None


class _Headers(dict[str, str]):
    """Found in any letter case, as those of a request."""

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


def _subject_of(within: Namespace, policies: Sequence[str]) -> Subject:
    return Subject(namespace=within.id, policies=tuple(sorted(set(policies))))


def _names(subject: Subject) -> list[str]:
    own = subject.entity.policies if subject.entity is not None else ()
    return sorted({*subject.policies, *own})


def _outcome_view(outcome: Outcome) -> dict[str, Any]:
    return {
        "allowed": outcome.allowed,
        "decision": outcome.kind,
        "reason": outcome.reason,
        "rule": outcome.pattern,
        "condition": outcome.condition,
        "conditional": outcome.is_conditional,
        "rules": [_rule_view(rule) for rule in outcome.rules],
    }


def _rule_view(rule: RuleRef) -> dict[str, Any]:
    return {"policy": rule.policy, "version": rule.version, "line": rule.line, "path": rule.path}


def _refused_view(refused: Refused) -> dict[str, Any]:
    return {**msgspec.structs.asdict(refused), "at": rfc3339(refused.at), "policies": list(refused.policies)}


def _tool(pattern: str, handler: Handler, body: type[msgspec.Struct], text: str) -> Route:
    method = Method(handler=handler, body=body, mutates=False, summary=text)
    return Route(pattern=pattern, methods={Operation.UPDATE: method}, help=text)
