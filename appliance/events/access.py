"""What a subscriber may see, asked anew for each event: a subscription outlives the moment in which it was allowed."""

from collections.abc import Awaitable, Callable

from appliance.access.acl import Acl
from appliance.access.subject import Facts
from appliance.access.subjects import Subjects
from appliance.access.tokens import TokenStore
from appliance.events.record import EventRecord
from core.clock import Clock
from core.errors import MimirError, PermissionDeniedError

TOKEN_ENDED = "the token was revoked or has expired, or its entity is disabled"  # noqa: S105 - a sentence
NOT_ALLOWED = "the policies of the token no longer allow this subscription"


class SubscriptionEndedError(MimirError):
    """It goes on no longer; the sentence is for the subscriber."""


class Gate:
    """Asks tokens, entities and policies of now; one for all subscribers of a worker."""

    def __init__(
        self,
        tokens: TokenStore,
        subjects: Subjects,
        clock: Clock,
        *,
        sync: Callable[[], int],
        follow: Callable[[], Awaitable[None]],
    ) -> None:
        """`sync` drops cached entries that any process changed; `follow` brings mounts and namespaces in step."""
        self._tokens = tokens
        self._subjects = subjects
        self._clock = clock
        self._follow = follow
        self.sync = sync

    def now(self) -> float:
        """Epoch seconds."""
        return self._clock.now()

    async def look(self, token: str) -> tuple[Acl, float]:
        """The token's access list, and until when it stays true if nothing is stored (epoch seconds).

        Takes no use of the token. Raises PermissionDeniedError.
        """
        await self._follow()
        entry = self._tokens.peek(token) or await self._tokens.find(token)
        if entry is None:
            raise PermissionDeniedError("permission denied")
        acl = await self._subjects.acl(entry)
        return acl, min(acl.until, self._tokens.live_until(entry))


class SubscriberAccess:
    """One subscriber's. `refresh` before `shows`, without a wait between."""

    def __init__(self, gate: Gate, token: str, facts: Facts, *, path: str) -> None:
        """`path` is that of the subscription, with its namespace: reading it must stay allowed, too."""
        self._gate = gate
        self._token = token
        self._facts = facts
        self._path = path
        self._seen = -1
        self._until = 0.0
        self._acl: Acl | None = None

    def is_due(self) -> bool:
        """Whether something was stored or has expired since the last look."""
        return self._gate.sync() != self._seen or self._gate.now() >= self._until

    async def refresh(self) -> None:
        """Look again, where that is due. Raises SubscriptionEndedError."""
        while self.is_due():
            seen = self._gate.sync()
            try:
                self._acl, self._until = await self._gate.look(self._token)
            except PermissionDeniedError as exc:
                raise SubscriptionEndedError(TOKEN_ENDED) from exc
            self._seen = seen
            if not self._acl.allows(self._path, "read", facts=self._facts_now()):
                raise SubscriptionEndedError(NOT_ALLOWED)
            if self._until <= self._gate.now():  # memory cannot tell for how long: true for this moment
                return

    def shows(self, record: EventRecord) -> bool:
        """Whether the policies let the subscriber know of it: at the changed path, or where its secret is read."""
        acl = self._acl
        if acl is None:
            return False
        if acl.is_root:
            return True
        facts = self._facts_now()
        paths = dict.fromkeys((record.full_path, record.data_path, record.metadata_path))
        return any(path and _is_granted(acl, path, record.type, facts) for path in paths)

    def _facts_now(self) -> Facts:
        facts = self._facts
        return Facts(now=self._gate.now(), address=facts.address, headers=facts.headers, data=facts.data)


def _is_granted(acl: Acl, path: str, event_type: str, facts: Facts) -> bool:
    return (
        acl.allows(path, "read", facts=facts)
        or acl.allows(path, "list", facts=facts)
        or acl.subscribes(path, event_type, facts)
    )
