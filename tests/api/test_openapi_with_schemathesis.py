"""The OpenAPI document is walked by schemathesis, as root: no fault of ours, and no status that it does not name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from tests.support.appliance import Appliance

EXAMPLES = 2  # of each operation and mode: about 30 seconds in all on an idle machine

# What would end the walk, or reach out of the appliance.
LEFT_OUT = {
    ("POST", "/sys/seal"): "everything after it would be 503",
    ("POST", "/sys/init"): "the appliance is initialised; its own tests refuse the second time",
    ("POST", "/sys/unseal"): "its answers depend on shares, which have tests of their own",
    ("POST", "/sys/audit/{path}"): "writes files wherever it is told to",
    ("DELETE", "/sys/audit/{path}"): "would end the audit trail of the walk",
    ("POST", "/sys/quotas/rate-limit/{name}"): "a rate that holds for everything would make every later answer 429",
    ("POST", "/auth/token/revoke-self"): "would revoke the token of the walk",
    ("POST", "/sys/raw/{path}"): "writes over the appliance's own entries",
    ("DELETE", "/sys/raw/{path}"): "deletes the appliance's own entries",
    ("GET", "/sys/events/subscribe/{types}"): "an answer that goes on has no end to wait for",
}
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """With an audit device and every engine and login method of this installation mounted."""
    server = Appliance(tmp_path_factory.mktemp("openapi") / "data", workers=1).start()
    options = {"file_path": str(Path(server.data_dir) / "audit.log")}
    assert server.request("PUT", "sys/audit/file", {"type": "file", "options": options}).status == 204
    for kind, base in (("secret", "sys/mounts"), ("auth", "sys/auth")):
        for name in installed(kind):
            server.request("POST", f"{base}/{name}", {"type": name})
    yield server
    server.stop()


def installed(kind: str) -> list[str]:
    from importlib.metadata import entry_points

    group = {"secret": "mimir.engines", "auth": "mimir.auth_methods"}[kind]
    return [point.name for point in entry_points(group=group)]


def document_of(server: Appliance) -> dict[str, Any]:
    return dict(server.request("GET", "sys/internal/specs/openapi").json)


def walk(operation: Any, server: Appliance, mode: GenerationMode) -> list[str]:
    """The problems of one operation, the first of each kind."""
    problems: dict[str, str] = {}

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        reply = case.call(base_url=f"{server.address}/v1", headers={"X-Vault-Token": server.root_token})
        try:
            case.validate_response(reply, checks=CHECKS)
        except (Failure, FailureGroup) as failed:
            problems.setdefault(str(reply.status_code), f"{case.as_curl_command()}\n{failed}")

    with contextlib.suppress(Unsatisfiable):  # nothing of this operation can be made wrong
        ask()
    return list(problems.values())


def test_no_operation_fails_or_answers_what_is_not_documented(appliance: Appliance) -> None:
    schema = schemathesis.openapi.from_dict(document_of(appliance))
    problems: list[str] = []
    walked = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if (operation.method.upper(), operation.path) in LEFT_OUT:
            continue
        walked += 1
        # wrong paths and queries have tests of their own, and drawing them costs most of the time
        has_body = bool(list(operation.body))
        for mode in (GenerationMode.POSITIVE, *([GenerationMode.NEGATIVE] if has_body else [])):
            problems += walk(operation, appliance, mode)
    assert problems == []
    assert walked > 40
    assert appliance.request("GET", "sys/health").status == 200


def test_every_operation_is_described(appliance: Appliance) -> None:
    document = document_of(appliance)
    for path, item in document["paths"].items():
        for verb, operation in item.items():
            if verb in {"get", "post", "patch", "delete"} and path.startswith("/sys/"):
                assert operation["summary"], f"{verb} {path}"
                assert operation["description"], f"{verb} {path}"
                assert {"400", "403", "404", "429", "503"} <= set(operation["responses"])


def test_an_operation_without_a_token_says_so(appliance: Appliance) -> None:
    paths = document_of(appliance)["paths"]
    assert paths["/sys/health"]["get"]["security"] == []
    assert paths["/sys/mounts"]["get"]["security"] == [{"token": []}, {"bearer": []}]
