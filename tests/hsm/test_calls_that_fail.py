"""Every call into the module fails once, in every operation: nothing stays in the token, and nothing is half done."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pkcs11.constants import Attribute

from core.errors import HsmConfigError, HsmGoneError
from core.protocols import AeadInput, Custody, KeyKind, KeyUsage, SignatureScheme
from core.public_keys import encrypt_oaep
from core.secret import Secret

NOT_SUPPORTED, DEVICE_ERROR = 0x54, 0x30
FIRST_OF_OBJECTS = 20  # in the function list; before it are calls of sessions and tokens
UNWATCHED = {"C_DestroyObject", "C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal"}  # what cleans up and counts
FINISHING = {"C_Encrypt", "C_Decrypt", "C_Sign"}  # run all the same, so that no operation stays open
EC_KEY = Secret(
    ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
)


class Fault:
    """Counts the calls of an operation, and answers `code` to one of them."""

    def __init__(self, functions):
        self.calls = 0
        self.at = self.code = 0
        for name, place in functions.places.items():
            if place >= FIRST_OF_OBJECTS and name not in UNWATCHED:
                functions.replace(place, lambda original, name=name: self._stand_in(original, name in FINISHING))

    def _stand_in(self, original, is_finishing):
        def call(*arguments):
            self.calls += 1
            if self.calls != self.at:
                return original(*arguments)
            if is_finishing:
                original(*arguments)
            return self.code

        return call

    def arm(self, at, code):
        self.calls, self.at, self.code = 0, at, code


@pytest.fixture
async def ready(hsm):
    hsm.set_sealing_key(await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT))
    return hsm


async def objects(hsm):
    return len(hsm._link.connection.operations.session.find({Attribute.TOKEN: False}))


async def operations(hsm):
    """Everything that makes objects, on keys that are not live."""
    rsa = await hsm.generate_key(KeyKind.RSA_2048, usage=KeyUsage.SIGN_DECRYPT)
    deriving = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.DERIVE)
    mac = await hsm.generate_key(KeyKind.HMAC, usage=KeyUsage.MAC)
    sealed = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT, custody=Custody.SEALED)
    sealed_under = encrypt_oaep(rsa.public_key, b"message")
    item = AeadInput(b"payload", b"", b"context")
    (ciphertext,) = await hsm.encrypt(deriving, [item], convergent=True)
    back = AeadInput(ciphertext, b"", b"context")
    digest = bytes(32)
    return {
        "generate": lambda: hsm.generate_key(KeyKind.AES_128, usage=KeyUsage.MAC),
        "generate a pair": lambda: hsm.generate_key(KeyKind.EC_P256, usage=KeyUsage.SIGN),
        "import": lambda: hsm.import_key(KeyKind.EC_P256, EC_KEY, usage=KeyUsage.SIGN),
        "seal": lambda: hsm.generate_key(KeyKind.HMAC, usage=KeyUsage.MAC, custody=Custody.SEALED),
        "export": lambda: hsm.export_key(sealed),
        "encrypt in software": lambda: hsm.encrypt(sealed, [AeadInput(b"payload")] * 3),
        "encrypt convergently": lambda: hsm.encrypt(deriving, [item] * 3, convergent=True),
        "decrypt": lambda: hsm.decrypt(deriving, [back] * 3),
        "make MACs": lambda: hsm.mac(mac, [b"message"] * 3, hash_name="sha256"),
        "sign": lambda: hsm.sign(rsa, [digest] * 3, scheme=SignatureScheme.RSA_PSS),
        "decrypt by OAEP": lambda: hsm.decrypt_oaep(rsa, [sealed_under] * 3),
    }


async def test_no_object_is_left_behind_whichever_call_is_refused(ready, function_list):
    hsm, fault = ready, Fault(function_list)
    for name, operation in (await operations(hsm)).items():
        hsm._handles.drop_all()
        before = await objects(hsm)
        fault.arm(0, 0)
        await operation()
        for number in range(1, fault.calls + 1):
            hsm._handles.drop_all()
            fault.arm(number, NOT_SUPPORTED)
            with pytest.raises(HsmConfigError):
                await operation()
            fault.arm(0, 0)
            hsm._handles.drop_all()
            assert await objects(hsm) == before, (name, number)


async def test_when_the_hsm_goes_at_the_last_call_the_whole_operation_fails(ready, function_list):
    hsm, fault = ready, Fault(function_list)
    for operation in (await operations(hsm)).values():
        hsm._handles.drop_all()
        fault.arm(0, 0)
        await operation()
        hsm._handles.drop_all()
        fault.arm(fault.calls, DEVICE_ERROR)
        with pytest.raises(HsmGoneError):
            await operation()
        fault.arm(0, 0)
        await hsm._link._reopening
        await operation()
