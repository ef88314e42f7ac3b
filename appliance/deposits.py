"""Secrets that one engine leaves at another mount of its namespace, on the word of somebody who may write there."""

from collections.abc import Mapping

from appliance.pipeline.mounted import MountedEngines
from core.engine import DepositTaker
from core.errors import InvalidRequestError


class MountDeposits:
    """A `core.engine.Deposits`."""

    def __init__(self, mounts: MountedEngines, namespace_id: str) -> None:
        self._mounts = mounts
        self._namespace_id = namespace_id

    def place_of(self, path: str) -> str:
        """The path that a policy must allow. Raises InvalidRequestError."""
        mount, engine, name = self._found(path)
        return mount + engine.deposit_path(name)

    async def write(self, path: str, data: Mapping[str, str], *, by: str) -> None:
        """Leave it there. Raises InvalidRequestError when the mount is gone."""
        _, engine, name = self._found(path)
        await engine.deposit(name, data, by=by)

    def _found(self, path: str) -> tuple[str, DepositTaker, str]:
        namespace = self._mounts.table.namespaces_by_id.get(self._namespace_id)
        mounted = self._mounts.find(namespace.path + path, namespace) if namespace is not None else None
        engine: object = mounted.engine if mounted is not None else None
        if mounted is None or mounted.entry.tainted or not isinstance(engine, DepositTaker):
            raise InvalidRequestError(f"there is no kv engine of version 2 at {path[:128]!r}")
        return mounted.entry.path, engine, path[len(mounted.entry.path) :]
