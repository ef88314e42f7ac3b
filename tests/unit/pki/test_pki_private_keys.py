"""Private keys from anybody: what a forged one could keep OpenSSL busy with for minutes is refused before."""

from typing import Any

import pytest
from asn1crypto import core, keys
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from core.errors import InvalidRequestError
from pki.pem_blocks import blocks_of
from pki.private_keys import load_private_key

RSA = rsa.generate_private_key(65537, 2048)
RSA_NUMBERS = RSA.private_numbers()
PRIME = 2**9941 - 1  # OpenSSL tests this one for a minute
KEYS: dict[str, Any] = {
    "rsa": RSA,
    "ec": ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "ml-dsa": mldsa.MLDSA87PrivateKey.generate(),
}


def rsa_der(n: int = RSA_NUMBERS.public_numbers.n, **changed: int) -> bytes:
    values: dict[str, Any] = {
        "version": 0,
        "modulus": n,
        "public_exponent": 65537,
        "private_exponent": RSA_NUMBERS.d,
        "prime1": RSA_NUMBERS.p,
        "prime2": RSA_NUMBERS.q,
        "exponent1": RSA_NUMBERS.dmp1,
        "exponent2": RSA_NUMBERS.dmq1,
        "coefficient": RSA_NUMBERS.iqmp,
    }
    der: bytes = keys.RSAPrivateKey(values | changed).dump()
    return der


def pkcs8(oid: str, parameters: Any, key: bytes) -> bytes:
    algorithm = core.ObjectIdentifier(oid).dump() + parameters.dump()
    parts = core.Integer(0).dump() + core.Sequence(contents=algorithm).dump() + core.OctetString(key).dump()
    der: bytes = core.Sequence(contents=parts).dump()
    return der


def group(*numbers: int) -> Any:
    return core.Sequence(contents=b"".join(core.Integer(number).dump() for number in numbers))


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL], ids=["pkcs8", "older"])
def test_keys_of_our_kinds_are_loaded(kind: str, form: PrivateFormat) -> None:
    chosen = form if kind in {"rsa", "ec"} else PrivateFormat.PKCS8
    found = load_private_key(KEYS[kind].private_bytes(Encoding.DER, chosen, NoEncryption()))
    assert found.public_key() == KEYS[kind].public_key()


REFUSED = {
    "a prime beyond all": rsa_der(prime1=PRIME, prime2=3),
    "a modulus beyond all": rsa_der(3 * PRIME, prime1=PRIME, prime2=3),
    "no factors": rsa_der(prime1=7, prime2=11),
    "one and the modulus": rsa_der(prime1=1, prime2=RSA_NUMBERS.public_numbers.n),
    "an exponent beyond all": rsa_der(private_exponent=PRIME),
    "a dh key": pkcs8("1.2.840.113549.1.3.1", group(PRIME, 5), core.Integer(7).dump()),
    "a dsa key": pkcs8("1.2.840.10040.4.1", group(PRIME, 2**521 - 1, 5), core.Integer(PRIME // 3).dump()),
    "a certificate's beginning": b"\x30\x82\x01\x00",
    "nothing": b"",
    "too long": rsa_der() + bytes(16 * 1024),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_key_that_cannot_be_one_is_refused_at_once(what: str) -> None:
    with pytest.raises(ValueError, match="not "):
        load_private_key(REFUSED[what])


def test_an_ec_key_whose_halves_do_not_belong_together_is_refused() -> None:
    """Otherwise whoever has the certificate could claim the key."""
    one, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    theirs, ours = ((key.public_key().public_numbers().x).to_bytes(32, "big") for key in (one, other))
    der = one.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()).replace(theirs, ours)
    with pytest.raises(ValueError, match="Invalid key"):
        load_private_key(der)


def test_blocks_without_ends_are_found_at_once() -> None:
    """They were looked for from each beginning to the end of the text: minutes for a megabyte."""
    with pytest.raises(InvalidRequestError, match="no end"):
        blocks_of("-----BEGIN A-----" * 60_000)
