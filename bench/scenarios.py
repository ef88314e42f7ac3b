"""What is measured: one request each, that is checked once before it is repeated."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.http_api import Api, ApiError

KEY = "bench"
PLAINTEXT = base64.b64encode(bytes(range(64))).decode()
BATCH = 100
RULES = (10, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`body` makes the request's body with a server's help; without one the request is a GET. `items` count in one.

    `token` makes the token that the requests are made with (the root token, if there is none); `check` gets the answer.
    """

    name: str
    path: str
    items: int = 1
    body: Callable[[Api], Mapping[str, object]] | None = None
    token: Callable[[Api], str] | None = None
    check: Callable[[Mapping[str, Any]], bool]


def prepare(api: Api) -> None:
    """Mount transit and approle, create the key, the roles and the policies."""
    if "transit/" not in api.call("GET", "sys/mounts")["data"]:
        api.call("POST", "sys/mounts/transit", {"type": "transit"})
    api.call("POST", f"transit/keys/{KEY}", {"type": "aes256-gcm96"})
    if "approle/" not in api.call("GET", "sys/auth")["data"]:
        api.call("POST", "sys/auth/approle", {"type": "approle"})
    for kind in ("batch", "service"):
        role = {"token_policies": ["default"], "token_type": kind, "token_ttl": "10m", "token_max_ttl": "1h"}
        api.call("POST", f"auth/approle/role/{kind}", role)
    for rules in RULES:
        api.call("PUT", f"sys/policies/acl/rules-{rules}", {"policy": policy_of(rules)})


def policy_of(rules: int) -> str:
    """A policy of so many rules, of which the last one grants encryption."""
    kinds = ('path "secret/data/team-{0}/*"', 'path "kv/+/service-{0}/config"', 'path "database/creds/role-{0}"')
    blocks = [kinds[n % 3].format(n) + ' {\n  capabilities = ["read", "list"]\n}' for n in range(rules - 1)]
    blocks.append('path "transit/encrypt/*" {\n  capabilities = ["create", "update"]\n}')
    return "\n\n".join(blocks) + "\n"


def checked_request(scenario: Scenario, api: Api) -> tuple[str, bytes | None]:
    """The request's token and body, after one request has been seen to do what it is for."""
    body = scenario.body(api) if scenario.body else None
    token = scenario.token(api) if scenario.token else api.token
    with Api(api.address, token) as caller:
        answer = caller.call("POST" if body else "GET", scenario.path, body)
    if not scenario.check(answer):
        raise ApiError(f"{scenario.path}: an answer that is not what the scenario is for: {json.dumps(answer)[:400]}")
    return token, None if body is None else json.dumps(body).encode()


def _credentials(role: str) -> Callable[[Api], Mapping[str, object]]:
    def make(api: Api) -> Mapping[str, object]:
        role_id = api.call("GET", f"auth/approle/role/{role}/role-id")["data"]["role_id"]
        secret_id = api.call("POST", f"auth/approle/role/{role}/secret-id", {})["data"]["secret_id"]
        return {"role_id": role_id, "secret_id": secret_id}

    return make


def _token_under(policy: str) -> Callable[[Api], str]:
    def make(api: Api) -> str:
        auth = api.call("POST", "auth/token/create", {"policies": [policy], "no_default_policy": True})["auth"]
        return str(auth["client_token"])

    return make


def _ciphertext(api: Api) -> Mapping[str, object]:
    return {"ciphertext": api.call("POST", f"transit/encrypt/{KEY}", {"plaintext": PLAINTEXT})["data"]["ciphertext"]}


def _is_ciphertext(value: object) -> bool:
    return isinstance(value, str) and value.split(":")[1:2] == ["v1"]


def _is_whole_batch(answer: Mapping[str, Any]) -> bool:
    results = answer["data"]["batch_results"]
    return isinstance(results, list) and len(results) == BATCH and all(_is_ciphertext(r["ciphertext"]) for r in results)


SCENARIOS = (
    Scenario(
        name="encrypt-64B",
        path=f"transit/encrypt/{KEY}",
        body=lambda _: {"plaintext": PLAINTEXT},
        check=lambda answer: _is_ciphertext(answer["data"]["ciphertext"]),
    ),
    Scenario(
        name="decrypt-64B",
        path=f"transit/decrypt/{KEY}",
        body=_ciphertext,
        check=lambda answer: answer["data"]["plaintext"] == PLAINTEXT,
    ),
    Scenario(
        name="encrypt-batch-100",
        path=f"transit/encrypt/{KEY}",
        items=BATCH,
        body=lambda _: {"batch_input": [{"plaintext": PLAINTEXT}] * BATCH},
        check=_is_whole_batch,
    ),
    Scenario(
        name="token-lookup-self",
        path="auth/token/lookup-self",
        check=lambda answer: "root" in str(answer["data"]["policies"]),
    ),
    *(
        Scenario(
            name=f"approle-login-{kind}",
            path="auth/approle/login",
            body=_credentials(kind),
            check=lambda answer, kind=kind: answer["auth"]["token_type"] == kind,
        )
        for kind in ("batch", "service")
    ),
    *(
        Scenario(
            name=f"encrypt-{rules}-rules",
            path=f"transit/encrypt/{KEY}",
            body=lambda _: {"plaintext": PLAINTEXT},
            token=_token_under(f"rules-{rules}"),
            check=lambda answer: _is_ciphertext(answer["data"]["ciphertext"]),
        )
        for rules in RULES
    ),
)
