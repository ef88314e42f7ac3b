"""What each login method wants from whom logs in, and how that gets here without standing on a command line."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from client.errors import LocalError
from client.session import Session

# members whose values are secret wherever they stand
_SECRETS = frozenset({"password", "secret_id", "jwt", "token", "passcode"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Where a login is sent below its mount, and with what."""

    path: str
    body: dict[str, Any]


def credentials(session: Session, method: str, role: str, arguments: Sequence[str]) -> Credentials:
    """From arguments, environment, files and questions, as the method needs them."""
    given = _pairs(session, arguments)
    if role:
        if method == "approle" or method in _BY_NAME:
            raise click.UsageError(f"{method} has no --role: see `mimir auth help --method {method}`")
        given["role"] = role
    if method in _BY_NAME:
        return _by_name(session, method, given)
    ask = _QUESTIONS.get(method)
    if ask is not None:
        ask(session, given)
    return Credentials(path="login", body=given)


def _pairs(session: Session, arguments: Sequence[str]) -> dict[str, Any]:
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals and name in _SECRETS and value and not (value == "-" or value.startswith("@")):
            raise click.UsageError(
                f"a {name} on the command line is seen by every user of this machine: write {name}=@FILE, or {name}=- "
                "for standard input, or leave it out to be asked"
            )
    found = session.inputs.pairs(arguments)
    # files end in a line break that is no part of what they hold
    return {
        name: value.strip() if name in _TRIMMED and isinstance(value, str) else value for name, value in found.items()
    }


_TRIMMED = frozenset({"role_id", "secret_id", "jwt"})


def _ask_approle(session: Session, given: dict[str, Any]) -> None:
    if not given.get("role_id"):
        given["role_id"] = session.variable("ROLE_ID")
    if not given["role_id"]:
        raise click.UsageError("whose login? Write role_id=ID or role_id=@FILE, or set MIMIR_ROLE_ID")
    if "secret_id" not in given:
        given["secret_id"] = session.inputs.hidden("Secret ID", what="secret id")
    if not given["secret_id"]:  # secret_id= : of a role that binds none
        del given["secret_id"]


def _ask_jwt(session: Session, given: dict[str, Any]) -> None:
    if not given.get("jwt"):
        given["jwt"] = session.inputs.hidden("JWT", what="JWT")


_QUESTIONS: dict[str, Callable[[Session, dict[str, Any]], None]] = {
    "approle": _ask_approle,
    "jwt": _ask_jwt,
    "kubernetes": _ask_jwt,
}
_BY_NAME = frozenset({"userpass", "ldap", "radius"})


def _by_name(session: Session, method: str, given: dict[str, Any]) -> Credentials:
    """Methods to which a name and a password are told."""
    name = str(given.pop("username", "") or session.variable("LOGIN_USERNAME"))
    if not name:
        raise click.UsageError(f"whose login? Write `mimir login --method {method} username=NAME`")
    if "/" in name:
        raise LocalError("a user's name holds no slash")
    if "password" in given:
        given["password"] = str(given["password"]).removesuffix("\n").removesuffix("\r")
    else:
        given["password"] = session.inputs.hidden("Password", what="password")
    return Credentials(path=f"login/{name}", body=given)


METHOD_HELP = {
    "token": "mimir login [TOKEN|-]\n\nChecks a token and keeps it. Without an argument it is asked for.",
    "approle": "mimir login --method approle role_id=ID [secret_id=@FILE|-]\n\n"
    "role_id    the role's id, or role_id=@FILE, or MIMIR_ROLE_ID\n"
    "secret_id  from a file or standard input; asked for when it is left out;\n"
    "           `secret_id=` for a role that binds none",
    "userpass": "mimir login --method userpass username=NAME [password=@FILE|-]\n\n"
    "The password is asked for when it is left out. The name can be in MIMIR_LOGIN_USERNAME.",
    "ldap": "mimir login --method ldap username=NAME [password=@FILE|-]\n\n"
    "The password is asked for when it is left out.",
    "jwt": "mimir login --method jwt --role ROLE [jwt=@FILE|-]\n\nThe JWT is asked for when it is left out.",
    "kubernetes": "mimir login --method kubernetes --role ROLE "
    "jwt=@/var/run/secrets/kubernetes.io/serviceaccount/token",
}
