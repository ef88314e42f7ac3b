"""What the commands of `mimir pki` share: the mount, paths, names of a certificate, members of any kind."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from client.errors import LocalError
from client.framework import MimirCommand
from client.kv_options import KvCommand
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer, Client, JsonObject
    from client.session import Session

REASONS = (
    *("unspecified", "key_compromise", "affiliation_changed", "superseded"),
    *("cessation_of_operation", "privilege_withdrawn"),
)
mount_option = click.option("--mount", default="pki", metavar="PATH", help="Where the engine is mounted [pki].")
members_argument = click.argument("members", nargs=-1, metavar="[KEY=VALUE|KEY=@FILE|@FILE.json|-]...")
issuer_option = click.option("--issuer", metavar="REF", help="By this issuer (name or id); the default, if not given.")
ttl_option = click.option("--ttl", metavar="TIME", help="How long it is valid, as 24h.")


def pki_command(name: str, *, examples: Sequence[str]) -> Callable[[Callable[..., Any]], MimirCommand]:
    """Declare a command of `mimir pki`, which takes -mount=PATH, too, as Vault's client does."""
    return click.command(name, cls=KvCommand, examples=examples)


def pki_path(mount: str, *parts: str | None) -> str:
    """A path below the mount. A part with a slash would be another path, and is refused."""
    where = mount.strip("/")
    if not where:
        raise click.UsageError("--mount is empty")
    for part in parts:
        if part is not None and (not part or part.startswith("/") or part.endswith("/")):
            raise LocalError("a name in the path is empty, or begins or ends with a slash")
    return "/".join([where, *(part for part in parts if part)])


def name_part(text: str, what: str) -> str:
    """A role, issuer or key as one part of a path."""
    if not text or "/" in text:
        raise LocalError(f"{text!r} is no {what}: a {what} has a name without a slash")
    return text


def by_issuer(issuer: str | None, *parts: str) -> list[str]:
    """The path of what an issuer does: below its own name when one was given."""
    return [*parts] if issuer is None else ["issuer", name_part(issuer, "issuer"), *parts]


def body_of(session: "Session", members: Sequence[str], **given: object) -> "JsonObject":
    """A body of options that were given and of KEY=VALUE. The same thing said twice is refused."""
    body: JsonObject = {name: value for name, value in given.items() if value is not None and value is not False}
    more = session.inputs.pairs(members)
    if both := body.keys() & more.keys():
        raise click.UsageError(f"{', '.join(sorted(both))} is given as an option and as KEY=VALUE: give it once")
    return body | more


def plain_client(session: "Session", why: str) -> "Client":
    """The client, where an answer that is wrapped would be of no use."""
    client = session.client()
    if client.wrap_ttl:
        raise click.UsageError(f"--wrap-ttl (MIMIR_WRAP_TTL) does not go with {why}, which needs the answer itself")
    return client


def file_bytes(session: "Session", name: str) -> bytes:
    """A file that was named, or standard input for `-`."""
    content = session.inputs.file(name)
    if not content.strip():
        raise LocalError(f"{'standard input' if name == '-' else name} is empty")
    return content


def file_text(session: "Session", name: str, *, what: str) -> str:
    """The PEM of a file; DER is for the caller to turn into PEM."""
    content = file_bytes(session, name)
    if b"-----BEGIN " not in content:
        raise LocalError(f"{name} is no {what} in PEM: turn DER into PEM with `openssl … -inform DER`")
    return content.decode("ascii", "replace")


def is_file(text: str) -> bool:
    """Whether an argument names a file, or standard input."""
    return text == "-" or Path(text).is_file()


def pem_lines(answer: "Answer", *names: str) -> str:
    """Members of an answer in PEM, one below the other, safe for a terminal."""
    texts: list[str] = []
    for name in names:
        value = answer.data.get(name)
        texts += [str(item) for item in (value if isinstance(value, list) else [value] if value else [])]
    return "\n".join(printable(line) for text in texts for line in text.strip().splitlines())
