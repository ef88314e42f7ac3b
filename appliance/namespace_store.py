"""Making and deleting namespaces."""

import msgspec

from appliance.access.policies import bootstrap_policies
from appliance.mount_table import NAMESPACE_ROWS, check_free, read_mounts, read_namespaces
from appliance.mounts import MountStore
from appliance.namespaces import ROOT, Namespace, data_prefix, parse_namespace_path
from core.clock import Clock
from core.errors import InvalidRequestError, NotFoundError
from core.ids import new_uuid, random_base62
from core.protocols import CoreTransaction

MAX_METADATA = 64  # keys
_encode = msgspec.json.Encoder(order="deterministic").encode


class NamespaceStore:
    """The rows of namespaces, changed with the table they stand in."""

    def __init__(self, mounts: MountStore, clock: Clock) -> None:
        self._mounts = mounts
        self._clock = clock

    async def create(self, within: Namespace, name: str, metadata: dict[str, str] | None) -> tuple[Namespace, bool]:
        """The namespace `name` inside `within`, and whether it is new. One that exists gets the metadata, if any."""
        path = within.path + _own_name(name)
        check_metadata(metadata or {})
        fresh = Namespace(
            id=random_base62(6),
            path=path,
            uuid=new_uuid(),
            custom_metadata=metadata or {},
            created_at=int(self._clock.now()),
        )

        async def body(txn: CoreTransaction) -> tuple[Namespace, bool]:
            rows = await read_namespaces(txn)
            known = _at(rows, path)
            if known is None:
                _check_parent(within, rows)
                check_free(
                    path,
                    [row.full_path for row in await read_mounts(txn) if row.namespace == within.id],
                    inside=within.path,
                )
                await txn.put(NAMESPACE_ROWS + fresh.id, _encode(fresh), cas=0)
                await bootstrap_policies(txn, namespace=fresh.id, now=fresh.created_at)
                return fresh, True
            if known.tainted:
                raise InvalidRequestError("a namespace of that name is being deleted; try again later")
            changed = known if metadata is None else msgspec.structs.replace(known, custom_metadata=metadata)
            await txn.put(NAMESPACE_ROWS + known.id, _encode(changed))
            return changed, False

        return await self._mounts.alter(body)

    async def patch(self, path: str, changes: dict[str, str | None]) -> Namespace:
        """Merge into the metadata (RFC 7396). Raises NotFoundError."""

        async def body(txn: CoreTransaction) -> Namespace:
            known = _at(await read_namespaces(txn), path)
            if known is None:
                raise NotFoundError("")
            merged = {**known.custom_metadata, **changes}
            metadata = {name: value for name, value in merged.items() if value is not None}
            check_metadata(metadata)
            changed = msgspec.structs.replace(known, custom_metadata=metadata)
            await txn.put(NAMESPACE_ROWS + known.id, _encode(changed))
            return changed

        return await self._mounts.alter(body)

    async def taint(self, path: str) -> Namespace | None:
        """Take the namespace out of service before its deletion; None when there is none.

        Raises InvalidRequestError while there are namespaces inside it.
        """

        async def body(txn: CoreTransaction) -> Namespace | None:
            rows = await read_namespaces(txn)
            known = _at(rows, path)
            if known is None:
                return None
            if any(row.path != path and row.path.startswith(path) for row in rows):
                raise InvalidRequestError("cannot delete a namespace that contains namespaces; delete those first")
            tainted = msgspec.structs.replace(known, tainted=True)
            await txn.put(NAMESPACE_ROWS + known.id, _encode(tainted))
            return tainted

        return await self._mounts.alter(body)

    async def remove(self, namespace: Namespace) -> None:
        """Delete a tainted namespace with its policies, roles and identity. Its mounts must be gone."""

        async def body(txn: CoreTransaction) -> None:
            if any(row.namespace == namespace.id for row in await read_mounts(txn)):
                raise InvalidRequestError("the namespace still has mounts")
            await txn.delete(NAMESPACE_ROWS + namespace.id)
            await txn.delete_prefix(data_prefix(namespace.id))

        if namespace.is_root:
            raise RuntimeError("the root namespace is never removed")
        await self._mounts.alter(body)


def check_metadata(metadata: dict[str, str]) -> None:
    """Raise InvalidRequestError for metadata that is too large."""
    if len(metadata) > MAX_METADATA or any(len(k) > 128 or len(v) > 512 for k, v in metadata.items()):
        raise InvalidRequestError(
            f"custom_metadata may have {MAX_METADATA} keys of 128 characters with values of 512 characters"
        )


def _own_name(name: str) -> str:
    path = parse_namespace_path(name)
    if not path:
        raise InvalidRequestError("the root namespace is always there, and no other one can have its name")
    if path.count("/") != 1:
        raise InvalidRequestError(
            "a namespace is created by its own name; name the one it is to be in by X-Vault-Namespace or in the path"
        )
    return path


def _check_parent(within: Namespace, rows: list[Namespace]) -> None:
    if within is not ROOT and not any(row.id == within.id and not row.tainted for row in rows):
        raise InvalidRequestError("the namespace it is to be in was deleted meanwhile")
    parse_namespace_path(within.path + "x")  # for the depth


def _at(rows: list[Namespace], path: str) -> Namespace | None:
    return next((row for row in rows if row.path == path), None)
