"""Published vectors, run inside the token with imported session keys. Origins: tests/vectors/hsm/SOURCES.md."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_unwrap_with_padding, aes_key_wrap
from pkcs11.constants import Attribute
from pkcs11.mechanisms import Mechanism

from core.errors import CiphertextError
from core.protocols import AeadInput, KeyKind, KeyUsage
from pkcs11_glue import templates
from pkcs11_glue.macs import mac_method

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "hsm"


def load(name):
    rows = json.loads((VECTORS / name).read_text())
    assert rows, f"{name} holds no vectors"
    return rows


def kind_of(key):
    return {16: KeyKind.AES_128, 32: KeyKind.AES_256}[len(key)]


@pytest.fixture
def operations(hsm):
    return hsm._link.connection.operations


@pytest.mark.parametrize("row", load("aes_gcm.json"), ids=lambda row: str(row["case"]))
async def test_aes_gcm(operations, row):
    v = {name: bytes.fromhex(value) for name, value in row.items() if name != "case"}
    key = operations.session.create(templates.imported_secret(kind_of(v["key"]), v["key"], KeyUsage.ENCRYPT))
    sealed = v["ciphertext"] + v["tag"]
    assert operations.encrypt_with_nonce(key, v["nonce"], v["plaintext"], v["associated_data"]) == sealed
    assert operations.decrypt(key, [AeadInput(v["nonce"] + sealed, v["associated_data"])]) == [v["plaintext"]]
    (refused,) = operations.decrypt(key, [AeadInput(v["nonce"] + sealed, v["associated_data"] + b"x")])
    assert isinstance(refused, CiphertextError)


@pytest.mark.parametrize("row", load("aes_key_wrap.json"), ids=lambda row: row["section"])
async def test_aes_key_wrap_is_rfc_3394(operations, row):
    kek, key, wrapped = (bytes.fromhex(row[name]) for name in ("kek", "key", "wrapped"))
    session = operations.session
    wrapper = session.create(templates.throwaway_wrapper(kek))
    inner = session.create(templates.imported_secret(kind_of(key), key, KeyUsage.ENCRYPT, extractable=True))
    assert session.wrap(Mechanism.AES_KEY_WRAP, wrapper, inner) == wrapped
    assert session.wrap(Mechanism.AES_KEY_WRAP_PAD, wrapper, inner) != wrapped
    assert aes_key_unwrap_with_padding(kek, session.wrap(Mechanism.AES_KEY_WRAP_PAD, wrapper, inner)) == key


async def test_a_blob_made_in_software_unwraps_in_the_token(operations):
    """RFC 3394 both ways: what escrow recovery will depend on."""
    session, kek, value = operations.session, bytes(range(32)), bytes(range(32, 64))
    template = templates.throwaway_wrapper(kek) | {Attribute.UNWRAP: True}
    unwrapper = session.create(template)
    working = templates.working(KeyKind.AES_256, KeyUsage.ENCRYPT)
    handle = session.unwrap(Mechanism.AES_KEY_WRAP, unwrapper, aes_key_wrap(kek, value), working)
    known = session.create(templates.imported_secret(KeyKind.AES_256, value, KeyUsage.ENCRYPT))
    one, other = (operations.encrypt_with_nonce(k, bytes(12), b"same", b"") for k in (handle, known))
    assert one == other


async def test_a_generated_key_wraps_as_rfc_3394(operations):
    session, kek = operations.session, bytes(range(32))
    wrapper = session.create(templates.throwaway_wrapper(kek))
    newborn = session.generate_secret(Mechanism.AES_KEY_GEN, templates.newborn_secret(KeyKind.AES_256))
    assert len(aes_key_unwrap(kek, session.wrap(Mechanism.AES_KEY_WRAP, wrapper, newborn))) == 32


@pytest.mark.parametrize("row", load("hmac.json"), ids=lambda row: f"{row['case']}-{row['hash']}")
async def test_hmac_is_rfc_4231(operations, row):
    key = bytes.fromhex(row["key"])
    handle = operations.session.create(templates.imported_secret(KeyKind.HMAC, key, KeyUsage.MAC))
    (mac,) = operations.mac(handle, [bytes.fromhex(row["message"])], mac_method(KeyKind.HMAC, row["hash"]))
    assert mac.hex() == row["mac"]
