"""AEADs of sealed custody: published vectors, one error for every bad ciphertext, Vault's derivation."""

import hashlib
import hmac

import pytest

from core.errors import CiphertextError, InvalidRequestError, KeyPolicyError
from core.protocols import AeadInput, KeyKind, KeyUsage
from core.secret import Secret
from pkcs11_glue.software import open_software
from pkcs11_glue.xchacha import hchacha20

CIPHERS = {
    KeyKind.AES_128: (16, 12),
    KeyKind.AES_256: (32, 12),
    KeyKind.CHACHA20_POLY1305: (32, 12),
    KeyKind.XCHACHA20_POLY1305: (32, 24),
}
SUNSCREEN = (
    b"Ladies and Gentlemen of the class of '99:"
    b" If I could offer you only one tip for the future, sunscreen would be it."
)
GCM_PLAINTEXT = (
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
)
VECTORS = {
    "GCM specification (McGrew, Viega), test case 4": (
        KeyKind.AES_128,
        "feffe9928665731c6d6a8f9467308308",
        "cafebabefacedbaddecaf888",
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        bytes.fromhex(GCM_PLAINTEXT),
        (
            "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
            "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091"
            "5bc94fbc3221a5db94fae95ae7121a47"
        ),
    ),
    "GCM specification (McGrew, Viega), test case 16": (
        KeyKind.AES_256,
        "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
        "cafebabefacedbaddecaf888",
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        bytes.fromhex(GCM_PLAINTEXT),
        (
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
            "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
            "76fc6ece0f4e1768cddf8853bb2d551b"
        ),
    ),
    "RFC 8439, 2.8.2": (
        KeyKind.CHACHA20_POLY1305,
        bytes(range(0x80, 0xA0)).hex(),
        "070000004041424344454647",
        "50515253c0c1c2c3c4c5c6c7",
        SUNSCREEN,
        (
            "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
            "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
            "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
            "3ff4def08e4b7a9de576d26586cec64b6116"
            "1ae10b594f09e26a7e902ecbd0600691"
        ),
    ),
    "draft-irtf-cfrg-xchacha-03, A.3.1": (
        KeyKind.XCHACHA20_POLY1305,
        bytes(range(0x80, 0xA0)).hex(),
        bytes(range(0x40, 0x58)).hex(),
        "50515253c0c1c2c3c4c5c6c7",
        SUNSCREEN,
        (
            "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
            "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
            "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
            "21f9664c97637da9768812f615c68b13b52e"
            "c0875924c1c7987947deafd8780acf49"
        ),
    ),
}


def opened(kind, usage=KeyUsage.ENCRYPT, first=0):
    size, _ = CIPHERS[kind]
    return open_software(kind, usage, Secret(bytes(range(first, first + size))))


def hkdf_sha256(secret, info, length):
    """RFC 5869 with a salt of zeros, from its text."""
    pseudorandom = hmac.digest(bytes(32), secret, "sha256")
    output, block, number = b"", b"", 1
    while len(output) < length:
        block = hmac.digest(pseudorandom, block + info + bytes([number]), "sha256")
        output, number = output + block, number + 1
    return output[:length]


@pytest.mark.parametrize("origin", VECTORS)
def test_published_vectors_open(origin):
    kind, key, nonce, associated_data, plaintext, sealed = VECTORS[origin]
    cipher = open_software(kind, KeyUsage.ENCRYPT, Secret(bytes.fromhex(key)))
    item = AeadInput(bytes.fromhex(nonce + sealed), bytes.fromhex(associated_data))
    assert cipher.decrypt([item]) == [plaintext]


def test_hchacha20_is_the_drafts():
    """draft-irtf-cfrg-xchacha-03, 2.2.1."""
    subkey = hchacha20(bytes(range(32)), bytes.fromhex("000000090000004a0000000031415927"))
    assert subkey.hex() == "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"


@pytest.mark.parametrize("kind", CIPHERS)
@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 65535, 65536, 3_000_000])
def test_payloads_of_every_size_come_back(kind, size):
    """Small ones, ones whose nonce is cut off by a view, and ones that go by way of the scratch memory."""
    items = [AeadInput(bytes([number]) * size, b"data") for number in range(2)]
    sealed = opened(kind).encrypt(items)
    assert [len(each) for each in sealed] == [CIPHERS[kind][1] + size + 16] * 2
    assert opened(kind).decrypt([AeadInput(each, b"data") for each in sealed]) == [item.payload for item in items]


@pytest.mark.parametrize("kind", CIPHERS)
def test_every_item_has_a_nonce_of_its_own(kind):
    sealed = opened(kind).encrypt([AeadInput(b"same")] * 300)
    assert len({each[: CIPHERS[kind][1]] for each in sealed}) == 300


def alterations(sealed, nonce_bytes):
    flipped = [sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :] for place in range(len(sealed))]
    cut = [sealed[:length] for length in range(len(sealed))]
    moved = [
        sealed[1:],
        sealed + b"\0",
        b"\0" + sealed,
        sealed[::-1],
        sealed[-16:] + sealed[:-16],
        sealed[nonce_bytes:] + sealed[:nonce_bytes],
        sealed[:-16] + bytes(16),
        sealed + sealed,
    ]
    return [*flipped, *cut, *moved]


@pytest.mark.parametrize("usage", [KeyUsage.ENCRYPT, KeyUsage.DERIVE])
@pytest.mark.parametrize("kind", CIPHERS)
def test_every_altered_ciphertext_is_the_same_error(kind, usage):
    key, context = opened(kind, usage), b"context" if usage is KeyUsage.DERIVE else b""
    (sealed,) = key.encrypt([AeadInput(b"plaintext", b"data", context)])
    bad = [AeadInput(each, b"data", context) for each in alterations(sealed, CIPHERS[kind][1])]
    answers = key.decrypt(bad)
    assert {type(answer) for answer in answers} == {CiphertextError}
    assert len({answer.sentence for answer in answers}) == 1


@pytest.mark.parametrize("kind", CIPHERS)
@pytest.mark.parametrize("associated_data", [b"", b"dat", b"data\0", b"Data"])
def test_other_associated_data_is_refused(kind, associated_data):
    (sealed,) = opened(kind).encrypt([AeadInput(b"plaintext", b"data")])
    assert isinstance(opened(kind).decrypt([AeadInput(sealed, associated_data)])[0], CiphertextError)


@pytest.mark.parametrize("kind", CIPHERS)
def test_another_key_is_refused(kind):
    (sealed,) = opened(kind).encrypt([AeadInput(b"plaintext")])
    assert isinstance(opened(kind, first=1).decrypt([AeadInput(sealed)])[0], CiphertextError)


def test_a_bad_item_leaves_the_others_of_its_batch_alone():
    key = opened(KeyKind.AES_256)
    sealed = key.encrypt([AeadInput(bytes([number])) for number in range(3)])
    answers = key.decrypt([AeadInput(sealed[0]), AeadInput(b"x"), AeadInput(sealed[2])])
    assert (answers[0], answers[2]) == (b"\0", b"\2")
    assert isinstance(answers[1], CiphertextError)


@pytest.mark.parametrize("kind", CIPHERS)
def test_an_empty_batch_is_an_empty_answer(kind):
    assert opened(kind).encrypt([]) == opened(kind).decrypt([]) == []


def test_only_derived_keys_are_convergent():
    with pytest.raises(KeyPolicyError, match="derived"):
        opened(KeyKind.AES_256).encrypt([AeadInput(b"x")], convergent=True)


@pytest.mark.parametrize("kind", CIPHERS)
@pytest.mark.parametrize("usage", [KeyUsage.ENCRYPT, KeyUsage.DERIVE])
def test_a_cipher_key_does_nothing_else(kind, usage):
    key = opened(kind, usage)
    for refused in (
        lambda: key.mac([b"x"], hash_name="sha256"),
        lambda: key.sign([b"x"], scheme=None),
        lambda: key.decrypt_oaep([b"x"]),
        lambda: key.derived_public_key(b"x"),
    ):
        with pytest.raises(KeyPolicyError, match=kind.value):
            refused()


# --- derived keys -------------------------------------------------------------------------------------------------


def test_the_hkdf_of_these_tests_is_rfc_5869():
    """RFC 5869, A.3."""
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    assert hkdf_sha256(b"\x0b" * 22, b"", 42).hex() == expected


@pytest.mark.parametrize("kind", CIPHERS)
def test_a_derived_key_is_vaults(kind):
    """HKDF-SHA-256, no salt, the context as info (OpenBao sdk/helper/keysutil/policy.go, DeriveKey)."""
    size, _ = CIPHERS[kind]
    plain = open_software(kind, KeyUsage.ENCRYPT, Secret(hkdf_sha256(bytes(range(size)), b"tenant", size)))
    (sealed,) = plain.encrypt([AeadInput(b"from vault", b"data")])
    assert opened(kind, KeyUsage.DERIVE).decrypt([AeadInput(sealed, b"data", b"tenant")]) == [b"from vault"]


@pytest.mark.parametrize("kind", CIPHERS)
def test_a_convergent_ciphertext_is_vaults(kind):
    """The nonce is HMAC-SHA-256 of the plaintext, truncated; its key follows the cipher key in HKDF's output."""
    size, nonce_bytes = CIPHERS[kind]
    output = hkdf_sha256(bytes(range(size)), b"tenant", size + 32)
    (sealed,) = opened(kind, KeyUsage.DERIVE).encrypt([AeadInput(b"plaintext", b"", b"tenant")], convergent=True)
    assert sealed[:nonce_bytes] == hmac.digest(output[size:], b"plaintext", hashlib.sha256)[:nonce_bytes]
    plain = open_software(kind, KeyUsage.ENCRYPT, Secret(output[:size]))
    assert plain.decrypt([AeadInput(sealed)]) == [b"plaintext"]


@pytest.mark.parametrize("kind", CIPHERS)
def test_equal_items_converge_and_nothing_else_does(kind):
    rows = [
        AeadInput(b"p", b"", b"c"),
        AeadInput(b"q", b"", b"c"),
        AeadInput(b"p", b"", b"d"),
        AeadInput(b"p", b"a", b"c"),
        AeadInput(b"p", b"b", b"c"),
        AeadInput(b"ap", b"", b"c"),
        AeadInput(b"bp", b"a", b"c"),
        AeadInput(b"p", b"ab", b"c"),
        AeadInput((1).to_bytes(8, "big") + b"ap", b"", b"c"),  # the framing of the fourth row, as a plaintext
    ]
    key, nonce_bytes = opened(kind, KeyUsage.DERIVE), CIPHERS[kind][1]
    once, again = key.encrypt(rows, convergent=True), key.encrypt(rows[::-1], convergent=True)[::-1]
    assert once == again
    assert len({sealed[:nonce_bytes] for sealed in once}) == len(rows)


def test_without_convergence_derived_ciphertexts_differ():
    key = opened(KeyKind.AES_256, KeyUsage.DERIVE)
    assert len(set(key.encrypt([AeadInput(b"p", b"", b"c")] * 50))) == 50


@pytest.mark.parametrize("kind", CIPHERS)
def test_a_ciphertext_of_another_context_is_refused(kind):
    key = opened(kind, KeyUsage.DERIVE)
    (sealed,) = key.encrypt([AeadInput(b"plaintext", b"", b"one")])
    answers = key.decrypt([AeadInput(sealed, b"", b"one"), AeadInput(sealed, b"", b"two")])
    assert answers[0] == b"plaintext"
    assert isinstance(answers[1], CiphertextError)


def test_a_derived_key_needs_a_context():
    key = opened(KeyKind.AES_256, KeyUsage.DERIVE)
    for refused in (lambda: key.encrypt([AeadInput(b"p")]), lambda: key.decrypt([AeadInput(bytes(40))])):
        with pytest.raises(InvalidRequestError, match="context"):
            refused()
