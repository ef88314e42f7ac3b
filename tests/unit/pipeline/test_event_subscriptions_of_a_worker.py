"""What subscribers of one worker are told: all that they asked for and may see at that moment, and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.events import hub as hub_module
from appliance.events.retention import Retention
from appliance.events.window import Window
from appliance.wire import MessageStream, StreamMessage
from barrier.changes import ChangeRing
from core.protocols import CoreTransaction, Event, StoredEvent
from tests.unit.pipeline.rig import NODE, MakeRig, Reply, Rig, make_rig, wire

READS_APPS = """
path "sys/events/subscribe/*" { capabilities = ["read"] }
path "shelf/data/apps/*" { capabilities = ["read"] }
"""


async def announce(rig: Rig, *paths: str, kind: str = "kv-v2/data-write", shelf: int = -1) -> None:
    async def body(txn: Any) -> None:
        for path in paths:
            await txn.announce(Event(type=kind, path=path, metadata={"operation": "data-write"}))

    await rig.shelves[shelf].context.storage.transact(body)


async def subscribe(
    rig: Rig, types: str = "*", *, token: str | None = None, headers: dict[str, str] | None = None, prefix: str = ""
) -> MessageStream:
    used = rig.root_token if token is None else token
    reply = await rig.made.pipeline.handle(
        wire("GET", f"{prefix}sys/events/subscribe/{types}", token=used, headers=headers)
    )
    assert reply.stream is not None, reply.body
    return reply.stream


async def receive(stream: MessageStream) -> StreamMessage:
    message = await asyncio.wait_for(stream.receive(), 5)
    assert message is not None, stream.end_reason
    return message


async def end(stream: MessageStream) -> str:
    assert await asyncio.wait_for(stream.receive(), 5) is None
    return stream.end_reason


async def until(happened: Callable[[], bool]) -> None:
    """Wait for what the hub does when it next looks."""
    async with asyncio.timeout(5):
        while not happened():  # noqa: ASYNC110 - the hub tells nobody when it looks
            await asyncio.sleep(0.02)


async def is_silent(stream: MessageStream) -> bool:
    """Whether there is nothing after what has been announced until now; the reader looks every 20 ms."""
    try:
        await asyncio.wait_for(stream.receive(), 0.1)
    except TimeoutError:
        return True
    return False


async def test_an_event_is_told_as_vault_tells_it(rig: Rig) -> None:
    stream = await subscribe(rig, "kv-v2/data-*")
    await announce(rig, "data/apps/web")
    message = await receive(stream)
    told = json.loads(message.data)
    assert told.pop("time") == "2027-01-15T08:00:00.000000Z"
    accessor = told["data"]["plugin_info"].pop("mount_accessor")
    assert accessor.startswith("shelf_")
    event_id = told["id"]
    assert told == {
        "id": event_id,
        "source": "vault://mimir",
        "specversion": "1.0",
        "type": "*",
        "data": {
            "event": {"id": event_id, "metadata": {"operation": "data-write"}},
            "event_type": "kv-v2/data-write",
            "plugin_info": {"mount_class": "secret", "mount_path": "shelf/", "plugin": "shelf"},
        },
        "datacontentype": "application/cloudevents",
    }
    assert (message.kind, int(message.message_id) > 0) == ("kv-v2/data-write", True)


async def test_events_of_other_types_and_from_before_are_not_told(rig: Rig) -> None:
    await announce(rig, "before")
    stream = await subscribe(rig, "kv-v2/data-*")
    await announce(rig, "other", kind="kv-v2/destroy")
    await announce(rig, "later", kind="kv-v2/data-patch")
    assert (await receive(stream)).kind == "kv-v2/data-patch"


async def test_everybody_gets_everything_in_the_order_of_the_commits(rig: Rig) -> None:
    streams = [await subscribe(rig) for _ in range(3)]
    for number in range(20):
        await announce(rig, f"data/{number}", kind=f"kind-{number}")
    for stream in streams:
        assert [(await receive(stream)).kind for _ in range(20)] == [f"kind-{number}" for number in range(20)]


async def test_an_event_made_in_one_worker_reaches_a_subscriber_of_another(rig: Rig, make: MakeRig) -> None:
    other = await make()
    other.root_token = rig.root_token
    stream = await subscribe(other)
    await announce(rig, "data/a")
    assert (await receive(stream)).kind == "kv-v2/data-write"


async def test_an_event_of_another_node_is_found_without_a_ring(rig: Rig, tmp_path: Path) -> None:
    """On PostgreSQL other nodes commit, and no page of memory tells of it."""
    (tmp_path / "other").mkdir()
    ChangeRing.create(tmp_path / "other" / "ring").close()
    node = replace(NODE, storage_type="postgresql")
    other = await make_rig(rig.url, tmp_path / "other", rig.clock, hsm=rig.hsm, node=node)
    other.root_token = rig.root_token
    stream = await subscribe(other)
    await announce(rig, "data/a", kind="elsewhere")
    assert (await receive(stream)).kind == "elsewhere"
    await other.stop()


async def test_only_what_the_policies_let_read_or_list_or_subscribe_to_is_told(rig: Rig) -> None:
    token = await rig.child(READS_APPS)
    stream = await subscribe(rig, token=token)
    await announce(rig, "data/other", kind="hidden")
    await announce(rig, "data/apps/web", kind="shown")
    assert (await receive(stream)).kind == "shown"


@pytest.mark.parametrize(
    ("block", "kinds"),
    [
        pytest.param('capabilities = ["list"]', ["one", "two"], id="list"),
        pytest.param('capabilities = ["subscribe"]', ["one", "two"], id="subscribe"),
        pytest.param('capabilities = ["subscribe"]\nsubscribe_event_types = ["tw*"]', ["two"], id="types"),
        pytest.param('capabilities = ["deny"]', [], id="deny"),
        pytest.param('capabilities = ["update"]', [], id="update"),
    ],
)
async def test_which_capabilities_show_events(rig: Rig, block: str, kinds: list[str]) -> None:
    policy = f'path "sys/events/subscribe/*" {{ capabilities = ["read"] }}\npath "shelf/*" {{ {block} }}'
    stream = await subscribe(rig, token=await rig.child(policy))
    await announce(rig, "data/x", kind="one")
    await announce(rig, "data/x", kind="two")
    found = [(await receive(stream)).kind for _ in kinds]
    assert found == kinds
    assert await is_silent(stream)


async def test_a_narrowed_policy_counts_for_the_next_event(rig: Rig) -> None:
    stream = await subscribe(rig, token=await rig.child(READS_APPS))
    await announce(rig, "data/apps/web", kind="first")
    assert (await receive(stream)).kind == "first"
    narrowed = 'path "sys/events/subscribe/*" { capabilities = ["read"] }'
    assert (await rig.call("PUT", "sys/policies/acl/child", {"policy": narrowed})).status == 204
    await announce(rig, "data/apps/web", kind="second")
    assert await is_silent(stream)


async def test_a_policy_without_the_subscription_ends_it(rig: Rig) -> None:
    stream = await subscribe(rig, token=await rig.child(READS_APPS))
    narrowed = 'path "shelf/*" { capabilities = ["read"] }'
    assert (await rig.call("PUT", "sys/policies/acl/child", {"policy": narrowed})).status == 204
    assert "policies" in await end(stream)


async def test_a_revoked_token_ends_the_stream_also_when_nothing_happens(rig: Rig) -> None:
    token = await rig.child(READS_APPS)
    stream = await subscribe(rig, token=token)
    assert (await rig.call("POST", "auth/token/revoke", {"token": token})).status == 204
    assert "revoked" in await end(stream)


async def test_an_expired_token_ends_the_stream(rig: Rig) -> None:
    token = await rig.child(READS_APPS)
    stream = await subscribe(rig, token=token)
    rig.clock.advance(40 * 24 * 3600)
    assert "expired" in await end(stream)


async def test_a_use_of_a_token_is_taken_once_for_the_whole_subscription(rig: Rig) -> None:
    assert (await rig.call("PUT", "sys/policies/acl/p", {"policy": READS_APPS})).status == 204
    made = await rig.call("POST", "auth/token/create", {"policies": ["p"], "num_uses": 2})
    stream = await subscribe(rig, token=made.json["auth"]["client_token"])
    for _ in range(3):
        await announce(rig, "data/apps/web")
        await receive(stream)


async def test_a_subscriber_sees_its_namespace_and_those_inside_it(rig: Rig) -> None:
    for path in ("team-a", "team-b"):
        assert (await rig.call("POST", f"sys/namespaces/{path}")).status == 200
        assert (await rig.call("POST", f"{path}/sys/mounts/shelf", {"type": "shelf"})).status == 204
        assert (await rig.call("GET", f"{path}/sys/mounts")).status == 200
    own, everything = await subscribe(rig, prefix="team-a/"), await subscribe(rig)
    chosen = await subscribe(rig, "*?namespaces=team-b,nothing*")
    await announce(rig, "data/x", kind="of-b", shelf=2)
    await announce(rig, "data/x", kind="of-a", shelf=1)
    await announce(rig, "data/x", kind="of-root", shelf=0)
    assert json.loads((await receive(own)).data)["data"]["namespace"] == "team-a/"
    assert await is_silent(own)
    assert [(await receive(everything)).kind for _ in range(3)] == ["of-b", "of-a", "of-root"]
    assert [(await receive(chosen)).kind for _ in range(2)] == ["of-b", "of-root"]


async def test_a_path_prefix_chooses(rig: Rig) -> None:
    stream = await subscribe(rig, "*?path_prefix=shelf/data/apps/")
    await announce(rig, "data/other", kind="other")
    await announce(rig, "data/apps/web", kind="wanted")
    assert (await receive(stream)).kind == "wanted"


# --- going on ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["query", "header"])
async def test_a_subscriber_goes_on_behind_the_last_message_it_saw(rig: Rig, by: str) -> None:
    stream = await subscribe(rig)
    for number in range(100):
        await announce(rig, f"data/{number}", kind=f"kind-{number}")
    last = (await receive(stream)).message_id
    stream.close()
    types, headers = (f"*?after={last}", None) if by == "query" else ("*", {"Last-Event-ID": last})
    again = await subscribe(rig, types, headers=headers)
    await announce(rig, "data/new", kind="kind-100")
    assert [(await receive(again)).kind for _ in range(100)] == [f"kind-{number}" for number in range(1, 101)]


async def test_the_answer_names_where_it_begins_for_who_gets_no_message(rig: Rig) -> None:
    await announce(rig, "data/before")
    reply = await rig.made.pipeline.handle(wire("GET", "sys/events/subscribe/*", token=rig.root_token))
    assert ("X-Mimir-Event-Position", "1") in reply.headers


async def test_who_was_away_for_too_long_is_told_so_first(rig: Rig) -> None:
    await announce(rig, *(f"data/{number}" for number in range(5)))
    storage = rig.barrier.storage
    numbers = [event.number for event in await storage.events_after(0, limit=9)]

    async def drop(txn: CoreTransaction) -> int:
        return await txn.drop_events(before=numbers[3])

    assert await storage.transact(drop) == 3
    stream = await subscribe(rig, f"*?after={numbers[0]}")
    gap = await receive(stream)
    assert (gap.kind, gap.message_id) == ("mimir/gap", str(numbers[2]))
    assert "removed for their age" in gap.data.decode()
    assert [(await receive(stream)).message_id for _ in range(2)] == [str(number) for number in numbers[3:]]


async def test_who_knows_more_than_the_log_is_told_so_and_goes_on_with_what_comes(rig: Rig) -> None:
    stream = await subscribe(rig, "*?after=999999")
    assert "restore" in (await receive(stream)).data.decode()
    await announce(rig, "data/a", kind="new")
    assert (await receive(stream)).kind == "new"


@pytest.mark.parametrize(
    ("types", "headers", "word"),
    [
        pytest.param("*?after=-1", {}, "a number", id="negative"),
        pytest.param("*", {"Last-Event-ID": "x"}, "a number", id="header"),
        pytest.param("*?json=false", {}, "JSON only", id="protobuf"),
        pytest.param("*?filter=a==b", {}, "not supported", id="filter"),
        pytest.param("*", {"X-Vault-Wrap-TTL": "60"}, "cannot be wrapped", id="wrapped"),
        pytest.param("x" * 257, {}, "event types", id="long"),
    ],
)
async def test_what_cannot_be_subscribed_to_is_refused(
    rig: Rig, types: str, headers: dict[str, str], word: str
) -> None:
    reply = Reply.of(
        await rig.made.pipeline.handle(
            wire("GET", f"sys/events/subscribe/{types}", token=rig.root_token, headers=headers)
        )
    )
    assert (reply.status, word in reply.errors[0]) == (400, True)
    assert rig.made.hub.count == 0


async def test_without_a_policy_nobody_subscribes(rig: Rig) -> None:
    token = await rig.child('path "shelf/*" { capabilities = ["read"] }')
    assert (await rig.call("GET", "sys/events/subscribe/*", token=token)).status == 403


# --- bounds -----------------------------------------------------------------------------------------------------------


async def test_one_that_does_not_read_is_dropped_and_others_get_everything(rig: Rig) -> None:
    lazy, busy = await subscribe(rig), await subscribe(rig)
    rig.made.hub.window = Window(rig.made.hub.window.position, capacity=8)
    await announce(rig, "data/0", kind="kind-0")
    first = (await receive(lazy)).message_id
    for number in range(1, 40):
        await announce(rig, f"data/{number}", kind=f"kind-{number}")
    assert [(await receive(busy)).kind for _ in range(40)] == [f"kind-{number}" for number in range(40)]
    waiting = asyncio.create_task(busy.receive())
    rig.clock.advance(10)
    await until(lambda: bool(lazy.end_reason))
    assert f"after={first}" in lazy.end_reason
    assert await lazy.receive() is None
    await announce(rig, "data/last", kind="last")
    message = await waiting
    assert message is not None
    assert message.kind == "last"


async def test_a_token_has_so_many_subscriptions_and_gets_room_by_closing_one(rig: Rig) -> None:
    streams = [await subscribe(rig) for _ in range(hub_module.MAX_OF_TOKEN)]
    refused = await rig.call("GET", "sys/events/subscribe/*")
    assert (refused.status, "close one" in refused.errors[0]) == (429, True)
    streams[0].close()
    await subscribe(rig)


async def test_a_worker_has_so_many_subscribers(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "MAX_SUBSCRIBERS", 1)
    await subscribe(rig)
    assert (await rig.call("GET", "sys/events/subscribe/*")).status == 429


async def test_one_that_nobody_ever_reads_makes_room(rig: Rig) -> None:
    await subscribe(rig)
    rig.clock.advance(31)
    await until(lambda: not rig.made.hub.count)


async def test_many_that_read_the_log_from_its_beginning_hold_nobody_up(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await announce(rig, *(f"data/{number}" for number in range(200)))
    streams = [
        await subscribe(rig, "kv-v2/destroy", headers={"Last-Event-ID": "0"}) for _ in range(hub_module.MAX_OF_TOKEN)
    ]
    rig.made.hub.window = Window(200)  # they come from before it
    pages = [0]
    load = rig.made.hub._storage.events_after

    async def counted(number: int, *, limit: int) -> list[StoredEvent]:
        pages[0] += 1
        return await load(number, limit=limit)

    monkeypatch.setattr(rig.made.hub._storage, "events_after", counted)
    readers = [asyncio.create_task(stream.receive()) for stream in streams]
    most = 0
    while pages[0] < 64:
        before = pages[0]
        await asyncio.sleep(0)  # as a request would have its turn
        most = max(most, pages[0] - before)
    assert most <= 2
    for stream, reader in zip(streams, readers, strict=True):
        stream.close()
        assert await reader is None


# --- ends -------------------------------------------------------------------------------------------------------------


async def test_sealing_ends_every_stream(rig: Rig) -> None:
    stream = await subscribe(rig)
    assert (await rig.call("PUT", "sys/seal")).status == 204
    assert "sealed" in await end(stream)


async def test_a_stream_keeps_no_request_in_flight(rig: Rig) -> None:
    stream = await subscribe(rig)
    await asyncio.wait_for(rig.made.pipeline.drain(), 5)
    rig.made.hub.end_all("the server is stopping")
    assert await end(stream) == "the server is stopping"


async def test_both_records_of_a_subscription_are_written_before_it_begins(rig: Rig) -> None:
    await rig.audited()
    await subscribe(rig, "kv-v2/*")
    kinds = [(line["type"], line["request"]["path"]) for line in rig.records()[-2:]]
    assert kinds == [("request", "sys/events/subscribe/kv-v2/*"), ("response", "sys/events/subscribe/kv-v2/*")]


# --- the log ----------------------------------------------------------------------------------------------------------


async def test_events_are_kept_for_a_day(rig: Rig) -> None:
    await announce(rig, "data/old")
    rig.clock.advance(24 * 3600 + 1)
    await announce(rig, "data/new", kind="new")
    await Retention(rig.barrier.storage, rig.clock).tidy()
    assert len(await rig.barrier.storage.events_after(0, limit=9)) == 1


async def test_what_a_webhook_still_needs_is_kept_for_a_week(rig: Rig) -> None:
    class Reader:
        async def lowest(self) -> int | None:
            return 1

    await announce(rig, "data/1", "data/2", "data/3")
    keeping = Retention(rig.barrier.storage, rig.clock, Reader())
    rig.clock.advance(24 * 3600 + 1)
    await keeping.tidy()
    assert [event.number for event in await rig.barrier.storage.events_after(0, limit=9)] == [2, 3]
    rig.clock.advance(7 * 24 * 3600)
    await keeping.tidy()
    assert await rig.barrier.storage.events_after(0, limit=9) == []


async def test_no_more_events_are_kept_than_the_bound(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.events.retention.MAX_EVENTS", 2)
    monkeypatch.setattr("appliance.events.retention._BATCH", 3)
    await announce(rig, *(f"data/{number}" for number in range(9)))
    await Retention(rig.barrier.storage, rig.clock).tidy()
    assert [event.number for event in await rig.barrier.storage.events_after(0, limit=9)] == [8, 9]
