"""The same requests to transit at a real OpenBao and at Mimir: status, members, types and values must be alike.

The requests are in transit_requests/, in the lines that `tests.clients.beside` reads; a reason is one of `ACCEPTED`.
$P and $Q are plaintexts, $C is a context, $R the public key of an RSA key; `vault:v` becomes the prefix of the server
that is asked.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.clients.bao import Bao
from tests.clients.beside import Caller, Reply, faults_of, scripts

pytestmark = pytest.mark.heavy  # needs another server's program

SCRIPTS = scripts(Path(__file__).with_name("transit_requests"))
ACCEPTED = {
    "always valid": "every item says whether it is valid; OpenBao leaves out false",
    "base64": "one text has one spelling: bits that say nothing are zero",
    "context": "a context that a key does not use is refused, since the caller believes it counts",
    "context in batches": "one item without its context fails, and the others are done",
    "half a right": "who allows backups need not make the key exportable as well",
    "imported": "a key that was restored takes `vault:v1:` as one that was imported",
    "leaving later": "a key in the HSM cannot be made exportable (docs/adr/0007)",
    "lenient": "OpenBao refuses null for nothing, strings for numbers in batches, and HMAC keys of no size",
    "lenient null": "a plaintext of null is none; OpenBao encrypts nothing",
    "more batches": "random and hash take batches as well",
    "more types": "Vault's ml-dsa and aes256-cmac, which this OpenBao does not have",
    "names": "the sentence says what a name is, where OpenBao finds no path",
    "no leftovers": "what is wrong with a plaintext is said before a key is made for it",
    "nonce": "nonces are made here alone; OpenBao has left out theirs, and warns",
    "one claim": "a signature and an HMAC at once are refused, as in Vault",
    "padding": "PKCS#1 v1.5 for encryption is refused, where OpenBao warns and takes OAEP",
    "prehashed": "what no digest of the named hash can be is not signed as one",
    "response code": "a code of 100 to 199 would leave the client waiting",
    "rewrap with data": "rewrap keeps associated data; OpenBao cannot",
    "sha3": "no HMAC with SHA-3 in a token without it; sealed keys make them",
    "sources": "a source that is unknown is refused; `seal` is the HSM",
    "types": "an input that is no text is refused with the whole request",
    "unknown keys": "OpenBao answers nothing (204) for a key that there is not",
    "verbs": "405 names an operation that a path has not; 415 says what PATCH needs",
    "versions of hmac": "a key of type hmac shows when its versions were made, as others do",
}
OURS_ALONE = frozenset(
    {
        "custody",
        "usage",
        "max_encryptions",
        "require_custody",
        "public_key_only",
        "publickey",
        "imported_key_allow_rotation",
    }
)
THEIRS_ALONE = frozenset({"backup_info", "restore_info"})  # when, which Mimir leaves to the audit log
# Vault's framework warns of parameters that it does not know; Mimir does not read what it does not know
OF_THE_FRAMEWORK = "Endpoint "


@pytest.fixture(scope="module")
def public_key() -> str:
    """PEM, as it stands in JSON."""
    made = rsa.generate_private_key(65537, 2048).public_key()
    return made.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode().replace("\n", "\\n")


@pytest.mark.parametrize("script", SCRIPTS)
def test_requests_see_no_difference(ours: Bao, theirs: Bao, public_key: str, script: str) -> None:
    samples = {name: base64.b64encode(text).decode() for name, text in (("P", b"some text"), ("Q", b"?"), ("C", b"me"))}
    callers = []
    for server, prefix in ((theirs, "vault:v"), (ours, "mimir:v")):
        server.must(f"secrets enable -path=beside-{script} transit", form="table")
        callers.append(Caller(server, f"beside-{script}", prefix, {**samples, "R": public_key}))
    faults = faults_of(SCRIPTS[script], *callers, accepted=ACCEPTED, compare=differences)
    assert not faults, "\n".join(faults)


def differences(theirs: Reply, ours: Reply) -> list[str]:
    """What a client could notice; not that OpenBao calls some of its callers' mistakes its own (500)."""
    if theirs.status == 500 and ours.status in {400, 404}:
        return []
    found = []
    if theirs.status != ours.status:
        found.append(f"status {ours.status}, theirs {theirs.status}")
    found += in_data(theirs.data, ours.data, "data")
    if any(not warning.startswith(OF_THE_FRAMEWORK) for warning in theirs.warnings) and not ours.warnings:
        found.append(f"no warning, theirs {theirs.warnings}")
    return found


def in_data(theirs: Any, ours: Any, where: str) -> list[str]:
    """Members and their types, and the values of what is no secret, no time and no text."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        found = [f"{where}.{name} is missing" for name in theirs.keys() - ours.keys() - THEIRS_ALONE]
        found += [f"{where}.{name} is more" for name in ours.keys() - theirs.keys() - OURS_ALONE]
        for name in theirs.keys() & ours.keys():
            found += in_data(theirs[name], ours[name], f"{where}.{name}")
        return found
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        return [
            fault for i, pair in enumerate(zip(theirs, ours, strict=True)) for fault in in_data(*pair, f"{where}[{i}]")
        ]
    if type(theirs) is not type(ours) or isinstance(theirs, list):
        return [f"{where} is {ours!r}, theirs {theirs!r}"]
    is_value = isinstance(theirs, bool) or (isinstance(theirs, int) and theirs < 1_000_000_000)  # above: times
    return [f"{where} is {ours!r}, theirs {theirs!r}"] if is_value and theirs != ours else []
