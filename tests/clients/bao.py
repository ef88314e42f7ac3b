"""OpenBao's command, run against one server; and what a script that calls it would notice of an answer."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# members that only OpenBao has; no client that is written for Vault too can rely on them
ONLY_THEIRS = frozenset(
    {
        "deprecation_status",
        "token_strictly_bind_ip",
        "allow_slashes_in_identity_templates",
        "allow_wildcards_in_identity_templates",
        "commit_date",
        "backup_info",
        "restore_info",
    }
)
# mounts that a fresh OpenBao has otherwise: its kv engine, and headers that its own engines are given
THEIR_OWN = re.compile(r"(\.data)?\.(secret|((sys|identity)/\.config\.passthrough_request_headers))\b")


@dataclass
class Answer:
    """How one call of the command ended."""

    line: str
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.out.lstrip().startswith(("{", "[")), f"{self.line}: {self.out}{self.err}"
        return json.loads(self.out)

    @property
    def status(self) -> str:
        """The HTTP status of a refusal; "" when the command says nothing of one."""
        found = re.search(r"Code: (\d+)", self.err)
        return found[1] if found else ""

    @property
    def shape(self) -> Any:
        """The members and their types, where the answer is JSON."""
        text = self.out.strip()
        return shape(json.loads(text)) if text.startswith(("{", "[")) else text != ""


@dataclass
class Bao:
    """The command with a server's address and root token in its environment, as a user has them."""

    program: str
    address: str
    token: str
    directory: Path
    recovery_keys: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)

    def run(self, line: str, *, token: str = "", form: str = "json", stdin: str = "") -> Answer:
        """Run it; {NAME} in the line is what was kept under that name."""
        line = line.format(**self.kept)
        environment = {
            "HOME": str(self.directory),
            "BAO_ADDR": self.address,
            "BAO_TOKEN": token or self.token,
            "BAO_FORMAT": form,
            "BAO_MAX_RETRIES": "0",
        }
        done = subprocess.run(
            [self.program, *shlex.split(line)],
            env=environment,
            cwd=self.directory,
            capture_output=True,
            text=True,
            input=stdin,
            timeout=30,
            check=False,
        )
        return Answer(line, done.returncode, done.stdout, done.stderr)

    def must(self, line: str, *, token: str = "", form: str = "json", stdin: str = "") -> Answer:
        """Run what has to succeed."""
        answer = self.run(line, token=token, form=form, stdin=stdin)
        assert answer.code == 0, f"{answer.line}\n{answer.out}{answer.err}"
        return answer


def shape(value: Any) -> Any:
    """The types of a JSON value, member by member. None, "", [] and {} are alike: Go has one zero of each kind."""
    if value in (None, "", [], {}) and not isinstance(value, bool | int):
        return None
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(value[0])]
    return "number" if type(value) in (int, float) else type(value).__name__


def missing(theirs: Any, ours: Any, where: str = "") -> list[str]:
    """What is in their shape and not, or not so, in ours. More members than theirs are no fault."""
    if theirs is None or ours is None:
        return []
    if isinstance(theirs, dict) and isinstance(ours, dict):
        absent = theirs.keys() - ours.keys() - ONLY_THEIRS
        found = [f"{where}.{name} is missing" for name in absent if not THEIR_OWN.match(f"{where}.{name}")]
        for name in theirs.keys() & ours.keys():
            found += missing(theirs[name], ours[name], f"{where}.{name}")
        return found
    if isinstance(theirs, list) and isinstance(ours, list):
        return missing(theirs[0], ours[0], f"{where}[]")
    return [] if theirs == ours else [f"{where} is {ours}, theirs {theirs}"]
