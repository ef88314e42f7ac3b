"""CORS, audited headers, UI headers, rotation: what is taken, what is refused, and that every worker follows."""

from typing import Any

import pytest

from appliance.wire import WireReply, WireRequest
from core.errors import InvalidRequestError, NotFoundError, UnsupportedPathError
from tests.unit.pipeline.rig import Headers
from tests.unit.system.conftest import TEAM, Desk

UI = "https://ui.example.com"


def asked(method: str = "GET", **headers: str) -> WireRequest:
    sent = Headers({name.replace("_", "-"): value for name, value in headers.items()})
    return WireRequest(method, "/v1/x", "/v1/x", "", sent, b"", "10.0.0.1", None, secure=True)


# --- CORS -------------------------------------------------------------------------------------------------------


async def test_without_origins_nothing_is_answered(desk: Desk) -> None:
    assert desk.cors.answer(asked("OPTIONS", Origin=UI, Access_Control_Request_Method="GET")) is None
    assert desk.cors.headers(asked(Origin=UI)) == ()
    assert await desk.read("config/cors") == {"enabled": False}


async def test_a_preflight_of_an_allowed_page(desks: tuple[Desk, Desk]) -> None:
    one, two = desks
    await one.call("update", "config/cors", {"allowed_origins": UI, "allowed_headers": "X-Custom"})
    await two.settings.refresh()
    reply = two.cors.answer(asked("OPTIONS", Origin=UI, Access_Control_Request_Method="PUT"))
    assert reply is not None
    assert reply.status == 204
    headers = dict(reply.headers)
    assert headers["Access-Control-Allow-Origin"] == UI
    assert "PUT" in headers["Access-Control-Allow-Methods"]
    assert {"X-Vault-Token", "X-Custom"} <= set(headers["Access-Control-Allow-Headers"].split(","))
    assert "Access-Control-Allow-Credentials" not in headers
    assert dict(two.cors.headers(asked(Origin=UI)))["Vary"] == "Origin"


async def test_a_page_of_another_origin_is_refused(desk: Desk) -> None:
    await desk.call("update", "config/cors", {"allowed_origins": [UI], "allow_credentials": True})
    for origin in ("https://evil.example", "null", UI + ".evil.example", "http://ui.example.com"):
        reply = desk.cors.answer(asked(Origin=origin))
        assert reply is not None
        assert reply.status == 403
    assert desk.cors.answer(asked()) is None  # no page at all
    assert dict(desk.cors.headers(asked(Origin=UI)))["Access-Control-Allow-Credentials"] == "true"


async def test_the_rules_stand_around_the_pipeline(desk: Desk) -> None:
    served: list[str] = []

    async def pipeline(request: WireRequest) -> WireReply:
        served.append(request.method)
        return WireReply(200, headers=(("Retry-After", "1"),))

    handle = desk.cors.around(pipeline)
    assert (await handle(asked(Origin=UI))).headers == (("Retry-After", "1"),)
    await desk.call("update", "config/cors", {"allowed_origins": UI})
    assert dict((await handle(asked(Origin=UI))).headers)["Access-Control-Allow-Origin"] == UI
    assert (await handle(asked())).headers == (("Retry-After", "1"),)
    assert (await handle(asked(Origin="https://evil.example"))).status == 403
    assert (await handle(asked("OPTIONS", Origin=UI, Access_Control_Request_Method="TRACE"))).status == 405
    assert served == ["GET", "GET", "GET"]


async def test_cors_can_be_switched_off(desk: Desk) -> None:
    await desk.call("update", "config/cors", {"allowed_origins": "*"})
    assert (await desk.read("config/cors"))["enabled"]
    await desk.call("delete", "config/cors")
    assert not desk.cors.active


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"allowed_origins": ""},
        {"allowed_origins": ["*", UI]},
        {"allowed_origins": "*", "allow_credentials": True},
        {"allowed_origins": "ui.example.com"},
        {"allowed_origins": UI + "/path"},
        {"allowed_origins": "https://user@ui.example.com"},
        {"allowed_origins": "https://ui.example.com:99999"},
        {"allowed_origins": "https://ui.example.com\r\nX-Evil: 1"},
        {"allowed_origins": UI, "allowed_headers": ["X Y"]},
        {"allowed_origins": UI, "allowed_headers": ["X\r\nY"]},
        {"allowed_origins": [f"https://{number}.example" for number in range(101)]},
    ],
)
async def test_origins_that_are_refused(desk: Desk, body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        await desk.call("update", "config/cors", body)
    assert not desk.cors.active


# --- audited headers --------------------------------------------------------------------------------------------


async def test_audited_headers_reach_the_record(desks: tuple[Desk, Desk]) -> None:
    one, two = desks
    base = "config/auditing/request-headers"
    await one.call("update", f"{base}/X-Forwarded-For", {"hmac": True})
    await one.call("update", f"{base}/X-Request-Source", {})
    await two.settings.refresh()
    sent = Headers({"x-forwarded-for": "10.1.1.1", "X-Request-Source": "ci", "Other": "no"})
    assert two.audited.select(sent) == ({"x-request-source": ["ci"]}, {"x-forwarded-for": ["10.1.1.1"]})
    assert two.audited.select(Headers({})) == (None, None)
    assert (await two.read(base))["headers"]["x-forwarded-for"] == {"hmac": True}
    assert await two.read(f"{base}/X-FORWARDED-FOR") == {"X-FORWARDED-FOR": {"hmac": True}}
    await one.call("delete", f"{base}/x-forwarded-for")
    with pytest.raises(InvalidRequestError):
        await one.call("read", f"{base}/x-forwarded-for")


@pytest.mark.parametrize("name", ["X-Vault-Token", "authorization", "Cookie"])
async def test_credentials_are_never_audited_in_clear(desk: Desk, name: str) -> None:
    path = f"config/auditing/request-headers/{name}"
    with pytest.raises(InvalidRequestError):
        await desk.call("update", path, {})
    await desk.call("update", path, {"hmac": True})
    assert desk.audited.select(Headers({name: "s3cret"})) == (None, {name.lower(): ["s3cret"]})


@pytest.mark.parametrize("name", ["a b", "a:b", "ä", "x" * 200, "a\r\nb"])
async def test_what_is_no_header_name_is_refused(desk: Desk, name: str) -> None:
    for base in ("config/auditing/request-headers", "config/ui/headers"):
        with pytest.raises(InvalidRequestError):
            await desk.call("update", f"{base}/{name}", {"hmac": True, "values": "x"})


# --- headers of user interfaces -----------------------------------------------------------------------------------


async def test_ui_headers(desk: Desk) -> None:
    await desk.call("update", "config/ui/headers/X-Custom", {"values": ["one", "two"]})
    assert await desk.read("config/ui/headers/x-custom") == {"value": "one"}
    assert await desk.read("config/ui/headers/X-Custom", query={"multivalue": "true"}) == {"values": ["one", "two"]}
    await desk.call("delete", "config/ui/headers/X-Custom")
    for operation, path in (("list", "config/ui/headers"), ("read", "config/ui/headers/X-Custom")):
        with pytest.raises(NotFoundError):
            await desk.call(operation, path)


@pytest.mark.parametrize("values", [[], ["a\r\nSet-Cookie: x"], ["x" * 5000]])
async def test_ui_header_values_that_are_refused(desk: Desk, values: list[str]) -> None:
    with pytest.raises(InvalidRequestError):
        await desk.call("update", "config/ui/headers/X-Custom", {"values": values})


async def test_the_number_of_headers_is_bounded(desk: Desk) -> None:
    for number in range(100):
        await desk.call("update", f"config/ui/headers/x-{number}", {"values": "v"})
    with pytest.raises(InvalidRequestError):
        await desk.call("update", "config/ui/headers/x-100", {"values": "v"})


# --- rotation, and the rest ---------------------------------------------------------------------------------------


async def test_rotation_limits(desk: Desk) -> None:
    assert await desk.read("rotate/config") == {"enabled": True, "max_operations": 3865470566, "interval": 0}
    await desk.call("update", "rotate/config", {"max_operations": 2_000_000_000, "interval": "4320h"})
    await desk.call("update", "rotate/config", {"enabled": False})
    expected = {"enabled": False, "max_operations": 2_000_000_000, "interval": "4320h0m0s"}
    assert await desk.read("rotate/keyring/config") == expected


@pytest.mark.parametrize("body", [{"max_operations": 5}, {"max_operations": 2**32}, {"interval": "1h"}])
async def test_rotation_limits_that_are_refused(desk: Desk, body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        await desk.call("update", "rotate/config", body)


async def test_nothing_is_reloaded_by_request(desk: Desk) -> None:
    with pytest.raises(InvalidRequestError, match="SIGHUP"):
        await desk.call("update", "config/reload/license")


@pytest.mark.parametrize(
    ("operation", "path", "body"),
    [
        ("read", "config/cors", None),
        ("update", "config/cors", {"allowed_origins": "*"}),
        ("update", "config/auditing/request-headers/x-y", {}),
        ("read", "config/state/sanitized", None),
        ("update", "rotate/config", {}),
        ("read", "host-info", None),
        ("read", "in-flight-req", None),
        ("list", "version-history", None),
        ("read", "internal/counters/tokens", None),
    ],
)
async def test_what_is_the_appliances_is_not_for_namespaces(
    desk: Desk, operation: str, path: str, body: dict[str, Any] | None
) -> None:
    with pytest.raises(UnsupportedPathError):
        await desk.call(operation, path, body, within=TEAM)


async def test_settings_are_forgotten_at_seal(desk: Desk) -> None:
    await desk.call("update", "config/cors", {"allowed_origins": "*"})
    desk.settings.close()
    assert not desk.cors.active
    await desk.settings.open()
    assert desk.cors.active
