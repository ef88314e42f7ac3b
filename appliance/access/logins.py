"""What a login method found out becomes a token: entity, policies, lifetime and type, by Vault's rules."""

from functools import lru_cache
from typing import Protocol

import msgspec

from appliance.access.subject import EntityView
from appliance.access.token_entry import WRAPPING_POLICY
from appliance.access.tokens import TokenEntry, TokenSpec, TokenStore
from appliance.mount_table import DEFAULT_LEASE_TTL
from appliance.namespaces import Namespace
from core.errors import InvalidRequestError, PermissionDeniedError
from core.requests import AuthGrant, Login, LoginAlias

SERVICE, BATCH = "service", "batch"
TOKEN_TYPES = ("default-service", "default-batch", SERVICE, BATCH)  # of a mount
_AUTH = "auth/"


class LoginMount(Protocol):
    """What counts of the mount by which somebody logs in. A TTL of 0 is the system's default."""

    @property
    def uuid(self) -> str:
        """Never used again."""
        ...

    @property
    def accessor(self) -> str:
        """By which aliases name it."""
        ...

    @property
    def path(self) -> str:
        """As "auth/userpass/"."""
        ...

    @property
    def default_lease_ttl(self) -> int:
        """Seconds."""
        ...

    @property
    def max_lease_ttl(self) -> int:
        """Seconds."""
        ...

    @property
    def token_type(self) -> str:
        """One of TOKEN_TYPES; "" is default-service."""
        ...


class LoginIdentities(Protocol):
    """Who stands behind an alias."""

    async def resolve_login(
        self,
        *,
        namespace: str,
        mount_accessor: str,
        mount_path: str,
        alias: LoginAlias,
        group_aliases: tuple[str, ...],
    ) -> EntityView:
        """The entity, found or made; writes nothing when nothing changes."""
        ...


class Logins:
    """Makes the tokens of logins."""

    def __init__(self, tokens: TokenStore, identities: LoginIdentities) -> None:
        self._tokens = tokens
        self._identities = identities

    async def grant(self, login: Login, *, mount: LoginMount, namespace: Namespace, path: str) -> AuthGrant:
        """The token of a login at `path` ("auth/userpass/login/bob"), and what its owner is told of it.

        Raises InvalidRequestError for what no login may bring, PermissionDeniedError for a disabled entity.
        """
        spec = login_spec(login, mount=mount, namespace=namespace, path=path)  # refuses before anything is written
        entity = None
        if login.alias is not None:
            entity = await self._identities.resolve_login(
                namespace=namespace.id,
                mount_accessor=mount.accessor,
                mount_path=mount.path,
                alias=login.alias,
                group_aliases=login.group_aliases,
            )
            if entity.disabled:
                raise PermissionDeniedError("permission denied")
            spec = msgspec.structs.replace(spec, entity_id=entity.id)
        token, entry = await self._tokens.create(spec, parent=None)
        return _granted(token, entry, entity)


def login_spec(login: Login, *, mount: LoginMount, namespace: Namespace, path: str) -> TokenSpec:
    """The token to make, as yet of no entity. Raises InvalidRequestError."""
    token_type = resolved_type(login.token_type, mount.token_type)
    if token_type == BATCH:
        _check_batch(login)
    return TokenSpec(
        policies=login_policies(login.policies, without_default=login.no_default_policy),
        path=path,
        display_name=display_name(mount.path, login.display_name),
        metadata=login.metadata,
        ttl=login.ttl,
        default_ttl=mount.default_lease_ttl or DEFAULT_LEASE_TTL,
        max_ttl=effective_max_ttl(login, mount),
        explicit_max_ttl=login.explicit_max_ttl,
        period=login.period,
        num_uses=login.num_uses,
        renewable=login.renewable and token_type == SERVICE,
        type=token_type,
        namespace=namespace.id,
        mount=mount.uuid,
        renewal=login.renewal if token_type == SERVICE else {},  # a batch token is not renewed, and travels whole
        bound_cidrs=login.bound_cidrs,
    )


def effective_max_ttl(login: Login, mount: LoginMount) -> int:
    """The least of what login and mount say, in seconds."""
    of_mount = mount.max_lease_ttl or DEFAULT_LEASE_TTL
    return min(login.max_ttl, of_mount) if login.max_ttl else of_mount


def clipped_login(login: Login, mount: LoginMount) -> Login:
    """What a method says at a renewal, within the limits of its mount."""
    max_ttl = effective_max_ttl(login, mount)
    ttl = min(login.ttl or mount.default_lease_ttl or DEFAULT_LEASE_TTL, max_ttl)
    return msgspec.structs.replace(login, ttl=ttl, max_ttl=max_ttl, period=min(login.period, max_ttl))


@lru_cache(maxsize=1024)
def login_policies(names: tuple[str, ...], *, without_default: bool) -> tuple[str, ...]:
    """Sorted, in lower case, with "default" unless it is not wanted. Raises InvalidRequestError for what none gets."""
    found = {name.strip().lower() for name in names} - {""}
    if "root" in found:
        raise InvalidRequestError("auth methods cannot create root tokens")
    if WRAPPING_POLICY in found:
        raise InvalidRequestError(f'cannot assign policy "{WRAPPING_POLICY}"')
    if not without_default:
        found.add("default")
    return tuple(sorted(found))


def resolved_type(of_login: str, of_mount: str) -> str:
    """Service or batch: a mount that says one of these decides alone; else the role does, if it says something."""
    if of_mount in {SERVICE, BATCH}:
        return of_mount
    wanted = of_login.removeprefix("default-")
    if wanted in {SERVICE, BATCH}:
        return wanted
    return BATCH if of_mount == "default-batch" else SERVICE


@lru_cache(maxsize=1024)
def display_name(mount_path: str, name: str) -> str:
    """`userpass-bob`; what is no name is left out."""
    source = mount_path.removeprefix(_AUTH).strip("/").replace("/", "-")
    return f"{source}-{name}".removesuffix("-")


def _check_batch(login: Login) -> None:
    if login.period:
        raise InvalidRequestError("batch tokens cannot be periodic: set token_period to 0, or token_type to service")
    if login.num_uses:
        raise InvalidRequestError(
            "batch tokens cannot have limited uses: set token_num_uses to 0, or token_type to service"
        )


def _granted(token: str, entry: TokenEntry, entity: EntityView | None) -> AuthGrant:
    own = list(entry.policies)
    of_entity = list(entity.policies) if entity is not None else []
    return AuthGrant(
        client_token=token,
        accessor=entry.accessor,
        policies=sorted({*own, *of_entity}) if of_entity else list(own),
        token_policies=own,
        identity_policies=of_entity,
        metadata=entry.metadata,
        lease_duration=entry.ttl,
        renewable=entry.renewable,
        entity_id=entry.entity_id,
        token_type=entry.type,
        orphan=entry.orphan,
        num_uses=entry.num_uses,
    )
