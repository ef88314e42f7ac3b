"""The same requests to transit at a real OpenBao and at Mimir: status, members, types and values must be alike.

The requests are in transit_requests/, in scripts of lines:

    [reason] NAME = member < METHOD path body

A reason in brackets is one of `ACCEPTED`: there the two differ on purpose, and it is a fault if they do not. `NAME`
keeps a member of `data`, which later lines have as $NAME. The body, if any, is sent as it stands. $P and $Q are
plaintexts, $C is a context, $R the public key of an RSA key; `vault:v` becomes the prefix of the server that is asked.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.clients.bao import Bao

pytestmark = pytest.mark.heavy  # needs another server's program

LINE = re.compile(r"(?:\[(?P<reason>[a-z0-9 ]+)\] )?(?:(?P<name>[A-Z]) = (?P<member>\w+) < )?(?P<request>[A-Z]+ .+)")
SCRIPTS = {path.stem: path for path in sorted(Path(__file__).with_name("transit_requests").glob("*.txt"))}
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


@dataclass
class Reply:
    """An answer as a client sees it."""

    status: int
    data: Any
    warnings: list[str]
    errors: Any


@dataclass
class Caller:
    """One client of one server's mount, and what it kept."""

    server: Bao
    mount: str
    prefix: str
    kept: dict[str, str] = field(default_factory=dict)

    def ask(self, line: str) -> Reply:
        """Send METHOD, path and body."""
        method, path, *body = self._filled(line).split(" ", 2)
        connection = http.client.HTTPConnection(self.server.address.removeprefix("http://"), timeout=60)
        try:
            headers = {"X-Vault-Token": self.server.token}
            connection.request(method, f"/v1/{self.mount}/{path}", body=body[0] if body else None, headers=headers)
            reply = connection.getresponse()
            text = reply.read()
        finally:
            connection.close()
        answer = json.loads(text) if text else {}
        return Reply(reply.status, answer.get("data"), answer.get("warnings") or [], answer.get("errors"))

    def keep(self, name: str, member: str, reply: Reply) -> None:
        """Remember a member for later lines; one that is not there is remembered as such."""
        self.kept[name] = (reply.data or {}).get(member, "NONE")

    def _filled(self, line: str) -> str:
        filled = re.sub(r"\$([A-Z])", lambda found: self.kept.get(found[1], "NONE"), line)
        return filled.replace("vault:v", self.prefix)


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
    faults: list[str] = []
    for line in SCRIPTS[script].read_text().splitlines():
        faults += compared(line, *callers)
    assert not faults, "\n".join(faults)


def compared(line: str, theirs: Caller, ours: Caller) -> list[str]:
    """One line at both; what a client could notice, or that it could notice nothing where it should."""
    parts = LINE.fullmatch(line)
    assert parts, line
    replies = [caller.ask(parts["request"]) for caller in (theirs, ours)]
    if parts["name"]:
        for caller, reply in zip((theirs, ours), replies, strict=True):
            caller.keep(parts["name"], parts["member"], reply)
    found = differences(*replies)
    if not parts["reason"]:
        return [f"{line}\n    {'; '.join(found)}\n    {replies[0].errors}\n    {replies[1].errors}"] if found else []
    assert parts["reason"] in ACCEPTED, line
    return [] if found else [f"{line}\n    does not differ"]


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
