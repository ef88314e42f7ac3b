"""Published vectors through the whole appliance: keys are brought in under the wrapping key, then used over HTTP.

A selection of what tests/hsm/published runs at the custodian. Origins: tests/vectors/SOURCES.md.
"""

import base64
import hmac
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_pem_public_key,
)
from hvac.exceptions import InvalidRequest

from tests.support.appliance import Appliance
from tests.vectors import keys, published
from tests.vectors.published import bytes_or_text, unhex

CUSTODIES = ("hsm", "sealed")
EPHEMERAL = bytes(range(32))
OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


def b64(data):
    return base64.b64encode(data).decode()


def unb64(prefixed):
    return base64.b64decode(prefixed.rsplit(":", 1)[1], validate=True)


class Transit:
    """What the tests ask of one appliance; every imported key has a name of its own."""

    def __init__(self, client):
        self.client = client
        pem = client.read("transit/wrapping_key")["data"]["public_key"]
        self._wrapping_key = load_pem_public_key(pem.encode())
        self._sealed_ephemeral = {}
        self._number = 0

    def call(self, path, **body):
        return self.client.write_data(f"transit/{path}", data=body)["data"]

    def import_wrapped(self, ephemeral, wrapped, **body):
        """`wrapped` is the key under AES-KWP, as it is sent."""
        if ephemeral not in self._sealed_ephemeral:
            self._sealed_ephemeral[ephemeral] = self._wrapping_key.encrypt(ephemeral, OAEP)
        self._number += 1
        name = f"published-{self._number}"
        ciphertext = b64(self._sealed_ephemeral[ephemeral] + wrapped)
        self.client.write_data(
            f"transit/keys/{name}/import", data={"ciphertext": ciphertext, "hash_function": "SHA256", **body}
        )
        return name

    def import_key(self, material, key_type, custody):
        name = self.import_wrapped(
            EPHEMERAL, aes_key_wrap_with_padding(EPHEMERAL, material), type=key_type, custody=custody
        )
        return name, self.client.read(f"transit/keys/{name}")["data"]

    def imported(self, material, key_type, custody):
        name, read = self.import_key(material, key_type, custody)
        assert read["custody"] == custody
        assert read["type"] == key_type
        return name

    def import_public_key(self, public, key_type):
        self._number += 1
        name = f"published-{self._number}"
        self.client.write_data(f"transit/keys/{name}/import", data={"public_key": public, "type": key_type})
        return name


@pytest.fixture(scope="module")
def transit(tmp_path_factory):
    server = Appliance(tmp_path_factory.mktemp("published") / "data").start()
    client = server.client()
    client.sys.enable_secrets_engine("transit")
    yield Transit(client)
    assert server.stop() == 0


# --- import: AES-KWP itself ------------------------------------------------------------------------------------------


def test_import_unwraps_and_refuses_as_nist_s_key_wrap_vectors(transit):
    """The key inside shows itself by its HMAC. An HMAC key has 32 to 512 bytes, so the shorter vectors are left out."""
    refused = 0
    path = "keywrap/kwtestvectors/KWP_AD_256.txt"
    rows = published.rows(path, begins="count", count=500)
    rows = published.expect([row for row in rows if row["plaintext length"] == "4096"], 100, path=path)
    for row in published.every(4, rows):
        kek, wrapped = unhex(row, "k", "c")
        if "fail" in row:
            refused += 1
            with pytest.raises(InvalidRequest):
                transit.import_wrapped(kek, wrapped, type="hmac")
            continue
        name = transit.import_wrapped(kek, wrapped, type="hmac")
        mac = transit.call(f"hmac/{name}/sha2-256", input=b64(b"which key is it?"))["hmac"]
        assert unb64(mac) == hmac.digest(bytes.fromhex(row["p"]), b"which key is it?", "sha256")
    assert refused > 2


# --- ciphers ---------------------------------------------------------------------------------------------------------


def check_cipher(transit, name, vector, *, fails=False):
    nonce, plaintext, data, ciphertext, tag = vector
    body = {"ciphertext": "vault:v1:" + b64(nonce + ciphertext + tag), "associated_data": b64(data)}
    if fails:
        with pytest.raises(InvalidRequest):
            transit.call(f"decrypt/{name}", **body)
    else:
        assert transit.call(f"decrypt/{name}", **body)["plaintext"] == b64(plaintext)


@pytest.mark.parametrize("custody", CUSTODIES)
@pytest.mark.parametrize("bits", [128, 256])
def test_aes_gcm_decrypts_and_refuses_as_published(transit, bits, custody):
    path = f"ciphers/AES/GCM/gcmDecrypt{bits}.rsp"
    rows = published.rows(path, begins="count", count=7875)
    rows = published.expect([r for r in rows if (r["ivlen"], r["taglen"]) == ("96", "128")], 375, path=path)
    seen = set()
    for row in published.every(23, rows):
        key, nonce, data, ciphertext, tag = unhex(row, "key", "iv", "aad", "ct", "tag")
        name = transit.imported(key, f"aes{bits}-gcm96", custody)
        seen.add("fail" in row)
        plaintext = bytes.fromhex(row.get("pt", ""))
        check_cipher(transit, name, (nonce, plaintext, data, ciphertext, tag), fails="fail" in row)
        made = unb64(transit.call(f"encrypt/{name}", plaintext=b64(b"ours"), associated_data=b64(data))["ciphertext"])
        assert AESGCM(key).decrypt(made[:12], made[12:], data) == b"ours"
    assert seen == {True, False}


def test_chacha20_poly1305_decrypts_as_published(transit):
    rows = published.rows("ciphers/ChaCha20Poly1305/boringssl.txt", begins="count", count=66)
    for row in published.every(9, rows):
        key, nonce, tag = unhex(row, "key", "nonce", "tag")
        plaintext, data, ciphertext = (bytes_or_text(row[name]) for name in ("in", "ad", "ct"))
        name = transit.imported(key, "chacha20-poly1305", "sealed")
        check_cipher(transit, name, (nonce, plaintext, data, ciphertext, tag))
        check_cipher(transit, name, (nonce, plaintext, data + b"x", ciphertext, tag), fails=True)


def test_xchacha20_poly1305_decrypts_as_the_draft(transit):
    rows = json.loads((Path(__file__).parents[1] / "vectors" / "xchacha20_poly1305.json").read_text())
    assert rows
    for row in rows:
        vector = unhex(row, "nonce", "plaintext", "associated_data", "ciphertext", "tag")
        name = transit.imported(bytes.fromhex(row["key"]), "xchacha20-poly1305", "sealed")
        check_cipher(transit, name, vector)
        check_cipher(transit, name, (*vector[:-1], bytes(16)), fails=True)


@pytest.mark.parametrize("custody", CUSTODIES)
def test_oaep_decrypts_as_published(transit, custody):
    examples = published.rsa_examples("asymmetric/RSA/oaep-custom/oaep-sha256-sha256.txt", begins="message", count=60)
    for key in published.every(5, examples):
        material = keys.rsa_private(*key.primes, key.exponent).expose()
        name = transit.imported(material, "rsa-2048", custody)
        for example in key.examples:
            ciphertext = "vault:v1:" + b64(example["encryption"])
            assert transit.call(f"decrypt/{name}", ciphertext=ciphertext)["plaintext"] == b64(example["message"])
        with pytest.raises(InvalidRequest):
            transit.call(f"decrypt/{name}", ciphertext="vault:v1:" + b64(bytes(256)))


# --- signatures ------------------------------------------------------------------------------------------------------


def ecdsa_rows(file, curve):
    sections = [f"{curve},SHA-{size}" for size in (256, 384, 512)]
    rows = published.rows(f"asymmetric/ECDSA/FIPS_186-3/{file}", begins="msg", count=45, names=sections)
    for row in rows:
        row["hash"] = "sha2-" + row["section"].rsplit("-", 1)[1]
        row["signature"] = encode_dss_signature(int(row["r"], 16), int(row["s"], 16))
    return rows


@pytest.mark.parametrize("custody", CUSTODIES)
@pytest.mark.parametrize("curve", keys.CURVES)
def test_an_imported_ecdsa_key_verifies_the_published_signature_and_signs(transit, curve, custody):
    key_type = "ecdsa-" + curve.lower().replace("-", "")
    for row in published.every(11, ecdsa_rows("SigGen.txt", curve)):
        private = load_der_private_key(keys.ec_private(curve, int(row["d"], 16)).expose(), None)
        name = transit.imported(keys.pkcs8(private).expose(), key_type, custody)
        path, message = f"{name}/{row['hash']}", b64(bytes.fromhex(row["msg"]))
        published_signature = "vault:v1:" + b64(row["signature"])
        assert transit.call(f"verify/{path}", input=message, signature=published_signature)["valid"] is True
        assert transit.call(f"verify/{path}", input=b64(b"other"), signature=published_signature)["valid"] is False
        made = unb64(transit.call(f"sign/{path}", input=message)["signature"])
        hash_name = row["hash"].replace("2-", "").upper()
        private.public_key().verify(made, bytes.fromhex(row["msg"]), ec.ECDSA(getattr(hashes, hash_name)()))


def test_an_imported_public_key_verifies_as_fips_186_says(transit):
    seen = set()
    for row in ecdsa_rows("SigVer.rsp", "P-256"):
        try:
            der = keys.ec_public("P-256", int(row["qx"], 16), int(row["qy"], 16))
        except ValueError:  # the vector's public key is not on the curve
            continue
        name = transit.import_public_key(keys.pem(der), "ecdsa-p256")
        message, signature = b64(bytes.fromhex(row["msg"])), "vault:v1:" + b64(row["signature"])
        answer = transit.call(f"verify/{name}/{row['hash']}", input=message, signature=signature)
        assert answer["valid"] is row["result"].startswith("P")
        seen.add(answer["valid"])
    assert seen == {True, False}


@pytest.mark.parametrize("custody", CUSTODIES)
def test_pkcs1v15_signatures_are_the_published_bytes(transit, custody):
    examples = published.rsa_examples(
        "asymmetric/RSA/pkcs1v15sign-vectors.txt", begins="message to be signed", count=300
    )
    (key,) = [key for key in examples if key.modulus.bit_length() == 2048]
    name = transit.imported(keys.rsa_private(*key.primes, key.exponent).expose(), "rsa-2048", custody)
    for example in key.examples:
        made = transit.call(
            f"sign/{name}/sha1", input=b64(example["message to be signed"]), signature_algorithm="pkcs1v15"
        )
        assert unb64(made["signature"]) == example["signature"]


@pytest.mark.parametrize("custody", CUSTODIES)
def test_pss_signatures_verify_as_published(transit, custody):
    examples = published.rsa_examples(
        "asymmetric/RSA/pkcs-1v2-1d2-vec/pss-vect.txt", begins="message to be signed", count=60
    )
    (key,) = [key for key in examples if key.modulus.bit_length() == 2048]
    name = transit.imported(keys.rsa_private(*key.primes, key.exponent).expose(), "rsa-2048", custody)
    for example in key.examples:
        body = {"input": b64(example["message to be signed"]), "signature_algorithm": "pss"}
        signature = example["signature"]
        altered = signature[:-1] + bytes([signature[-1] ^ 1])
        for candidate, valid in ((signature, True), (altered, False), (signature + b"\0", False)):
            answer = transit.call(f"verify/{name}/sha1", signature="vault:v1:" + b64(candidate), **body)
            assert answer["valid"] is valid


def test_ed25519_signatures_are_the_published_bytes(transit):
    for vector in published.ed25519(count=1024)[::64]:
        name = transit.imported(vector.seed, "ed25519", "sealed")
        made = transit.call(f"sign/{name}", input=b64(vector.message))["signature"]
        assert unb64(made) == vector.signature
        body = {"input": b64(vector.message), "signature": "vault:v1:" + b64(vector.signature)}
        assert transit.call(f"verify/{name}", **body)["valid"] is True
        assert transit.call(f"verify/{name}", **body | {"input": b64(b"other")})["valid"] is False


@pytest.mark.parametrize("size", ["44", "65", "87"])
def test_ml_dsa_keys_are_the_published_ones(transit, size):
    rows = published.rows(f"asymmetric/MLDSA/kat_MLDSA_{size}_det_pure.rsp", begins="count", count=100)
    for row in published.every(33, rows):
        seed, public_key, message, signed = unhex(row, "xi", "pk", "msg", "sm")
        name, read = transit.import_key(seed, f"ml-dsa-{size}", "sealed")
        public = load_pem_public_key(read["keys"]["1"]["public_key"].encode())
        assert public.public_bytes_raw() == public_key
        made = transit.call(f"sign/{name}", input=b64(message))["signature"]
        public.verify(unb64(made), message)
        of_another_context = "vault:v1:" + b64(signed[: -len(message)])
        answer = transit.call(f"verify/{name}", input=b64(message), signature=of_another_context)
        assert answer["valid"] is False


# --- MACs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [224, 256, 384, 512])
def test_hmacs_are_the_published_ones(transit, size):
    """RFC 4231 has keys of 4, 20, 25 and 131 bytes; Vault's API takes 32 to 512."""
    for row in published.rows(f"HMAC/rfc-4231-sha{size}.txt", begins="len", count=6):
        key, message, mac = unhex(row, "key", "msg", "md")
        if len(key) < 32:
            with pytest.raises(InvalidRequest):
                transit.import_key(key, "hmac", "sealed")
            continue
        name = transit.imported(key, "hmac", "sealed")
        made = unb64(transit.call(f"hmac/{name}/sha2-{size}", input=b64(message))["hmac"])
        assert made[: len(mac)] == mac
        body = {"input": b64(message), "hmac": "vault:v1:" + b64(made)}
        assert transit.call(f"verify/{name}/sha2-{size}", **body)["valid"] is True
        assert transit.call(f"verify/{name}/sha2-{size}", **body | {"input": b64(b"other")})["valid"] is False


@pytest.mark.parametrize("custody", CUSTODIES)
def test_cmacs_are_the_published_ones(transit, custody):
    for row in published.rows("CMAC/nist-800-38b-aes256.txt", begins="count", count=4):
        key, message, mac = unhex(row, "key", "message", "output")
        name = transit.imported(key, "aes256-cmac", custody)
        assert unb64(transit.call(f"cmac/{name}", input=b64(message))["cmac"]) == mac
        body = {"input": b64(message), "cmac": "vault:v1:" + b64(mac)}
        assert transit.call(f"verify/{name}", **body)["valid"] is True
        assert transit.call(f"verify/{name}", **body | {"input": b64(b"other")})["valid"] is False
