"""Who is calling: what engines and audit records say about a token, made once for each token in use."""

from appliance.access.tokens import TokenEntry
from audit.records import AuditAuth
from core.clock import rfc3339
from core.requests import Caller

_CAPACITY = 10_000


class Identity:
    """A valid token's caller and audit block."""

    __slots__ = ("audit", "caller", "token")

    def __init__(self, token: TokenEntry, client_token: str) -> None:
        self.token = token
        self.caller = Caller(
            accessor=token.accessor,
            display_name=token.display_name,
            policies=token.policies,
            entity_id=token.entity_id,
            metadata=token.metadata or {},
            is_root="root" in token.policies,
        )
        self.audit = audit_auth(token, client_token, allowed=True)


def audit_auth(token: TokenEntry, client_token: str, *, allowed: bool) -> AuditAuth:
    """The audit block of a request by this token."""
    return AuditAuth(
        client_token=client_token,
        accessor=token.accessor,
        display_name=token.display_name,
        policies=token.policies,
        token_policies=token.policies,
        metadata=token.metadata,
        entity_id=token.entity_id,
        token_type=token.type,
        token_ttl=token.ttl,
        token_issue_time=rfc3339(token.issue_time),
        num_uses=token.num_uses,
        allowed=allowed,
    )


class Identities:
    """The identities of the tokens in use. What is true of a token is asked of the token store, never of this."""

    def __init__(self) -> None:
        self._by_record: dict[str, Identity] = {}

    def of(self, token: TokenEntry, client_token: str) -> Identity:
        """The identity of exactly this state of the token."""
        known = self._by_record.get(token.record_id)
        if known is not None and known.token is token:
            return known
        if len(self._by_record) >= _CAPACITY:
            self._by_record.clear()
        fresh = Identity(token, client_token)
        self._by_record[token.record_id] = fresh
        return fresh

    async def open(self) -> None:
        """They come with the requests."""

    def close(self) -> None:
        """Forget all; at seal."""
        self._by_record.clear()
