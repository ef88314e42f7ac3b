"""A login method's mount on in-memory storage, driven as the pipeline drives it."""

from typing import Any

from appliance.router import RouteTable
from auth.approle.routes import create
from auth.userpass.engine import UserpassEngine
from auth.userpass.passwords import Argon2Parameters, HashingThreads, Passwords
from auth.userpass.routes import UserpassRoutes
from core.bodies import parse_body
from core.engine import Engine, EngineContext, MountInfo
from core.requests import Login, Operation, Request, Response
from tests.support.clock import SettableClock
from tests.support.memory_storage import MemoryStorage, memory_storage
from tests.support.software_keys import SoftwareKeys

MAX_LEASE_TTL = 2764800


class LoginMount:
    """One worker's engine. Two of them over one storage are two workers."""

    kind = ""

    def __init__(self, storage: MemoryStorage | None = None, clock: SettableClock | None = None) -> None:
        self.storage = storage or memory_storage()
        self.clock = clock or SettableClock()
        context = EngineContext(
            mount=MountInfo(uuid="u", accessor=f"{self.kind}_1", type=self.kind, path=f"auth/{self.kind}/"),
            storage=self.storage.view("logical/u/"),
            keys=SoftwareKeys(),
            clock=self.clock,
        )
        self.engine: Any = self.make(context)
        self._table = RouteTable(self.engine.routes)

    def make(self, context: EngineContext) -> Engine:
        raise NotImplementedError

    def other_worker(self) -> Any:
        return type(self)(self.storage, self.clock)

    async def call(
        self, operation: Operation, path: str, data: dict[str, Any] | None = None, *, address: str = "", **query: str
    ) -> Response:
        """One request; an UPDATE of what is absent becomes CREATE where the route asks for that."""
        found = self._table.find(path)
        assert found is not None, path
        route, params = found
        request = Request(
            request_id="r",
            operation=operation,
            mount_path=f"auth/{self.kind}/",
            path=path,
            params=params,
            query=query,
            data=data or {},
            client_address=address,
        )
        if operation is Operation.UPDATE and route.exists is not None and not await route.exists(request):
            request.operation = Operation.CREATE
        method = route.methods[request.operation]
        return await method.handler(request, parse_body(data or {}, method.body))

    async def write(self, path: str, data: dict[str, Any] | None = None, **more: Any) -> Response:
        return await self.call(Operation.UPDATE, path, {**(data or {}), **more})

    async def read(self, path: str) -> dict[str, Any]:
        return (await self.call(Operation.READ, path)).data or {}

    async def list(self, path: str, **query: str) -> list[str]:
        return (await self.call(Operation.LIST, path, **query)).data["keys"]

    async def delete(self, path: str, data: dict[str, Any] | None = None) -> Response:
        return await self.call(Operation.DELETE, path, data)


class ApproleMount(LoginMount):
    kind = "approle"

    def make(self, context: EngineContext) -> Engine:
        return create(context)

    async def role(self, name: str = "web", **fields: Any) -> str:
        """Make a role; its id."""
        await self.write(f"role/{name}", fields)
        return (await self.read(f"role/{name}/role-id"))["role_id"]

    async def secret_id(self, name: str = "web", **fields: Any) -> str:
        return (await self.write(f"role/{name}/secret-id", fields)).data["secret_id"]

    async def login(self, role_id: str, secret_id: str = "", *, address: str = "") -> Login:
        body = {"role_id": role_id, "secret_id": secret_id}
        response = await self.call(Operation.UPDATE, "login", body, address=address)
        assert response.login is not None
        return response.login


CHEAP = Argon2Parameters(time_cost=1, memory_cost=8)


class UserpassMount(LoginMount):
    kind = "userpass"
    threads = HashingThreads()
    parameters = CHEAP

    def make(self, context: EngineContext) -> Engine:
        passwords = Passwords(self.threads, self.parameters)
        return UserpassRoutes(UserpassEngine(context.storage, context.mount, passwords))

    async def user(self, name: str = "bob", **fields: Any) -> None:
        await self.write(f"users/{name}", {"password": "builder", **fields})

    async def login(self, name: str, password: str, *, address: str = "") -> Login:
        response = await self.call(Operation.UPDATE, f"login/{name}", {"password": password}, address=address)
        assert response.login is not None
        return response.login
