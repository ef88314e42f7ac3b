"""The same requests to kv at a real OpenBao and at Mimir: status, bodies, errors and warnings must be alike.

The requests are in kv_requests/, in the lines that `tests.clients.beside` reads; a reason is one of `ACCEPTED`. A
script whose name begins with "v1" has a mount of version 1, the others one of version 2; $M is its name. Times count as
equal, everything else is compared as it is; what stands beside Vault's members is Mimir's own.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.clients.bao import Bao
from tests.clients.beside import Caller, Reply, faults_of, scripts

pytestmark = pytest.mark.heavy  # needs another server's program

SCRIPTS = scripts(Path(__file__).with_name("kv_requests"))
ACCEPTED = {
    "capital": "one sentence for delete, undelete and destroy: the version number is missing",
    "digits": "numbers keep the digits they were sent with; OpenBao reads them as floats of 64 bits",
    "empty scan": "a SCAN that finds nothing is 404, as a LIST is",
    "folders": "a folder has no metadata; OpenBao shows those of the secret that has its name",
    "fractions": "a fraction of a second is dropped",
    "generic": "generic is another name of kv, and shown as that",
    "lists in forms": "a name that comes twice in a form is a list",
    "long names": "a sentence repeats no name that is too long or cannot be printed",
    "negative": "a version or depth below zero is refused, and a ttl below zero is none",
    "no body": "404 has the body of every other 404; OpenBao's patch sends none",
    "no options": "options of kv are an object, never null",
    "nothing": "data of null is none; OpenBao makes a version that cannot be patched",
    "null": "null sets delete_version_after back, as it does other members",
    "numbers": "a number is written in decimal digits; 1.0 is 1, but for cas",
    "oldest": "oldest_version is 0 until a version was dropped, also of what version 1 left",
    "pages": "version 1 lists in pages as version 2 does",
    "patch type": "415 says what PATCH needs",
    "paths": "a path is taken as it is, or refused with a sentence; nobody is sent elsewhere",
    "query": "members of a patch may stand in the query, as those of other writes",
    "range": "what is no number of versions is refused; OpenBao keeps it modulo 2^32",
    "root": "the root of a mount is no secret, and the sentence says so",
    "scalars": "a patch takes numbers and booleans in custom_metadata, as a write does",
    "scan command": "`mimir kv list` is the command for SCAN, too",
    "scan order": "SCAN sorts whole names; OpenBao goes level by level",
    "slashes": "a slash at the end of a path counts for nothing",
    "sum": "the limit of 64 holds for all of a secret's custom_metadata, also after a patch",
    "surrogates": "text that is no Unicode is refused; OpenBao changes it",
    "ttl": "a ttl is no longer than was asked for, and blanks around it are dropped",
    "twice": "of a parameter that comes twice the first counts",
    "types": "a list or a text is no object, and only true and false are booleans",
    "upgrade": "an upgrade is done when it is answered, so there is nothing to warn of",
    "verbs": "405 names an operation that a path has not",
    "versions": "what names no version is refused, and blanks are dropped",
    "words": "both refuse, and ours says what to mend",
}
OURS_ALONE = frozenset(
    {
        "classification",
        "created_by",
        "created_from",
        "expires_at",
        "owner",
        "reason",
        "rotate_every",
        "stages",
        "state",
    }
)
# of one answer, one mount or one program; mount_type is Vault's, and OpenBao has it not
UNSEEN = frozenset(
    {"request_id", "mount_type", "accessor", "uuid", "running_plugin_version", "deprecation_status", "token"}
)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
# Vault's framework warns of parameters that it does not know; Mimir does not read what it does not know
OF_THE_FRAMEWORK = "Endpoint "
ONE_ERROR = re.compile(r"1 error occurred:\n\t\* (.*)\n\n")  # how Go's multierror shows a single one
# how the frameworks say that a member has not the type that it must have
WRONG_TYPE = re.compile(
    r"Field validation failed|error converting|failed to parse|failed to decode JSON|"
    r"custom_metadata validation failed: '' expected type"
)


@pytest.mark.parametrize("script", SCRIPTS)
def test_requests_see_no_difference(ours: Bao, theirs: Bao, script: str) -> None:
    version = "1" if script.startswith("v1") else "2"
    mount, merge = f"beside-{script}", "application/merge-patch+json"
    callers = [Caller(server, mount, kept={"M": mount}, patch_type=merge) for server in (theirs, ours)]
    for caller in callers:
        enable(caller, version)
    faults = faults_of(SCRIPTS[script], *callers, accepted=ACCEPTED, compare=differences)
    assert not faults, "\n".join(faults)


def enable(caller: Caller, version: str) -> None:
    """Make the mount."""
    made = caller.ask(f'POST /sys/mounts/{caller.mount} {{"type":"kv","options":{{"version":"{version}"}}}}')
    assert made.status == 204, made.errors


def differences(theirs: Reply, ours: Reply) -> list[str]:
    """What a client could notice; not that OpenBao calls some of its callers' mistakes its own (500)."""
    if theirs.status == 500 and ours.status in {400, 404}:
        return []
    found = [] if theirs.status == ours.status else [f"status {ours.status}, theirs {theirs.status}"]
    if theirs.content_type != ours.content_type:
        found.append(f"content type {ours.content_type}, theirs {theirs.content_type}")
    mine, their = _seen(ours), _seen(theirs)
    if theirs.status == ours.status == 400 and WRONG_TYPE.match(str(theirs.errors)[2:]) and ours.errors:
        return found
    return found + in_value(their, mine, "")


def _seen(reply: Reply) -> dict[str, Any]:
    """The body as far as it can be compared."""
    body = dict(reply.body)
    if body.get("errors"):
        body["errors"] = [ONE_ERROR.sub(r"\1", line) for line in body["errors"]]
    if body.get("warnings"):
        kept = [line for line in body["warnings"] if not line.startswith(OF_THE_FRAMEWORK)]
        body["warnings"] = [line.replace("OpenBao CLI, use 'bao", "Mimir CLI, use 'mimir") for line in kept] or None
    return body


def in_value(theirs: Any, ours: Any, where: str) -> list[str]:
    """Members, their types and values; of times only that they are times."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        found = [
            f"{where}.{name} is missing: {theirs[name]!r}" for name in sorted(theirs.keys() - ours.keys() - UNSEEN)
        ]
        more = sorted(ours.keys() - theirs.keys() - OURS_ALONE - UNSEEN)
        found += [f"{where}.{name} is more: {ours[name]!r}" for name in more]
        for name in sorted((theirs.keys() & ours.keys()) - UNSEEN):
            found += in_value(theirs[name], ours[name], f"{where}.{name}")
        return found
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        pairs = enumerate(zip(theirs, ours, strict=True))
        return [fault for i, pair in pairs for fault in in_value(*pair, f"{where}[{i}]")]
    if isinstance(theirs, str) and isinstance(ours, str) and TIME.fullmatch(theirs) and TIME.fullmatch(ours):
        return []
    return [] if type(theirs) is type(ours) and theirs == ours else [f"{where} is {ours!r}, theirs {theirs!r}"]
