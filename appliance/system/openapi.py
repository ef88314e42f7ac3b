"""`sys/internal/specs/openapi`: the whole API as an OpenAPI 3.1 document, from the routes' own declarations."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec

from appliance.pipeline.mounted import MountedEngines
from appliance.system.raw import raw_json
from appliance.system.within import namespace_of
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
_DURATION = r"^([0-9]{1,10}|([0-9]{1,6}(ns|us|ms|s|m|h|d))+)$"
_LOOSE: dict[type, dict[str, Any]] = {
    Base64Bytes: {"type": "string", "format": "byte", "contentEncoding": "base64"},
    Duration: {
        "type": ["integer", "string"],
        "minimum": 0,
        "pattern": _DURATION,
        "description": 'seconds, or a duration like "1h30m"',
    },
    StringList: {
        "type": ["array", "string"],
        "items": {"type": "string"},
        "description": "a list, or one string with commas between the items",
    },
    StringMap: {"type": "object", "additionalProperties": {"type": "string"}},
}
_CAPTURE = re.compile(r"\{(\w+)(\.\.\.)?\}")
_REFERENCES = "#/components/schemas/{name}"
_ERRORS = {
    "400": "The request is malformed, or contradicts what is stored.",
    "403": "No token, an unknown one, or a policy that does not allow it.",
    "404": "Nothing is stored there, or no engine serves the path.",
    "405": "The path exists, this operation on it does not.",
    "413": "The body is too large.",
    "415": "The Content-Type does not fit the method.",
    "429": "A rate-limit quota refuses; Retry-After says when to come back.",
    "500": "A fault of the appliance; the sentence holds the request id.",
    "503": "Sealed, or the store, the HSM or every audit device is out of reach.",
}
# What says more in its status than other paths do.
_OWN_CODES = {"sys/health": {"default": {"description": "The state, as the code that the query asked for."}}}


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

    async def read(self, request: Request, _body: object) -> Response:
        """Raw, as generators want it; of the namespace's own mounts."""
        served = [("", route) for route in self._open_routes]
        mounts = self._mounts.all(namespace_of(request))
        served += [(mounted.entry.path, route) for mounted in mounts for route in mounted.routes]
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
            "description": "HashiCorp Vault's HTTP API, served with keys that live in an HSM. PUT is taken like POST.",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/v1"}],
        "paths": paths,
        "components": {"schemas": components, "responses": _error_responses(), "securitySchemes": _schemes()},
    }


def _schemes() -> dict[str, Any]:
    return {
        "token": {"type": "apiKey", "in": "header", "name": "X-Vault-Token"},
        "bearer": {"type": "http", "scheme": "bearer"},
    }


def _error_responses() -> dict[str, Any]:
    """One for each code; Vault's errors: sentences, or none."""
    body = {
        "type": "object",
        "required": ["errors"],
        "properties": {"errors": {"type": ["array", "null"], "items": {"type": "string"}}},
    }
    content = {"application/json": {"schema": body}}
    return {f"Error{code}": {"description": text, "content": content} for code, text in _ERRORS.items()}


def _loose(kind: type) -> dict[str, Any]:
    return dict(_LOOSE[kind])


def _bare(pattern: str) -> str:
    return _CAPTURE.sub(r"{\1}", pattern)


def _path_item(mount_path: str, route: Route, references: dict[type[msgspec.Struct], dict[str, Any]]) -> dict[str, Any]:
    item: dict[str, Any] = {"description": route.help or route.pattern}
    if route.sudo:
        item["x-vault-sudo"] = True
    if route.unauthenticated:
        item["x-vault-unauthenticated"] = True
    if route.exists is not None:
        item["x-vault-createSupported"] = True
    if captured := _CAPTURE.findall(route.pattern):
        item["parameters"] = [_path_parameter(name, is_rest=bool(rest)) for name, rest in captured]
    for operation, method in route.methods.items():
        verb = _VERBS.get(operation)
        if verb is not None and verb not in item:
            item[verb] = _operation(mount_path, route, operation, method, references)
    return item


def _path_parameter(name: str, *, is_rest: bool) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1, "maxLength": 512}
    if is_rest:
        return {"name": name, "in": "path", "required": True, "schema": schema, "description": "May hold slashes."}
    return {"name": name, "in": "path", "required": True, "schema": {**schema, "pattern": "^[^/]+$"}}


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
        "summary": method.summary or route.help,
        "description": route.help or method.summary,
        "tags": [mount_path.strip("/") or "system"],
        "security": [] if route.unauthenticated else [{"token": []}, {"bearer": []}],
        "responses": _responses(mount_path + route.pattern, operation, method),
    }
    if method.takes_bytes and operation is Operation.UPDATE:
        octets = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        described["requestBody"] = {"required": True, "content": octets}
    elif method.body is not NoBody and operation in {Operation.UPDATE, Operation.PATCH}:
        required = any(member.required for member in msgspec.structs.fields(method.body))
        content = {_media_type(operation): {"schema": references[method.body]}}
        described["requestBody"] = {"required": required, "content": content}
    elif method.body is not NoBody:
        described["parameters"] = [_query_parameter(member) for member in msgspec.structs.fields(method.body)]
    if operation is Operation.LIST or (operation is Operation.READ and Operation.LIST in route.methods):
        is_needed = Operation.READ not in route.methods
        switch = {"name": "list", "in": "query", "required": is_needed, "schema": {"type": "string", "enum": ["true"]}}
        described["parameters"] = [switch, *described.get("parameters", ())]
    return described


def _query_parameter(member: msgspec.structs.FieldInfo) -> dict[str, Any]:
    return {"name": member.encode_name, "in": "query", "required": False, "schema": {"type": "string"}}


def _responses(path: str, operation: Operation, method: Method) -> dict[str, Any]:
    answer = {"type": "object"}
    octets = {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in method.media_types}
    given: dict[str, Any] = {
        "200": {
            "description": "The answer; its members are in `data`.",
            "content": {"application/json": {"schema": answer}, "text/plain": {"schema": {"type": "string"}}, **octets},
        },
        "204": {"description": "Done; there is nothing to say."},
    }
    given |= {
        str(status): {**given["200"], "description": HTTPStatus(status).description} for status in method.statuses
    }
    codes = [code for code in _ERRORS if code != "415" or operation is Operation.PATCH]
    errors: dict[str, Any] = {code: {"$ref": f"#/components/responses/Error{code}"} for code in codes}
    if method.media_types:  # what has a protocol of its own has errors of its own, too
        errors |= {code: {"description": text, "content": given["200"]["content"]} for code, text in _ERRORS.items()}
    return {**given, **errors, **_OWN_CODES.get(path, {})}


def _media_type(operation: Operation) -> str:
    return "application/merge-patch+json" if operation is Operation.PATCH else "application/json"
