"""How a digest is to be signed is decided without an HSM: which schemes, hashes and salts a kind of key has."""

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from core.errors import InvalidRequestError, KeyPolicyError
from core.protocols import AeadInput, KeyKind, KeyUsage, SignatureScheme
from core.public_keys import HASHES
from pkcs11_glue import templates
from pkcs11_glue.derivation import Purpose, cache_name, nonce_inputs
from pkcs11_glue.macs import mac_method
from pkcs11_glue.signing import signing_method

RSA = list(templates.RSA_BITS)
EC = list(templates.EC_PARAMETERS)
RSA_SCHEMES = {SignatureScheme.RSA_PKCS1V15, SignatureScheme.RSA_PKCS1V15_RAW, SignatureScheme.RSA_PSS}


@pytest.mark.parametrize("kind", KeyKind)
@pytest.mark.parametrize("scheme", SignatureScheme)
def test_each_kind_has_its_schemes_and_no_other(kind, scheme):
    allowed = RSA_SCHEMES if kind in RSA else {SignatureScheme.ECDSA} if kind in EC else set()
    if scheme in allowed:
        signing_method(kind, scheme, "sha256", None)
    else:
        with pytest.raises(KeyPolicyError, match=f"does not sign by {scheme.value}"):
            signing_method(kind, scheme, "sha256", None)


@pytest.mark.parametrize("name", HASHES)
def test_a_digest_info_is_the_one_that_verifies(name):
    """DigestInfo (RFC 8017, 9.2): with the prefix, unpadded by the public key alone."""
    key = rsa.generate_private_key(65537, 2048)
    digest = bytes(range(HASHES[name].digest_size))
    signature = key.sign(digest, padding.PKCS1v15(), Prehashed(HASHES[name]))
    numbers = key.public_key().public_numbers()
    encoded = pow(int.from_bytes(signature, "big"), numbers.e, numbers.n).to_bytes(256, "big")
    before = signing_method(KeyKind.RSA_2048, SignatureScheme.RSA_PKCS1V15, name, None).before
    assert encoded.endswith(b"\xff\0" + before(digest))


@pytest.mark.parametrize("kind", RSA)
@pytest.mark.parametrize("name", HASHES)
def test_salts_are_bounded_by_the_modulus_and_the_hash(kind, name):
    longest = templates.RSA_BITS[kind] // 8 - HASHES[name].digest_size - 2
    for salt in (None, 0, longest):
        signing_method(kind, SignatureScheme.RSA_PSS, name, salt)
    for salt in (-1, longest + 1):
        with pytest.raises(InvalidRequestError, match=f"0 to {longest} bytes"):
            signing_method(kind, SignatureScheme.RSA_PSS, name, salt)


def test_unknown_hashes_are_refused():
    for scheme in (SignatureScheme.RSA_PKCS1V15, SignatureScheme.RSA_PSS):
        with pytest.raises(InvalidRequestError, match="one of sha1"):
            signing_method(KeyKind.RSA_2048, scheme, "sha256 ", None)


def test_a_way_to_sign_is_decided_once():
    arguments = (KeyKind.RSA_2048, SignatureScheme.RSA_PSS, "sha384", 7)
    assert signing_method(*arguments) is signing_method(*arguments)


@pytest.mark.parametrize(
    "kind", [kind for kind in KeyKind if kind not in {KeyKind.AES_128, KeyKind.AES_256, KeyKind.HMAC}]
)
def test_other_kinds_make_no_mac(kind):
    with pytest.raises(InvalidRequestError):
        mac_method(kind, "sha256")


def test_every_kind_has_a_usage_and_only_hmac_keys_a_choice_of_sizes():
    assert set(templates.USAGES) == set(KeyKind)
    assert all(templates.USAGES.values())
    assert [size for size in range(1, 600) if templates.can_wrap_faithfully(KeyKind.HMAC, size)] == [*range(64, 513, 8)]
    assert [size for size in range(64) if templates.can_wrap_faithfully(KeyKind.AES_128, size)] == [16]


@pytest.mark.parametrize("kind", templates.KEY_TYPES)
@pytest.mark.parametrize("usage", KeyUsage)
def test_no_template_of_a_key_at_work_lets_it_out(kind, usage):
    template = templates.working(kind, usage)
    shown = {name.name: value for name, value in template.items()}
    assert (shown["SENSITIVE"], shown["EXTRACTABLE"], shown["TOKEN"], shown["PRIVATE"]) == (True, False, False, True)
    assert not shown.get("WRAP")
    assert not shown["UNWRAP"]


def test_derived_keys_have_names_of_their_own():
    names = {cache_name(key, context, purpose) for key in "ab" for context in (b"", b"x") for purpose in Purpose}
    assert len(names) == 8
    assert cache_name("a", b"x", Purpose.CIPHER) != cache_name("ax", b"", Purpose.CIPHER)


def test_what_the_nonce_is_made_of_is_cut_in_one_way_only():
    rows = [AeadInput(b"ab", b""), AeadInput(b"b", b"a"), AeadInput(b"", b"ab"), AeadInput(bytes(8) + b"ab", b"")]
    assert len(set(nonce_inputs(rows))) == len(rows)
