"""sys/events/webhooks end to end: signed, in order, at least once; one receiver's trouble is nobody else's."""

from __future__ import annotations

import base64
import contextlib
import itertools
import os
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.http.dev_certificates import make_dev_certificates
from tests.support.appliance import Appliance, Reply
from tests.support.webhook_receiver import OK, Answer, Delivery, Receiver

MOUNT = "team-secrets"
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """Two workers over SQLite, with audit to a file and a mount of kv version 2."""
    server = Appliance(tmp_path_factory.mktemp("webhooks") / "data").start()
    try:
        sys = server.client().sys
        sys.enable_audit_device("file", path="file", options={"file_path": str(server.data_dir / "audit.log")})
        sys.enable_secrets_engine("kv", path=MOUNT, options={"version": "2"})
        yield server
        assert server.stop() == 0
    finally:
        server.kill()


@pytest.fixture
def receivers() -> Iterator[Callable[..., Receiver]]:
    made: list[Receiver] = []

    def make(
        answer: Callable[[Delivery], Answer] = lambda _delivery: OK, tls: ssl.SSLContext | None = None
    ) -> Receiver:
        made.append(Receiver(answer, tls).start())
        return made[-1]

    yield make
    for receiver in made:
        receiver.stop()


@pytest.fixture
def webhooks(node: Appliance) -> Iterator[Callable[..., str]]:
    """A maker of webhooks, each for paths of its own; answers its name. They are deleted behind the test."""
    names: list[str] = []

    def make(receiver: Receiver, **settings: object) -> str:
        name = f"hook{next(NUMBERS)}"
        names.append(name)
        body = {"url": receiver.url, "path_prefixes": [f"{MOUNT}/data/{name}/"], **settings}
        reply = hook(node, name, body)
        assert reply.status in {200, 204}, reply.body
        KEYS[name] = (reply.json["data"] if reply.status == 200 else settings)["key"]
        return name

    yield make
    for name in names:
        node.request("DELETE", f"sys/events/webhooks/{name}")


KEYS: dict[str, str] = {}  # as the answer of creation showed them


def hook(node: Appliance, path: str, body: object = None, **more: Any) -> Reply:
    return node.request("POST", f"sys/events/webhooks/{path}", body or {}, **more)


def put(node: Appliance, name: str, *keys: str) -> None:
    for key in keys:
        assert node.request("POST", f"{MOUNT}/data/{name}/{key}", {"data": {"value": "hidden"}}).status == 200


def status(node: Appliance, name: str) -> dict[str, Any]:
    return dict(node.request("GET", f"sys/events/webhooks/{name}").json["data"]["status"])


def wait_status(node: Appliance, name: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + 15
    while not reached(found := status(node, name)):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def changed(deliveries: list[Delivery]) -> list[str]:
    """Last parts of the paths."""
    return [delivery.changed.rpartition("/")[2] for delivery in deliveries]


# --- delivery ---------------------------------------------------------------------------------------------------


def test_changes_are_delivered_signed_and_in_order(node: Appliance, receivers: Any, webhooks: Any) -> None:
    receiver = receivers()
    name = webhooks(receiver)
    put(node, name, "a", "b", "c", "a")
    found = receiver.wait(4)
    assert changed(found) == ["a", "b", "c", "a"]
    assert len({delivery.id for delivery in found}) == 4
    assert len({delivery.port for delivery in found}) == 1  # one connection
    for delivery in found:
        assert delivery.matching(KEYS[name]) == 1
        assert delivery.headers["content-type"] == "application/json"
        assert delivery.headers["user-agent"].startswith("Mimir/")
        assert delivery.path == "/hook?for=mimir"
        assert delivery.event["event_type"] == "kv-v2/data-write"
        assert delivery.event["event"]["id"] == delivery.id
        assert b"hidden" not in delivery.body
    assert status(node, name)["consecutive_failures"] == 0


def test_what_was_not_asked_for_is_not_delivered(node: Appliance, receivers: Any, webhooks: Any) -> None:
    receiver = receivers()
    name = webhooks(receiver, event_types="kv-v2/data-delete")
    put(node, name, "a")
    put(node, "elsewhere", "a")
    node.request("DELETE", f"{MOUNT}/data/elsewhere/a")
    node.request("DELETE", f"{MOUNT}/data/{name}/a")
    assert receiver.wait(1)[0].event["event_type"] == "kv-v2/data-delete"
    put(node, name, "b")
    wait_status(node, name, lambda found: found["last_success"] and found["pending"] == 0)
    assert len(receiver.deliveries) == 1


def test_a_receiver_that_is_down_gets_all_when_it_is_back(node: Appliance, receivers: Any, webhooks: Any) -> None:
    receiver = receivers()
    receiver.stop()
    name = webhooks(receiver)
    put(node, name, "a", "b")
    found = wait_status(node, name, lambda found: found["consecutive_failures"] > 0)
    assert found["last_error"] == "the receiver could not be reached (Connection refused)"
    assert found["pending"] == 2
    assert found["next_attempt"] > found["last_error_time"]
    receiver.start()
    assert changed(receiver.wait(2)) == ["a", "b"]


def test_errors_and_redirects_are_tried_again_and_not_followed(node: Appliance, receivers: Any, webhooks: Any) -> None:
    elsewhere = receivers()
    answers = iter([(500, {}, b"the-secret-of-the-receiver"), (307, {"Location": elsewhere.url}, b"")])
    receiver = receivers(lambda _delivery: next(answers, OK))
    name = webhooks(receiver)
    put(node, name, "a", "b")
    found = receiver.wait(4)
    assert changed(found) == ["a", "a", "a", "b"]
    assert len({delivery.id for delivery in found}) == 2
    assert all(delivery.matching(KEYS[name]) == 1 for delivery in found)
    assert not elsewhere.deliveries
    shown = node.request("GET", f"sys/events/webhooks/{name}").body
    assert b"redirect" in shown
    assert b"the-secret-of-the-receiver" not in shown


def test_a_stalled_receiver_delays_only_its_own(node: Appliance, receivers: Any, webhooks: Any) -> None:
    over = threading.Event()

    def stall(_delivery: Delivery) -> Answer:
        over.wait(20)
        return OK

    stalled = receivers(stall)
    name = webhooks(stalled)
    quick = receivers()
    webhooks(quick, path_prefixes=f"{MOUNT}/data/{name}/")
    put(node, name, "a", "b", "c")
    assert changed(quick.wait(3)) == ["a", "b", "c"]
    assert changed(stalled.deliveries) == ["a"]
    over.set()


def housekeeper(node: Appliance) -> int:
    assert node.process is not None
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            words = path.read_bytes().split(b"\0")
            parent = int((path.parent / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == node.process.pid and words[words.index(b"--name") + 1] == b"housekeeper":
                return int(path.parent.name)
    raise AssertionError("there is no housekeeper")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_a_housekeeper_that_ends_behind_a_delivery_loses_nothing(
    node: Appliance, receivers: Any, webhooks: Any, number: signal.Signals
) -> None:
    """Killed: what was delivered since the progress was saved comes again, under the same id. Stopped: it saves."""
    receiver = receivers()
    name = webhooks(receiver)
    put(node, name, "a")
    receiver.wait(1)
    put(node, name, "b")
    receiver.wait(2)
    time.sleep(0.1)  # for the answer to be read; the progress is saved a second behind a delivery
    os.kill(housekeeper(node), number)
    put(node, name, "c", "d")
    deadline = time.monotonic() + 20
    while "d" not in changed(receiver.deliveries):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    found = list(receiver.deliveries)
    assert changed(found)[:2] == ["a", "b"]
    assert changed(found)[-2:] == ["c", "d"]
    assert len({delivery.id for delivery in found}) == 4
    assert (len(found) > 4) is (number is signal.SIGKILL)


# --- what operators do ------------------------------------------------------------------------------------------


def test_a_replay_delivers_again_under_the_same_ids(node: Appliance, receivers: Any, webhooks: Any) -> None:
    receiver = receivers()
    name = webhooks(receiver)
    before = status(node, name)["newest_event"]
    put(node, name, "a", "b")
    receiver.wait(2)
    assert hook(node, f"{name}/replay", {"after": before}).json["data"] == {"after": before}
    found = receiver.wait(4)
    assert [delivery.id for delivery in found[2:4]] == [delivery.id for delivery in found[:2]]


def test_a_rotated_key_signs_beside_the_one_before(node: Appliance, receivers: Any, webhooks: Any) -> None:
    receiver = receivers()
    name = webhooks(receiver)
    rotated = hook(node, f"{name}/rotate-key").json["data"]["key"]
    put(node, name, "a")
    delivery = receiver.wait(1)[0]
    assert (delivery.matching(KEYS[name]), delivery.matching(rotated)) == (1, 1)
    assert node.request("GET", f"sys/events/webhooks/{name}").json["data"]["previous_key_until"]


def test_a_given_key_signs_and_is_not_shown(node: Appliance, receivers: Any, webhooks: Any) -> None:
    receiver = receivers()
    key = "whsec_" + base64.b64encode(bytes(range(32))).decode()
    name = webhooks(receiver, key=key)
    put(node, name, "a")
    assert receiver.wait(1)[0].matching(key) == 1
    shown = node.request("GET", f"sys/events/webhooks/{name}").body + (node.data_dir / "audit.log").read_bytes()
    assert key.encode() not in shown
    assert KEYS[name].encode() not in shown
    assert key not in node.log


def test_the_key_of_a_new_webhook_is_shown_once(node: Appliance, receivers: Any, webhooks: Any) -> None:
    name = webhooks(receivers())
    assert len(base64.b64decode(KEYS[name].removeprefix("whsec_"))) == 32
    shown = node.request("GET", f"sys/events/webhooks/{name}")
    assert "key" not in shown.json["data"]
    assert KEYS[name].encode() not in shown.body + (node.data_dir / "audit.log").read_bytes()
    assert hook(node, name, {"description": "changed"}).status == 204


def test_a_test_event_tells_what_the_receiver_answers(node: Appliance, receivers: Any, webhooks: Any) -> None:
    receiver = receivers(lambda _delivery: (418, {}, b"the-secret-of-the-receiver"))
    name = webhooks(receiver)
    reply = hook(node, f"{name}/test")
    assert reply.json["data"]["delivered"] is False
    assert reply.json["data"]["status"] == 418
    assert b"the-secret-of-the-receiver" not in reply.body
    delivery = receiver.deliveries[0]
    assert delivery.event["event_type"] == "mimir/test"
    assert delivery.matching(KEYS[name]) == 1
    assert status(node, name)["consecutive_failures"] == 0  # it is no delivery


def test_a_disabled_webhook_goes_on_where_it_was(node: Appliance, receivers: Any, webhooks: Any) -> None:
    receiver = receivers()
    name = webhooks(receiver, enabled=False)
    put(node, name, "a", "b")
    assert status(node, name)["pending"] == 2
    assert not receiver.deliveries
    hook(node, name, {"enabled": True})
    assert changed(receiver.wait(2)) == ["a", "b"]


def test_a_deleted_webhook_is_delivered_no_more(node: Appliance, receivers: Any, webhooks: Any) -> None:
    receiver = receivers(lambda _delivery: (500, {}, b""))
    name = webhooks(receiver)
    put(node, name, "a")
    receiver.wait(1)
    assert node.request("DELETE", f"sys/events/webhooks/{name}").status == 204
    assert node.request("GET", f"sys/events/webhooks/{name}").status == 404
    time.sleep(0.1)  # what is under way ends
    count = len(receiver.deliveries)
    time.sleep(1.3)  # the pause before the second attempt
    assert len(receiver.deliveries) == count


def test_over_tls_only_the_named_authority_is_trusted(
    node: Appliance, receivers: Any, webhooks: Any, tmp_path: Path
) -> None:
    make_dev_certificates(tmp_path, host="127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server-key.pem")
    receiver = receivers(tls=context)
    name = webhooks(receiver)
    assert "certificate" in hook(node, f"{name}/test").json["data"]["error"]
    hook(node, name, {"ca_cert": (tmp_path / "ca.pem").read_text()})
    put(node, name, "a")
    assert receiver.wait(1)[0].matching(KEYS[name]) == 1


def test_the_list_names_them(node: Appliance, receivers: Any, webhooks: Any) -> None:
    receiver = receivers()
    name = webhooks(receiver)
    data = node.request("LIST", "sys/events/webhooks").json["data"]
    assert name in data["keys"]
    assert data["key_info"][name] == {"url": receiver.url, "enabled": True}


# --- refused ----------------------------------------------------------------------------------------------------

URL = "https://hooks.example.com/"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param("new", {}, id="no-url"),
        pytest.param("new", {"url": "http://hooks.example.com/"}, id="plain-http"),
        pytest.param("new", {"url": 7}, id="url-a-number"),
        pytest.param("new", {"url": [URL]}, id="url-a-list"),
        pytest.param("new", {"url": URL, "enabled": "perhaps"}, id="enabled-a-word"),
        pytest.param("new", {"url": URL, "event_types": {"a": 1}}, id="types-an-object"),
        pytest.param("new", {"url": URL, "event_types": ["x"] * 65}, id="many-types"),
        pytest.param("new", {"url": URL, "event_types": ["x" * 1025]}, id="long-type"),
        pytest.param("new", {"url": URL, "path_prefixes": ["a\u0000b"]}, id="nul-in-a-prefix"),
        pytest.param("new", {"url": URL, "description": "two\nlines"}, id="description-of-two-lines"),
        pytest.param("new", {"url": URL, "description": "x" * 513}, id="long-description"),
        pytest.param("new", {"url": URL, "ca_cert": "none"}, id="no-certificate"),
        pytest.param("new", {"url": URL, "key": "whsec_AAAA"}, id="short-key"),
        pytest.param("new", {"url": URL, "key": ""}, id="empty-key"),
        pytest.param("-new", {"url": URL}, id="name"),
        pytest.param("present", {"key": "whsec_" + "A" * 43 + "="}, id="key-of-one-that-is-there"),
        pytest.param("present/rotate-key", {"key": "whsec_AAAA"}, id="rotate-to-a-short-key"),
        pytest.param("present/replay", {}, id="replay-without-a-number"),
        pytest.param("present/replay", {"after": -1}, id="replay-from-below-zero"),
        pytest.param("present/replay", {"after": 2**62}, id="replay-from-the-future"),
        pytest.param("present/replay", {"after": 2**80}, id="replay-from-beyond-64-bits"),
        pytest.param("present/replay", {"after": "all"}, id="replay-from-a-word"),
    ],
)
def test_a_bad_body_is_refused_and_changes_nothing(node: Appliance, path: str, body: dict[str, Any]) -> None:
    hook(node, "present", {"url": URL, "enabled": False})
    before = node.request("GET", "sys/events/webhooks/present").json["data"]
    reply = hook(node, path, body)
    assert reply.status == 400, reply.body
    assert reply.errors[0]
    assert node.request("GET", "sys/events/webhooks/present").json["data"] == before
    assert node.request("GET", "sys/events/webhooks/new").status == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "none"),
        ("POST", "none/rotate-key"),
        ("POST", "none/test"),
        ("POST", "none/replay"),
    ],
)
def test_a_webhook_that_is_not_there_is_404(node: Appliance, method: str, path: str) -> None:
    body = {"after": 0} if method == "POST" else None
    assert node.request(method, f"sys/events/webhooks/{path}", body).status == 404


ROUTES = [
    ("LIST", ""),
    ("GET", "/x"),
    ("POST", "/x"),
    ("DELETE", "/x"),
    ("POST", "/x/rotate-key"),
    ("POST", "/x/test"),
    ("POST", "/x/replay"),
]


@pytest.fixture(scope="module")
def plain_token(node: Appliance) -> str:
    """May do everything below sys/events, but has no sudo."""
    rules = 'path "sys/events/*" { capabilities = ["create", "read", "update", "delete", "list"] }'
    node.client().sys.create_or_update_policy("no-sudo", rules)
    return str(node.client().auth.token.create(policies=["no-sudo"])["auth"]["client_token"])


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_sudo_nothing_is_allowed(node: Appliance, plain_token: str, method: str, path: str) -> None:
    body = {"url": URL, "after": 0} if method == "POST" else None
    assert node.request(method, f"sys/events/webhooks{path}", body, token=plain_token).status == 403


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_in_a_namespace_there_are_none(node: Appliance, method: str, path: str) -> None:
    node.request("POST", "sys/namespaces/team", {})
    body = {"url": URL, "after": 0} if method == "POST" else None
    reply = node.request(method, f"sys/events/webhooks{path}", body, headers={"X-Vault-Namespace": "team"})
    assert reply.status == 404


# --- sealed -----------------------------------------------------------------------------------------------------


def test_a_sealed_appliance_delivers_nothing_and_goes_on_when_unsealed(
    node: Appliance, receivers: Any, webhooks: Any
) -> None:
    """The last of this module, since it seals."""
    receiver = receivers(lambda _delivery: (500, {}, b""))
    name = webhooks(receiver)
    put(node, name, "a")
    receiver.wait(1)
    assert node.request("PUT", "sys/seal").status == 204
    receiver.answer = lambda _delivery: OK
    time.sleep(0.6)  # the housekeeper looks four times a second
    count = len(receiver.deliveries)
    time.sleep(1.3)  # the pause before the second attempt
    assert len(receiver.deliveries) == count
    for share in node.init["recovery_keys"][: node.init.get("recovery_keys_threshold", 3)]:
        node.request("PUT", "sys/unseal", {"key": share}, token=None)
    node.wait_until((200,))
    assert set(changed(receiver.wait(count + 1))) == {"a"}
