"""A third party's engine: leases numbered accounts that it keeps in its own storage, and fails when told to.

The directory above, put on PYTHONPATH, is an installed distribution: its entry point mounts the type `accounts`.

    creds/<role>      READ: a new account {"account": 7, "role": "app"} under a lease
    roles/<role>      UPDATE, READ: {"ttl", "max_ttl", "renewable"} of the role's leases
    trouble           UPDATE: {"revoke": "sentence", "away": true, "crash": true, "renew": "sentence", "slow": seconds}
    accounts          LIST: numbers of the accounts that are open
    accounts/<n>      READ: {"role", "valid_until"}
    revocations       READ: {"count"}: how often the engine was asked to close an account
"""

import asyncio
from typing import Any

import msgspec

from core.bodies import Duration
from core.engine import EngineContext, Lease, Method, Route
from core.errors import InvalidRequestError, NotFoundError, StoreUnavailableError
from core.protocols import Transaction
from core.requests import NO_CONTENT, LeaseGrant, Operation, Request, Response


class RoleBody(msgspec.Struct):
    ttl: Duration = Duration()
    max_ttl: Duration = Duration()
    renewable: bool = True


class TroubleBody(msgspec.Struct):
    revoke: str = ""  # every revocation fails with this sentence
    renew: str = ""  # every renewal
    away: bool = False  # the target cannot be reached
    crash: bool = False  # an error that nobody raised on purpose
    slow: float = 0.0  # seconds that each revocation takes


class Account(msgspec.Struct):
    role: str
    valid_until: int  # epoch seconds


def create(context: EngineContext) -> "AccountsEngine":
    return AccountsEngine(context)


class AccountsEngine:
    def __init__(self, context: EngineContext) -> None:
        self._storage = context.storage
        self._clock = context.clock
        self._default_ttl = context.mount.default_lease_ttl
        read, update, listing = Operation.READ, Operation.UPDATE, Operation.LIST
        look = Method(handler=self.read_account, mutates=False)
        self.routes = [
            Route(pattern="creds/{role}", methods={read: Method(handler=self.open_account)}, help="A new account."),
            Route(
                pattern="roles/{role}",
                methods={
                    update: Method(handler=self.write_role, body=RoleBody),
                    read: Method(handler=self.read_role, mutates=False),
                },
                help="What a role's leases get.",
            ),
            Route(pattern="trouble", methods={update: Method(handler=self.write_trouble, body=TroubleBody)}),
            Route(pattern="accounts", methods={listing: Method(handler=self.list_accounts, mutates=False)}),
            Route(pattern="accounts/{number}", methods={read: look}),
            Route(pattern="revocations", methods={read: Method(handler=self.count_revocations, mutates=False)}),
        ]

    async def close(self) -> None:
        pass

    # --- routes ---------------------------------------------------------------------------------------------------

    async def open_account(self, request: Request, _body: object) -> Response:
        name = request.params["role"]
        role = await self._role(name)
        until = int(self._clock.now()) + (role.ttl or self._default_ttl)

        async def body(txn: Transaction) -> int:
            entry = await txn.get("last")
            number = int(entry.value) + 1 if entry else 1
            await txn.put("last", str(number).encode())
            await txn.put(f"open/{number}", msgspec.json.encode(Account(name, until)))
            return number

        number = await self._storage.transact(body)
        lease = LeaseGrant(
            ttl=role.ttl, max_ttl=role.max_ttl, renewable=role.renewable, internal={"account": number, "role": name}
        )
        return Response(data={"account": number, "role": name}, lease=lease)

    async def write_role(self, request: Request, body: RoleBody) -> Response:
        await self._storage.put(f"roles/{request.params['role']}", msgspec.json.encode(body))
        return NO_CONTENT

    async def read_role(self, request: Request, _body: object) -> Response:
        return Response(data=msgspec.to_builtins(await self._role(request.params["role"])))

    async def write_trouble(self, _request: Request, body: TroubleBody) -> Response:
        await self._storage.put("trouble", msgspec.json.encode(body))
        return NO_CONTENT

    async def list_accounts(self, _request: Request, _body: object) -> Response:
        numbers = await self._storage.list("open/")
        if not numbers:
            raise NotFoundError("")
        return Response(data={"keys": sorted(numbers, key=int)})

    async def read_account(self, request: Request, _body: object) -> Response:
        entry = await self._storage.get(f"open/{request.params['number']}")
        if entry is None:
            raise NotFoundError("")
        return Response(data=msgspec.json.decode(entry.value))

    async def count_revocations(self, _request: Request, _body: object) -> Response:
        entry = await self._storage.get("revocations")
        return Response(data={"count": int(entry.value) if entry else 0})

    # --- leases ---------------------------------------------------------------------------------------------------

    async def renew_lease(self, lease: Lease, *, increment: int) -> LeaseGrant:
        trouble = await self._load("trouble", TroubleBody)
        if trouble.renew:
            raise InvalidRequestError(trouble.renew)
        role = await self._role(str(lease.internal["role"]))
        ttl = increment or role.ttl
        account = Account(str(lease.internal["role"]), int(self._clock.now()) + ttl)
        await self._storage.put(f"open/{lease.internal['account']}", msgspec.json.encode(account))
        return LeaseGrant(ttl=ttl, max_ttl=role.max_ttl, renewable=role.renewable)

    async def revoke_lease(self, lease: Lease) -> None:
        trouble = await self._load("trouble", TroubleBody)
        await asyncio.sleep(trouble.slow)
        if trouble.away:
            raise StoreUnavailableError("the accounts' database cannot be reached")
        if trouble.revoke:
            raise InvalidRequestError(trouble.revoke)
        if trouble.crash:
            raise ValueError("the password is hunter2")

        async def body(txn: Transaction) -> None:
            entry = await txn.get("revocations")
            await txn.put("revocations", str(int(entry.value) + 1 if entry else 1).encode())
            await txn.delete(f"open/{lease.internal['account']}")

        await self._storage.transact(body)

    # --- inside ---------------------------------------------------------------------------------------------------

    async def _role(self, name: str) -> RoleBody:
        return await self._load(f"roles/{name}", RoleBody)

    async def _load(self, path: str, kind: type[Any]) -> Any:
        entry = await self._storage.get(path)
        return msgspec.json.decode(entry.value, type=kind) if entry else kind()
