"""`sys/events/webhooks`: who is told of events by signed requests of the appliance.

All need sudo, in the root namespace: who writes a webhook has the appliance send requests to where it likes, and learns
of changes in every namespace.
"""

import secrets
from typing import Any

import msgspec

from appliance.events.record import EventRecord, cloud_event, load_record
from appliance.system.within import check_root
from appliance.webhooks.checks import check_ca_cert, check_description, check_name, check_patterns, check_url
from appliance.webhooks.signature import KEY_LENGTH, format_key, parse_key
from appliance.webhooks.store import WebhookStore
from appliance.webhooks.webhook import Progress, Webhook
from core.bodies import StringList
from core.clock import Clock, rfc3339
from core.engine import Method, Route
from core.errors import InvalidRequestError, NotFoundError
from core.ids import new_uuid
from core.protocols import CoreStorage
from core.requests import NO_CONTENT, Operation, Request, Response

TEST_TYPE = "mimir/test"
_COUNTED = 200  # events that a read looks at to tell how many are pending


class WebhookBody(msgspec.Struct):
    """What is left out stays as it is. An empty list takes all."""

    url: str | None = None
    event_types: StringList | None = None
    path_prefixes: StringList | None = None
    namespaces: StringList | None = None
    description: str | None = None
    enabled: bool | None = None
    ca_cert: str | None = None
    key: str | None = None  # whsec_…; when the webhook is made only


class KeyBody(msgspec.Struct):
    """Without one, 32 random bytes."""

    key: str | None = None


class ReplayBody(msgspec.Struct):
    """The number of the last event that the receiver does not want to see again."""

    after: int


class WebhookRoutes:
    """Writes and reads them; the housekeeper delivers."""

    def __init__(self, storage: CoreStorage, clock: Clock, *, version: str) -> None:
        self._storage = storage
        self._store = WebhookStore(storage, clock)
        self._clock = clock
        self._version = version

    def routes(self) -> list[Route]:
        """Below sys/."""
        base = "events/webhooks"
        listed = Method(handler=self.names, mutates=False, summary="The names of all.")
        one = {
            Operation.READ: Method(handler=self.read, mutates=False, summary="Its settings, and how delivery goes."),
            Operation.UPDATE: Method(handler=self.write, body=WebhookBody, summary="Make or change a webhook."),
            Operation.DELETE: Method(handler=self.delete, summary="Delete a webhook; nothing more is delivered."),
        }
        rotate = Method(handler=self.rotate_key, body=KeyBody, summary="Sign with a new key, a day long with both.")
        test = Method(handler=self.test, summary="Send a test event now, and tell how the receiver answers.")
        replay = Method(handler=self.replay, body=ReplayBody, summary="Deliver again from behind an event's number.")
        return [
            Route(pattern=base, methods={Operation.LIST: listed}, help="Webhooks: signed notices.", sudo=True),
            Route(
                pattern=base + "/{name}", methods=one, exists=self.exists, help="One webhook and its state.", sudo=True
            ),
            Route(
                pattern=base + "/{name}/rotate-key", methods={Operation.UPDATE: rotate}, help="A new key.", sudo=True
            ),
            Route(pattern=base + "/{name}/test", methods={Operation.UPDATE: test}, help="A test event.", sudo=True),
            Route(pattern=base + "/{name}/replay", methods={Operation.UPDATE: replay}, help="Once more.", sudo=True),
        ]

    async def exists(self, request: Request) -> bool:
        """Whether a write changes one."""
        return request.params["name"] in await self._store.all()

    async def names(self, request: Request, _body: object) -> Response:
        """404 when there are none, as for every empty list."""
        check_root(request)
        webhooks = await self._store.all()
        if not webhooks:
            raise NotFoundError("")
        info = {name: {"url": it.url, "enabled": it.enabled} for name, it in sorted(webhooks.items())}
        return Response(data={"keys": list(info), "key_info": info})

    async def read(self, request: Request, _body: object) -> Response:
        """All but the key."""
        webhook = await self._store.get(_name(request))
        progress, _ = await self._store.progress(webhook)
        return Response(data={**_shown(webhook, self._clock.now()), "status": await self._status(webhook, progress)})

    async def write(self, request: Request, body: WebhookBody) -> Response:
        """Without a key one is made, and shown this once."""
        name = _name(request)
        changes = _checked(body)
        if name in await self._store.all():
            if body.key is not None:
                raise InvalidRequestError(
                    "the key of a webhook is changed by rotate-key, so that none is lost meanwhile"
                )
            await self._store.change(name, lambda webhook: msgspec.structs.replace(webhook, **changes))
            return NO_CONTENT
        if body.url is None:
            raise InvalidRequestError("missing url")
        key = parse_key(body.key) if body.key is not None else secrets.token_bytes(KEY_LENGTH)
        await self._store.create(
            name, lambda new_id, now: Webhook(id=new_id, name=name, key=key, created_at=now, **changes)
        )
        return NO_CONTENT if body.key is not None else Response(data={"name": name, "key": format_key(key)})

    async def delete(self, request: Request, _body: object) -> Response:
        """Absent is as good."""
        check_root(request)
        await self._store.delete(request.params["name"])
        return NO_CONTENT

    async def rotate_key(self, request: Request, body: KeyBody) -> Response:
        """The key before this one signs too, for a day; the one before that no longer."""
        key = parse_key(body.key) if body.key is not None else secrets.token_bytes(KEY_LENGTH)
        webhook = await self._store.rotate_key(_name(request), key)
        data: dict[str, Any] = {"previous_key_until": rfc3339(webhook.previous_until)}
        if body.key is None:
            data |= {"name": webhook.name, "key": format_key(key)}
        return Response(data=data)

    async def test(self, request: Request, _body: object) -> Response:
        """Beside the order of the log, from this process, and once."""
        webhook = await self._store.get(_name(request))
        from appliance.webhooks.sender import Sender  # here, so that processes without webhooks do without it

        sender = Sender(webhook, self._clock, version=self._version)
        event = _test_event(webhook, self._clock.now())
        try:
            outcome = await sender.send(event.id, cloud_event(event))
        finally:
            await sender.close()
        return Response(
            data={"delivered": outcome.is_delivered, "status": outcome.status, "error": outcome.error, "id": event.id}
        )

    async def replay(self, request: Request, body: ReplayBody) -> Response:
        """Back, or ahead to leave events out; what the log no longer has cannot come again."""
        name = _name(request)
        await self._store.get(name)
        oldest, newest = await self._storage.event_bounds()
        if not 0 <= body.after <= newest:
            raise InvalidRequestError(f"after must be the number of an event: at most {newest}, the newest there is")
        after = max(body.after, oldest - 1, 0)
        await self._store.move(name, after=after)
        left = "events up to that number are no longer in the log, and are not delivered again"
        return Response(data={"after": after}, warnings=[left] if after > body.after else None)

    async def _status(self, webhook: Webhook, progress: Progress) -> dict[str, Any]:
        """`pending` counts what stands among the next 200 events; `pending_is_bound`: there are more behind."""
        _, newest = await self._storage.event_bounds()
        page = await self._storage.events_after(progress.cursor, limit=_COUNTED)
        records = [load_record(stored) for stored in page]
        return {
            "delivered_up_to": progress.cursor,
            "newest_event": newest,
            "pending": sum(record is not None and webhook.takes(record) for record in records),
            "pending_is_bound": len(page) == _COUNTED,
            "last_success": _time(progress.last_success),
            "last_error": progress.last_error,
            "last_error_time": _time(progress.last_failure),
            "consecutive_failures": progress.failures,
            "failing_since": _time(progress.failing_since),
            "next_attempt": _time(progress.next_attempt),
            "missed": {"from": progress.missed_from, "to": progress.missed_to} if progress.missed_to else None,
        }


def _name(request: Request) -> str:
    check_root(request)
    name = request.params["name"]
    check_name(name)
    return name


def _checked(body: WebhookBody) -> dict[str, Any]:
    """The members that were given, as the webhook holds them. Raises InvalidRequestError."""
    if body.url is not None:
        check_url(body.url)
    if body.ca_cert:
        check_ca_cert(body.ca_cert)
    check_description(body.description or "")
    given: dict[str, Any] = {
        "url": body.url,
        "event_types": _patterns(body.event_types, "event_types", default=("*",)),
        "path_prefixes": _patterns(body.path_prefixes, "path_prefixes", default=()),
        "namespaces": _namespaces(body.namespaces),
        "description": body.description,
        "enabled": body.enabled,
        "ca_cert": body.ca_cert,
    }
    return {name: value for name, value in given.items() if value is not None}


def _patterns(given: list[str] | None, member: str, *, default: tuple[str, ...]) -> tuple[str, ...] | None:
    if given is None:
        return None
    check_patterns(given, member=member)
    return tuple(dict.fromkeys(pattern.removeprefix("/") for pattern in given)) or default


def _namespaces(given: list[str] | None) -> tuple[str, ...] | None:
    """The root is called "root", as everywhere in Vault."""
    patterns = _patterns(given, "namespaces", default=("*",))
    if patterns is None:
        return None
    return tuple("" if pattern == "root" else pattern.removesuffix("/") for pattern in patterns)


def _shown(webhook: Webhook, now: float) -> dict[str, Any]:
    rotating = bool(webhook.previous_key) and now < webhook.previous_until
    return {
        "name": webhook.name,
        "url": webhook.url,
        "event_types": list(webhook.event_types),
        "path_prefixes": list(webhook.path_prefixes),
        "namespaces": [namespace or "root" for namespace in webhook.namespaces],
        "description": webhook.description,
        "enabled": webhook.enabled,
        "ca_cert": webhook.ca_cert,
        "created_time": rfc3339(webhook.created_at),
        "previous_key_until": rfc3339(webhook.previous_until) if rotating else "",
    }


def _time(seconds: float) -> str:
    return rfc3339(seconds) if seconds else ""


def _test_event(webhook: Webhook, now: float) -> EventRecord:
    return EventRecord(
        id=new_uuid(),
        time=now,
        type=TEST_TYPE,
        path=f"events/webhooks/{webhook.name}",
        mount_path="sys/",
        mount_type="system",
        mount_accessor="system_sys",
        mount_uuid="built-in-sys",
        metadata={"operation": "test", "path": f"sys/events/webhooks/{webhook.name}"},
    )
