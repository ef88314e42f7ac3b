"""Stored password policies, and passwords that fit them."""

import secrets

import msgspec

from appliance.namespaces import data_prefix
from appliance.system.password_text import Charset, PasswordPolicy, parse_password_policy
from core.errors import InvalidRequestError, NotFoundError
from core.protocols import CoreStorage, Entry, StorageView

ROOT = "root"
_shuffle = secrets.SystemRandom().shuffle


_LOWER = "abcdefghijklmnopqrstuvwxyz"
_DEFAULT = PasswordPolicy(  # Vault's
    20, (Charset(_LOWER, 1), Charset(_LOWER.upper(), 1), Charset("0123456789", 1), Charset("-", 1))
)


class StoredPolicy(msgspec.Struct, frozen=True):
    """The text as it was written, and what it says."""

    text: str
    policy: PasswordPolicy


class PasswordPolicies:
    """By name, in each namespace. Engines that make credentials ask `generate`."""

    def __init__(self, storage: CoreStorage) -> None:
        self._storage = storage
        self._cache = storage.decoded_cache(_load, capacity=200)

    async def get(self, name: str, *, namespace: str = ROOT) -> StoredPolicy | None:
        """The policy, or None."""
        return await self._cache.get(_place(namespace) + _checked(name))

    async def names(self, *, namespace: str = ROOT) -> list[str]:
        """All names, sorted."""
        return await self._storage.list(_place(namespace))

    async def put(self, name: str, text: str, *, namespace: str = ROOT) -> None:
        """Parse and store. Raises InvalidRequestError that names the line."""
        parsed = parse_password_policy(text)
        path = _place(namespace) + _checked(name)
        await self._storage.put(path, msgspec.json.encode(StoredPolicy(text, parsed)))

    async def delete(self, name: str, *, namespace: str = ROOT) -> None:
        """Absent is as good."""
        await self._storage.delete(_place(namespace) + _checked(name))

    async def generate(self, name: str, *, namespace: str = ROOT) -> str:
        """A password of the policy. Raises NotFoundError when there is none of that name."""
        stored = await self.get(name, namespace=namespace)
        if stored is None:
            raise NotFoundError("there is no password policy of that name")
        return generate_password(stored.policy)


class MountPasswords:
    """A `core.engine.Passwords`: the policies of one namespace."""

    def __init__(self, policies: PasswordPolicies, namespace: str) -> None:
        self._policies = policies
        self._namespace = namespace

    async def generate(self, policy: str = "") -> str:
        """A password of the policy; "": of the default one. Raises NotFoundError."""
        if not policy:
            return generate_password(_DEFAULT)
        return await self._policies.generate(policy, namespace=self._namespace)


def generate_password(policy: PasswordPolicy) -> str:
    """What each rule asks for from its own characters, the rest from all, then shuffled.

    The system's generator, each choice without bias (`secrets`). The work is bounded by the length: nothing is thrown
    away and tried again, as Vault does until a password happens to fit.
    """
    letters = [secrets.choice(rule.characters) for rule in policy.rules for _ in range(rule.min_chars)]
    alphabet = policy.alphabet
    letters += [secrets.choice(alphabet) for _ in range(policy.length - len(letters))]
    _shuffle(letters)
    return "".join(letters)


def _place(namespace: str) -> str:
    return data_prefix(namespace) + "password-policy/"


def _checked(name: str) -> str:
    if not name or len(name) > 128 or not name.isprintable() or "/" in name or name in {".", ".."}:
        raise InvalidRequestError("the name of a password policy is printable, without slashes, at most 128 characters")
    return name


async def _load(_storage: StorageView, _path: str, entry: Entry) -> StoredPolicy:
    return msgspec.json.decode(entry.value, type=StoredPolicy)
