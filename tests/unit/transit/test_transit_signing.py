"""sign and verify of one input: by every type and option, checked by the `cryptography` package, and refused."""

import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    NoDigestInfo,
    decode_dss_signature,
    encode_dss_signature,
)

from core.errors import InvalidRequestError, KeyPolicyError
from tests.unit.transit.signing_desk import INPUT, MESSAGE, b64, change, plant, public_key, raw, tagged, valid
from tests.unit.transit.transit_mount import Mount
from transit.errors import KeyVersionError, UnknownKeyError

SIGNERS = ["ed25519", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87"]
HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - Vault's API offers it
    "sha2-224": hashes.SHA224(),
    "sha2-256": hashes.SHA256(),
    "sha2-384": hashes.SHA384(),
    "sha2-512": hashes.SHA512(),
    "sha3-224": hashes.SHA3_224(),
    "sha3-256": hashes.SHA3_256(),
    "sha3-384": hashes.SHA3_384(),
    "sha3-512": hashes.SHA3_512(),
}
EC = ec.ECDSA(hashes.SHA256())
DIGEST = hashlib.sha256(MESSAGE).digest()


@pytest.fixture
async def p256(mount: Mount) -> Mount:
    await mount.write("keys/k", type="ecdsa-p256")
    return mount


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
async def rsa_mount(mount: Mount, rsa_key: rsa.RSAPrivateKey) -> Mount:
    """One RSA key for all tests, since making one takes long."""
    await plant(mount, "rsa-2048", rsa_key)
    return mount


async def signed(mount: Mount, **options: Any) -> str:
    answer = await mount.write("sign/k", **{"input": INPUT, **options})
    assert answer["key_version"] == 1
    signature: str = answer["signature"]
    assert signature.startswith("mimir:v1:")
    return signature


# --- what is signed verifies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_name", SIGNERS)
async def test_every_type_signs_and_verifies(mount: Mount, type_name: str) -> None:
    await mount.write("keys/k", type=type_name)
    signature = await signed(mount)
    assert await valid(mount, signature)
    assert not await valid(mount, signature, input=b64(MESSAGE + b"0"))
    assert not await valid(mount, signature, input="")


@pytest.mark.parametrize("algorithm", HASHES)
@pytest.mark.parametrize("in_path", [True, False])
async def test_ecdsa_with_every_hash(p256: Mount, algorithm: str, in_path: bool) -> None:
    path, body = ("/" + algorithm, {}) if in_path else ("", {"hash_algorithm": algorithm})
    signature = (await p256.write("sign/k" + path, input=INPUT, **body))["signature"]
    (await public_key(p256)).verify(raw(signature), MESSAGE, ec.ECDSA(HASHES[algorithm]))
    assert (await p256.write("verify/k" + path, input=INPUT, signature=signature, **body))["valid"] is True


@pytest.mark.parametrize("algorithm", HASHES)
@pytest.mark.parametrize("scheme", ["pss", "pkcs1v15"])
async def test_rsa_with_every_hash(rsa_mount: Mount, algorithm: str, scheme: str) -> None:
    signature = await signed(rsa_mount, hash_algorithm=algorithm, signature_algorithm=scheme)
    pad = padding.PKCS1v15() if scheme == "pkcs1v15" else padding.PSS(padding.MGF1(HASHES[algorithm]), padding.PSS.AUTO)
    (await public_key(rsa_mount)).verify(raw(signature), MESSAGE, pad, HASHES[algorithm])
    assert await valid(rsa_mount, signature, hash_algorithm=algorithm, signature_algorithm=scheme)


async def test_rsa_signs_by_pss_unless_told_otherwise(rsa_mount: Mount) -> None:
    signature = await signed(rsa_mount)
    assert await valid(rsa_mount, signature, signature_algorithm="pss")
    assert not await valid(rsa_mount, signature, signature_algorithm="pkcs1v15")


async def test_ed25519_and_ml_dsa_sign_the_message_itself(mount: Mount) -> None:
    """RFC 8032 and FIPS 204 in their pure forms: hash_algorithm changes nothing."""
    await mount.write("keys/k", type="ed25519")
    signature = await signed(mount, hash_algorithm="sha2-512", prehashed=True)
    (await public_key(mount)).verify(raw(signature), MESSAGE)
    assert signature == await signed(mount, hash_algorithm="none")


async def test_the_hash_named_in_the_path_goes_before_the_bodys(p256: Mount) -> None:
    signature = (await p256.write("sign/k/sha2-512", input=INPUT, hash_algorithm="sha2-256"))["signature"]
    assert await valid(p256, signature, hash_algorithm="sha2-512")
    assert not await valid(p256, signature)


async def test_algorithm_is_the_older_name_of_hash_algorithm(p256: Mount) -> None:
    signature = await signed(p256, algorithm="sha2-384")
    assert await valid(p256, signature, hash_algorithm="sha2-384")


@pytest.mark.parametrize(
    ("salt", "length"), [("auto", 222), ("AUTO", 222), ("0", 222), ("hash", 32), (-1, 32), ("20", 20), (222, 222)]
)
async def test_salt_lengths(rsa_mount: Mount, salt: str | int, length: int) -> None:
    """auto is the longest there is room for when signing, and any when verifying (Go's crypto/rsa)."""
    signature = await signed(rsa_mount, salt_length=salt)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), length)
    (await public_key(rsa_mount)).verify(raw(signature), MESSAGE, pss, hashes.SHA256())
    assert await valid(rsa_mount, signature)
    assert await valid(rsa_mount, signature, salt_length=length)
    assert not await valid(rsa_mount, signature, salt_length=length - 1)


@pytest.mark.parametrize("salt", ["223", 223, "99999", "100000", "-2", "1.5", "long", "", "٣", "0x20"])
async def test_salt_lengths_that_are_none(rsa_mount: Mount, salt: str | int) -> None:
    with pytest.raises(InvalidRequestError, match="salt"):
        await signed(rsa_mount, salt_length=salt)
    with pytest.raises(InvalidRequestError, match="salt"):
        await valid(rsa_mount, tagged(bytes(256)), salt_length=salt)


# --- prehashed ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", HASHES)
async def test_a_digest_is_signed_as_if_it_were_made_here(p256: Mount, algorithm: str) -> None:
    digest = hashlib.new(algorithm.replace("sha2-", "sha").replace("-", "_"), MESSAGE).digest()
    signature = await signed(p256, input=b64(digest), prehashed=True, hash_algorithm=algorithm)
    assert await valid(p256, signature, hash_algorithm=algorithm)
    assert await valid(p256, signature, input=b64(digest), prehashed="true", hash_algorithm=algorithm)
    assert not await valid(p256, signature, input=b64(digest), hash_algorithm=algorithm)


@pytest.mark.parametrize("bits", [224, 256, 384, 512])
async def test_of_a_digest_for_ecdsa_the_hash_need_not_be_named(p256: Mount, bits: int) -> None:
    """Vault signs any digest, and its clients say which hash made it to RSA keys alone."""
    digest = b64(hashlib.new(f"sha{bits}", MESSAGE).digest())
    signature = await signed(p256, input=digest, prehashed=True)
    assert await valid(p256, signature, input=digest, prehashed=True)
    assert await valid(p256, signature, hash_algorithm=f"sha2-{bits}")


async def test_a_named_hash_counts(p256: Mount) -> None:
    for more in ({"hash_algorithm": "sha2-256"}, {"algorithm": "sha2-256"}):
        with pytest.raises(InvalidRequestError, match="sha2-256 digest, which has 32"):
            await signed(p256, input=b64(bytes(48)), prehashed=True, **more)


@pytest.mark.parametrize("length", [0, 1, 31, 33, 65])
async def test_a_digest_of_another_length_is_refused(p256: Mount, length: int) -> None:
    said = f"input has {length} bytes, but .* sha2-256 digest, which has 32"
    with pytest.raises(InvalidRequestError, match=said):
        await signed(p256, input=b64(bytes(length)), prehashed=True)
    with pytest.raises(InvalidRequestError, match=said):
        await valid(p256, await signed(p256), input=b64(bytes(length)), prehashed=True)


@pytest.mark.parametrize("message", [b"x", bytes(245)])
async def test_without_a_hash_rsa_signs_what_is_given(rsa_mount: Mount, message: bytes) -> None:
    """PKCS #1 v1.5 without DigestInfo (RFC 8017, 9.2)."""
    options = {"hash_algorithm": "none", "prehashed": True, "signature_algorithm": "pkcs1v15", "input": b64(message)}
    signature = await signed(rsa_mount, **options)
    key = await public_key(rsa_mount)
    key.verify(raw(signature), message, padding.PKCS1v15(), NoDigestInfo())
    assert await valid(rsa_mount, signature, **options)
    assert not await valid(rsa_mount, signature, **{**options, "input": b64(message[1:] + b"y")})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"prehashed": True},
        {"signature_algorithm": "pkcs1v15"},
        {"prehashed": True, "signature_algorithm": "pss"},
        {"prehashed": True, "signature_algorithm": "PKCS1V15"},
    ],
)
async def test_no_hash_asks_for_prehashed_and_pkcs1v15(rsa_mount: Mount, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="hash_algorithm=none requires both"):
        await signed(rsa_mount, hash_algorithm="none", **options)
    with pytest.raises(InvalidRequestError, match="hash_algorithm=none requires both"):
        await valid(rsa_mount, tagged(bytes(256)), hash_algorithm="none", **options)


async def test_no_hash_has_a_limit_and_is_for_rsa(rsa_mount: Mount, p256: Mount) -> None:
    options = {"hash_algorithm": "none", "prehashed": True, "signature_algorithm": "pkcs1v15"}
    for length in (0, 246):
        with pytest.raises(InvalidRequestError, match=f"input has {length} bytes; .* signs 1 to 245"):
            await signed(rsa_mount, input=b64(bytes(length)), **options)
    await rsa_mount.write("keys/p", type="ecdsa-p256")
    with pytest.raises(InvalidRequestError, match="for RSA keys"):
        await rsa_mount.write("sign/p", input=INPUT, **options)


# --- marshalling ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("type_name", "size"), [("ecdsa-p256", 64), ("ecdsa-p384", 96), ("ecdsa-p521", 132)])
@pytest.mark.parametrize("spelling", ["marshaling_algorithm", "marshalling_algorithm"])
async def test_jws_is_r_and_s_in_url_safe_base64(mount: Mount, type_name: str, size: int, spelling: str) -> None:
    """RFC 7518, 3.4."""
    await mount.write("keys/k", type=type_name)
    signature = await signed(mount, **{spelling: "jws"})
    assert not set(signature.partition(":v1:")[2]) & set("+/=")
    octets = raw(signature)
    assert len(octets) == size
    r, s = (int.from_bytes(octets[i : i + size // 2], "big") for i in (0, size // 2))
    (await public_key(mount)).verify(encode_dss_signature(r, s), MESSAGE, EC)
    assert await valid(mount, signature, **{spelling: "jws"})


async def test_jws_of_other_types_is_the_alphabet_alone(mount: Mount) -> None:
    await mount.write("keys/k", type="ed25519")
    plain, jws = await signed(mount), await signed(mount, marshaling_algorithm="jws")
    assert raw(plain) == raw(jws)
    assert await valid(mount, jws, marshaling_algorithm="jws")


async def test_marshalled_one_way_is_no_signature_the_other_way(p256: Mount) -> None:
    """As Vault: what is no base64 of the alphabet is a bad request, what has another length is not valid."""
    der, jws = await signed(p256), await signed(p256, marshaling_algorithm="jws")
    with pytest.raises(InvalidRequestError, match="invalid base64 signature value"):
        await valid(p256, jws)
    url_safe = "mimir:v1:" + jws.partition(":v1:")[2].replace("-", "A").replace("_", "A") + "=="
    with pytest.raises(InvalidRequestError, match="supplied signature is invalid"):
        await valid(p256, url_safe)
    unpadded = der.rstrip("=").replace("+", "-").replace("/", "_")
    assert not await valid(p256, unpadded, marshaling_algorithm="jws")


@pytest.mark.parametrize("octets", [b"", bytes(63), bytes(64), bytes(65), b"\xff" * 64, bytes(63) + b"\x01"])
async def test_jws_of_wrong_lengths_or_out_of_range_is_not_valid(p256: Mount, octets: bytes) -> None:
    text = "mimir:v1:" + b64(octets).rstrip("=").replace("+", "-").replace("/", "_")
    assert not await valid(p256, text, marshaling_algorithm="jws")


async def test_a_leading_zero_may_not_be_left_out_of_jws(mount: Mount) -> None:
    """Vault takes two numbers of any length; RFC 7518 asks for the field's."""
    key = ec.generate_private_key(ec.SECP256R1())
    await plant(mount, "ecdsa-p256", key)
    while True:
        r, s = decode_dss_signature(key.sign(MESSAGE, EC))
        if max(r, s).bit_length() <= 248:
            break
    short = r.to_bytes(31, "big") + s.to_bytes(31, "big")
    full = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    for octets, verdict in ((short, False), (full, True)):
        text = "mimir:v1:" + b64(octets).rstrip("=").replace("+", "-").replace("/", "_")
        assert await valid(mount, text, marshaling_algorithm="jws") is verdict


# --- signatures made elsewhere --------------------------------------------------------------------------------------


async def test_signatures_of_another_implementation_verify(mount: Mount, rsa_key: rsa.RSAPrivateKey) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    await plant(mount, "ecdsa-p384", key)
    assert await valid(mount, tagged(key.sign(MESSAGE, ec.ECDSA(hashes.SHA3_256()))), hash_algorithm="sha3-256")
    other = Mount()
    edwards = ed25519.Ed25519PrivateKey.generate()
    await plant(other, "ed25519", edwards)
    assert await valid(other, tagged(edwards.sign(MESSAGE)))
    last = Mount()
    await plant(last, "rsa-2048", rsa_key)
    pss = padding.PSS(padding.MGF1(hashes.SHA512()), 17)
    assert await valid(last, tagged(rsa_key.sign(MESSAGE, pss, hashes.SHA512())), hash_algorithm="sha2-512")
    pkcs1 = rsa_key.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA384())
    assert await valid(last, tagged(pkcs1), hash_algorithm="sha2-384", signature_algorithm="pkcs1v15")


async def test_vaults_prefix_is_for_imported_keys(mount: Mount) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    await plant(mount, "ecdsa-p256", key, imported=True)
    signature = key.sign(MESSAGE, EC)
    assert await valid(mount, tagged(signature, maker="vault"))
    assert await valid(mount, tagged(signature))
    assert (await signed(mount)).startswith("mimir:v1:")
    await change(mount, keyring={"imported": False})
    with pytest.raises(InvalidRequestError, match="only by a key that was imported"):
        await valid(mount, tagged(signature, maker="vault"))


async def test_a_public_key_alone_verifies_and_does_not_sign(mount: Mount) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    await plant(mount, "ecdsa-p256", key, imported=True)
    await change(mount, key=None)
    assert await valid(mount, tagged(key.sign(MESSAGE, EC)))
    with pytest.raises(KeyPolicyError, match="does not contain a private part"):
        await signed(mount)


# --- derived keys ---------------------------------------------------------------------------------------------------


async def test_each_context_has_its_own_key_pair(mount: Mount) -> None:
    await mount.write("keys/k", type="ed25519", derived=True)
    one = await mount.write("sign/k", input=INPUT, context=b64(b"tenant-1"))
    two = await mount.write("sign/k", input=INPUT, context=b64(b"tenant-2"))
    for answer in (one, two):
        assert answer["publickey"] == answer["public_key"]
        octets = raw(answer["publickey"])
        ed25519.Ed25519PublicKey.from_public_bytes(octets).verify(raw(answer["signature"]), MESSAGE)
    assert one["publickey"] != two["publickey"]
    assert await valid(mount, one["signature"], context=b64(b"tenant-1"))
    assert not await valid(mount, one["signature"], context=b64(b"tenant-2"))


async def test_a_key_that_is_not_derived_shows_no_public_key(p256: Mount) -> None:
    assert set(await p256.write("sign/k", input=INPUT)) == {"signature", "key_version"}


@pytest.mark.parametrize("context", [None, ""])
async def test_a_derived_key_needs_a_context(mount: Mount, context: str | None) -> None:
    await mount.write("keys/k", type="ed25519", derived=True)
    with pytest.raises(InvalidRequestError, match="missing 'context'"):
        await mount.write("sign/k", input=INPUT, context=context)
    with pytest.raises(InvalidRequestError, match="missing 'context'"):
        await valid(mount, tagged(bytes(64)), context=context)


@pytest.mark.parametrize(("context", "said"), [("aGk=", "not derived"), ("aG k=", "context must be standard base64")])
async def test_a_superfluous_or_malformed_context(p256: Mount, context: str, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        await signed(p256, context=context)
    with pytest.raises(InvalidRequestError, match=said):
        await valid(p256, await signed(p256), context=context)


# --- what is not valid ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_name", SIGNERS)
async def test_the_signature_of_another_key_is_not_valid(mount: Mount, type_name: str) -> None:
    await mount.write("keys/k", type=type_name)
    await mount.write("keys/other", type=type_name)
    foreign = (await mount.write("sign/other", input=INPUT))["signature"]
    assert not await valid(mount, foreign)


async def test_the_signature_of_another_version_hash_or_type_is_not_valid(p256: Mount) -> None:
    signature = await signed(p256)
    await p256.write("keys/k/rotate")
    assert await valid(p256, signature)
    assert not await valid(p256, signature.replace(":v1:", ":v2:"))
    assert not await valid(p256, signature, hash_algorithm="sha2-384")
    await p256.write("keys/e", type="ed25519")
    answer = await p256.write("verify/e", input=INPUT, signature=signature)
    assert answer == {"valid": False}


@pytest.mark.parametrize("type_name", ["ed25519", "rsa-2048", "ml-dsa-44"])
@pytest.mark.parametrize("octets", [b"", b"\x00", bytes(63), bytes(64), bytes(65), bytes(256), b"\xff" * 256])
async def test_octets_that_are_no_signature_are_not_valid(mount: Mount, type_name: str, octets: bytes) -> None:
    await mount.write("keys/k", type=type_name)
    assert not await valid(mount, tagged(octets))


async def test_every_bit_counts(mount: Mount) -> None:
    await mount.write("keys/k", type="ed25519")
    octets = raw(await signed(mount))
    for bit in range(0, 512, 7):
        flipped = (int.from_bytes(octets, "big") ^ (1 << bit)).to_bytes(64, "big")
        assert not await valid(mount, tagged(flipped))


def der(r: int, s: int) -> bytes:
    return encode_dss_signature(r, s)


P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.mark.parametrize(
    "octets", [der(0, 0), der(0, 1), der(1, 0), der(1, 1), der(P256_ORDER, 1), der(1, P256_ORDER), der(2**520, 1)]
)
async def test_numbers_out_of_range_are_not_valid(p256: Mount, octets: bytes) -> None:
    assert not await valid(p256, tagged(octets))


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x30",
        b"\x30\x00",
        bytes.fromhex("300602010102010200"),  # more behind it
        bytes.fromhex("308006020101020102"),  # indefinite length: BER
        bytes.fromhex("308106020101020101"),  # a long form where the short one is enough
        bytes.fromhex("300702020001020101"),  # a leading zero
        bytes.fromhex("3003020101"),  # one number
        bytes.fromhex("3009020101020101020101"),  # three
        bytes(64),
    ],
)
async def test_what_is_no_ecdsa_signature_in_der_is_a_bad_request(p256: Mount, octets: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="supplied signature is invalid"):
        await valid(p256, tagged(octets))


async def test_a_signature_reencoded_in_ber_is_refused(p256: Mount) -> None:
    r, s = decode_dss_signature(raw(await signed(p256)))
    padded = b"".join(b"\x02" + bytes([len(n)]) + n for n in (b"\x00" + r.to_bytes(33, "big"), s.to_bytes(33, "big")))
    with pytest.raises(InvalidRequestError, match="supplied signature is invalid"):
        await valid(p256, tagged(b"\x30" + bytes([len(padded)]) + padded))


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signature", "said"),
    [
        ("", "no prefix"),
        ("mimir", "no prefix"),
        ("MIMIR:v1:AAAA", "no prefix"),
        (" mimir:v1:AAAA", "no prefix"),
        ("mimir:v1", "wrong number of fields"),
        ("mimir:v:AAAA", "version number could not be decoded"),
        ("mimir:v0:AAAA", "version number could not be decoded"),
        ("mimir:v-1:AAAA", "version number could not be decoded"),
        ("mimir:v+1:AAAA", "version number could not be decoded"),
        ("mimir:v01:AAAA", "version number could not be decoded"),
        ("mimir:v1.0:AAAA", "version number could not be decoded"),
        ("mimir:v٣:AAAA", "version number could not be decoded"),
        ("mimir:v" + "9" * 30 + ":AAAA", "version number could not be decoded"),
        ("mimir:v9999999999:AAAA", "version is too new"),
        ("mimir:v2:AAAA", "version is too new"),
        ("mimir:v1:AAA", "base64"),
        ("mimir:v1:AA A", "base64"),
        ("mimir:v1:A_-A", "base64"),
        ("mimir:v1:AAAB====", "base64"),
        ("mimir:v1:AB==", "base64"),
        ("mimir:v1:AAAA\x00", "base64"),
        ("vault:v1:AAAA", "only by a key that was imported"),
    ],
)
async def test_malformed_signatures_are_bad_requests(p256: Mount, signature: str, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        await valid(p256, signature)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hash_algorithm": "md5"}, "invalid hash algorithm"),
        ({"hash_algorithm": "SHA2-256"}, "invalid hash algorithm"),
        ({"hash_algorithm": "sha256"}, "invalid hash algorithm"),
        ({"algorithm": "sha2-257"}, "invalid hash algorithm"),
        ({"marshaling_algorithm": "pem"}, "invalid marshaling type"),
        ({"marshaling_algorithm": ""}, "invalid marshaling type"),
        ({"marshalling_algorithm": "jwt"}, "invalid marshaling type"),
        ({"salt_length": "some"}, "salt_length is neither"),
        ({"signature_context": "aGk="}, "signature_context is not supported"),
        ({"input": "a b="}, "input must be standard base64"),
        ({"input": "_-8="}, "input must be standard base64"),
        ({"input": "aGk"}, "input must be standard base64"),
        ({"input": 5}, "input must be a string"),
        ({"prehashed": "perhaps"}, "prehashed must be"),
    ],
)
async def test_options_that_are_none(p256: Mount, options: dict[str, Any], said: str) -> None:
    signature = await signed(p256)
    with pytest.raises(InvalidRequestError, match=said):
        await signed(p256, **options)
    with pytest.raises(InvalidRequestError, match=said):
        await valid(p256, signature, **options)


async def test_an_unknown_signature_algorithm_concerns_rsa_alone(rsa_mount: Mount) -> None:
    with pytest.raises(InvalidRequestError, match="unsupported rsa signature algorithm"):
        await signed(rsa_mount, signature_algorithm="pkcs1")
    await rsa_mount.write("keys/p", type="ecdsa-p256")
    assert await rsa_mount.write("sign/p", input=INPUT, signature_algorithm="pss", salt_length="hash")


@pytest.mark.parametrize("version", [-1, 3, 2**40])
async def test_key_versions_there_are_not(p256: Mount, version: int) -> None:
    await p256.write("keys/k/rotate")
    with pytest.raises(KeyVersionError, match="requested version for signing"):
        await p256.write("sign/k", input=INPUT, key_version=version)


async def test_an_older_version_signs_when_asked(p256: Mount) -> None:
    await p256.write("keys/k/rotate")
    old = await p256.write("sign/k", input=INPUT, key_version="1")
    assert old["key_version"] == 1
    (await public_key(p256, 1)).verify(raw(old["signature"]), MESSAGE, EC)
    assert (await p256.write("sign/k", input=INPUT))["key_version"] == 2


async def test_retired_versions_neither_sign_nor_verify(p256: Mount) -> None:
    signature = await signed(p256)
    await p256.write("keys/k/rotate")
    await p256.write("keys/k/config", min_decryption_version=2, min_encryption_version=2)
    with pytest.raises(KeyVersionError, match="less than the minimum"):
        await p256.write("sign/k", input=INPUT, key_version=1)
    with pytest.raises(KeyVersionError, match="too old"):
        await valid(p256, signature)
    await p256.write("keys/k/trim", min_available_version=2)
    with pytest.raises(KeyVersionError, match="too old"):
        await valid(p256, signature)


@pytest.mark.parametrize("type_name", ["aes256-gcm96", "chacha20-poly1305", "hmac", "aes256-cmac"])
async def test_types_that_do_not_sign(mount: Mount, type_name: str) -> None:
    await mount.write("keys/k", type=type_name)
    with pytest.raises(InvalidRequestError, match=f"key type {type_name} does not support signing"):
        await signed(mount)
    with pytest.raises(InvalidRequestError, match=f"key type {type_name} does not support signing"):
        await valid(mount, tagged(bytes(64)))


async def test_unknown_names(mount: Mount) -> None:
    with pytest.raises(UnknownKeyError, match=r"^signing key not found$"):
        await signed(mount)
    with pytest.raises(UnknownKeyError, match=r"^signature verification key not found$"):
        await valid(mount, tagged(bytes(64)))
    with pytest.raises(InvalidRequestError, match="a key's name is"):
        await mount.write("sign/.k.", input=INPUT)


async def test_a_softly_deleted_key_does_nothing(p256: Mount) -> None:
    signature = await signed(p256)
    await p256.parts.lifecycle.set_soft_deleted("k", True)
    with pytest.raises(KeyPolicyError, match="softly deleted"):
        await signed(p256)
    with pytest.raises(KeyPolicyError, match="softly deleted"):
        await valid(p256, signature)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "neither a 'signature' nor an 'hmac'"),
        ({"signature": "mimir:v1:AAAA", "hmac": "mimir:v1:AAAA"}, "provide one of"),
        ({"signature": "mimir:v1:AAAA", "cmac": ""}, "provide one of"),
    ],
)
async def test_exactly_one_thing_is_verified(p256: Mount, given: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        await p256.write("verify/k", input=INPUT, **given)


async def test_without_input_the_empty_string_is_signed(p256: Mount) -> None:
    signature = (await p256.write("sign/k"))["signature"]
    assert (await p256.write("verify/k", signature=signature))["valid"] is True
    assert await valid(p256, signature, input="")


async def test_much_is_hashed_before_it_is_signed(p256: Mount) -> None:
    big = b64(bytes(8 * 2**20))
    signature = await signed(p256, input=big)
    assert await valid(p256, signature, input=big)
    assert not await valid(p256, signature, input=b64(bytes(8 * 2**20 + 1)))


async def test_what_one_worker_signs_another_verifies(p256: Mount) -> None:
    signature = await signed(p256)
    assert await valid(p256.other_worker(), signature)
