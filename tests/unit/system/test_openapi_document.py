"""The OpenAPI document of the operators' routes: bodies, parameters, statuses, and words for each."""

from typing import Annotated

import msgspec
import pytest

from appliance.system.openapi import openapi_document
from core.bodies import Base64Bytes, Duration
from core.engine import Method, Route
from core.requests import NO_CONTENT, Operation, Request, Response
from tests.unit.system.conftest import Desk


class ThingBody(msgspec.Struct):
    """A thing."""

    rate: Annotated[float, msgspec.Meta(gt=0)]
    payload: Base64Bytes = Base64Bytes()
    ttl: Duration = Duration()


async def handler(_request: Request, _body: object) -> Response:
    return NO_CONTENT


def document(*routes: Route) -> dict:
    return openapi_document([("thing/", route) for route in routes], version="1.2.3")


def route(pattern: str, *operations: Operation, **more: object) -> Route:
    method = Method(handler=handler, body=ThingBody, summary="Do it.")
    return Route(pattern=pattern, methods=dict.fromkeys(operations, method), help="A thing.", **more)


def test_required_members_make_the_body_required() -> None:
    made = document(route("a", Operation.UPDATE))
    body = made["paths"]["/thing/a"]["post"]["requestBody"]
    assert body["required"] is True
    schema = made["components"]["schemas"]["ThingBody"]
    assert schema["required"] == ["rate"]
    assert schema["properties"]["rate"]["exclusiveMinimum"] == 0
    assert schema["properties"]["payload"]["contentEncoding"] == "base64"


def test_a_patch_has_its_own_media_type_and_its_refusal() -> None:
    patch = document(route("a", Operation.PATCH))["paths"]["/thing/a"]["patch"]
    assert list(patch["requestBody"]["content"]) == ["application/merge-patch+json"]
    assert "415" in patch["responses"]


def test_a_list_asks_for_its_switch() -> None:
    paths = document(route("l", Operation.LIST), route("b", Operation.READ, Operation.LIST))["paths"]
    assert paths["/thing/l"]["get"]["parameters"][0]["required"] is True
    assert paths["/thing/b"]["get"]["parameters"][0]["required"] is False


def test_captures_are_parameters() -> None:
    paths = document(route("x/{name}/{rest...}", Operation.READ))["paths"]
    name, rest = paths["/thing/x/{name}/{rest}"]["parameters"]
    assert name["schema"]["pattern"] == "^[^/]+$"
    assert "pattern" not in rest["schema"]


@pytest.mark.parametrize(
    ("setting", "shown"), [("sudo", "x-vault-sudo"), ("unauthenticated", "x-vault-unauthenticated")]
)
def test_what_a_path_demands_is_shown(setting: str, shown: str) -> None:
    assert document(route("a", Operation.READ, **{setting: True}))["paths"]["/thing/a"][shown] is True
    assert shown not in document(route("a", Operation.READ))["paths"]["/thing/a"]


def test_only_health_answers_any_code() -> None:
    served = [("", route("sys/health", Operation.READ)), ("", route("sys/leader", Operation.READ))]
    paths = openapi_document(served, version="1")["paths"]
    assert "default" in paths["/sys/health"]["get"]["responses"]
    assert "default" not in paths["/sys/leader"]["get"]["responses"]


def test_every_reference_leads_somewhere() -> None:
    made = document(route("a", Operation.UPDATE))
    for reference in msgspec.json.encode(made).decode().split('"$ref":"')[1:]:
        at: object = made
        for word in reference.split('"')[0].removeprefix("#/").split("/"):
            assert isinstance(at, dict)
            at = at[word]


def test_every_operators_route_says_what_it_is_for(desk: Desk) -> None:
    for found in desk.routes:
        assert found.help, found.pattern
        for operation, method in found.methods.items():
            assert method.summary.endswith("."), f"{operation.value} {found.pattern}"
