"""Signatures, MACs, hashes and random bytes through hvac, against two workers and a real SoftHSM.

What the appliance signs is checked by the `cryptography` package with the public key that the API shows.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import hvac
import hvac.exceptions
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tests.support.appliance import Appliance

STORE = "production-postgresql"  # of the fixture `appliance`

MESSAGE = b"ship 100 pieces to Turin"
TYPES = {
    "ecdsa-p256": "hsm",
    "ecdsa-p384": "hsm",
    "ecdsa-p521": "hsm",
    "rsa-2048": "hsm",
    "ed25519": "sealed",
    "ml-dsa-44": "sealed",
    "ml-dsa-65": "sealed",
    "ml-dsa-87": "sealed",
}
ALGORITHMS: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - Vault's API offers it
    "sha2-224": hashes.SHA224(),
    "sha2-256": hashes.SHA256(),
    "sha2-384": hashes.SHA384(),
    "sha2-512": hashes.SHA512(),
    "sha3-256": hashes.SHA3_256(),
    "sha3-512": hashes.SHA3_512(),
}


def b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


INPUT = b64(MESSAGE)


def raw(tagged: str) -> bytes:
    encoded = tagged.rpartition(":")[2]
    return base64.urlsafe_b64decode(encoded.replace("+", "-").replace("/", "_") + "=" * (-len(encoded) % 4))


# one store: nothing here is written but the keys
pytestmark = pytest.mark.parametrize("appliance", ["development-sqlite"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def keyed(appliance: Appliance) -> Appliance:
    """A key of every type, named as its type."""
    client = appliance.client()
    for type_name in [*TYPES, "hmac", "aes256-cmac", "aes256-gcm96"]:
        client.write_data(f"transit/keys/{type_name}", data={"type": type_name})
    client.write_data("transit/keys/derived", data={"type": "ed25519", "derived": True})
    return appliance


@pytest.fixture
def client(keyed: Appliance) -> hvac.Client:
    return keyed.client()


def write(client: hvac.Client, path: str, **data: Any) -> dict[str, Any]:
    return dict(client.write_data(f"transit/{path}", data=data)["data"])


def public_key(client: hvac.Client, name: str) -> Any:
    text = client.secrets.transit.read_key(name)["data"]["keys"]["1"]["public_key"]
    return load_pem_public_key(text.encode())


@pytest.mark.parametrize(("name", "custody"), TYPES.items())
def test_every_type_signs_where_it_lives(client: hvac.Client, name: str, custody: str) -> None:
    transit = client.secrets.transit
    assert transit.read_key(name)["data"]["custody"] == custody
    signature = transit.sign_data(name, hash_input=INPUT)["data"]["signature"]
    assert signature.startswith("mimir:v1:")
    assert transit.verify_signed_data(name, hash_input=INPUT, signature=signature)["data"]["valid"] is True
    assert transit.verify_signed_data(name, hash_input=b64(b"x"), signature=signature)["data"]["valid"] is False


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", ["ecdsa-p256", "ecdsa-p384", "ecdsa-p521"])
def test_ecdsa_signatures_are_ecdsas(client: hvac.Client, name: str, algorithm: str) -> None:
    signature = write(client, f"sign/{name}/{algorithm}", input=INPUT)["signature"]
    public_key(client, name).verify(raw(signature), MESSAGE, ec.ECDSA(ALGORITHMS[algorithm]))
    assert write(client, f"verify/{name}/{algorithm}", input=INPUT, signature=signature)["valid"] is True


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("scheme", ["pss", "pkcs1v15"])
def test_rsa_signatures_are_rsas(client: hvac.Client, scheme: str, algorithm: str) -> None:
    how = {"signature_algorithm": scheme, "hash_algorithm": algorithm}
    signature = write(client, "sign/rsa-2048", input=INPUT, **how)["signature"]
    hash_ = ALGORITHMS[algorithm]
    most = 256 - 2 - hash_.digest_size
    pad = padding.PKCS1v15() if scheme == "pkcs1v15" else padding.PSS(padding.MGF1(hash_), most)
    public_key(client, "rsa-2048").verify(raw(signature), MESSAGE, pad, hash_)
    assert write(client, "verify/rsa-2048", input=INPUT, signature=signature, **how)["valid"] is True


@pytest.mark.parametrize(("salt", "length"), [("hash", 32), ("20", 20), ("222", 222)])
def test_salts_of_the_hsm_are_as_long_as_asked(client: hvac.Client, salt: str, length: int) -> None:
    transit = client.secrets.transit
    signature = transit.sign_data("rsa-2048", hash_input=INPUT, salt_length=salt)["data"]["signature"]
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), length)
    public_key(client, "rsa-2048").verify(raw(signature), MESSAGE, pss, hashes.SHA256())


def test_a_digest_made_by_the_caller(client: hvac.Client) -> None:
    transit = client.secrets.transit
    digest = b64(hashlib.sha256(MESSAGE).digest())
    signature = transit.sign_data("ecdsa-p256", hash_input=digest, prehashed=True)["data"]["signature"]
    assert transit.verify_signed_data("ecdsa-p256", hash_input=INPUT, signature=signature)["data"]["valid"] is True


def test_jws(client: hvac.Client) -> None:
    signature = write(client, "sign/ecdsa-p521", input=INPUT, marshaling_algorithm="jws")["signature"]
    octets = raw(signature)
    assert len(octets) == 132
    der = encode_dss_signature(int.from_bytes(octets[:66], "big"), int.from_bytes(octets[66:], "big"))
    public_key(client, "ecdsa-p521").verify(der, MESSAGE, ec.ECDSA(hashes.SHA256()))
    verify = client.secrets.transit.verify_signed_data
    assert verify("ecdsa-p521", hash_input=INPUT, signature=signature, marshaling_algorithm="jws")["data"]["valid"]


def test_derived_keys_show_their_public_keys(client: hvac.Client) -> None:
    answer = client.secrets.transit.sign_data("derived", hash_input=INPUT, context=b64(b"tenant-1"))["data"]
    ed25519.Ed25519PublicKey.from_public_bytes(raw(answer["publickey"])).verify(raw(answer["signature"]), MESSAGE)
    verify = client.secrets.transit.verify_signed_data
    signature = answer["signature"]
    assert verify("derived", hash_input=INPUT, signature=signature, context=b64(b"tenant-1"))["data"]["valid"]
    assert not verify("derived", hash_input=INPUT, signature=signature, context=b64(b"tenant-2"))["data"]["valid"]


@pytest.mark.parametrize("name", [*TYPES, "hmac", "aes256-cmac", "aes256-gcm96"])
@pytest.mark.parametrize(("algorithm", "length"), [("sha2-224", 28), ("sha2-256", 32), ("sha2-512", 64)])
def test_every_key_makes_hmacs(client: hvac.Client, name: str, algorithm: str, length: int) -> None:
    transit = client.secrets.transit
    made = transit.generate_hmac(name, hash_input=INPUT, algorithm=algorithm)["data"]["hmac"]
    assert len(raw(made)) == length
    verify = transit.verify_signed_data
    assert verify(name, hash_input=INPUT, hmac=made, hash_algorithm=algorithm)["data"]["valid"] is True
    assert verify(name, hash_input=b64(b"x"), hmac=made, hash_algorithm=algorithm)["data"]["valid"] is False


def test_cmac_of_the_hsm(client: hvac.Client) -> None:
    made = write(client, "cmac/aes256-cmac", input=INPUT)["cmac"]
    assert len(raw(made)) == 16
    assert write(client, "verify/aes256-cmac", input=INPUT, cmac=made) == {"valid": True}
    short = write(client, "cmac/aes256-cmac/8", input=INPUT)["cmac"]
    assert raw(short) == raw(made)[:8]
    assert write(client, "verify/aes256-cmac", input=INPUT, cmac=short, mac_length=8) == {"valid": True}
    assert write(client, "verify/aes256-cmac", input=INPUT, cmac=short) == {"valid": False}


@pytest.mark.parametrize("name", ["ecdsa-p256", "rsa-2048", "ed25519"])
def test_batches_answer_item_by_item_with_status_200(client: hvac.Client, name: str) -> None:
    items = [{"input": b64(b"%d" % i), "reference": str(i)} for i in range(20)]
    signed = write(client, f"sign/{name}", batch_input=[*items, {}, {"input": "?"}])["batch_results"]
    assert [("error" in one) for one in signed] == [False] * 20 + [True] * 2
    claims = [{**item, "signature": one["signature"]} for item, one in zip(items, signed, strict=False)]
    claims[3]["input"] = INPUT
    claims[4]["signature"] = "x"
    found = write(client, f"verify/{name}", batch_input=claims)["batch_results"]
    assert [one["reference"] for one in found if not one["valid"]] == ["3", "4"]
    assert [("error" in one) for one in found] == [i == 4 for i in range(20)]


def test_a_batch_of_hmacs(client: hvac.Client) -> None:
    items = [{"input": b64(b"%d" % i)} for i in range(200)]
    made = write(client, "hmac/hmac", batch_input=items)["batch_results"]
    claims = [{**item, "hmac": one["hmac"]} for item, one in zip(items, made, strict=True)]
    assert all(one["valid"] for one in write(client, "verify/hmac", batch_input=claims)["batch_results"])


def test_hash_and_random(client: hvac.Client) -> None:
    transit = client.secrets.transit
    assert transit.hash_data(INPUT, algorithm="sha2-256")["data"]["sum"] == hashlib.sha256(MESSAGE).hexdigest()
    assert write(client, "hash/sha3-512", input=INPUT)["sum"] == hashlib.sha3_512(MESSAGE).hexdigest()
    drawn = {transit.generate_random_bytes(n_bytes=24, output_format="hex")["data"]["random_bytes"] for _ in range(5)}
    assert {len(one) for one in drawn} == {48}
    assert len(drawn) == 5


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("sign/absent", {"input": INPUT}, "signing key not found"),
        ("verify/absent", {"input": INPUT, "signature": "mimir:v1:AAAA"}, "signature verification key not found"),
        ("hmac/absent", {"input": INPUT}, "encryption key not found"),
        ("sign/aes256-gcm96", {"input": INPUT}, "does not support signing"),
        ("sign/ecdsa-p256", {"input": "?"}, "base64"),
        ("sign/ecdsa-p256", {"input": INPUT, "key_version": 2}, "higher than the latest"),
        ("sign/ecdsa-p256", {"input": INPUT, "key_version": -1}, "negative"),
        ("sign/ecdsa-p256", {"input": INPUT, "prehashed": True}, "which has 32"),
        ("sign/ecdsa-p256", {"input": INPUT, "hash_algorithm": "none"}, "hash_algorithm=none requires both"),
        ("sign/ecdsa-p256/md5", {"input": INPUT}, "invalid hash algorithm"),
        ("sign/ecdsa-p256", {"input": INPUT, "marshaling_algorithm": "pem"}, "invalid marshaling type"),
        ("sign/rsa-2048", {"input": INPUT, "salt_length": "223"}, "requested salt length 223 is invalid"),
        ("sign/rsa-2048", {"input": INPUT, "signature_algorithm": "raw"}, "unsupported rsa signature algorithm"),
        ("sign/derived", {"input": INPUT}, "missing 'context'"),
        ("sign/ed25519", {"input": INPUT, "context": "aGk="}, "not derived"),
        ("sign/ed25519", {"batch_input": []}, "missing batch input to process"),
        ("verify/ecdsa-p256", {"input": INPUT}, "neither a 'signature' nor an 'hmac'"),
        ("verify/ecdsa-p256", {"input": INPUT, "signature": "x"}, "invalid signature: no prefix"),
        ("verify/ecdsa-p256", {"input": INPUT, "signature": "vault:v1:AAAA"}, "was imported"),
        ("verify/ecdsa-p256", {"input": INPUT, "signature": "mimir:v1:AAAA"}, "supplied signature is invalid"),
        ("verify/ecdsa-p256", {"input": INPUT, "signature": "mimir:v0:AAAA"}, "version number"),
        ("verify/ecdsa-p256", {"input": INPUT, "signature": "mimir:v9:AAAA"}, "version is too new"),
        ("hmac/hmac", {}, "missing input for HMAC"),
        ("hmac/hmac", {"input": INPUT, "algorithm": "none"}, "unsupported algorithm"),
        ("hmac/hmac", {"input": INPUT, "algorithm": "sha3-256"}, "custody=sealed"),
        ("hmac/hmac", {"input": b64(bytes(2**20 + 1))}, "over 1 MiB"),
        ("cmac/hmac", {"input": INPUT}, "does not support CMAC"),
        ("cmac/aes256-cmac/17", {"input": INPUT}, "mac_length"),
        ("hash/sha1", {"input": INPUT}, "unsupported algorithm"),
        ("random/0", {}, "bytes must be between"),
    ],
)
def test_refusals_are_bad_requests(client: hvac.Client, path: str, body: dict[str, Any], said: str) -> None:
    with pytest.raises(hvac.exceptions.InvalidRequest, match=said):
        write(client, path, **body)


def test_rotation_and_retirement(client: hvac.Client) -> None:
    transit = client.secrets.transit
    client.write_data("transit/keys/rotating", data={"type": "ecdsa-p256"})
    old = transit.sign_data("rotating", hash_input=INPUT)["data"]["signature"]
    transit.rotate_key("rotating")
    new = transit.sign_data("rotating", hash_input=INPUT)["data"]["signature"]
    assert new.startswith("mimir:v2:")
    verify = transit.verify_signed_data
    assert verify("rotating", hash_input=INPUT, signature=old)["data"]["valid"]
    assert not verify("rotating", hash_input=INPUT, signature=old.replace(":v1:", ":v2:"))["data"]["valid"]
    transit.update_key_configuration("rotating", min_decryption_version=2)
    with pytest.raises(hvac.exceptions.InvalidRequest, match="too old"):
        verify("rotating", hash_input=INPUT, signature=old)


def test_a_policy_may_refuse_a_hash(keyed: Appliance) -> None:
    """OpenBao's documentation shows how: by the path that names it."""
    client = keyed.client()
    client.sys.create_or_update_policy(
        "no-sha1",
        'path "transit/sign/*" { capabilities = ["update"] }\n'
        'path "transit/sign/rsa-2048/sha1" { capabilities = ["deny"] }',
    )
    signer = keyed.client(client.auth.token.create(policies=["no-sha1"])["auth"]["client_token"])
    assert write(signer, "sign/rsa-2048/sha2-256", input=INPUT)
    with pytest.raises(hvac.exceptions.Forbidden):
        write(signer, "sign/rsa-2048/sha1", input=INPUT)
