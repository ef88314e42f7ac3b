"""What is measured: one request each, that is checked once before it is repeated."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.database_mounts import QUICK_ROLE, ROLE, STATIC_ROLE, make_connections, make_static_role
from bench.http_api import Api, ApiError
from bench.kv_secrets import LISTED, SECRETS, VALUE, list_path, make_listed, make_secrets, secret_name
from bench.load import CONNECTIONS
from bench.pki_mounts import NAME, STORED, UNSTORED, make_authority, new_csr, ocsp_question, says_good

PLAINTEXT = base64.b64encode(bytes(range(64))).decode()
MEBIBYTE = base64.b64encode(bytes(range(256)) * 4096).decode()
BATCH = 100
FEW_CONNECTIONS = 4  # for large payloads and lists: with 32 of them a slow server answers none within a second
RULES = (10, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A transit key that both servers make; `custody` is Mimir's own field, so only Mimir is told it."""

    name: str
    type: str = "aes256-gcm96"
    custody: str = "hsm"


IN_HSM = Key(name="bench")
SEALED = Key(name="bench-sealed", custody="sealed")
P256 = Key(name="bench-p256", type="ecdsa-p256")
RSA_2048 = Key(name="bench-rsa-2048", type="rsa-2048")
KEYS = (IN_HSM, SEALED, P256, RSA_2048)
Body = Callable[[Api], Mapping[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`body` makes the request's body with a server's help; without one the request is a GET. `items` count in one.

    `token` makes the token that the requests are made with (the root token, if there is none); `check` gets the answer.
    `octets` makes a body that is no JSON, of `content_type`; `check` then gets the answer as its member "octets".
    With `spread` the path holds a `{}`, which each request fills with a random number of so many. `prepare` makes what
    only this scenario needs.
    """

    name: str
    path: str
    items: int = 1
    connections: int = CONNECTIONS
    body: Body | None = None
    octets: Callable[[Api], bytes] | None = None
    content_type: str = "application/json"
    token: Callable[[Api], str] | None = None
    spread: int = 1
    prepare: Callable[[Api], None] | None = None
    check: Callable[[Mapping[str, Any]], bool]


def prepare(api: Api, *, knows_custody: bool = True) -> None:
    """Mount transit and approle, create the keys, the roles and the policies."""
    if "transit/" not in api.call("GET", "sys/mounts")["data"]:
        api.call("POST", "sys/mounts/transit", {"type": "transit"})
    for key in KEYS:
        api.call(
            "POST", f"transit/keys/{key.name}", {"type": key.type} | ({"custody": key.custody} if knows_custody else {})
        )
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
    if scenario.prepare:
        scenario.prepare(api)
    token = scenario.token(api) if scenario.token else api.token
    path = scenario.path.format(secret_name(0))
    payload: bytes | None
    with Api(api.address, token) as caller:
        if scenario.octets:
            payload = scenario.octets(api)
            answer: dict[str, Any] = {"octets": caller.post(path, payload, scenario.content_type)}
        else:
            body = scenario.body(api) if scenario.body else None
            payload = None if body is None else json.dumps(body).encode()
            answer = caller.call("POST" if body else "GET", path, body)
    if not scenario.check(answer):
        raise ApiError(f"{scenario.path}: an answer that is not what the scenario is for: {str(answer)[:400]}")
    return token, payload


def _credentials(role: str) -> Body:
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


def _ciphertext(key: Key, plaintext: str) -> Body:
    """A decryption of what the server itself encrypts."""
    return lambda api: {
        "ciphertext": api.call("POST", f"transit/encrypt/{key.name}", {"plaintext": plaintext})["data"]["ciphertext"]
    }


def _ciphertexts(key: Key) -> Body:
    def make(api: Api) -> Mapping[str, object]:
        batch = {"batch_input": [{"plaintext": PLAINTEXT}] * BATCH}
        results = api.call("POST", f"transit/encrypt/{key.name}", batch)["data"]["batch_results"]
        return {"batch_input": [{"ciphertext": result["ciphertext"]} for result in results]}

    return make


def _signature(api: Api) -> Mapping[str, object]:
    signed = api.call("POST", f"transit/sign/{P256.name}/sha2-256", {"input": PLAINTEXT})
    return {"input": PLAINTEXT, "signature": signed["data"]["signature"]}


def _is_of_v1(value: object) -> bool:
    """Whether it is a ciphertext, a signature or an HMAC under the key's first version."""
    return isinstance(value, str) and value.split(":")[1:2] == ["v1"]


def _are_whole_batch(field: str, is_right: Callable[[object], bool]) -> Callable[[Mapping[str, Any]], bool]:
    def check(answer: Mapping[str, Any]) -> bool:
        results = answer["data"]["batch_results"]
        return isinstance(results, list) and len(results) == BATCH and all(is_right(r.get(field)) for r in results)

    return check


def _encrypt(name: str, key: Key, plaintext: str) -> Scenario:
    return Scenario(
        name=name,
        connections=FEW_CONNECTIONS if plaintext == MEBIBYTE else CONNECTIONS,
        path=f"transit/encrypt/{key.name}",
        body=lambda _: {"plaintext": plaintext},
        check=lambda answer: _is_of_v1(answer["data"]["ciphertext"]),
    )


def _decrypt(name: str, key: Key, plaintext: str) -> Scenario:
    return Scenario(
        name=name,
        connections=FEW_CONNECTIONS if plaintext == MEBIBYTE else CONNECTIONS,
        path=f"transit/decrypt/{key.name}",
        body=_ciphertext(key, plaintext),
        check=lambda answer: answer["data"]["plaintext"] == plaintext,
    )


def _encrypt_batch(name: str, key: Key) -> Scenario:
    return Scenario(
        name=name,
        path=f"transit/encrypt/{key.name}",
        items=BATCH,
        body=lambda _: {"batch_input": [{"plaintext": PLAINTEXT}] * BATCH},
        check=_are_whole_batch("ciphertext", _is_of_v1),
    )


def _decrypt_batch(name: str, key: Key) -> Scenario:
    return Scenario(
        name=name,
        path=f"transit/decrypt/{key.name}",
        items=BATCH,
        body=_ciphertexts(key),
        check=_are_whole_batch("plaintext", lambda plaintext: plaintext == PLAINTEXT),
    )


def _is_secret(answer: Mapping[str, Any]) -> bool:
    return bool(answer["data"]["data"] == VALUE)


def _is_version(answer: Mapping[str, Any]) -> bool:
    return isinstance(answer["data"]["version"], int)


def _kv_scenarios() -> tuple[Scenario, ...]:
    """Secrets of version 2. A write is durable on both sides before it is answered."""
    one, any_one = f"secret/data/{secret_name(0)}", "secret/data/{}"
    return (
        Scenario(name="kv-read", path=one, prepare=make_secrets, check=_is_secret),
        Scenario(name="kv-read-1000", path=any_one, spread=SECRETS, prepare=make_secrets, check=_is_secret),
        Scenario(
            name="kv-write",
            path=any_one,
            spread=SECRETS,
            prepare=make_secrets,
            body=lambda _: {"data": VALUE},
            check=_is_version,
        ),
        Scenario(
            name="kv-write-one", path=one, prepare=make_secrets, body=lambda _: {"data": VALUE}, check=_is_version
        ),
        Scenario(
            name=f"kv-list-{LISTED}",
            path=list_path(),
            connections=FEW_CONNECTIONS,
            prepare=make_listed,
            check=lambda answer: len(answer["data"]["keys"]) == LISTED,
        ),
    )


def _is_certificate(answer: Mapping[str, Any]) -> bool:
    return str(answer["data"]["certificate"]).startswith("-----BEGIN CERTIFICATE-----")


def _pki_scenarios() -> tuple[Scenario, ...]:
    """Certificates by a P-256 root. What is stored is durable on both sides before it is answered."""
    issue: Mapping[str, object] = {"common_name": NAME, "ttl": "24h"}

    def scenario(name: str, path: str, body: Body) -> Scenario:
        return Scenario(name=name, path=path, prepare=make_authority, body=body, check=_is_certificate)

    return (
        scenario("pki-issue-unstored", f"pki/issue/{UNSTORED}", lambda _: issue),
        scenario("pki-issue-stored", f"pki/issue/{STORED}", lambda _: issue),
        scenario("pki-sign-stored", f"pki/sign/{STORED}", lambda _: {**issue, "csr": new_csr()}),
        Scenario(
            name="pki-ocsp",
            path="pki/ocsp",
            prepare=make_authority,
            octets=ocsp_question,
            content_type="application/ocsp-request",
            check=lambda answer: says_good(answer["octets"]),
        ),
    )


def _database_scenarios() -> tuple[Scenario, ...]:
    """Accounts on one PostgreSQL server, which both servers share; what it costs itself is the same for both."""

    def scenario(name: str, path: str, prepare: Callable[[Api], None]) -> Scenario:
        return Scenario(
            name=name,
            path=path,
            prepare=prepare,
            check=lambda answer: bool(answer["data"]["username"] and answer["data"]["password"]),
        )

    return (
        scenario("database-creds", f"database/creds/{ROLE}", make_connections),
        scenario("database-creds-quick", f"database/creds/{QUICK_ROLE}", make_connections),
        scenario("database-static-creds", f"database/static-creds/{STATIC_ROLE}", make_static_role),
    )


SCENARIOS = (
    *_kv_scenarios(),
    *_pki_scenarios(),
    *_database_scenarios(),
    _encrypt("encrypt-64B", IN_HSM, PLAINTEXT),
    _decrypt("decrypt-64B", IN_HSM, PLAINTEXT),
    _encrypt_batch("encrypt-batch-100", IN_HSM),
    _decrypt_batch("decrypt-batch-100", IN_HSM),
    _encrypt_batch("encrypt-batch-100-sealed", SEALED),
    _decrypt_batch("decrypt-batch-100-sealed", SEALED),
    _encrypt("encrypt-1MiB", IN_HSM, MEBIBYTE),
    _decrypt("decrypt-1MiB", IN_HSM, MEBIBYTE),
    Scenario(
        name="ecdsa-p256-sign",
        path=f"transit/sign/{P256.name}/sha2-256",
        body=lambda _: {"input": PLAINTEXT},
        check=lambda answer: _is_of_v1(answer["data"]["signature"]),
    ),
    Scenario(
        name="ecdsa-p256-verify",
        path=f"transit/verify/{P256.name}/sha2-256",
        body=_signature,
        check=lambda answer: answer["data"]["valid"] is True,
    ),
    Scenario(
        name="hmac-sha2-256",
        path=f"transit/hmac/{IN_HSM.name}/sha2-256",
        body=lambda _: {"input": PLAINTEXT},
        check=lambda answer: _is_of_v1(answer["data"]["hmac"]),
    ),
    Scenario(
        name="rsa-2048-sign-pss",
        path=f"transit/sign/{RSA_2048.name}/sha2-256",
        body=lambda _: {"input": PLAINTEXT, "signature_algorithm": "pss"},
        check=lambda answer: _is_of_v1(answer["data"]["signature"]),
    ),
    _decrypt("rsa-2048-decrypt", RSA_2048, PLAINTEXT),
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
            path=f"transit/encrypt/{IN_HSM.name}",
            body=lambda _: {"plaintext": PLAINTEXT},
            token=_token_under(f"rules-{rules}"),
            check=lambda answer: _is_of_v1(answer["data"]["ciphertext"]),
        )
        for rules in RULES
    ),
)
