"""What approle does, on plain values: roles, secret ids, and the login with them."""

from collections.abc import Callable, Mapping

from auth.approle import store as rows
from auth.approle.roles import Role, RoleBody, changed_role, new_role
from auth.approle.secret_ids import MAX_SECRET_ID, SecretId, SecretIdBody, new_secret_id
from auth.approle.store import RoleStore
from auth.token_fields import check_within_mount
from core.addresses import is_within
from core.clock import Clock
from core.engine import MountInfo
from core.errors import InvalidRequestError, LoginFailedError, UnsupportedPathError
from core.ids import new_uuid
from core.protocols import StorageView, Transaction
from core.requests import Login, LoginAlias

_SWEEP = 20  # expired secret ids that the making of a new one removes
_BATCH = 200  # removed by one transaction
_TIDY = 20_000  # removed by one call of tidy, whose caller waits


class AppRoleEngine:
    """One mount, as one worker sees it."""

    def __init__(self, storage: StorageView, clock: Clock, mount: MountInfo) -> None:
        self._storage = storage
        self._clock = clock
        self._mount = mount
        self.store = RoleStore(storage)

    # --- roles ----------------------------------------------------------------------------------------------------

    async def put_role(self, name: str, body: RoleBody) -> list[str]:
        """Make the role, or change what `body` gives of it. Answers warnings. Raises InvalidRequestError."""
        warnings: list[str] = []

        async def write(txn: Transaction) -> None:
            warnings.clear()  # this may run again
            before = await rows.read_role(txn, name)
            after = changed_role(before or new_role(name), body, warnings, is_new=before is None)
            check_within_mount(after.token, self._mount.max_lease_ttl, warnings)
            await rows.write_role(txn, after, before=before)

        await self._storage.transact(write)
        return warnings

    async def change_role(self, name: str, alter: Callable[[Role, list[str]], Role]) -> list[str]:
        """Replace an existing role by what `alter` makes of it. Raises UnsupportedPathError when there is none."""
        warnings: list[str] = []

        async def write(txn: Transaction) -> None:
            warnings.clear()
            before = await rows.read_role(txn, name)
            if before is None:
                raise UnsupportedPathError("")
            after = alter(before, warnings)
            check_within_mount(after.token, self._mount.max_lease_ttl, warnings)
            await rows.write_role(txn, after, before=before)

        await self._storage.transact(write)
        return warnings

    async def delete_role(self, name: str) -> None:
        """Remove the role with its secret ids. Tokens of former logins live on until they are to be renewed."""

        async def remove(txn: Transaction) -> None:
            role = await rows.read_role(txn, name)
            if role is not None:
                await rows.delete_role(txn, role)

        await self._storage.transact(remove)

    async def known_role(self, name: str) -> Role:
        """Raises InvalidRequestError."""
        role = await self.store.role(name)
        if role is None:
            raise InvalidRequestError(f'role "{name}" does not exist')
        return role

    # --- secret ids -----------------------------------------------------------------------------------------------

    async def add_secret_id(self, name: str, body: SecretIdBody) -> tuple[str, SecretId]:
        """A secret id for the role: the one in `body`, or a random one. It is shown this once.

        Raises UnsupportedPathError for an unknown role, and InvalidRequestError.
        """
        if len(body.secret_id) > MAX_SECRET_ID:
            raise InvalidRequestError(f"secret_id must have at most {MAX_SECRET_ID} characters")
        await self._remove_expired(_SWEEP)
        secret_id = body.secret_id.strip() or new_uuid()

        async def add(txn: Transaction) -> SecretId:
            role = await rows.read_role(txn, name)
            if role is None:
                raise UnsupportedPathError(f'role "{name}" does not exist')
            secret = new_secret_id(role, body, now=self._clock.now(), max_ttl=self._mount.max_lease_ttl)
            digest = (await rows.ensure_hashes(txn)).secret_id(secret_id)
            await rows.add_secret_id(txn, role.uid, digest, secret)
            return secret

        return secret_id, await self._storage.transact(add)

    async def find_secret_id(self, role: Role, secret_id: str) -> tuple[SecretId, str] | None:
        """What is known of it, and its hash; None for one that has expired."""
        if len(secret_id) > MAX_SECRET_ID:
            return None
        digest = (await self.store.hashes()).secret_id(secret_id.strip())
        found = await self.store.secret_id(role.uid, digest)
        return None if found is None else self._unexpired((found, digest))

    async def find_accessor(self, role: Role, accessor: str) -> tuple[SecretId, str] | None:
        """As find_secret_id."""
        return self._unexpired(await self.store.by_accessor(role.uid, accessor))

    def _unexpired(self, found: tuple[SecretId, str] | None) -> tuple[SecretId, str] | None:
        return found if found is not None and found[0].is_current(self._clock.now()) else None

    async def destroy_secret_id(self, role: Role, digest: str) -> bool:
        """Remove it; whether it was there."""

        async def remove(txn: Transaction) -> bool:
            return await rows.delete_secret_id(txn, role.uid, digest)

        return await self._storage.transact(remove)

    async def tidy(self) -> int:
        """Remove expired secret ids; how many. A call ends after 20,000."""
        total = 0
        while total < _TIDY and (removed := await self._remove_expired(_BATCH)):
            total += removed
        return total

    async def _remove_expired(self, limit: int) -> int:
        expired = await self.store.expired(int(self._clock.now()), limit=limit)
        if not expired:
            return 0

        async def remove(txn: Transaction) -> None:
            for second, uid, accessor in expired:
                await rows.delete_expired(txn, second, uid, accessor)

        await self._storage.transact(remove)
        return len(expired)

    # --- logins ---------------------------------------------------------------------------------------------------

    async def login(self, role_id: str, secret_id: str, *, address: str) -> Login:
        """Who logs in. Raises LoginFailedError, the same for an unknown role and a wrong or expired secret id.

        Both cost two hashes and one look into the store for what is not there: the role, or the secret id of a role
        that is in memory.
        """
        if max(len(role_id), len(secret_id)) > MAX_SECRET_ID:
            raise _failed()  # nothing stored is so long: not worth a hash
        hashes = await self.store.hashes()
        digest = hashes.secret_id(secret_id)
        role = await self.store.role_by_id(hashes.role_id(role_id))
        if not secret_id and (role is None or role.bind_secret_id):
            raise InvalidRequestError("missing secret_id")
        if role is None:
            raise _failed()
        found = await self._verified(role, digest, address) if role.bind_secret_id else None
        _check_role_address(role, address)
        return _login(role, found)

    async def _verified(self, role: Role, digest: str, address: str) -> SecretId:
        """The secret id, with one use taken if they are limited."""
        found = await self.store.secret_id(role.uid, digest)
        if found is None or not found.is_current(self._clock.now()):
            raise _failed()
        found.check_address(address)
        if found.num_uses:
            _check_role_address(role, address)  # before a use is taken
            await self._use(role, digest)
        return found

    async def _use(self, role: Role, digest: str) -> None:
        """Take one of the limited uses: of N uses exactly N succeed, whichever workers they come to."""

        async def take(txn: Transaction) -> None:
            now = self._clock.now()
            secret = await rows.read_secret_id(txn, role.uid, digest)
            if secret is None or not secret.is_current(now):
                raise _failed()
            if secret.num_uses == 1:
                await rows.delete_secret_id(txn, role.uid, digest)
            elif secret.num_uses:  # else it was destroyed and added anew, meanwhile
                await rows.replace_secret_id(txn, role.uid, digest, secret.used(now))

        await self._storage.transact(take)

    async def renewed(self, renewal: Mapping[str, str]) -> Login:
        """The login as it would be granted now. Raises InvalidRequestError when its role is gone."""
        name = renewal.get("role_name", "")
        role = await self.store.role(name)
        if role is None:
            raise InvalidRequestError(f'role "{name}" does not exist during renewal')
        return _login(role, None)


def _check_role_address(role: Role, address: str) -> None:
    if role.secret_id_bound_cidrs and not is_within(address, role.secret_id_bound_cidrs):
        raise InvalidRequestError(f'source address "{address}" unauthorized by CIDR restrictions on the role')


def _login(role: Role, secret: SecretId | None) -> Login:
    """The alias carries the role alone: what a secret id says of one machine would be taken for all of the role."""
    name = {"role_name": role.name}
    return role.token.login(
        display_name="",
        alias=LoginAlias(name=role.role_id, metadata=name),
        metadata=name if secret is None else secret.metadata | name,
        renewal=name,
        bound_cidrs=() if secret is None else secret.narrower_cidrs(role),
    )


def _failed() -> LoginFailedError:
    """The one answer to wrong credentials."""
    return LoginFailedError("invalid role or secret ID")
