"""A pki mount on in-memory storage, driven as the pipeline drives it."""

from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from appliance.router import RouteTable
from core.bodies import parse_body
from core.engine import EngineContext, Meter, MountInfo, NoMeter
from core.ids import new_uuid
from core.protocols import KeyKind, KeyUsage
from core.requests import Caller, Identity, Operation, Request, Response
from pki.authority import CaKey, IssuerRow, Urls
from pki.parts import Parts
from pki.plan import Origin, Plan
from pki.routes import create
from pki.store import AuthorityChange
from tests.support.clock import SettableClock
from tests.support.memory_storage import MemoryStorage, memory_storage
from tests.support.software_keys import SoftwareKeys

_WORDS = {operation.word: operation for operation in Operation}


class Granted:
    """An Access that grants what a table says: capabilities by path prefix."""

    def __init__(self, table: Mapping[str, set[str]]) -> None:
        self._table = table

    def allows(self, path: str, *capabilities: str) -> bool:
        return any(
            path.startswith(prefix) and not granted.isdisjoint(capabilities) for prefix, granted in self._table.items()
        )


EVERYTHING = Granted({"": {"read", "list", "scan", "update", "create", "delete", "patch"}})


class Mount:
    """One worker's engine. Two of them over one storage are two workers."""

    def __init__(
        self,
        storage: MemoryStorage | None = None,
        clock: SettableClock | None = None,
        keys: SoftwareKeys | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.storage = storage or memory_storage()
        self.clock = clock or SettableClock()
        self.keys = keys or SoftwareKeys()
        self.view = self.storage.view("logical/u/")
        context = EngineContext(
            mount=MountInfo(uuid="u", accessor="pki_1", type="pki", path="pki/"),
            storage=self.view,
            keys=self.keys,
            clock=self.clock,
            meter=meter or NoMeter(),
        )
        self.engine: Any = create(context)
        self.parts: Parts = self.engine.parts
        self.routes = RouteTable(self.engine.routes)
        self.caller = Caller(accessor="a", display_name="userpass-ann", policies=("p",), entity_id="ann-id")
        self.access: Granted = EVERYTHING
        self.identity: Identity | None = None
        self.headers: dict[str, str] = {}

    def other_worker(self) -> "Mount":
        return Mount(self.storage, self.clock, self.keys)

    async def call(self, operation: str, path: str, data: Any = None, *, body: bytes = b"", **query: str) -> Response:
        """One request; `body` is sent as it stands, `data` as JSON."""
        found = self.routes.find(path)
        assert found is not None, f"no route for {path}"
        route, params = found
        method = route.methods[_WORDS[operation]]
        sent = body or (msgspec.json.encode(data) if data is not None else b"")
        is_json = bool(sent) and not method.takes_bytes
        request = Request(
            request_id="r",
            operation=_WORDS[operation],
            mount_path="pki/",
            path=path,
            params=params,
            query=query,
            data=msgspec.json.decode(sent) if is_json else dict(query),
            body=sent,
            caller=None if route.unauthenticated else self.caller,
            client_address="10.0.0.7",
            headers=self.headers,
        )
        if method.asks_access:
            request.access = self.access
        if method.asks_identity:
            request.identity = self.identity
        return await method.handler(request, parse_body(request.data, method.body))

    async def data(self, operation: str, path: str, data: Any = None, **query: str) -> dict[str, Any]:
        """`data` of the answer."""
        return (await self.call(operation, path, data, **query)).data or {}

    async def seed_root(self, name: str = "root", kind: KeyKind = KeyKind.EC_P256, *, years: int = 10) -> str:
        """A root, made without the routes: for tests of what stands on one. Its issuer id."""
        key = CaKey(key_id=new_uuid(), key=await self.keys.generate_key(kind, usage=KeyUsage.SIGN))
        assert key.key.public_key is not None
        now = int(self.clock.now())
        plan = Plan(
            public_key=key.key.public_key,
            subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
            not_before=now - 30,
            not_after=now + years * 365 * 86400,
            basic_constraints=x509.BasicConstraints(ca=True, path_length=None),
            key_usage=CA_KEY_USAGE,
        )
        made = await self.parts.issuing.self_sign(plan, key.key, Urls(), Origin(way="root"))
        row = IssuerRow(
            issuer_id=new_uuid(),
            name=name,
            key_id=key.key_id,
            certificate=made.certificate.public_bytes(Encoding.DER),
            created_at=now,
        )

        async def add(change: AuthorityChange) -> None:
            await change.put_key(key)
            await change.put_issuer(row)

        await self.parts.store.change_authority(add)
        return row.issuer_id


CA_KEY_USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
