"""`sys/internal/specs/openapi`: the whole API as an OpenAPI 3.1 document, from the routes' own declarations."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from appliance.pipeline.mounted import MountedEngines
from appliance.system.raw import raw_json
from core.bodies import Base64Bytes, Duration, StringList, StringMap
from core.engine import Method, NoBody, Route
from core.requests import Operation, Request, Response

_VERBS = {
    Operation.READ: "get",
    Operation.LIST: "get",
    Operation.SCAN: "get",
    Operation.UPDATE: "post",
    Operation.PATCH: "patch",
    Operation.DELETE: "delete",
}
_LOOSE: dict[type, dict[str, Any]] = {
    Base64Bytes: {"type": "string", "contentEncoding": "base64"},
    Duration: {"type": ["integer", "string"], "description": 'seconds, or a duration like "1h30m"'},
    StringList: {"type": ["array", "string"], "items": {"type": "string"}},
    StringMap: {"type": "object", "additionalProperties": {"type": "string"}},
}
_CAPTURE = re.compile(r"\{(\w+)(?:\.\.\.)?\}")
_REFERENCES = "#/components/schemas/{name}"


class OpenApiRoutes:
    """Describes what is mounted now."""

    def __init__(self, mounts: MountedEngines, open_routes: Iterable[Route], version: str) -> None:
        self._mounts = mounts
        self._open_routes = tuple(open_routes)
        self._version = version

    def routes(self) -> list[Route]:
        """Below sys/."""
        read = Method(handler=self.read, mutates=False, summary="This document.")
        return [
            Route(
                pattern="internal/specs/openapi",
                methods={Operation.READ: read, Operation.UPDATE: read},
                help="The API as an OpenAPI document.",
            )
        ]

    async def read(self, _request: Request, _body: object) -> Response:
        """Raw, as generators want it."""
        served = [("", route) for route in self._open_routes]
        served += [(mounted.entry.path, route) for mounted in self._mounts.all() for route in mounted.routes]
        return raw_json(openapi_document(served, version=self._version))


def openapi_document(served: Iterable[tuple[str, Route]], *, version: str) -> dict[str, Any]:
    """OpenAPI 3.1.0: one path item for each pattern, one schema for each body."""
    served = list(served)
    bodies = {method.body for _, route in served for method in route.methods.values() if method.body is not NoBody}
    ordered = sorted(bodies, key=lambda body: (body.__module__, body.__qualname__))
    schemas, components = msgspec.json.schema_components(ordered, schema_hook=_loose, ref_template=_REFERENCES)
    references = dict(zip(ordered, schemas, strict=True))
    paths = {
        "/" + _bare(mount_path + route.pattern): _path_item(mount_path, route, references)
        for mount_path, route in served
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Mimir HTTP API",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/v1"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Vault-Token"}},
        },
    }


def _loose(kind: type) -> dict[str, Any]:
    return dict(_LOOSE[kind])


def _bare(pattern: str) -> str:
    return _CAPTURE.sub(r"{\1}", pattern)


def _path_item(mount_path: str, route: Route, references: dict[type[msgspec.Struct], dict[str, Any]]) -> dict[str, Any]:
    item: dict[str, Any] = {"description": route.help or route.pattern}
    names = _CAPTURE.findall(route.pattern)
    if names:
        item["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    for operation, method in route.methods.items():
        verb = _VERBS.get(operation)
        if verb is not None and verb not in item:
            item[verb] = _operation(mount_path, route, operation, method, references)
    return item


def _operation(
    mount_path: str,
    route: Route,
    operation: Operation,
    method: Method,
    references: dict[type[msgspec.Struct], dict[str, Any]],
) -> dict[str, Any]:
    words = re.findall(r"\w+", mount_path + route.pattern)
    described: dict[str, Any] = {
        "operationId": "-".join([*words, operation.value]),
        "summary": method.summary,
        "tags": [mount_path.strip("/") or "system"],
        "security": [] if route.unauthenticated else [{"token": []}],
        "responses": {"200": {"description": "OK"}, "204": {"description": "nothing to say"}},
    }
    if method.body is not NoBody and operation in {Operation.UPDATE, Operation.PATCH}:
        described["requestBody"] = {"content": {_media_type(operation): {"schema": references[method.body]}}}
    if operation is Operation.LIST:
        described["parameters"] = [{"name": "list", "in": "query", "required": True, "schema": {"const": "true"}}]
    return described


def _media_type(operation: Operation) -> str:
    return "application/merge-patch+json" if operation is Operation.PATCH else "application/json"
