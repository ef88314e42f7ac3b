"""A transit mount with signing keys whose private halves the tests know, to be checked by another implementation."""

import base64
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_public_key

from core.protocols import Transaction
from core.secret import Secret
from tests.unit.transit.transit_mount import Mount
from transit.key_types import key_type
from transit.keyring import KeyVersion
from transit.store import existing_keyring, read_version, replace_keyring, write_version

PrivateKey = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)
MESSAGE = b"ship 100 pieces to Turin"


def b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


INPUT = b64(MESSAGE)


def raw(tagged: str) -> bytes:
    """What stands behind `mimir:v<N>:`, in either alphabet."""
    encoded = tagged.rpartition(":")[2]
    return base64.urlsafe_b64decode(encoded.replace("+", "-").replace("/", "_") + "=" * (-len(encoded) % 4))


def tagged(octets: bytes, *, version: int = 1, maker: str = "mimir") -> str:
    return f"{maker}:v{version}:{b64(octets)}"


async def version_row(mount: Mount, version: int = 1) -> KeyVersion:
    return await mount.parts.store.version(await mount.parts.store.open("k"), version)


async def public_key(mount: Mount, version: int = 1) -> Any:
    """Of `k`."""
    octets = (await version_row(mount, version)).public_key
    assert octets is not None
    return load_der_public_key(octets)


async def plant(mount: Mount, type_name: str, key: PrivateKey, *, imported: bool = False) -> None:
    """A key `k` of that type, whose version 1 is a private key of the test."""
    if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        material = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    else:
        material = key.private_bytes_raw()
    await mount.write("keys/k", type="ed25519")
    row = key_type(type_name)
    wrapped = await mount.keys.import_key(row.kind, Secret(material), usage=row.usage)
    keyring = {"type": type_name, "imported": imported, "custody": wrapped.custody}
    await change(mount, keyring=keyring, key=wrapped, public_key=wrapped.public_key)


async def change(mount: Mount, *, keyring: dict[str, Any] | None = None, **members: Any) -> None:
    """Change `k` and its version 1, as an import would."""

    async def write(txn: Transaction) -> None:
        row = await existing_keyring(txn, "k")
        version = msgspec.structs.replace(await read_version(txn, "k", 1, row[0]), **members)
        await write_version(txn, "k", 1, version, new=False)
        await replace_keyring(txn, "k", row, msgspec.structs.replace(row[0], **(keyring or {})))

    await mount.parts.storage.transact(write)


async def valid(mount: Mount, signature: str, **options: Any) -> bool:
    """Whether `k` takes it for the signature of the message."""
    answer = await mount.write("verify/k", **{"input": INPUT, "signature": signature, **options})
    assert set(answer) == {"valid"}
    verdict: bool = answer["valid"]
    return verdict
