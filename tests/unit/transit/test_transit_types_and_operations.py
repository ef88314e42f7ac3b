"""Every operation on a key of every type: it is done, or one sentence says why it is not. Nothing is ever a fault."""

import base64
from typing import Any

import pytest

from core.errors import MimirError
from core.requests import Operation
from tests.unit.transit.transit_mount import Mount

TEXT = base64.b64encode(b"hello").decode()
MADE = "mimir:v1:" + base64.b64encode(bytes(64)).decode()  # by no key

CIPHERS = ("aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305")
CURVES = ("ecdsa-p256", "ecdsa-p384", "ecdsa-p521")
MESSAGES = ("ed25519", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87")
PAIRS = (*CURVES, *MESSAGES, "rsa-2048")
TYPES = (*CIPHERS, *PAIRS, "hmac", "aes256-cmac")
IN_THE_HSM = ("aes128-gcm96", "aes256-gcm96", *CURVES, "rsa-2048", "hmac", "aes256-cmac")  # of the test's custodian

WRITE, READ, DELETE = Operation.UPDATE, Operation.READ, Operation.DELETE
OPERATIONS: dict[str, tuple[Operation, str, dict[str, Any]]] = {
    "encrypt": (WRITE, "encrypt/k", {"plaintext": TEXT}),
    "decrypt": (WRITE, "decrypt/k", {"ciphertext": MADE}),
    "rewrap": (WRITE, "rewrap/k", {"ciphertext": MADE}),
    "datakey": (WRITE, "datakey/wrapped/k", {}),
    "sign": (WRITE, "sign/k", {"input": TEXT}),
    "sign with context": (WRITE, "sign/k", {"input": TEXT, "context": TEXT}),
    "verify": (WRITE, "verify/k", {"input": TEXT, "signature": "mimir:v1:MAYCAQECAQE="}),
    "hmac": (WRITE, "hmac/k", {"input": TEXT}),
    "verify hmac": (WRITE, "verify/k", {"input": TEXT, "hmac": MADE}),
    "hmac by sha3": (WRITE, "hmac/k/sha3-256", {"input": TEXT}),
    "cmac": (WRITE, "cmac/k", {"input": TEXT}),
    "verify cmac": (WRITE, "verify/k", {"input": TEXT, "cmac": MADE}),
    "export": (READ, "export/encryption-key/k", {}),
    "export public": (READ, "export/public-key/k", {}),
    "byok export": (READ, "byok-export/k/k", {}),
    "backup": (READ, "backup/k", {}),
    "csr": (WRITE, "keys/k/csr", {}),
    "import version": (WRITE, "keys/k/import_version", {"ciphertext": TEXT}),
    "rotate": (WRITE, "keys/k/rotate", {}),
    "limit": (WRITE, "keys/k/config", {"max_encryptions": 100}),
}
BATCHES = {name: body for name, (_, _, body) in OPERATIONS.items() if body and name != "limit" and "import" not in name}


async def outcome(mount: Mount, name: str) -> str:
    """ "": it was done; else the sentence. What is no MimirError is a fault, and fails the test."""
    operation, path, body = OPERATIONS[name]
    try:
        await mount.call(operation, path, body)
    except MimirError as exc:
        return exc.sentence
    return ""


def expected(name: str, key_type: str) -> str:
    """A part of the sentence, or nothing."""
    cipher, pair = key_type in CIPHERS, key_type in PAIRS
    encrypts, hsm = cipher or key_type == "rsa-2048", key_type in IN_THE_HSM
    stays = "cannot leave it"
    signs = "" if pair else "does not support signing or verification"
    cmac = "" if key_type == "aes256-cmac" else "does not support CMAC"
    encryption = "" if encrypts else "message encryption not supported"
    decryption = "unable to decrypt" if encrypts else "message decryption not supported"
    return {
        "encrypt": encryption,
        "decrypt": decryption,
        "rewrap": decryption,
        "datakey": encryption,
        "sign": signs,
        "sign with context": signs or "leave it out",
        "verify": signs,
        "hmac": "",
        "verify hmac": "",
        "hmac by sha3": "makes no HMAC with sha3-256" if hsm else "",
        "cmac": cmac,
        "verify cmac": cmac,
        "export": stays if hsm else "private key material is not exportable",
        "export public": "" if pair else "has no public key",
        "byok export": stays if hsm else "key is not exportable",
        "backup": "plaintext backup is disallowed",
        "csr": "" if pair else "does not support signing",
        "import version": "can only be used with an imported key",
        "rotate": "",
        "limit": "" if cipher else "max_encryptions is not valid",
    }[name]


@pytest.mark.parametrize("key_type", TYPES)
async def test_each_operation_is_done_or_says_why_not(mount: Mount, key_type: str) -> None:
    await mount.write("keys/k", type=key_type)
    for name in OPERATIONS:
        said, wanted = await outcome(mount, name), expected(name, key_type)
        assert (wanted in said) if wanted else not said, (name, said)


@pytest.mark.parametrize("key_type", TYPES)
async def test_a_softly_deleted_key_does_nothing(mount: Mount, key_type: str) -> None:
    """Wrong questions may be answered first: they are wrong also when it is restored."""
    await mount.write("keys/k", type=key_type)
    await mount.call(DELETE, "keys/k/soft-delete")
    for name in OPERATIONS:
        if name != "limit":  # a key can be configured meanwhile
            said, wrong = await outcome(mount, name), expected(name, key_type)
            assert "softly deleted" in said or (wrong and wrong in said), (name, said)


@pytest.mark.parametrize("key_type", TYPES)
async def test_batches_are_answered_too(mount: Mount, key_type: str) -> None:
    """Good, bad and absent items together: by item, or by one sentence for a key that cannot at all."""
    await mount.write("keys/k", type=key_type)
    for name, body in BATCHES.items():
        items = [body, {**body, "context": TEXT}, {**body, "associated_data": TEXT}, {**body, "key_version": 9}, body]
        operation, path, _ = OPERATIONS[name]
        try:
            response = await mount.call(operation, path, {"batch_input": items})
        except MimirError as exc:
            assert expected(name, key_type) in exc.sentence  # noqa: PT017 - either way is an answer
            assert expected(name, key_type)
        else:
            assert len((response.data or {})["batch_results"]) == 5


@pytest.mark.parametrize("key_type", PAIRS)
async def test_a_public_key_alone_does_what_needs_no_private_one(mount: Mount, key_type: str) -> None:
    await mount.write("keys/made", type=key_type)
    found = await mount.call(READ, "export/public-key/made", {"format": "pem"})
    await mount.write("keys/k/import", type=key_type, public_key=(found.data or {})["keys"]["1"])
    lacks = {
        "sign": "does not contain a private part",
        "csr": "private key not imported",
        "decrypt": "only the public key",
        "rewrap": "only the public key",
        "rotate": "without allow_rotation",
        "import version": "does not open",
    }
    for name in OPERATIONS:
        said, wanted = await outcome(mount, name), expected(name, key_type)
        if name in lacks and "not supported" not in wanted:
            wanted = lacks[name]
        assert (wanted in said) if wanted else not said, (name, said)
