"""Keys derived inside the token, one for each context: equal to software's, bound to their base key, never readable."""

import asyncio
import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pkcs11.constants import Attribute

from core.errors import CiphertextError, HsmGoneError, InvalidRequestError, KeyPolicyError, SealedError
from core.protocols import AeadInput, Custody, KeyKind, KeyUsage, SignatureScheme
from core.secret import Secret
from pkcs11_glue.cryptoki import CryptokiError
from pkcs11_glue.derivation import Purpose, cache_name
from pkcs11_glue.hsm import Hsm

DERIVE_KEY, ENCRYPT = 62, 30
SIZES = {KeyKind.AES_128: 16, KeyKind.AES_256: 32}
CIPHER_LABEL, NONCE_LABEL = b"mimir derived cipher key v1\0", b"mimir derived nonce key v1\0"


@pytest.fixture(params=["inline", "pool"])
async def custodian(token, request):
    opened = await Hsm.open(token.settings(mode=request.param, pool_size=4))
    yield opened
    await opened.close()


@pytest.fixture
async def key(hsm):
    return await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.DERIVE)


def derived(value, label, context):
    """As docs and pkcs11_glue.derivation describe it, by software."""
    ecb = Cipher(algorithms.AES(value), modes.ECB()).encryptor()  # noqa: S305 - of two random blocks
    return ecb.update(hashlib.sha256(label + context).digest())


def opened_by(sealed, item):
    return AeadInput(sealed, item.associated_data, item.context)


@pytest.mark.parametrize("kind", SIZES)
async def test_decrypt_undoes_encrypt_for_contexts_in_any_order(custodian, kind):
    key = await custodian.generate_key(kind, usage=KeyUsage.DERIVE)
    assert key.custody is Custody.HSM
    items = [AeadInput(bytes([n]), b"aad" * (n % 2), b"tenant %d" % (n % 3)) for n in range(20)]
    for convergent in (False, True):
        sealed = await custodian.encrypt(key, items, convergent=convergent)
        back = [opened_by(c, item) for c, item in zip(sealed, items, strict=True)]
        assert await custodian.decrypt(key, back) == [item.payload for item in items]


@pytest.mark.parametrize("kind", SIZES)
async def test_what_is_derived_equals_software_both_ways(hsm, kind):
    value = bytes(range(SIZES[kind]))
    key = await hsm.import_key(kind, Secret(value), usage=KeyUsage.DERIVE)
    assert key.custody is Custody.HSM
    cipher = AESGCM(derived(value, CIPHER_LABEL, b"tenant")[: SIZES[kind]])
    (sealed,) = await hsm.encrypt(key, [AeadInput(b"payload", b"aad", b"tenant")])
    assert cipher.decrypt(sealed[:12], sealed[12:], b"aad") == b"payload"
    made = bytes(12) + cipher.encrypt(bytes(12), b"from outside", b"")
    assert await hsm.decrypt(key, [AeadInput(made, b"", b"tenant")]) == [b"from outside"]


@pytest.mark.parametrize("associated_data", [b"", b"aad"])
async def test_the_convergent_nonce_is_an_hmac_of_plaintext_and_associated_data(hsm, associated_data):
    value = bytes(range(32))
    key = await hsm.import_key(KeyKind.AES_256, Secret(value), usage=KeyUsage.DERIVE)
    (sealed,) = await hsm.encrypt(key, [AeadInput(b"payload", associated_data, b"tenant")], convergent=True)
    framed = len(associated_data).to_bytes(8, "big") + associated_data + b"payload"
    assert sealed[:12] == hmac.digest(derived(value, NONCE_LABEL, b"tenant"), framed, "sha256")[:12]


async def test_convergent_encryption_repeats_itself_and_changes_with_every_input(custodian):
    key = await custodian.generate_key(KeyKind.AES_256, usage=KeyUsage.DERIVE)
    base = AeadInput(b"payload", b"aad", b"tenant")
    others = [
        AeadInput(b"payloae", b"aad", b"tenant"),
        AeadInput(b"payload", b"aae", b"tenant"),
        AeadInput(b"payload", b"aad", b"tenanu"),
        AeadInput(b"dpayload", b"aa", b"tenant"),  # the same bytes, cut elsewhere
        AeadInput(b"aadpayload", b"", b"tenant"),
    ]
    first, again, *rest = await custodian.encrypt(key, [base, base, *others], convergent=True)
    assert first == again
    assert [first] == await custodian.encrypt(key, [base], convergent=True)
    assert len({c[:12] for c in (first, *rest)}) == len(others) + 1


async def test_random_nonces_otherwise(hsm, key):
    sealed = await hsm.encrypt(key, [AeadInput(b"same", b"", b"tenant")] * 50)
    assert len({c[:12] for c in sealed}) == 50


async def test_another_context_base_key_or_associated_data_does_not_decrypt(hsm, key):
    stranger = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.DERIVE)
    (sealed,) = await hsm.encrypt(key, [AeadInput(b"payload", b"aad", b"tenant")])
    good = AeadInput(sealed, b"aad", b"tenant")
    rows = [AeadInput(sealed, b"aad", b"other"), AeadInput(sealed, b"", b"tenant"), AeadInput(b"", b"aad", b"tenant")]
    *refused, last = await hsm.decrypt(key, [*rows, good])
    assert last == b"payload"
    assert all(isinstance(answer, CiphertextError) for answer in (*refused, *await hsm.decrypt(stranger, [good])))


async def test_a_context_is_needed(hsm, key):
    for call in (hsm.encrypt, hsm.decrypt):
        with pytest.raises(InvalidRequestError, match="give a context"):
            await call(key, [AeadInput(bytes(40), b"", b"tenant"), AeadInput(bytes(40))])


async def test_a_context_for_a_key_that_is_not_derived_is_refused(hsm):
    plain = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    for call in (hsm.encrypt, hsm.decrypt):
        with pytest.raises(KeyPolicyError, match="leave the context out"):
            await call(plain, [AeadInput(bytes(40)), AeadInput(bytes(40), b"", b"tenant")])
    with pytest.raises(KeyPolicyError, match="convergent"):
        await hsm.encrypt(plain, [AeadInput(b"m")], convergent=True)


async def test_the_base_key_does_nothing_but_derive(hsm, key):
    with pytest.raises(KeyPolicyError):
        await hsm.mac(key, [b"m"])
    with pytest.raises(KeyPolicyError):
        await hsm.sign(key, [bytes(32)], scheme=SignatureScheme.ECDSA)
    with pytest.raises(KeyPolicyError, match="key pairs"):
        await hsm.derived_public_key(key, b"tenant")


async def test_payloads_over_the_cap_are_refused(hsm, key):
    for convergent in (False, True):
        with pytest.raises(KeyPolicyError, match="data key"):
            await hsm.encrypt(key, [AeadInput(bytes((1 << 20) + 1), b"", b"c")], convergent=convergent)


async def test_derived_keys_cannot_be_read_wrapped_or_used_for_anything_else(hsm, key):
    """The template is fixed: SoftHSM would make a readable key from a sensitive one."""
    await hsm.encrypt(key, [AeadInput(b"payload", b"", b"tenant")], convergent=True)
    connection = hsm._link.connection
    session = connection.operations.session
    for purpose, allowed in ((Purpose.CIPHER, {"ENCRYPT", "DECRYPT"}), (Purpose.NONCE, {"SIGN"})):
        handle = hsm._handles.get(cache_name(key.key_id, b"tenant", purpose)).handle
        with pytest.raises(CryptokiError, match="0x11"):  # CKR_ATTRIBUTE_SENSITIVE
            session.attribute(handle, Attribute.VALUE)
        flags = {"ENCRYPT", "DECRYPT", "SIGN", "VERIFY", "WRAP", "UNWRAP", "DERIVE", "EXTRACTABLE", "TOKEN"}
        assert {f for f in flags if session.attribute(handle, Attribute[f]) == b"\x01"} == allowed
        for how in hsm_wrapping():
            with pytest.raises(CryptokiError):
                session.wrap(how, connection.active_kek.handle, handle)


def hsm_wrapping():
    from pkcs11_glue.templates import WRAPPING

    return WRAPPING


async def test_derived_handles_are_kept_and_die_with_the_epoch(hsm, key):
    item = AeadInput(b"payload", b"", b"tenant")
    await hsm.encrypt(key, [item], convergent=True)
    live = hsm._handles.get(cache_name(key.key_id, b"tenant", Purpose.CIPHER))
    await hsm.encrypt(key, [item])
    assert hsm._handles.get(cache_name(key.key_id, b"tenant", Purpose.CIPHER)) is live
    assert (await hsm.status()).live_handles == 3  # the base key, the cipher key, the nonce key
    hsm._link.trip(HsmGoneError("the HSM is not reachable (test)", code="test"))
    assert (await hsm.status()).live_handles == 0
    with pytest.raises(HsmGoneError):
        await hsm.encrypt(key, [item])
    await hsm._link._reopening
    assert hsm._handles.get(cache_name(key.key_id, b"tenant", Purpose.CIPHER)) is None
    (sealed,) = await hsm.encrypt(key, [item], convergent=True)
    assert await hsm.decrypt(key, [opened_by(sealed, item)]) == [b"payload"]


async def test_derived_handles_are_destroyed_when_the_appliance_is_sealed(hsm, key):
    session = hsm._link.connection.operations.session
    before = len(session.find({Attribute.TOKEN: False}))
    await hsm.encrypt(key, [AeadInput(b"payload", b"", b"tenant")], convergent=True)
    assert len(session.find({Attribute.TOKEN: False})) == before + 3
    hsm.drop_keys()
    assert len(session.find({Attribute.TOKEN: False})) == before


async def test_many_contexts_stay_within_the_cache(token):
    hsm = await Hsm.open(token.settings(handle_cache=10))
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.DERIVE)
    session = hsm._link.connection.operations.session
    before = len(session.find({Attribute.TOKEN: False}))
    items = [AeadInput(b"payload", b"", b"%d" % n) for n in range(60)]
    sealed = await hsm.encrypt(key, items, convergent=True)
    assert (await hsm.status()).live_handles <= 10
    assert len(session.find({Attribute.TOKEN: False})) <= before + 10
    back = [opened_by(c, item) for c, item in zip(sealed, items, strict=True)]
    assert await hsm.decrypt(key, back) == [b"payload"] * 60
    await hsm.close()


async def test_a_tiny_cache_on_a_pool_never_uses_a_destroyed_key(token):
    """The nonce key is held while the cipher key is made, though another call evicts it meanwhile."""
    hsm = await Hsm.open(token.settings(mode="pool", pool_size=4, handle_cache=1))
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.DERIVE)
    calls = [hsm.encrypt(key, [AeadInput(b"m", b"", b"%d" % n)], convergent=True) for n in range(30)]
    sealed = [c for (c,) in await asyncio.gather(*calls)]
    back = [AeadInput(c, b"", b"%d" % n) for n, c in enumerate(sealed)]
    assert await hsm.decrypt(key, back) == [b"m"] * 30
    status = await hsm.status()
    assert (status.state, status.epoch) == ("ready", 1)
    await hsm.close()


async def test_a_key_derived_while_the_appliance_is_sealed_is_destroyed(token):
    hsm = await Hsm.open(token.settings(mode="pool", pool_size=2))
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.DERIVE)
    encrypting = asyncio.create_task(hsm.encrypt(key, [AeadInput(b"late", b"", b"tenant")]))
    await asyncio.sleep(0)
    hsm.drop_keys()
    with pytest.raises(SealedError, match="sealed while"):
        await encrypting
    assert (await hsm.status()).live_handles == 0
    await hsm.close()


@pytest.mark.parametrize("place", [DERIVE_KEY, ENCRYPT])
async def test_when_the_hsm_goes_in_the_middle_the_whole_batch_fails_and_works_again(hsm, key, function_list, place):
    items = [AeadInput(b"payload", b"", b"%d" % n) for n in range(4)]
    calls = []

    def third_fails(original):
        def stand_in(*arguments):
            calls.append(1)
            answer = original(*arguments)
            return 0x30 if len(calls) >= 3 else answer

        return stand_in

    function_list.replace(place, third_fails)
    with pytest.raises(HsmGoneError):
        await hsm.encrypt(key, items)
    function_list.restore()
    await hsm._link._reopening
    assert len(await hsm.encrypt(key, items)) == 4
