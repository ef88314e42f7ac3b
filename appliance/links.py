"""What one part of access control asks of another: small questions that cross tokens, identity, mounts and roles."""

from collections.abc import Sequence

from appliance.access.lockouts import Lockouts
from appliance.access.logins import clipped_login
from appliance.access.policy_lint import MountView
from appliance.access.request import AccessRequest
from appliance.access.subject import Subject
from appliance.access.token_entry import TokenEntry
from appliance.access.token_roles import TokenRoles
from appliance.identity.store import IdentityStore
from appliance.identity.wire import MountNote
from appliance.leases.measuring import IRREVOCABLE_TEXT, OVERDUE_TEXT, count_irrevocable, overdue
from appliance.measured_engines import MeasuredEngines
from appliance.metrics import Family, gauge_family
from appliance.mount_table import MountEntry
from appliance.namespaces import ROOT, Namespace
from appliance.pipeline.mounted import MountedEngines
from appliance.system.policies_tools import Identity
from core.clock import Clock
from core.engine import NamedRoles, RenewingMethod
from core.errors import InvalidRequestError
from core.protocols import CoreStorage
from core.requests import Login, LoginAlias


class Links:
    """Each question is asked of the present state; only measures of engines are kept for some seconds."""

    def __init__(
        self,
        mounts: MountedEngines,
        entities: IdentityStore,
        roles: TokenRoles,
        lockouts: Lockouts,
        storage: CoreStorage,
        *,
        clock: Clock,
        token_mount: MountEntry,
    ) -> None:
        self._mounts = mounts
        self._entities = entities
        self._roles = roles
        self._lockouts = lockouts
        self._storage = storage
        self._clock = clock
        self._token_mount = token_mount
        self._measured = MeasuredEngines(mounts)

    def namespace_path(self, namespace_id: str) -> str | None:
        """The path of a namespace in service."""
        namespace = self._mounts.table.namespaces_by_id.get(namespace_id)
        return None if namespace is None or namespace.tainted else namespace.path

    def lease_namespace_path(self, namespace_id: str) -> str | None:
        """The same for leases, which also need ways out of a namespace that is being deleted."""
        namespace = self._mounts.table.namespaces_by_id.get(namespace_id)
        return None if namespace is None else namespace.path

    def namespace_at(self, path: str) -> Namespace | None:
        """The namespace of that path."""
        return self._mounts.table.namespaces.get(path)

    def namespaces_below(self, within: Namespace) -> list[Namespace]:
        """Those inside a namespace, at any depth."""
        return self._mounts.table.below(within)

    async def resolve_alias(self, namespace_id: str, name: str) -> str:
        """The entity of an alias at auth/token/, made if there is none: for tokens with an `entity_alias`."""
        entity = await self._entities.resolve_login(
            namespace=namespace_id,
            mount_accessor=self._token_mount.accessor,
            mount_path=self._token_mount.path,
            alias=LoginAlias(name=name),
            group_aliases=(),
        )
        return entity.id

    async def renew_login(self, entry: TokenEntry) -> Login | None:
        """What the login method that granted a token would grant now, within the limits of its mount."""
        if not entry.mount:
            return None
        mounted = self._mounts.by_uuid(entry.mount)
        if mounted is None:
            raise InvalidRequestError("the login method that granted this token is disabled")
        method: object = mounted.engine
        if not isinstance(method, RenewingMethod):
            return None
        return clipped_login(await method.renew_login(entry.renewal), mounted.entry)

    async def find_identity(self, namespace_id: str, name: str) -> Identity | None:
        """Whom a name stands for in a trial: an entity or alias, else a role of tokens or of a login method.

        An entity is tried with what its aliases would bring at login, and what it has by itself and by its groups.
        """
        namespace = self._mounts.table.namespaces_by_id.get(namespace_id, ROOT)
        entity = await self._entities.find(namespace_id, name)
        if entity is not None:
            found = {"default"}
            for alias in entity.aliases:
                for login in (alias.name, *alias.metadata.values()):  # a role's alias is its id; its metadata names it
                    found.update(await self._policies_at(namespace, login, accessor=alias.mount_accessor) or ())
            return Subject(namespace=namespace_id, policies=tuple(sorted(found)), entity=entity)
        role = await self._roles.get(name, namespace=namespace_id)
        if role is not None and role.allowed_policies:
            return tuple(sorted({*role.allowed_policies, "default"}))
        policies = await self._policies_at(namespace, name)
        return None if policies is None else tuple(sorted({*policies, "default"}))

    async def _policies_at(self, namespace: Namespace, name: str, *, accessor: str = "") -> tuple[str, ...] | None:
        """What a login by that role or user would bring, at the login mount of that accessor or at any."""
        for mounted in self._mounts.all(namespace):
            engine: object = mounted.engine
            if not mounted.entry.is_auth or not isinstance(engine, NamedRoles):
                continue
            if accessor not in {"", mounted.entry.accessor}:
                continue
            policies = await engine.policies_of(name)
            if policies is not None:
                return policies
        return None

    def mounts_of(self, namespace: Namespace) -> Sequence[MountView]:
        """What is mounted, for the lint of policies."""
        return [
            MountView(path=entry.path, type=entry.type, version=(entry.options or {}).get("version", ""))
            for entry in self._mounts.entries(namespace)
        ]

    def mount_paths(self, namespace_path: str) -> list[str]:
        """The paths of the mounts of a namespace, the built-in ones too."""
        namespace = self._mounts.table.namespaces.get(namespace_path)
        return [] if namespace is None else [entry.path for entry in self._mounts.entries(namespace)]

    def namespace_paths(self) -> list[str]:
        """Of all namespaces."""
        return list(self._mounts.table.namespaces)

    def find_mount(self, namespace_id: str, accessor: str) -> MountNote | None:
        """The login mount of that accessor, as identity shows it."""
        namespace = self._mounts.table.namespaces_by_id.get(namespace_id)
        if namespace is None:
            return None
        entries = self._mounts.entries(namespace)
        found = next((entry for entry in entries if entry.accessor == accessor and entry.is_auth), None)
        return None if found is None else MountNote(type=found.type, path=found.path)

    async def reachable(self, request: AccessRequest) -> list[str]:
        """The namespaces inside the request's in which its token may do anything, by their paths from there."""
        within = request.within
        below = [] if within.tainted else self._mounts.table.below(within)
        return [row.path[len(within.path) :] for row in below if not row.tainted and request.acl.reaches(row.path)]

    async def count_tokens(self) -> int:
        """Service tokens that are stored."""
        return await self._storage.count_records("token")

    async def count_entities(self) -> int:
        """Entities of all namespaces."""
        ids = [namespace.id for namespace in self._mounts.table.namespaces.values()]
        return sum([await self._entities.count(namespace_id) for namespace_id in ids])

    async def lease_families(self) -> list[Family]:
        """Leases by what becomes of them, for the metrics; asked at each scrape."""
        leases = await self._storage.count_records("lease")
        return [
            gauge_family("leases", "Leases that are stored.", [((), leases)]),
            gauge_family("leases_irrevocable", IRREVOCABLE_TEXT, [((), await count_irrevocable(self._storage))]),
            gauge_family("leases_overdue_seconds", OVERDUE_TEXT, [((), await overdue(self._storage, self._clock))]),
        ]

    async def engine_families(self) -> list[Family]:
        """What engines measure, for the metrics."""
        return await self._measured.families()

    async def tidy_lockouts(self) -> None:
        """Forget failed logins that no longer count, in every namespace."""
        for namespace_id in list(self._mounts.table.namespaces_by_id):
            await self._lockouts.tidy(namespace_id)

    async def forget_logins(self, entry: MountEntry) -> None:
        """Delete what a login mount that is being disabled left: its aliases and its failed logins."""
        await self._entities.forget_mount(entry.namespace, entry.accessor)
        await self._lockouts.forget_mount(entry.namespace, entry.accessor)
