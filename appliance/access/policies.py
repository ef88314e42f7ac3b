"""The stored policies, and the access lists made of them.

Stored per policy under "core/policy/<name>": its text beside its compiled rules, so that no request and no start needs
the HCL grammar. Every write of any policy also rewrites "core/policy-epoch": one look at that entry tells a worker
whether an access list is still true, also one that names policies which do not exist.
"""

import asyncio

import msgspec

from appliance.access.acl import ROOT_ACL, Acl
from appliance.access.default_policy import DEFAULT_RULES, DEFAULT_TEXT
from appliance.access.policy_text import compile_policy, policy_name
from appliance.access.rules import PathRule, Policy
from core.errors import InvalidRequestError
from core.protocols import CoreStorage, CoreTransaction, Entry, StorageView

_PREFIX = "core/policy/"
_EPOCH = "core/policy-epoch"
_ACLS = 512  # access lists in memory, the oldest goes first
_ROOT = Policy(name="root", text="", rules=())


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    """The sealed entry."""

    text: str
    rules: tuple[PathRule, ...]
    format: int = 1


class _Epoch:
    """Its identity marks a state of all policies."""


class PolicyStore:
    """Policies by name. "root" is implied: it is listed, allows everything, and cannot be written."""

    def __init__(self, storage: CoreStorage) -> None:
        self._storage = storage
        self._policies = storage.decoded_cache(_load_policy, capacity=1000)
        self._epochs = storage.decoded_cache(_load_epoch, capacity=1)
        self._acls: dict[tuple[str, ...], tuple[_Epoch, Acl]] = {}
        self._parsing = asyncio.Lock()  # the parser is not made for two threads, and one core is enough for it

    async def get(self, name: str) -> Policy | None:
        """The policy; None when there is none of that name, or when the name cannot be one."""
        try:
            name = policy_name(name)
        except InvalidRequestError:
            return None
        return _ROOT if name == "root" else await self._policies.get(_PREFIX + name)

    async def put(self, name: str, text: str) -> Policy:
        """Parse in a thread, then store. Raises InvalidRequestError that names the line."""
        name = policy_name(name)
        if name == "root":
            raise InvalidRequestError('the policy "root" is built in and cannot be written')
        if not text:
            raise InvalidRequestError("the text of the policy is missing")
        async with self._parsing:
            rules = await asyncio.to_thread(compile_policy, name, text)

        async def write(txn: CoreTransaction) -> int:
            return await _write(txn, name, text, rules)

        return Policy(name=name, text=text, rules=rules, version=await self._storage.transact(write))

    async def delete(self, name: str) -> bool:
        """Remove it; whether there was one. "root" and "default" stay."""
        name = policy_name(name)
        if name in {"root", "default"}:
            raise InvalidRequestError(f'the policy "{name}" cannot be deleted')

        async def remove(txn: CoreTransaction) -> bool:
            await txn.put(_EPOCH, b"")
            return await txn.delete(_PREFIX + name)

        return await self._storage.transact(remove)

    async def names(self) -> list[str]:
        """All names, sorted, with "root"."""
        return sorted([*await self._storage.list(_PREFIX), "root"])

    def peek_acl(self, names: tuple[str, ...]) -> Acl | None:
        """The access list from memory, if it is there and still true; no I/O."""
        if "root" in names:
            return ROOT_ACL
        held = self._acls.get(names)
        return held[1] if held and held[0] is self._epochs.peek(_EPOCH) else None

    async def acl(self, names: tuple[str, ...]) -> Acl:
        """The access list of these policies together; those that do not exist grant nothing."""
        if (acl := self.peek_acl(names)) is not None:
            return acl
        epoch = await self._epochs.get(_EPOCH)  # before the policies: a write since then makes this one stale
        found = [await self.get(name) for name in names]
        acl = Acl(("", policy) for policy in found if policy is not None)
        if epoch is not None:
            self._acls.pop(names, None)
            if len(self._acls) >= _ACLS:
                del self._acls[next(iter(self._acls))]
            self._acls[names] = (epoch, acl)
        return acl

    def forget(self) -> None:
        """Drop every access list; called at seal."""
        self._acls.clear()


async def bootstrap_policies(txn: CoreTransaction) -> None:
    """At initialisation: write "default"."""
    await _write(txn, "default", DEFAULT_TEXT, DEFAULT_RULES)


async def _write(txn: CoreTransaction, name: str, text: str, rules: tuple[PathRule, ...]) -> int:
    await txn.put(_EPOCH, b"")
    return await txn.put(_PREFIX + name, msgspec.json.encode(_Stored(text=text, rules=rules)))


async def _load_policy(_storage: StorageView, path: str, entry: Entry) -> Policy:
    stored = msgspec.json.decode(entry.value, type=_Stored)
    name = path.removeprefix(_PREFIX)
    return Policy(name=name, text=stored.text, rules=stored.rules, version=entry.revision)


async def _load_epoch(_storage: StorageView, _path: str, _entry: Entry) -> _Epoch:
    return _Epoch()
