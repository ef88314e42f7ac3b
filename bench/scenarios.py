"""What is measured: one request each, that is checked once before it is repeated."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.http_api import Api, ApiError

KEY = "bench"
PLAINTEXT = base64.b64encode(bytes(range(64))).decode()
BATCH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`body` makes the request's body with a server's help; without one the request is a GET. `items` count in one."""

    name: str
    path: str
    items: int = 1
    body: Callable[[Api], Mapping[str, object]] | None = None
    check: Callable[[Mapping[str, object]], bool]


def prepare(api: Api) -> None:
    """Mount transit and create the key."""
    if "transit/" not in api.call("GET", "sys/mounts")["data"]:
        api.call("POST", "sys/mounts/transit", {"type": "transit"})
    api.call("POST", f"transit/keys/{KEY}", {"type": "aes256-gcm96"})


def checked_body(scenario: Scenario, api: Api) -> bytes | None:
    """The request's body, after one request has been seen to do what it is for."""
    body = scenario.body(api) if scenario.body else None
    data = api.call("POST" if body else "GET", scenario.path, body)["data"]
    if not scenario.check(data):
        raise ApiError(f"{scenario.path}: an answer that is not what the scenario is for: {json.dumps(data)[:400]}")
    return None if body is None else json.dumps(body).encode()


def _ciphertext(api: Api) -> Mapping[str, object]:
    return {"ciphertext": api.call("POST", f"transit/encrypt/{KEY}", {"plaintext": PLAINTEXT})["data"]["ciphertext"]}


def _is_ciphertext(value: object) -> bool:
    return isinstance(value, str) and value.split(":")[1:2] == ["v1"]


def _is_whole_batch(data: Mapping[str, object]) -> bool:
    results = data["batch_results"]
    return isinstance(results, list) and len(results) == BATCH and all(_is_ciphertext(r["ciphertext"]) for r in results)


SCENARIOS = (
    Scenario(
        name="encrypt-64B",
        path=f"transit/encrypt/{KEY}",
        body=lambda _: {"plaintext": PLAINTEXT},
        check=lambda data: _is_ciphertext(data["ciphertext"]),
    ),
    Scenario(
        name="decrypt-64B",
        path=f"transit/decrypt/{KEY}",
        body=_ciphertext,
        check=lambda data: data["plaintext"] == PLAINTEXT,
    ),
    Scenario(
        name="encrypt-batch-100",
        path=f"transit/encrypt/{KEY}",
        items=BATCH,
        body=lambda _: {"batch_input": [{"plaintext": PLAINTEXT}] * BATCH},
        check=_is_whole_batch,
    ),
    Scenario(
        name="token-lookup-self", path="auth/token/lookup-self", check=lambda data: "root" in str(data["policies"])
    ),
)
