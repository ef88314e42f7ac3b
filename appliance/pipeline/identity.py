"""Who is calling: what engines and audit records say about a token, made once for each token in use."""

from appliance.access.subject import EntityView, Subject
from appliance.access.templates import render_text
from appliance.access.tokens import TokenEntry
from audit.records import AuditAuth
from core.clock import rfc3339
from core.errors import InvalidRequestError
from core.requests import Caller

_CAPACITY = 10_000


class EntityTemplates:
    """Implements core.requests.Identity: what templates in an engine's configuration say for one entity. No I/O."""

    __slots__ = ("_entity",)

    def __init__(self, entity: EntityView) -> None:
        self._entity = entity

    def render(self, template: str) -> str | None:
        """`template` filled in; None where the entity has no such value."""
        try:
            return render_text(template, self._entity)
        except ValueError as exc:
            raise InvalidRequestError(str(exc)) from None


class Identity:
    """A valid token's caller, access subject and audit block."""

    __slots__ = ("_audits", "_client_token", "caller", "entity", "subject", "templates", "token")

    def __init__(self, token: TokenEntry, client_token: str, entity: EntityView | None) -> None:
        self.token = token
        self.entity = entity
        self.templates = EntityTemplates(entity) if entity is not None else None
        self.subject = Subject(namespace=token.namespace, policies=token.policies, entity=entity)
        policies = token.policies
        if entity is not None and entity.policies:
            policies = tuple(sorted({*policies, *entity.policies}))
        self.caller = Caller(
            accessor=token.accessor,
            display_name=token.display_name,
            policies=policies,
            entity_id=token.entity_id,
            metadata=token.metadata or {},
            is_root="root" in token.policies,
        )
        self._client_token = client_token
        self._audits: dict[tuple[str, ...], AuditAuth] = {}

    def audit(self, granting: tuple[str, ...]) -> AuditAuth:
        """The audit block of a request that these policies grant; one for each set, since devices keep its form."""
        known = self._audits.get(granting)
        if known is None:
            known = self._audits[granting] = audit_auth(
                self.token, self._client_token, self.entity, allowed=True, granting=granting
            )
        return known

    def audit_refused(self) -> AuditAuth:
        """The audit block of a request that is not allowed."""
        return audit_auth(self.token, self._client_token, self.entity, allowed=False)


def audit_auth(
    token: TokenEntry,
    client_token: str,
    entity: EntityView | None,
    *,
    allowed: bool,
    granting: tuple[str, ...] = (),
) -> AuditAuth:
    """The audit block of a request by this token."""
    inherited = entity.policies if entity is not None else ()
    return AuditAuth(
        client_token=client_token,
        accessor=token.accessor,
        display_name=token.display_name,
        policies=tuple(sorted({*token.policies, *inherited})) if inherited else token.policies,
        token_policies=token.policies,
        identity_policies=inherited,
        metadata=token.metadata,
        entity_id=token.entity_id,
        token_type=token.type,
        token_ttl=token.ttl,
        token_issue_time=rfc3339(token.issue_time),
        num_uses=token.num_uses,
        allowed=allowed,
        granting_policies=granting,
    )


class Identities:
    """The identities of the tokens in use. What is true of a token is asked of the token store, never of this."""

    def __init__(self) -> None:
        self._by_token: dict[str, Identity] = {}  # a batch token has no record

    def of(self, token: TokenEntry, client_token: str, entity: EntityView | None = None) -> Identity:
        """The identity of exactly this state of the token and its entity."""
        known = self._by_token.get(client_token)
        if known is not None and known.token is token and known.entity is entity:
            return known
        if len(self._by_token) >= _CAPACITY:
            self._by_token.clear()
        fresh = Identity(token, client_token, entity)
        self._by_token[client_token] = fresh
        return fresh

    async def open(self) -> None:
        """They come with the requests."""

    def close(self) -> None:
        """Forget all; at seal."""
        self._by_token.clear()
