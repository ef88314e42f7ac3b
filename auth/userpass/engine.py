"""What userpass does, on plain values: users, and the login with their passwords.

user/<name>     a User, the name in lower case
"""

import contextlib
from collections.abc import Callable, Mapping

import msgspec

from auth.token_fields import check_within_mount, policy_names
from auth.userpass.passwords import Passwords
from auth.userpass.users import User, UserBody, check_no_hash, check_password, is_user_name
from core.addresses import is_within
from core.engine import MountInfo
from core.errors import (
    InvalidRequestError,
    LoginFailedError,
    PermissionDeniedError,
    QuotaExceededError,
    UnsupportedPathError,
)
from core.protocols import Entry, StorageView, Transaction
from core.requests import Login, LoginAlias

USERS = "user/"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(User).decode


class UserpassEngine:
    """One mount, as one worker sees it."""

    def __init__(self, storage: StorageView, mount: MountInfo, passwords: Passwords) -> None:
        self._storage = storage
        self._mount = mount
        self._passwords = passwords
        self._users = storage.decoded_cache(_load_user)

    # --- users ----------------------------------------------------------------------------------------------------

    async def names(self, *, after: str, limit: int) -> list[str]:
        """Of the users, in order."""
        return await self._storage.list(USERS, after=after, limit=limit)

    async def user(self, name: str) -> User | None:
        """By name."""
        return await self._users.get(USERS + name)

    async def put_user(self, name: str, body: UserBody) -> list[str]:
        """Make the user, or change what `body` gives of it. Answers warnings. Raises InvalidRequestError."""
        check_no_hash(body.password_hash)
        hashed = None if body.password is None else await self._hashed(body.password)
        warnings: list[str] = []

        async def write(txn: Transaction) -> None:
            warnings.clear()  # this may run again
            before = await _read(txn, name)
            if before is None and hashed is None:
                raise InvalidRequestError("missing password")
            user = before or User(name=name, password_hash="")
            after = msgspec.structs.replace(
                user, token=user.token.changed(body, warnings), password_hash=hashed or user.password_hash
            )
            check_within_mount(after.token, self._mount.max_lease_ttl, warnings)
            await _write(txn, after)

        await self._storage.transact(write)
        return warnings

    async def set_password(self, name: str, password: str) -> None:
        """Raises InvalidRequestError, and UnsupportedPathError for an unknown user."""
        hashed = await self._hashed(password)
        await self._alter(name, lambda user: msgspec.structs.replace(user, password_hash=hashed))

    async def set_policies(self, name: str, body: UserBody) -> None:
        """`token_policies`, or `policies`. Raises UnsupportedPathError for an unknown user."""
        wanted = UserBody(token_policies=body.token_policies, policies=body.policies)
        await self._alter(name, lambda user: msgspec.structs.replace(user, token=user.token.changed(wanted, [])))

    async def delete_user(self, name: str) -> None:
        """Remove the user. Tokens of former logins live on until they are to be renewed."""
        await self._storage.delete(USERS + name)

    async def _hashed(self, password: str) -> str:
        check_password(password)
        return await self._passwords.hash(password)

    async def _alter(self, name: str, alter: Callable[[User], User]) -> None:
        async def write(txn: Transaction) -> None:
            user = await _read(txn, name)
            if user is None:
                raise UnsupportedPathError("")
            await _write(txn, alter(user))

        await self._storage.transact(write)

    # --- logins ---------------------------------------------------------------------------------------------------

    async def login(self, name: str, password: str, *, address: str) -> Login:
        """Who logs in. Raises LoginFailedError, after the same work for an unknown user and a wrong password."""
        check_password(password)
        name = name.lower()
        user = await self.user(name) if is_user_name(name) else None
        encoded = None if user is None else user.password_hash
        if not await self._passwords.is_right(password, encoded) or user is None:
            raise LoginFailedError("invalid username or password")
        user = await self.user(name)  # the hash may have waited long behind others
        if user is None or (
            user.password_hash != encoded and not await self._passwords.is_right(password, user.password_hash)
        ):
            raise LoginFailedError("invalid username or password")
        if user.token.bound_cidrs and not is_within(address, user.token.bound_cidrs):
            raise PermissionDeniedError("permission denied")
        if self._passwords.is_outdated(user.password_hash):
            with contextlib.suppress(QuotaExceededError):  # then at the next login
                await self._rehash(user, password)
        return _login(user)

    async def _rehash(self, user: User, password: str) -> None:
        """Keep the password under the parameters of now, unless it was changed meanwhile."""
        hashed = await self._passwords.hash(password)

        async def write(txn: Transaction) -> None:
            present = await _read(txn, user.name)
            if present is not None and present.password_hash == user.password_hash:
                await _write(txn, msgspec.structs.replace(present, password_hash=hashed))

        await self._storage.transact(write)

    async def renewed(self, renewal: Mapping[str, str]) -> Login:
        """The login as it would be granted now. Raises InvalidRequestError when user or policies are others now."""
        name = renewal.get("username", "")
        user = await self.user(name)
        if user is None:
            raise InvalidRequestError(f'user "{name}" does not exist during renewal')
        if _policies(user) != renewal.get("policies", ""):
            raise InvalidRequestError("policies have changed, not renewing")
        return _login(user)

    async def policies_of(self, name: str) -> tuple[str, ...] | None:
        """Those of a user's logins; None when there is no such user."""
        user = await self.user(name)
        return None if user is None else _login(user).policies


async def _load_user(_view: StorageView, _path: str, entry: Entry) -> User:
    return _decode(entry.value)


async def _read(txn: Transaction, name: str) -> User | None:
    entry = await txn.get(USERS + name)
    return None if entry is None else _decode(entry.value)


async def _write(txn: Transaction, user: User) -> None:
    await txn.put(USERS + user.name, _encode(user))


def _login(user: User) -> Login:
    name = {"username": user.name}
    return user.token.login(
        display_name=user.name,
        alias=LoginAlias(name=user.name),
        metadata=name,
        renewal=name | {"policies": _policies(user)},
    )


def _policies(user: User) -> str:
    """All of them as one text, which is compared at a renewal."""
    return ",".join(sorted(policy_names(user.token.policies)))
