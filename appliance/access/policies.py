"""The stored policies of every namespace, and the access lists made of them.

Stored per policy under "<namespace>policy/<name>": its text beside its compiled rules, so that no request and no start
needs the HCL grammar; what was written before is in `policy_versions`. Every write of any policy in any namespace also
rewrites "core/policy-epoch": one look at that entry tells a worker whether an access list is still true, also one that
names policies which do not exist.
"""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import msgspec

from appliance.access.access_lists import AccessLists, Epoch
from appliance.access.acl import Acl
from appliance.access.default_policy import DEFAULT_RULES, DEFAULT_TEXT
from appliance.access.policy_text import parse_policy, policy_name
from appliance.access.policy_versions import (
    NOBODY,
    Author,
    Event,
    PolicyVersion,
    add_version,
    latest_version,
    load_version,
    load_versions,
)
from appliance.access.rules import PathRule, Policy
from appliance.access.subject import ROOT_NAMESPACE, Subject
from appliance.namespaces import data_prefix
from core.clock import Clock
from core.errors import CasMismatchError, InvalidRequestError, NotFoundError
from core.protocols import CoreStorage, CoreTransaction, Entry, StorageView

_EPOCH = "core/policy-epoch"
_ROOT = Policy(name="root", text="", rules=())
_WRAPPING_TEXT = """\
path "cubbyhole/response" {
  capabilities = ["create", "read"]
}

path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}
"""
_WRAPPING = Policy(
    name="response-wrapping",
    text=_WRAPPING_TEXT,
    rules=(
        PathRule(path="cubbyhole/response", capabilities=("create", "read"), line=1),
        PathRule(path="sys/wrapping/unwrap", capabilities=("update",), line=5),
    ),
)
_BUILT_IN = {"root": _ROOT, "response-wrapping": _WRAPPING}

P = ParamSpec("P")
T = TypeVar("T")


class PolicyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A policy as it is in force, with what clients are told of it."""

    policy: Policy
    author: Author = NOBODY
    modified_at: float = 0  # epoch seconds; 0: not known
    cas_required: bool = False


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    """The sealed entry. Format 1 had text and rules only; its version is the revision of the entry."""

    text: str
    rules: tuple[PathRule, ...]
    version: int = 0
    author: Author = NOBODY
    modified_at: float = 0
    expires_at: float | None = None
    cas_required: bool = False
    format: int = 1


class PolicyStore:
    """Policies by namespace and name. "root" is implied: it allows everything, and cannot be written."""

    def __init__(
        self, storage: CoreStorage, clock: Clock, *, namespace_path: Callable[[str], str | None] = lambda _id: None
    ) -> None:
        """`namespace_path` tells "team-a/" from an id, None for a deleted one; it is not asked about the root."""
        self._storage = storage
        self._clock = clock
        self._records = storage.decoded_cache(_load_record, capacity=1000)
        self._lists = AccessLists(
            storage.decoded_cache(_load_epoch, capacity=1), clock, namespace_path=namespace_path, find=self._find
        )
        self._parsing = asyncio.Lock()  # the parser is not made for two threads, and one core is enough for it

    # --- reading --------------------------------------------------------------------------------------------------

    async def get(self, name: str, *, namespace: str = ROOT_NAMESPACE) -> Policy | None:
        """The policy; None when there is none of that name, or when the name cannot be one."""
        record = await self.record(name, namespace=namespace)
        return None if record is None else record.policy

    async def record(self, name: str, *, namespace: str = ROOT_NAMESPACE) -> PolicyRecord | None:
        """As `get`, with author and time."""
        try:
            name = policy_name(name)
        except InvalidRequestError:
            return None
        if name in _BUILT_IN:
            is_here = name != "root" or namespace == ROOT_NAMESPACE
            return PolicyRecord(policy=_BUILT_IN[name]) if is_here else None
        return await self._records.get(_path(namespace, name))

    async def _find(self, namespace: str, name: str) -> Policy | None:
        return await self.get(name, namespace=namespace)

    async def names(
        self, *, namespace: str = ROOT_NAMESPACE, prefix: str = "", after: str = "", limit: int = 0
    ) -> list[str]:
        """Names that begin with `prefix`, sorted, behind `after`; the root namespace has "root", too."""
        found = await self._storage.list(_path(namespace, ""))
        if namespace == ROOT_NAMESPACE:
            found = sorted([*found, "root"])
        found = [name for name in found if name.startswith(prefix) and name > after]
        return found[:limit] if limit > 0 else found

    async def versions(self, name: str, *, namespace: str = ROOT_NAMESPACE) -> list[PolicyVersion]:
        """What is kept of its history, the newest first; also of a deleted policy."""
        name = policy_name(name)
        kept = await load_versions(self._storage, namespace, name)
        if not kept and (present := await self._unwritten(name, namespace)):
            return [present]
        return kept

    async def version(self, name: str, number: int, *, namespace: str = ROOT_NAMESPACE) -> PolicyVersion | None:
        """One version; None when it never was or is no longer kept."""
        name = policy_name(name)
        found = await load_version(self._storage, namespace, name, number)
        if found is None and (present := await self._unwritten(name, namespace)) and present.version == number:
            return present
        return found

    async def latest(self, name: str, *, namespace: str = ROOT_NAMESPACE) -> int:
        """The number of the newest version; 0 when there never was one."""
        name = policy_name(name)
        present = await self.record(name, namespace=namespace)
        kept = await latest_version(self._storage, namespace, name)
        return max(kept, present.policy.version if present else 0)

    async def _unwritten(self, name: str, namespace: str) -> PolicyVersion | None:
        """What is in force from before versions were kept; its next write takes it into the history."""
        entry = await self._storage.get(_path(namespace, name))
        return None if entry is None else _as_version(_decode(entry))

    # --- writing --------------------------------------------------------------------------------------------------

    async def put(
        self,
        name: str,
        text: str,
        *,
        namespace: str = ROOT_NAMESPACE,
        author: Author = NOBODY,
        cas: int | None = None,
        cas_required: bool = False,
        expires_at: float | None = None,
    ) -> Policy:
        """Parse in a thread, then store as the next version. Raises InvalidRequestError that names the line.

        `cas` is the version that must be in force, 0 or -1 that there must be none (CasMismatchError). With
        `cas_required` the write after this one must bring it.
        """
        return await self._put(
            name,
            text,
            namespace,
            PolicyVersion(version=0, text=text, author=author, written_at=self._clock.now(), expires_at=expires_at),
            cas=cas,
            cas_required=cas_required,
        )

    async def roll_back(
        self,
        name: str,
        number: int,
        *,
        namespace: str = ROOT_NAMESPACE,
        author: Author = NOBODY,
        cas: int | None = None,
    ) -> Policy:
        """A new version with the text of an older one, which must still be a policy; also after a deletion.

        It does not expire, and asks for no `cas` afterwards. Raises NotFoundError.
        """
        old = await self.version(name, number, namespace=namespace)
        if old is None:
            raise NotFoundError(f"there is no version {number} of this policy")
        if old.text is None:
            raise InvalidRequestError(f"version {number} is a deletion and has no text; delete the policy instead")
        event: Event = "rolled back"
        change = PolicyVersion(
            version=0, text=old.text, author=author, written_at=self._clock.now(), event=event, restored=number
        )
        return await self._put(name, old.text, namespace, change, cas=cas)

    async def _put(
        self,
        name: str,
        text: str,
        namespace: str,
        change: PolicyVersion,
        *,
        cas: int | None,
        cas_required: bool = False,
    ) -> Policy:
        name = _writable(name)
        if not text:
            raise InvalidRequestError("the text of the policy is missing")
        if change.expires_at is not None and change.expires_at <= change.written_at:
            raise InvalidRequestError("the expiration is in the past")
        rules = await self.parse(parse_policy, name, text)

        async def write(txn: CoreTransaction) -> PolicyVersion:
            path = _path(namespace, name)
            entry = await txn.get(path)
            present = None if entry is None else _decode(entry)
            _check_cas(present, cas, is_required=cas_required)
            added = await _append(txn, namespace, name, present, change)
            stored = _Stored(
                text=text,
                rules=rules,
                version=added.version,
                author=added.author,
                modified_at=added.written_at,
                expires_at=added.expires_at,
                cas_required=cas_required,
                format=2,
            )
            await txn.put(_EPOCH, b"")
            await txn.put(path, msgspec.json.encode(stored))
            return added

        added = await self._storage.transact(write)
        return Policy(name=name, text=text, rules=rules, version=added.version, expires_at=added.expires_at)

    async def delete(self, name: str, *, namespace: str = ROOT_NAMESPACE, author: Author = NOBODY) -> bool:
        """Remove it; whether there was one. Its history stays. "default" stays, too."""
        name = policy_name(name)
        if name in _BUILT_IN or name == "default":
            raise InvalidRequestError(f'the policy "{name}" cannot be deleted')
        change = PolicyVersion(version=0, text=None, author=author, written_at=self._clock.now(), event="deleted")

        async def remove(txn: CoreTransaction) -> bool:
            path = _path(namespace, name)
            entry = await txn.get(path)
            if entry is None:
                return False
            await _append(txn, namespace, name, _decode(entry), change)
            await txn.put(_EPOCH, b"")
            return await txn.delete(path)

        return await self._storage.transact(remove)

    async def parse(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what uses the HCL grammar: in a thread, one at a time in this process."""
        async with self._parsing:
            return await asyncio.to_thread(work, *args, **kwargs)

    # --- access lists ---------------------------------------------------------------------------------------------

    def peek_acl(self, subject: Subject) -> Acl | None:
        """The access list from memory, if it is there and still true; no I/O."""
        return self._lists.peek(subject)

    async def acl(self, subject: Subject) -> Acl:
        """The access list of these policies together; those that do not exist or are expired grant nothing."""
        return self._lists.peek(subject) or await self._lists.make(subject)

    async def sources(self, subject: Subject) -> list[tuple[str, Policy]]:
        """What the access list is made of: paths of namespaces and policies."""
        return await self._lists.sources(subject)

    def forget(self) -> None:
        """Drop every access list; called at seal."""
        self._lists.forget()


async def bootstrap_policies(txn: CoreTransaction, *, namespace: str = ROOT_NAMESPACE, now: float = 0) -> None:
    """At initialisation, and when a namespace is made: write "default"."""
    change = PolicyVersion(version=0, text=DEFAULT_TEXT, written_at=now)
    added = await _append(txn, namespace, "default", None, change)
    stored = _Stored(text=DEFAULT_TEXT, rules=DEFAULT_RULES, version=added.version, modified_at=now, format=2)
    await txn.put(_EPOCH, b"")
    await txn.put(_path(namespace, "default"), msgspec.json.encode(stored))


def _path(namespace: str, name: str) -> str:
    return f"{data_prefix(namespace)}policy/{name}"


def _writable(name: str) -> str:
    name = policy_name(name)
    if name in _BUILT_IN:
        raise InvalidRequestError(f'the policy "{name}" is built in and cannot be written')
    return name


def _check_cas(present: _Stored | None, cas: int | None, *, is_required: bool) -> None:
    if cas is None:
        if is_required or (present is not None and present.cas_required):
            raise InvalidRequestError("check-and-set parameter required for this call")
        return
    if max(cas, 0) != (present.version if present else 0):
        raise CasMismatchError("check-and-set parameter did not match the current version")


async def _append(
    txn: CoreTransaction, namespace: str, name: str, present: _Stored | None, change: PolicyVersion
) -> PolicyVersion:
    """`change` as the next version; what is in force goes first if it is from before versions were kept."""
    latest = await latest_version(txn, namespace, name)
    if present is not None and present.version > latest:
        latest = present.version
        await add_version(txn, namespace, name, _as_version(present))
    added = msgspec.structs.replace(change, version=latest + 1)
    await add_version(txn, namespace, name, added)
    return added


def _as_version(stored: _Stored) -> PolicyVersion:
    return PolicyVersion(
        version=stored.version,
        text=stored.text,
        author=stored.author,
        written_at=stored.modified_at,
        expires_at=stored.expires_at,
    )


def _decode(entry: Entry) -> _Stored:
    stored = msgspec.json.decode(entry.value, type=_Stored)
    return stored if stored.version else msgspec.structs.replace(stored, version=entry.revision)


async def _load_record(_storage: StorageView, path: str, entry: Entry) -> PolicyRecord:
    stored = _decode(entry)
    policy = Policy(
        name=path.rpartition("/")[2],
        text=stored.text,
        rules=stored.rules,
        version=stored.version,
        expires_at=stored.expires_at,
    )
    return PolicyRecord(
        policy=policy, author=stored.author, modified_at=stored.modified_at, cas_required=stored.cas_required
    )


async def _load_epoch(_storage: StorageView, _path: str, _entry: Entry) -> Epoch:
    return Epoch()
