"""MongoDB's wire protocol by mockupdb, with users behind it: no MongoDB server is packaged for Debian or PyPI.

It imitates what the plugin needs as MongoDB's manual describes it (SCRAM-SHA-256, user management, who may what), so it
proves the protocol and our side of it, and not MongoDB. With MIMIR_TEST_MONGODB_URL the same tests run against a real
server, as an administrator that the URL names (mongodb://root:password@host:27017).
"""

import base64
import hashlib
import hmac
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import pytest
from mockupdb import MockupDB, OpMsg

ADMIN, ADMIN_PASSWORD = "admin", "admin's password"
_ROLES = {"read", "readWrite", "dbAdmin", "userAdmin"}
_ADMIN_ROLES = _ROLES | {"root", "userAdminAnyDatabase", "readAnyDatabase", "hostManager"}
_OPEN = {"hello", "ismaster", "isMaster", "ping", "saslStart", "saslContinue", "endSessions", "buildInfo"}
_ITERATIONS = 4096  # the fewest that pymongo takes

Document = dict[str, Any]


class RefusedError(Exception):
    """An error that MongoDB answers: its code, name and text."""

    def __init__(self, code: int, name: str, text: str) -> None:
        super().__init__(text)
        self.reply = {"ok": 0, "code": code, "codeName": name, "errmsg": text}


@dataclass
class User:
    """As admin.system.users holds it."""

    name: str
    db: str
    roles: list[Document]
    salt: bytes = b""
    salted: bytes = b""

    def set_password(self, password: str) -> None:
        self.salt = os.urandom(28)
        self.salted = hashlib.pbkdf2_hmac("sha256", password.encode(), self.salt, _ITERATIONS)

    def may(self, role: str, db: str) -> bool:
        return any(one in ({"role": role, "db": db}, {"role": "root", "db": "admin"}) for one in self.roles)

    @property
    def shown(self) -> Document:
        return {"_id": f"{self.db}.{self.name}", "user": self.name, "db": self.db, "roles": self.roles}


@dataclass
class _Session:
    """One connection."""

    user: User | None = None
    scram: "Scram | None" = None


class Scram:
    """The server's side of SCRAM-SHA-256 (RFC 5802, section 5; RFC 7677)."""

    def __init__(self, users: dict[tuple[str, str], User], db: str, payload: bytes) -> None:
        self._first = payload.decode().removeprefix("n,,")
        parts = dict(part.split("=", 1) for part in self._first.split(","))
        name = parts["n"].replace("=2C", ",").replace("=3D", "=")
        self.user = users.get((db, name))
        salt = self.user.salt if self.user else os.urandom(28)
        self._nonce = parts["r"] + base64.b64encode(os.urandom(18)).decode()
        self.challenge = f"r={self._nonce},s={base64.b64encode(salt).decode()},i={_ITERATIONS}"

    def finish(self, payload: bytes) -> str:
        """The server's signature. Raises AuthenticationFailed."""
        without_proof, _, proof = payload.decode().rpartition(",p=")
        message = f"{self._first},{self.challenge},{without_proof}".encode()
        if self.user is None or f"r={self._nonce}" not in without_proof:
            raise RefusedError(18, "AuthenticationFailed", "Authentication failed.")
        client_key = hmac.digest(self.user.salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
        wanted = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        if not hmac.compare_digest(wanted, base64.b64decode(proof)):
            raise RefusedError(18, "AuthenticationFailed", "Authentication failed.")
        server = hmac.digest(hmac.digest(self.user.salted, b"Server Key", "sha256"), message, "sha256")
        return f"v={base64.b64encode(server).decode()}"


@dataclass
class ImitatedMongo:
    """Users, and what each connection may."""

    users: dict[tuple[str, str], User] = field(default_factory=dict)
    killed: list[Document] = field(default_factory=list)  # what killAllSessions was asked
    write_concerns: list[Document] = field(default_factory=list)
    faults: list[Callable[[Document], Document | None]] = field(default_factory=list)  # replies for one test

    def __post_init__(self) -> None:
        self._sessions: dict[int, _Session] = {}
        self._lock = threading.Lock()
        self._add("admin", ADMIN, ADMIN_PASSWORD, ["root"])
        self._server = cast("Any", MockupDB)(request_timeout=60)  # it has no types
        self._server.autoresponds(self._answer)
        self._server.run()
        self.port = int(self._server.port)

    def stop(self) -> None:
        self._server.stop()

    def reset(self, root: str, password: str) -> None:
        """Nobody is left but the administrator, and `root`, who may do everything."""
        with self._lock:
            kept = {place: user for place, user in self.users.items() if user.name == ADMIN}
            self.users.clear()
            self.users.update(kept)
            self.faults.clear()
            self._add("admin", root, password, ["root"])

    # --- the wire -------------------------------------------------------------------------------------------------

    def _answer(self, request: Any) -> bool:
        command = dict(request.doc)
        name = next(iter(command))
        with self._lock:
            session = self._sessions.setdefault(request.client_port, _Session())
            if name in {"hello", "ismaster", "isMaster"} and "client" in command:
                self._sessions[request.client_port] = session = _Session()  # a new connection on an old port
            try:
                reply = self._faulty(command) or {"ok": 1} | self._done(session, name, command)
            except RefusedError as exc:
                reply = exc.reply
        if reply.get("hang up"):
            request.hangup()
        elif isinstance(request, OpMsg) and request.flags & 2:
            pass  # moreToCome: nobody waits
        else:
            request.replies(reply)
        return True

    def _faulty(self, command: Document) -> Document | None:
        for fault in list(self.faults):
            if (reply := fault(command)) is not None:
                self.faults.remove(fault)
                return reply
        return None

    def _done(self, session: _Session, name: str, command: Document) -> Document:
        db = command.get("$db", "admin")
        if name not in _OPEN:
            user = session.user
            if user is None or self.users.get((user.db, user.name)) is not user:
                raise RefusedError(13, "Unauthorized", f"Command {name} requires authentication")
        handler = getattr(self, f"_do_{name.lower()}", None)
        if handler is None:
            raise RefusedError(59, "CommandNotFound", f"no such command: '{name}'")
        found: Document = handler(session, db, command)
        return found

    # --- commands -------------------------------------------------------------------------------------------------

    def _do_hello(self, _session: _Session, _db: str, command: Document) -> Document:
        found: Document = {
            "ismaster": True,
            "isWritablePrimary": True,
            "helloOk": True,
            "maxBsonObjectSize": 16777216,
            "maxMessageSizeBytes": 48000000,
            "maxWriteBatchSize": 100000,
            "minWireVersion": 0,
            "maxWireVersion": 21,
        }
        if "saslSupportedMechs" in command:
            found["saslSupportedMechs"] = ["SCRAM-SHA-256"]
        return found

    _do_ismaster = _do_hello

    def _do_ping(self, _session: _Session, _db: str, _command: Document) -> Document:
        return {}

    _do_endsessions = _do_ping

    def _do_saslstart(self, session: _Session, db: str, command: Document) -> Document:
        if command["mechanism"] != "SCRAM-SHA-256":
            raise RefusedError(334, "MechanismUnavailable", "Unsupported mechanism")
        session.scram = Scram(self.users, db, bytes(command["payload"]))
        return {"conversationId": 1, "done": False, "payload": session.scram.challenge.encode()}

    def _do_saslcontinue(self, session: _Session, _db: str, command: Document) -> Document:
        if session.scram is None:
            raise RefusedError(17, "ProtocolError", "No SASL session state found")
        payload = bytes(command["payload"])
        if not payload:
            return {"conversationId": 1, "done": True, "payload": b""}
        signature = session.scram.finish(payload)
        session.user = session.scram.user
        return {"conversationId": 1, "done": True, "payload": signature.encode()}

    def _do_createuser(self, session: _Session, db: str, command: Document) -> Document:
        self._check(session, "userAdmin", db, "createUser")
        self.write_concerns.append(command["writeConcern"])
        name = command["createUser"]
        if (db, name) in self.users:
            raise RefusedError(51003, "Location51003", f'User "{name}@{db}" already exists')
        self._add(db, name, command["pwd"], command["roles"])
        return {}

    def _do_updateuser(self, session: _Session, db: str, command: Document) -> Document:
        self._check(session, "userAdmin", db, "updateUser")
        self._found(db, command["updateUser"]).set_password(command["pwd"])
        return {}

    def _do_dropuser(self, session: _Session, db: str, command: Document) -> Document:
        self._check(session, "userAdmin", db, "dropUser")
        user = self._found(db, command["dropUser"])
        del self.users[user.db, user.name]
        return {}

    def _do_usersinfo(self, session: _Session, _db: str, command: Document) -> Document:
        self._check(session, "userAdminAnyDatabase", "admin", "usersInfo")
        if command["usersInfo"] != {"forAllDBs": True}:
            raise RefusedError(2, "BadValue", "this imitation knows forAllDBs only")
        wanted = command["filter"]["user"]
        pattern = wanted["$regex"] if isinstance(wanted, dict) else f"^{re.escape(wanted)}$"
        found = [user.shown for user in self.users.values() if re.search(pattern, user.name)]
        return {"users": found}

    def _do_killallsessions(self, session: _Session, _db: str, command: Document) -> Document:
        self._check(session, "hostManager", "admin", "killAllSessions")
        self.killed += command["killAllSessions"]
        return {}

    def _do_find(self, session: _Session, db: str, command: Document) -> Document:
        if not (session.user and session.user.may("readWrite", db)):
            self._check(session, "read", db, "find")
        return {"cursor": {"firstBatch": [], "id": 0, "ns": f"{db}.{command['find']}"}}

    def _do_insert(self, session: _Session, db: str, _command: Document) -> Document:
        self._check(session, "readWrite", db, "insert")
        return {"n": 1}

    # --- inside ---------------------------------------------------------------------------------------------------

    def _check(self, session: _Session, role: str, db: str, name: str) -> None:
        if not (session.user and session.user.may(role, db)):
            raise RefusedError(13, "Unauthorized", f"not authorized on {db} to execute command {{ {name}: … }}")

    def _found(self, db: str, name: str) -> User:
        if (db, name) not in self.users:
            raise RefusedError(11, "UserNotFound", f"User '{name}@{db}' not found")
        return self.users[db, name]

    def _add(self, db: str, name: str, password: str, roles: list[Any]) -> None:
        given = [{"role": one, "db": db} if isinstance(one, str) else dict(one) for one in roles]
        for one in given:
            if one["role"] not in (_ADMIN_ROLES if one["db"] == "admin" else _ROLES):
                raise RefusedError(31, "RoleNotFound", f"Could not find role: {one['role']}@{one['db']}")
        user = User(name, db, given)
        user.set_password(password)
        self.users[db, name] = user


@dataclass(frozen=True)
class Mongo:
    """A server that tests may use: the imitation, or a real one."""

    address: str  # 127.0.0.1:27017
    admin: str
    password: str = field(repr=False)
    imitation: ImitatedMongo | None = None


@pytest.fixture(scope="session")
def mongo() -> Iterator[Mongo]:
    """The session's server."""
    if url := os.environ.get("MIMIR_TEST_MONGODB_URL"):
        parts = urlsplit(url)
        yield Mongo(parts.netloc.rpartition("@")[2], unquote(parts.username or ""), unquote(parts.password or ""))
        return
    imitation = ImitatedMongo()
    yield Mongo(f"localhost:{imitation.port}", ADMIN, ADMIN_PASSWORD, imitation)
    imitation.stop()
