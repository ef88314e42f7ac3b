"""EMSA-PSS and EME-OAEP (RFC 8017, 9.1 and 7.1) as done here, against `cryptography`'s RSA without an HSM."""

import hashlib
import os
import re

import cryptography_vectors
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from core.public_keys import HASHES
from pkcs11_glue import oaep, pss
from pkcs11_glue.mgf import DIGEST_BYTES, mask, mgf1

KEY = rsa.generate_private_key(65537, 2048)
NUMBERS = KEY.private_numbers()
MODULUS = NUMBERS.public_numbers.n


def raw(data):
    return pow(int.from_bytes(data, "big"), NUMBERS.d, MODULUS).to_bytes(256, "big")


@pytest.mark.parametrize("name", HASHES)
@pytest.mark.parametrize("salt", [0, 1, 20, "longest"])
def test_an_encoded_message_signed_by_raw_rsa_verifies(name, salt):
    digest = hashlib.new(name.replace("-", "_"), b"message").digest()
    size = pss.longest_salt(256, name) if salt == "longest" else salt
    encoded = pss.encode(digest, os.urandom(size), modulus_bytes=256, hash_name=name)
    assert len(encoded) == 256
    assert encoded[0] < 0x80
    parameters = padding.PSS(padding.MGF1(HASHES[name]), size)
    KEY.public_key().verify(raw(encoded), digest, parameters, Prehashed(HASHES[name]))


def encoded_message(message, name, *, first=0, label=b"", separator=b"\x01", padding_byte=b"\0"):
    """EME-OAEP encoding (RFC 8017, 7.1.1, step 2), and what an attacker may make of it."""
    size = DIGEST_BYTES[name]
    filler = padding_byte * (256 - len(message) - 2 * size - 2)
    block = hashlib.new(name.replace("-", "_"), label).digest() + filler + separator + message
    seed = os.urandom(size)
    masked = mask(block, mgf1(seed, len(block), name))
    return bytes((first,)) + mask(seed, mgf1(masked, size, name)) + masked


@pytest.mark.parametrize("name", ["sha1", "sha224", "sha256", "sha384", "sha512"])
def test_what_software_encrypted_is_unpadded(name):
    longest = 256 - 2 * DIGEST_BYTES[name] - 2
    for message in (b"", b"\0", b"\x01", b"\0\x01\x02", b"secret", bytes(longest), b"\xff" * longest):
        algorithm = HASHES[name]
        sealed = KEY.public_key().encrypt(message, padding.OAEP(padding.MGF1(algorithm), algorithm, None))
        assert oaep.unpad(raw(sealed), name) == message


@pytest.mark.parametrize("name", HASHES)
def test_what_is_encoded_here_is_unpadded(name):
    assert oaep.unpad(encoded_message(b"message", name), name) == b"message"


@pytest.mark.parametrize(
    "changes",
    [
        {"first": 1},
        {"first": 0x80},
        {"label": b"label"},
        {"separator": b"\x02"},
        {"separator": b"\xff"},
        {"padding_byte": b"\x02"},
        {"padding_byte": b"\x80"},
        {"first": 1, "label": b"label", "separator": b"\x02"},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["sha1", "sha256", "sha512"])
def test_every_fault_is_refused_alike(name, changes):
    assert oaep.unpad(encoded_message(b"message", name, **changes), name) is None


@pytest.mark.parametrize("name", ["sha1", "sha256", "sha512"])
def test_without_a_separator_it_is_refused(name):
    assert oaep.unpad(encoded_message(bytes(5), name, separator=b"\0"), name) is None


def test_any_single_changed_bit_is_refused():
    encoded = bytearray(encoded_message(b"message", "sha256"))
    for place in range(0, 256 * 8, 7):
        encoded[place // 8] ^= 1 << place % 8
        assert oaep.unpad(bytes(encoded), "sha256") is None
        encoded[place // 8] ^= 1 << place % 8
    assert oaep.unpad(bytes(encoded), "sha256") == b"message"


def published(name):
    """The named values of an example with intermediate results (RSA Laboratories, PKCS #1 v2.1), as bytes."""
    values, title = {}, ""
    with cryptography_vectors.open_vector_file(f"asymmetric/RSA/pkcs-1v2-1d2-vec/{name}", "r") as lines:
        for line in lines:
            if line.startswith("# "):
                title = line[2:].partition("=")[0].strip().rstrip(":")
            elif title and re.fullmatch(r"([0-9a-f]{2}\s*)+", line):
                values[title] = values.get(title, b"") + bytes.fromhex(line)
    assert values, f"{name} holds no vectors"
    return values


def test_the_published_example_of_oaep():
    example = published("oaep-int.txt")
    assert mgf1(example["seed"], len(example["DB"]), "sha1") == example["dbMask"]
    assert mgf1(example["maskedDB"], 20, "sha1") == example["seedMask"]
    assert oaep.unpad(b"\0" + example["EM"], "sha1") == example["Message to be encrypted"]


def test_the_published_example_of_pss():
    example = published("pss-int.txt")
    digest = hashlib.sha1(example["Message to be signed"]).digest()  # noqa: S324 - the example's hash
    assert digest == example["Message hash"]
    encoded = pss.encode(digest, example["salt"], modulus_bytes=len(example["EM"]), hash_name="sha1")
    assert encoded == example["EM"]


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 1000])
def test_mgf1_gives_the_length_asked_for_and_is_a_prefix_of_longer_ones(length):
    assert mgf1(b"seed", 1000, "sha256")[:length] == mgf1(b"seed", length, "sha256")
    assert len(mgf1(b"seed", length, "sha256")) == length


def test_sha_3_digests_are_as_long_as_cryptography_says():
    assert {name: algorithm.digest_size for name, algorithm in HASHES.items()} == DIGEST_BYTES
    assert DIGEST_BYTES["sha3-384"] == hashes.SHA3_384().digest_size
