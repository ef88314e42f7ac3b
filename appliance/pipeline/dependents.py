"""How what hangs on a mount is ended, when the mount goes or moves."""

from appliance.access.tokens import TokenStore
from appliance.leases.operations import LeaseOperations
from appliance.links import Links
from appliance.mount_moves import Dependents
from appliance.pipeline.mounted import MountedEngines

_BY = "the appliance"  # in whose name the jobs run


def dependents(leases: LeaseOperations, mounts: MountedEngines, links: Links, tokens: TokenStore) -> Dependents:
    """Leases and tokens by their prefix; waits until they are revoked."""

    async def revoke_below(namespace_id: str, path: str) -> None:
        await mounts.refresh()  # the mount is tainted now
        namespace = mounts.table.namespaces_by_id.get(namespace_id)
        if namespace is not None:
            await leases.revoke_below(path, within=namespace, by=_BY)

    async def revoke_tokens(namespace_id: str, path: str) -> None:
        await revoke_below(namespace_id, path or "auth/")
        if not path:
            while await tokens.revoke_below(f"{namespace_id}/"):  # wrapping tokens stand below what they wrap
                pass

    return Dependents(revoke_leases=revoke_below, revoke_tokens=revoke_tokens, forget_logins=links.forget_logins)
