"""What a webhook may be given, which events it takes, and when it is tried again."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.events.record import EventRecord
from appliance.http.dev_certificates import make_dev_certificates
from appliance.webhooks.backoff import LIMIT, pause_after
from appliance.webhooks.checks import check_ca_cert, check_name, check_url
from appliance.webhooks.webhook import Webhook
from core.errors import InvalidRequestError


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/mimir?x=1&y=%20",
        "https://hooks.example.com:8443",
        "https://192.0.2.7/",
        "https://[2001:db8::1]:8443/x",
        "http://127.0.0.1:8080/x",
        "http://127.9.9.9/",
        "http://[::1]:8080/",
        "http://localhost:8080/",
        "HTTPS://HOOKS.EXAMPLE.COM/",
    ],
)
def test_a_url_is_taken(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("", id="empty"),
        pytest.param("hooks.example.com/x", id="no-scheme"),
        pytest.param("//hooks.example.com/x", id="no-scheme-but-host"),
        pytest.param("https:///x", id="no-host"),
        pytest.param("https://", id="nothing"),
        pytest.param("http://hooks.example.com/", id="http"),
        pytest.param("http://192.0.2.7/", id="http-to-an-address"),
        pytest.param("http://169.254.169.254/latest/meta-data", id="http-link-local"),
        pytest.param("http://0.0.0.0/", id="http-unspecified"),
        pytest.param("http://2130706433/", id="loopback-as-a-number"),
        pytest.param("http://0x7f.1/", id="loopback-in-hexadecimal"),
        pytest.param("http://127.0.0.1.example.com/", id="loopback-as-a-label"),
        pytest.param("http://localhost.example.com/", id="localhost-as-a-label"),
        pytest.param("http://[fe80::1%25lo]/", id="zone"),
        pytest.param("https://user@hooks.example.com/", id="user"),
        pytest.param("https://user:password@hooks.example.com/", id="password"),
        pytest.param("https://@hooks.example.com/", id="empty-user"),
        pytest.param("http://127.0.0.1\\@hooks.example.com/", id="backslash"),
        pytest.param("https://hooks.example.com/#part", id="fragment"),
        pytest.param("https://hooks.example.com/#", id="empty-fragment"),
        pytest.param("ftp://hooks.example.com/", id="ftp"),
        pytest.param("file:///etc/passwd", id="file"),
        pytest.param("https://hooks.example.com:0/", id="port-0"),
        pytest.param("https://hooks.example.com:65536/", id="port-too-high"),
        pytest.param("https://hooks.example.com:https/", id="port-name"),
        pytest.param("https://[::1/", id="open-bracket"),
        pytest.param("https://hooks.example.com/a b", id="blank"),
        pytest.param("https://hooks.example.com/\r\nX: y", id="line-break"),
        pytest.param("https://hööks.example.com/", id="not-ascii"),
        pytest.param("https://hooks.example.com/" + "x" * 2048, id="long"),
    ],
)
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequestError):
        check_url(url)


@pytest.mark.parametrize("name", ["", ".", "..", "-x", ".x", "a/b", "a b", "ä", "x" * 65, "a\n"])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError):
        check_name(name)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tls")
    make_dev_certificates(directory, host="127.0.0.1")
    return directory


def test_authorities_in_pem_are_taken(certificates: Path) -> None:
    check_ca_cert((certificates / "ca.pem").read_text())


def test_a_private_key_beside_the_certificate_is_refused(certificates: Path) -> None:
    both = (certificates / "ca.pem").read_text() + (certificates / "server-key.pem").read_text()
    with pytest.raises(InvalidRequestError):
        check_ca_cert(both)


@pytest.mark.parametrize(
    "pem", ["x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "é", "x" * 16_385]
)
def test_other_authorities_are_refused(pem: str) -> None:
    with pytest.raises(InvalidRequestError):
        check_ca_cert(pem)


def record(path: str, *, kind: str = "kv-v2/data-write", namespace: str = "") -> EventRecord:
    return EventRecord(
        id="i",
        time=0,
        type=kind,
        path=path,
        mount_path="secret/",
        mount_type="kv",
        mount_accessor="kv_1",
        mount_uuid="u",
        namespace=namespace,
        metadata={"data_path": f"secret/data/{path.partition('/')[2]}"},
    )


def hook(**members: object) -> Webhook:
    return Webhook(id="1", name="x", url="https://h/", key=b"k" * 32, created_at=0.0, **members)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("members", "event", "takes"),
    [
        pytest.param({}, record("data/apps/web"), True, id="all"),
        pytest.param({}, record("data/apps/web", namespace="team-a/"), True, id="all-namespaces"),
        pytest.param({"event_types": ("kv-v2/data-*",)}, record("data/a"), True, id="type"),
        pytest.param({"event_types": ("kv-v1/*", "kv-v2/*")}, record("data/a"), True, id="one-of-two-types"),
        pytest.param({"event_types": ("kv-v1/*",)}, record("data/a"), False, id="another-type"),
        pytest.param({"event_types": ("kv-v2",)}, record("data/a"), False, id="part-of-a-type"),
        pytest.param({"path_prefixes": ("secret/data/apps/",)}, record("data/apps/web"), True, id="prefix"),
        pytest.param({"path_prefixes": ("secret/data/apps/",)}, record("delete/apps/web"), True, id="same-secret"),
        pytest.param({"path_prefixes": ("secret/data/apps/",)}, record("data/appsx"), False, id="beside-the-prefix"),
        pytest.param({"path_prefixes": ("other/", "secret/data/a")}, record("data/apps"), True, id="second-prefix"),
        pytest.param(
            {"path_prefixes": ("secret/data/apps/",)}, record("data/apps/web", namespace="t/"), False, id="not-the-root"
        ),
        pytest.param(
            {"path_prefixes": ("t/secret/data/apps/",)}, record("data/apps/x", namespace="t/"), True, id="full-path"
        ),
        pytest.param({"namespaces": ("",)}, record("data/a"), True, id="root"),
        pytest.param({"namespaces": ("",)}, record("data/a", namespace="t/"), False, id="root-only"),
        pytest.param({"namespaces": ("t",)}, record("data/a", namespace="t/"), True, id="namespace"),
        pytest.param({"namespaces": ("t",)}, record("data/a", namespace="t/u/"), False, id="child-namespace"),
        pytest.param({"namespaces": ("t/*",)}, record("data/a", namespace="t/u/"), True, id="namespace-pattern"),
    ],
)
def test_which_events_a_webhook_takes(members: dict[str, object], event: EventRecord, takes: bool) -> None:
    assert hook(**members).takes(event) is takes


def test_the_key_before_the_present_one_signs_until_its_time() -> None:
    webhook = hook(previous_key=b"p" * 32, previous_until=100.0)
    assert [len(webhook.keys(now)) for now in (99.0, 100.0)] == [2, 1]
    assert webhook.keys(99.0)[0].expose() == b"k" * 32


def test_a_webhook_does_not_show_its_keys() -> None:
    assert repr(hook(previous_key=b"p" * 32)) == "Webhook(x)"


@pytest.mark.parametrize(("failures", "low", "high"), [(1, 1, 1.25), (2, 2, 2.5), (8, 128, 160), (9, 240, 300)])
def test_pauses_double_up_to_five_minutes(failures: int, low: float, high: float) -> None:
    assert (pause_after(failures, jitter=0), pause_after(failures, jitter=1)) == (low, high)


def test_many_failures_make_no_longer_pause() -> None:
    assert pause_after(10**9, jitter=1) == LIMIT


def test_a_receiver_may_ask_for_a_pause_but_not_for_an_endless_one() -> None:
    assert pause_after(1, jitter=0, asked=30) == 30
    assert pause_after(1, jitter=0, asked=1e9) == LIMIT
    assert pause_after(8, jitter=0, asked=1) == 128
