"""A database mount on in-memory storage, driven as the pipeline drives it, with leases as the appliance keeps them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from appliance.password_policies import MountPasswords, PasswordPolicies
from appliance.router import RouteTable
from core.bodies import parse_body
from core.engine import EngineContext, Lease, MountInfo
from core.errors import InvalidRequestError, MimirError
from core.requests import Caller, Operation, Request, Response
from dynamic.parts import Parts
from dynamic.routes import create
from tests.support.clock import SettableClock
from tests.support.memory_storage import MemoryStorage, memory_storage
from tests.support.software_keys import SoftwareKeys

_WORDS = {operation.word: operation for operation in Operation}


class Book:
    """A LeaseBook: leases by id, shared by all workers of a test."""

    def __init__(self) -> None:
        self.leases: dict[str, Lease] = {}
        self.engine: Any = None

    async def page(self, *, after: str = "", limit: int = 500) -> tuple[list[Lease], str]:
        names = [name for name in sorted(self.leases) if name > after][:limit]
        return [self.leases[name] for name in names], names[-1] if len(names) == limit else ""

    async def revoke(self, lease_id: str) -> bool:
        lease = self.leases.get(lease_id)
        if lease is None:
            return False
        await self.engine.revoke_lease(lease)
        del self.leases[lease_id]
        return True


class Places:
    """A Deposits with one kv mount, secret/; what was left there."""

    def __init__(self) -> None:
        self.left: list[tuple[str, dict[str, str], str]] = []
        self.trouble: MimirError | None = None

    def place_of(self, path: str) -> str:
        if not path.startswith("secret/"):
            raise InvalidRequestError("there is no kv engine of version 2 there")
        return "secret/data/" + path.removeprefix("secret/")

    async def write(self, path: str, data: Mapping[str, str], *, by: str) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.left.append((path, dict(data), by))


class Granted:
    """An Access that grants everything, or all but other mounts."""

    def __init__(self, *, elsewhere: bool = True) -> None:
        self._elsewhere = elsewhere

    def allows(self, path: str, *capabilities: str) -> bool:
        return True

    def allows_elsewhere(self, path: str, *capabilities: str) -> bool:
        return self._elsewhere


class Mount:
    """One worker's engine. Two of them over one storage are two workers."""

    def __init__(
        self,
        storage: MemoryStorage | None = None,
        clock: SettableClock | None = None,
        book: Book | None = None,
        places: Places | None = None,
        *,
        max_lease_ttl: int = 2764800,
    ) -> None:
        self.storage = storage or memory_storage()
        self.clock = clock or SettableClock()
        self.book = book or Book()
        self.places = places or Places()
        self.access = Granted()
        self.view = self.storage.view("logical/u/")
        self.engine: Any = create(
            EngineContext(
                mount=MountInfo(
                    uuid="u", accessor="database_1", type="database", path="database/", max_lease_ttl=max_lease_ttl
                ),
                storage=self.view,
                keys=SoftwareKeys(),
                clock=self.clock,
                passwords=MountPasswords(PasswordPolicies(self.storage), "root"),
                leases=self.book,
                deposits=self.places,
            )
        )
        self.book.engine = self.book.engine or self.engine
        self.parts: Parts = self.engine.parts
        self.routes = RouteTable(self.engine.routes)
        self.caller = Caller(accessor="a", display_name="userpass-ann", policies=("p",), entity_id="ann-id")

    def other_worker(self) -> "Mount":
        return Mount(self.storage, self.clock, self.book, self.places)

    async def call(self, operation: str, path: str, data: Any = None, **query: str) -> Response:
        """One request."""
        found = self.routes.find(path)
        assert found is not None, f"no route for {path}"
        route, params = found
        method = route.methods[_WORDS[operation]]
        sent = msgspec.json.encode(data) if data is not None else b""
        request = Request(
            request_id="r",
            operation=_WORDS[operation],
            mount_path="database/",
            path=path,
            params=params,
            query=query,
            data=msgspec.json.decode(sent) if sent else dict(query),
            body=sent,
            caller=self.caller,
            access=self.access if method.asks_access else None,
        )
        return await method.handler(request, parse_body(request.data, method.body))

    async def data(self, operation: str, path: str, data: Any = None, **query: str) -> dict[str, Any]:
        """`data` of the answer."""
        return (await self.call(operation, path, data, **query)).data or {}

    async def lease(self, role: str, *, stored: bool = True) -> Lease:
        """Credentials of a role, with their lease; the password is in `password_of`."""
        response = await self.call("read", f"creds/{role}")
        grant = response.lease
        assert grant is not None
        assert response.data is not None
        lease = Lease(
            lease_id=f"database/creds/{role}/{len(self.book.leases):06d}",
            path=f"creds/{role}",
            internal=grant.internal,
            issued_at=int(self.clock.now()),
            ttl=grant.ttl,
            max_ttl=grant.max_ttl,
        )
        self.passwords[response.data["username"]] = response.data["password"]
        if stored:
            if grant.stored is not None:
                await self.view.transact(grant.stored)
            self.book.leases[lease.lease_id] = lease
        return lease

    @property
    def passwords(self) -> dict[str, str]:
        """Of the accounts that were made through this object."""
        return self.__dict__.setdefault("_passwords", {})

    async def close(self) -> None:
        await self.engine.close()
