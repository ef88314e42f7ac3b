"""RSA as NIST's CAVS and RSA Laboratories have it (RFC 8017): PKCS #1 v1.5, PSS, OAEP, by keys in either custody."""

import hashlib

import pytest

from core.errors import CiphertextError, InvalidRequestError, InvalidSignatureError
from core.protocols import KeyUsage, SignatureScheme
from core.public_keys import verify_signature
from tests.vectors import keys, published

CAVS = "asymmetric/RSA/FIPS_186-2/"
LEAST_EXPONENT = 65537
SHA2 = ("sha224", "sha256", "sha384", "sha512")


def signatures(path, *, count, kept, shared):
    """Those with a modulus that Mimir has: 2048, 3072 and 4096 bits."""
    rows = published.rows(path, begins="shaalg", count=count, shared=shared)
    rows = [row for row in rows if int(row["mod"]) in keys.RSA_KINDS]
    for row in rows:
        row["hash"] = row["shaalg"].lower()
        row["digest"] = hashlib.new(row["hash"], bytes.fromhex(row["msg"])).digest()
    return published.expect(rows, kept, path=path)


def verify(row, scheme, *, salt_length=None):
    public_key = keys.rsa_public(int(row["n"], 16), int(row["e"], 16))
    more = {} if salt_length is None else {"salt_length": salt_length}
    verify_signature(public_key, bytes.fromhex(row["s"]), row["digest"], scheme=scheme, hash_name=row["hash"], **more)


SIG_VER = {"count": 450, "kept": 270, "shared": ("n", "p", "q")}
SIG_GEN = {"count": 250, "kept": 150, "shared": ("n", "e")}


@pytest.mark.parametrize(
    ("path", "scheme", "counts"),
    [
        (CAVS + "SigVer15_186-3.rsp", SignatureScheme.RSA_PKCS1V15, SIG_VER),
        (CAVS + "SigVerPSS_186-3.rsp", SignatureScheme.RSA_PSS, SIG_VER),
        ("asymmetric/RSA/SigVer15EMTest.txt", SignatureScheme.RSA_PKCS1V15, SIG_VER | {"count": 150, "kept": 90}),
    ],
    ids=("pkcs1v15", "pss", "pkcs1v15-bad-encodings"),
)
def test_signatures_verify_or_do_not_as_fips_186_says(path, scheme, counts):
    results = {"P": 0, "F": 0}
    for row in signatures(path, **counts):
        salt_length = 10 if scheme is SignatureScheme.RSA_PSS else None
        results[row["result"][0]] += 1
        if row["result"].startswith("P"):
            verify(row, scheme, salt_length=salt_length)
            continue
        with pytest.raises(InvalidSignatureError):
            verify(row, scheme, salt_length=salt_length)
    assert results["F"] >= counts["kept"] * 5 // 6 or results["P"] == 0


@pytest.mark.parametrize(
    ("name", "scheme", "salt_length"),
    [("SigGen15", SignatureScheme.RSA_PKCS1V15, None), ("SigGenPSS", SignatureScheme.RSA_PSS, 0)],
    ids=("pkcs1v15", "pss"),
)
def test_published_signatures_verify_and_altered_ones_do_not(name, scheme, salt_length):
    for row in signatures(f"{CAVS}{name}_186-3.rsp", **SIG_GEN):
        verify(row, scheme, salt_length=salt_length)
        altered = f"{int(row['s'], 16) ^ 1:0{len(row['s'])}x}"
        for signature in ("00" + row["s"], row["s"] + "00", row["s"][:-2], altered, ""):
            with pytest.raises(InvalidSignatureError):
                verify(row | {"s": signature}, scheme, salt_length=salt_length)


def valid_with_private_keys():
    rows = signatures(CAVS + "SigVer15_186-3.rsp", **SIG_VER)
    return published.expect([row for row in rows if row["result"] == "P"], 45, path="SigVer15_186-3.rsp")


def private_key(row):
    p, q, exponent = (int(row[name], 16) for name in ("p", "q", "e"))
    return keys.rsa_private(p, q, exponent)


@pytest.mark.parametrize("bits", keys.RSA_KINDS)
async def test_pkcs1v15_signatures_are_the_published_bytes(custodian, custody, bits):
    rows = [r for r in valid_with_private_keys() if int(r["mod"]) == bits and int(r["e"], 16) >= LEAST_EXPONENT]
    rows = published.every(1 if bits == 2048 else 2, rows)
    assert len({row["hash"] for row in rows}) > 1
    for row in rows:
        record = await custodian.import_key(
            keys.RSA_KINDS[bits], private_key(row), usage=KeyUsage.SIGN, custody=custody
        )
        assert record.custody is custody
        assert record.public_key == keys.rsa_public(int(row["n"], 16), int(row["e"], 16))
        (signature,) = await custodian.sign(
            record, [row["digest"]], scheme=SignatureScheme.RSA_PKCS1V15, hash_name=row["hash"]
        )
        assert signature == bytes.fromhex(row["s"])


@pytest.mark.parametrize("salt_length", [None, 0, 20])
async def test_pss_signatures_by_a_published_key_verify(custodian, custody, salt_length):
    for row in [r for r in valid_with_private_keys() if r["mod"] == "2048" and int(r["e"], 16) >= LEAST_EXPONENT]:
        record = await custodian.import_key(
            keys.RSA_KINDS[2048], private_key(row), usage=KeyUsage.SIGN, custody=custody
        )
        (signature,) = await custodian.sign(
            record,
            [row["digest"]],
            scheme=SignatureScheme.RSA_PSS,
            hash_name=row["hash"],
            salt_length=salt_length,
        )
        expected = len(row["digest"]) if salt_length is None else salt_length
        verify(row | {"s": signature.hex()}, SignatureScheme.RSA_PSS, salt_length=expected)
        with pytest.raises(InvalidSignatureError):
            verify(row | {"s": signature.hex()}, SignatureScheme.RSA_PSS, salt_length=expected + 1)


async def test_a_small_public_exponent_is_refused(custodian, custody):
    """FIPS 186-5, A.1.1 wants 2^16 < e; the files have keys with 3 and 17, too."""
    small = [row for row in valid_with_private_keys() if int(row["e"], 16) < LEAST_EXPONENT]
    assert small
    for row in small[::12]:
        with pytest.raises(InvalidRequestError):
            await custodian.import_key(
                keys.RSA_KINDS[int(row["mod"])], private_key(row), usage=KeyUsage.SIGN, custody=custody
            )


def of_2048_bits(path, *, begins, count):
    return [key for key in published.rsa_examples(path, begins=begins, count=count) if key.modulus.bit_length() == 2048]


async def test_rsa_laboratories_pkcs1v15_signatures_are_the_published_bytes(custodian, custody):
    (key,) = of_2048_bits("asymmetric/RSA/pkcs1v15sign-vectors.txt", begins="message to be signed", count=300)
    record = await custodian.import_key(
        keys.RSA_KINDS[2048], keys.rsa_private(*key.primes, key.exponent), usage=KeyUsage.SIGN_DECRYPT, custody=custody
    )
    digests = [hashlib.sha1(example["message to be signed"]).digest() for example in key.examples]  # noqa: S324
    made = await custodian.sign(record, digests, scheme=SignatureScheme.RSA_PKCS1V15, hash_name="sha1")
    assert made == [example["signature"] for example in key.examples]
    assert len(made) == 20


def test_rsa_laboratories_pss_signatures_verify():
    (key,) = of_2048_bits("asymmetric/RSA/pkcs-1v2-1d2-vec/pss-vect.txt", begins="message to be signed", count=60)
    public_key = keys.rsa_public(key.modulus, key.exponent)
    for example in key.examples:
        digest = hashlib.sha1(example["message to be signed"]).digest()  # noqa: S324 - as published
        verify_signature(
            public_key,
            example["signature"],
            digest,
            scheme=SignatureScheme.RSA_PSS,
            hash_name="sha1",
            salt_length=len(example["salt"]),
        )
    assert len(key.examples) == 6


def oaep(hash_name):
    if hash_name == "sha1":
        return of_2048_bits("asymmetric/RSA/pkcs-1v2-1d2-vec/oaep-vect.txt", begins="message", count=60)
    found = of_2048_bits(f"asymmetric/RSA/oaep-custom/oaep-{hash_name}-{hash_name}.txt", begins="message", count=60)
    return published.every(4, published.expect(found, 10, path=f"oaep-{hash_name}"))


@pytest.mark.parametrize("hash_name", ["sha1", *SHA2])
async def test_oaep_decrypts_what_is_published_and_refuses_what_is_altered(custodian, custody, hash_name):
    for key in oaep(hash_name):
        record = await custodian.import_key(
            keys.RSA_KINDS[2048], keys.rsa_private(*key.primes, key.exponent), usage=KeyUsage.ENCRYPT, custody=custody
        )
        ciphertexts = [example["encryption"] for example in key.examples]
        decrypted = await custodian.decrypt_oaep(record, ciphertexts, hash_name=hash_name)
        assert decrypted == [example["message"] for example in key.examples]
        altered = [
            ciphertexts[0][:-1] + bytes([ciphertexts[0][-1] ^ 1]),
            ciphertexts[0] + b"\0",
            ciphertexts[0][1:],
            bytes(256),
            b"\xff" * 256,
            b"",
        ]
        results = await custodian.decrypt_oaep(record, altered, hash_name=hash_name)
        assert all(isinstance(result, CiphertextError) for result in results)
        assert len({str(result) for result in results}) == 1  # one sentence for all: no oracle
        other = "sha256" if hash_name != "sha256" else "sha512"
        (result,) = await custodian.decrypt_oaep(record, ciphertexts[:1], hash_name=other)
        assert isinstance(result, CiphertextError)
