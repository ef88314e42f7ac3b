"""Keys that OpenBao made, what it did with them, and its backups of them: for Mimir to go on with.

    python -m tests.clients.transit_samples /path/to/bao > tests/vectors/openbao/backups.json

records them from `bao server -dev`. A sample is a backup, and the calls that must give the same answer elsewhere.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

Json = dict[str, Any]

TOO_LARGE = ("rsa-3072", "rsa-4096")  # to be kept in the repository
PLAINTEXT = base64.b64encode(b"before the move").decode()
CONTEXT = base64.b64encode(b"customer 7").decode()

KEYS: list[tuple[str, Json]] = [
    ("aes128-gcm96", {}),
    ("aes256-gcm96", {}),
    ("chacha20-poly1305", {}),
    ("xchacha20-poly1305", {}),
    ("aes256-gcm96", {"derived": True}),
    ("xchacha20-poly1305", {"derived": True}),
    ("aes128-gcm96", {"derived": True, "convergent_encryption": True}),
    ("aes256-gcm96", {"derived": True, "convergent_encryption": True}),
    ("chacha20-poly1305", {"derived": True, "convergent_encryption": True}),
    ("ed25519", {}),
    ("ed25519", {"derived": True}),
    ("ecdsa-p256", {}),
    ("ecdsa-p384", {}),
    ("ecdsa-p521", {}),
    ("rsa-2048", {}),
    ("rsa-3072", {}),
    ("rsa-4096", {}),
    ("hmac", {"key_size": 32}),
    ("hmac", {"key_size": 65}),
]


def call(address: str, token: str, path: str, body: Json | None = None) -> Json:
    """The data of an answer of transit; a POST if there is a body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}/v1/transit/{path}", data=data, headers={"X-Vault-Token": token})
    with urllib.request.urlopen(request, timeout=30) as reply:
        answer = reply.read()
    members: Json = json.loads(answer).get("data") or {} if answer else {}
    return members


def make_sample(address: str, token: str, number: int, key_type: str, options: Json) -> Json:
    """A key of two versions, both of which were used."""
    name = f"{key_type}-{number}"
    may_leave = {"exportable": True, "allow_plaintext_backup": True}
    call(address, token, f"keys/{name}", {"type": key_type, **options, **may_leave})
    checks: list[Json] = []
    for version in (1, 2):
        checks += _used(address, token, name, key_type, options, version)
        if version == 1:
            call(address, token, f"keys/{name}/rotate", {})
    if number % 2:
        call(address, token, f"keys/{name}/config", {"min_decryption_version": 2})  # version 1 is in the archive then
    backup = call(address, token, f"backup/{name}")["backup"]
    return {"name": name, "type": key_type, "options": options, "backup": backup, "checks": checks}


def _used(address: str, token: str, name: str, key_type: str, options: Json, version: int) -> list[Json]:
    """What was done with a version, and calls that must find it so."""
    context = {"context": CONTEXT} if options.get("derived") else {}
    checks: list[Json] = []

    def sent(path: str, body: Json, member: str) -> str:
        value: str = call(address, token, f"{path}/{name}", {**body, **context})[member]
        return value

    if key_type.endswith(("-gcm96", "-poly1305")) or key_type.startswith("rsa-"):
        for more in [{}] if key_type.startswith("rsa-") else [{}, {"associated_data": CONTEXT}]:
            ciphertext = sent("encrypt", {"plaintext": PLAINTEXT, **more}, "ciphertext")
            body = {"ciphertext": ciphertext, **more, **context}
            checks.append({"version": version, "path": "decrypt", "body": body, "expect": {"plaintext": PLAINTEXT}})
            if options.get("convergent_encryption") and not more:
                body = {"plaintext": PLAINTEXT, "key_version": version, **context}
                same = ciphertext.removeprefix("vault:")
                checks.append({"version": version, "path": "encrypt", "body": body, "ends": {"ciphertext": same}})
    if key_type.startswith(("ecdsa-", "rsa-", "ed25519")):
        signature = sent("sign", {"input": PLAINTEXT}, "signature")
        body = {"input": PLAINTEXT, "signature": signature, **context}
        checks.append({"version": version, "path": "verify", "body": body, "expect": {"valid": True}})
    mac = call(address, token, f"hmac/{name}", {"input": PLAINTEXT})["hmac"]
    body = {"input": PLAINTEXT, "hmac": mac}
    checks.append({"version": version, "path": "verify", "body": body, "expect": {"valid": True}})
    body = {"input": PLAINTEXT, "key_version": version}
    checks.append({"version": version, "path": "hmac", "body": body, "ends": {"hmac": mac.removeprefix("vault:")}})
    return checks


def holds(check: Json, answer: Json) -> bool:
    """Whether an answer is the one that OpenBao gave."""
    expected = check.get("expect", {}).items() <= answer.items()
    return expected and all(answer[member].endswith(":" + end) for member, end in check.get("ends", {}).items())


def make_samples(address: str, token: str) -> list[Json]:
    """One of each."""
    return [make_sample(address, token, i, *key) for i, key in enumerate(KEYS)]


if __name__ == "__main__":
    from tests.clients.conftest import openbao

    with tempfile.TemporaryDirectory() as directory, openbao(sys.argv[1], Path(directory)) as server:
        server.must("secrets enable transit")
        samples = [sample for sample in make_samples(server.address, server.token) if sample["type"] not in TOO_LARGE]
        version = server.must("version", form="table").out.strip()
    json.dump({"made_by": version, "samples": samples}, sys.stdout, indent=1)
    sys.stdout.write("\n")
