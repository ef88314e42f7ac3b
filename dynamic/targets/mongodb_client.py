"""pymongo's client for an address. It takes certificates from files only, so they are in nameless ones in memory."""

import os
from dataclasses import dataclass, field
from typing import Any

from pymongo import AsyncMongoClient

from dynamic.targets.mongodb_url import Address

_SELECTION_TIMEOUT = 5_000  # milliseconds to find a server that takes writes
_CONNECT_TIMEOUT = 4_000
_REPLY_TIMEOUT = 12_000
_IDLE = 300_000  # milliseconds until an idle connection is closed


@dataclass(slots=True)
class Client:
    """A driver with the files that it may read again when it resolves names."""

    driver: AsyncMongoClient[dict[str, Any]]
    files: list[int] = field(default_factory=list)

    async def close(self) -> None:
        """End it with its background tasks."""
        await self.driver.close()
        while self.files:
            os.close(self.files.pop())


def open_client(address: Address, *, most: int, as_user: tuple[str, str, str] | None = None) -> Client:
    """A client that has not connected yet; `as_user` is another user than the address's: name, password, database."""
    files: list[int] = []
    arguments: dict[str, Any] = {
        "serverSelectionTimeoutMS": _SELECTION_TIMEOUT,
        "connectTimeoutMS": _CONNECT_TIMEOUT,
        "socketTimeoutMS": _REPLY_TIMEOUT,
        "waitQueueTimeoutMS": _REPLY_TIMEOUT,
        "maxPoolSize": most,
        "maxIdleTimeMS": _IDLE,
        "appName": "mimir",
    }
    arguments |= address.options
    arguments |= _credentials(address) if as_user is None else _other_credentials(*as_user)
    if arguments.get("authMechanism") == "DEFAULT":
        del arguments["authMechanism"]
    try:
        if address.ca:
            arguments["tlsCAFile"] = _in_memory(address.ca, files)
        if address.certificate_key:
            arguments["tlsCertificateKeyFile"] = _in_memory(address.certificate_key, files)
        return Client(AsyncMongoClient(address.hosts, connect=False, **arguments), files)
    except BaseException:
        for file in files:
            os.close(file)
        raise


def _credentials(address: Address) -> dict[str, Any]:
    if address.options.get("authMechanism") == "MONGODB-X509":
        return {"username": address.username} if address.username else {}
    return {"username": address.username, "password": address.password, "authSource": address.auth_source}


def _other_credentials(username: str, password: str, database: str) -> dict[str, Any]:
    """By password, however the connection's own user logs in."""
    return {"username": username, "password": password, "authSource": database, "authMechanism": "DEFAULT"}


def _in_memory(pem: str, files: list[int]) -> str:
    """The path of a file that has no name (memfd_create(2)); its descriptor is added to `files`."""
    files.append(os.memfd_create("tls", os.MFD_CLOEXEC))
    os.write(files[-1], f"{pem.strip()}\n".encode())
    return f"/proc/self/fd/{files[-1]}"
