"""ECDSA as NIST's CAVS (FIPS 186-4) and RFC 6979 have it, by keys imported into either custody."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from core.errors import InvalidSignatureError
from core.protocols import KeyUsage, SignatureScheme
from core.public_keys import verify_signature
from tests.vectors import keys, published

SIGNATURES = "asymmetric/ECDSA/FIPS_186-3/"
SECTIONS = [f"{curve},{hash_name}" for curve in keys.CURVES for hash_name in keys.HASHES]
RFC_6979 = "asymmetric/ECDSA/RFC6979/evppkey_ecdsa_rfc6979.txt"


def cavs(name):
    """15 for each of three curves with each of five hashes, be they longer or shorter than the curve's order."""
    rows = published.rows(SIGNATURES + name, begins="msg", count=225, names=SECTIONS)
    for row in rows:
        row["curve"], _, hash_name = row["section"].partition(",")
        row["hash"] = keys.HASHES[hash_name]
        row["digest"] = hashlib.new(row["hash"], bytes.fromhex(row["msg"])).digest()
        row["signature"] = encode_dss_signature(int(row["r"], 16), int(row["s"], 16))
    return rows


def verify(public_key, row, signature):
    verify_signature(public_key, signature, row["digest"], scheme=SignatureScheme.ECDSA, hash_name=row["hash"])


def public_key(row):
    return keys.ec_public(row["curve"], int(row["qx"], 16), int(row["qy"], 16))


def test_signatures_verify_or_do_not_as_fips_186_says():
    refused = dict.fromkeys(keys.CURVES, 0)
    for row in cavs("SigVer.rsp"):
        if row["result"].startswith("P"):
            verify(public_key(row), row, row["signature"])
            continue
        refused[row["curve"]] += 1
        with pytest.raises((InvalidSignatureError, ValueError)):  # ValueError: a public key that is not on the curve
            verify(public_key(row), row, row["signature"])
    assert all(count > 45 for count in refused.values()), refused


def test_published_signatures_verify_and_no_altered_one():
    for row in cavs("SigGen.txt"):
        public = public_key(row)
        verify(public, row, row["signature"])
        swapped = encode_dss_signature(int(row["s"], 16), int(row["r"], 16))
        with pytest.raises(InvalidSignatureError):
            verify(public, row, swapped)


@pytest.mark.parametrize("curve", keys.CURVES)
async def test_what_an_imported_key_signs_verifies_under_the_published_public_key(custodian, custody, curve):
    rows = [row for row in cavs("SigGen.txt") if row["curve"] == curve]
    for row in published.every(4, rows):
        record = await custodian.import_key(
            keys.EC_KINDS[curve], keys.ec_private(curve, int(row["d"], 16)), usage=KeyUsage.SIGN, custody=custody
        )
        assert record.custody is custody
        assert record.public_key == public_key(row)
        (signature,) = await custodian.sign(
            record, [row["digest"]], scheme=SignatureScheme.ECDSA, hash_name=row["hash"]
        )
        verify(public_key(row), row, signature)


def test_rfc_6979_s_signatures_verify_and_its_altered_ones_do_not():
    rows = published.evp_blocks(RFC_6979, operation="DigestVerify", count=300)
    rows = published.expect([row for row in rows if row["key"][:5] in keys.CURVES], 60, path=RFC_6979)
    refused = 0
    for row in rows:
        hash_name, message = row["digestverify"].lower(), row["input"].strip('"').encode()
        row |= {"hash": hash_name, "digest": hashlib.new(hash_name, message).digest()}
        public, signature = keys.spki(load_pem_public_key(row["pem"].encode())), bytes.fromhex(row["output"])
        if row.get("result") == "VERIFY_ERROR":
            refused += 1
            with pytest.raises(InvalidSignatureError):
                verify(public, row, signature)
        else:
            verify(public, row, signature)
    assert refused == 30


# --- strictness, as Wycheproof asks it of DER: none of these is another form of a signature ------------------------


def der(r, s, *, tag=0x30, long_length=False, trailing=b"", indefinite=False):
    body = r + s
    if indefinite:
        return bytes([tag, 0x80]) + body + b"\0\0" + trailing
    length = bytes([0x81, len(body)]) if long_length else bytes([len(body)])
    return bytes([tag]) + length + body + trailing


def integer(value, *, pad=b"", tag=2):
    content = pad + value.to_bytes(value.bit_length() // 8 + 1, "big")
    return bytes([tag, len(content)]) + content


def malformed(r, s, order):
    """Other encodings of the same r and s, and numbers that are out of range."""
    one, two = integer(r), integer(s)
    return {
        "a leading zero before r": der(integer(r, pad=b"\0"), two),
        "a leading zero before s": der(one, integer(s, pad=b"\0")),
        "a length in the long form": der(one, two, long_length=True),
        "an indefinite length": der(one, two, indefinite=True),
        "bytes behind it": der(one, two, trailing=b"\0"),
        "bytes inside it": der(one, two + b"\5\0"),
        "a set": der(one, two, tag=0x31),
        "an octet string as r": der(integer(r, tag=4), two),
        "only r": der(one, b""),
        "three numbers": der(one, two + two),
        "r missing": der(two, b""),
        "cut off": der(one, two)[:-1],
        "empty": b"",
        "an empty sequence": b"\x30\x00",
        "r is zero": der(integer(0), two),
        "s is zero": der(one, integer(0)),
        "r plus the order": der(integer(r + order), two),
        "s plus the order": der(one, integer(s + order)),
        "r is the order": der(integer(order), two),
        "s is the order": der(one, integer(order)),
        "r is negative": der(integer_negative(r), two),
        "s is negative": der(one, integer_negative(s)),
        "r and s side by side": r.to_bytes(32, "big") + s.to_bytes(32, "big"),
    }


def integer_negative(value):
    content = (-value).to_bytes(value.bit_length() // 8 + 1, "big", signed=True)
    return bytes([2, len(content)]) + content


P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def p256_row():
    return next(row for row in cavs("SigGen.txt") if row["section"] == "P-256,SHA-256")


@pytest.mark.parametrize("what", malformed(1, 1, P256_ORDER))
def test_a_malformed_signature_is_refused(what):
    row = p256_row()
    signature = malformed(int(row["r"], 16), int(row["s"], 16), P256_ORDER)[what]
    with pytest.raises(InvalidSignatureError):
        verify(public_key(row), row, signature)


def test_what_makes_malformed_signatures_makes_the_right_one_too():
    row = p256_row()
    assert der(integer(int(row["r"], 16)), integer(int(row["s"], 16))) == row["signature"]
