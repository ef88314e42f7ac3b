"""Which mount a kv path is below, and of which version it is: asked of the appliance, as every kv client does."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from client.errors import LocalError, NoAnswerError
from client.text import printable

if TYPE_CHECKING:
    from client.api import Client, JsonObject


_NO_MOUNT = (
    "Either no engine is mounted there, or the token may use nothing below it: "
    "see `mimir secrets engine list` and `mimir token lookup`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KvPath:
    """A secret, a folder or the mount itself."""

    mount: str  # with a slash behind it
    version: int  # 1 or 2
    name: str  # below the mount; "" for the mount itself

    @property
    def shown(self) -> str:
        """As people write it, safe for a terminal."""
        return printable(self.mount + self.name)

    def api(self, part: str) -> str:
        """The path of the API: `secret/data/app`; of a mount without versions always `secret/app`."""
        prefix = f"{self.mount}{part}/" if self.version == 2 else self.mount
        return prefix + self.name

    def below(self, part: str) -> str:
        """As `api`, of a folder, for a list."""
        return self.api(part).rstrip("/") + "/"


def find_secret(client: "Client", path: str, mount: str | None) -> KvPath:
    """The secret that is meant by `secret/app`, or by `app` and a mount."""
    found = find_mount(client, path, mount)
    if not found.name:
        raise click.UsageError(f"name a secret below the mount, as {found.shown}app")
    return found


def find_versioned(client: "Client", path: str, mount: str | None) -> KvPath:
    """A secret of a mount that keeps versions; LocalError for version 1."""
    found = find_secret(client, path, mount)
    check_versioned(found)
    return found


def check_versioned(found: KvPath) -> None:
    """LocalError for a mount of version 1."""
    if found.version != 2:
        mount = printable(found.mount)
        raise LocalError(
            f"{mount} is a kv engine of version 1, which keeps no versions and no metadata: "
            f"`mimir kv enable-versioning {mount}` turns it into version 2"
        )


def find_mount(client: "Client", path: str, mount: str | None) -> KvPath:
    """The mount and what is named below it, which may be nothing."""
    path = path.strip().strip("/").removeprefix("v1/") if mount is None else path.strip().strip("/")
    asked = path if mount is None else mount.strip().strip("/")
    if not asked:
        raise click.UsageError("--mount is empty" if mount is not None else "the path is empty: write it as secret/app")
    asking = replace(client, wrap_ttl="")
    denied = (lambda: _NO_MOUNT) if client.load_token() else None  # else the token is what is missing
    data = asking.request("GET", f"sys/internal/ui/mounts/{asked}", denied=denied).data
    found = data.get("path")
    if not isinstance(found, str) or not found:
        raise NoAnswerError("the answer does not say which mount the path is below: is it Mimir? Check MIMIR_ADDR")
    _check_kind(found, data)
    if mount is None:
        return KvPath(mount=found, version=_version(data), name=path[len(found) :])
    if asked != found.rstrip("/"):
        raise LocalError(f"no engine is mounted at {printable(asked)}/, though it is below {printable(found)}")
    return KvPath(mount=found, version=_version(data), name=path)


def _check_kind(mount: str, data: "JsonObject") -> None:
    kind = str(data.get("type") or "")
    if kind not in {"kv", "generic"}:
        raise LocalError(
            f"{printable(mount)} is no kv engine, but {printable(kind) or 'unknown'}: "
            "use `mimir secret read`, or its own commands"
        )


def _version(data: "JsonObject") -> int:
    options = data.get("options")
    return 2 if isinstance(options, dict) and str(options.get("version")) == "2" else 1
