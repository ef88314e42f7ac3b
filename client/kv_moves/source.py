"""Secrets as a kv engine of Vault, OpenBao or Mimir shows them: names, and each secret with all its versions."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from client.errors import AbsentError, LocalError, RefusedError
from client.kv_moves.moved import MovedSecret, kept_metadata, version_row
from client.kv_path import KvPath, find_mount
from client.pages import PAGE

if TYPE_CHECKING:
    from client.api import Client, JsonObject


DEFAULT_LIMIT = 10  # versions of a secret, where nobody says anything else: Vault's and Mimir's


class KvSource:
    """One mount and what is below a prefix of it. Reads only."""

    def __init__(self, client: "Client", mount: str, prefix: str) -> None:
        self._client = client
        self._mount = find_mount(client, "", mount)
        self._prefix = prefix.lstrip("/")

    @property
    def mount(self) -> KvPath:
        """Where the engine is mounted, and its version."""
        return self._mount

    def _path(self, name: str, part: str = "data") -> str:
        return KvPath(mount=self._mount.mount, version=self._mount.version, name=name).api(part)

    # --- names ------------------------------------------------------------------------------------------------------

    def names(self) -> Iterator[str]:
        """Of all secrets below the prefix, folder after folder. Without a slash at its end it may be a secret, too."""
        folder = self._prefix
        if folder and not folder.endswith("/"):
            if self._is_secret(folder):
                yield folder
            folder += "/"
        yield from self._below(folder)

    def _is_secret(self, name: str) -> bool:
        above, _, last = name.rpartition("/")
        return last in set(self._listed(f"{above}/" if above else ""))

    def _below(self, folder: str) -> Iterator[str]:
        folders = [folder]
        while folders:
            here = folders.pop()
            for name in self._listed(here):
                if name.endswith("/"):
                    folders.append(here + name)
                else:
                    yield here + name

    def _listed(self, folder: str) -> Iterator[str]:
        """In pages where the source knows them; one that does not gives all at once, and a second time all the same."""
        seen: set[str] = set()
        after = ""
        while True:
            query = {"list": "true", "limit": str(PAGE)} | ({"after": after} if after else {})
            try:
                names = self._client.read(self._path(folder, "metadata"), query).data.get("keys") or []
            except AbsentError:
                return
            fresh = [str(name) for name in names if name not in seen]
            seen.update(fresh)
            yield from fresh
            if len(names) != PAGE or not fresh:
                return
            after = fresh[-1]

    @property
    def limit(self) -> int:
        """How many versions the mount keeps of a secret that says nothing of it."""
        try:
            found = self._client.read(f"{self._mount.mount}config").data.get("max_versions")
        except RefusedError:
            found = 0
        return found if isinstance(found, int) and found > 0 else DEFAULT_LIMIT

    def count(self, name: str) -> int:
        """How many versions a secret has."""
        if self._mount.version == 1:
            return 1
        blocks = self._client.read(self._path(name, "metadata")).data.get("versions")
        return len(blocks) if isinstance(blocks, dict) else 0

    # --- secrets ----------------------------------------------------------------------------------------------------

    def read(self, name: str) -> MovedSecret:
        """Everything of one secret. RefusedError and LocalError are of this secret alone."""
        if self._mount.version == 1:
            data = self._client.read(self._path(name)).data
            return MovedSecret(versions={1: {"data": data, "destroyed": False}})
        shown = self._client.read(self._path(name, "metadata")).data
        blocks = shown.get("versions")
        if not isinstance(blocks, dict) or not all(number.isdecimal() for number in blocks):
            raise LocalError("the answer holds no versions: is a kv engine mounted there?")
        versions = {}
        for number in sorted(map(int, blocks)):
            block = blocks[str(number)]
            versions[number] = version_row(block, self._data(name, number, block))
        stages = shown.get("stages")
        return MovedSecret(
            metadata=kept_metadata(shown),
            versions=versions,
            stages={str(label): int(number) for label, number in stages.items()} if isinstance(stages, dict) else None,
        )

    def _data(self, name: str, number: int, block: "JsonObject") -> object:
        """None of a version that is deleted, disabled or destroyed, which is answered by 404 and its metadata."""
        if block.get("destroyed"):
            return None
        answer = self._client.request("GET", self._path(name), query={"version": str(number)}, partial=True)
        shown = answer.data.get("metadata")
        if not isinstance(shown, dict):
            raise LocalError("the answer holds no version of a secret: is a kv engine mounted there?")
        block |= {member: shown[member] for member in ("deletion_time", "destroyed", "state") if member in shown}
        return answer.data.get("data")
