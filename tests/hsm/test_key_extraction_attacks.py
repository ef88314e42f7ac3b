"""The attack table: somebody holds the PIN and the stored blobs, uses another PKCS#11 client, and gets no key out.

The attacker is python-pkcs11 in a process of its own. A plain KEK stands beside the hardened one to show that the
attacks work where nothing prevents them: a refusal proves something only then.
"""

import json
import textwrap
from ctypes import addressof

import msgspec
import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from pkcs11.constants import Attribute
from pkcs11.mechanisms import Mechanism

from core.errors import HsmConfigError
from core.protocols import KeyKind, KeyUsage
from pkcs11_glue import templates
from pkcs11_glue.cryptoki import CkGcmParams, CryptokiError, mechanism
from pkcs11_glue.errors import Verdict, verdict
from pkcs11_glue.hsm import Hsm
from pkcs11_glue.kek import Kek, check_hardened

PRELUDE = '''
import json, os, struct, sys
from ctypes import Structure, addressof, c_ulong, c_void_p, create_string_buffer
import pkcs11
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from pkcs11 import Attribute as A, KeyType, Mechanism as M, MechanismFlag as MF, ObjectClass
from pkcs11.constants import DEFAULT

token = pkcs11.lib(sys.argv[1]).get_token(token_label="mimir-test")
s = token.open(rw=True, user_pin=open(os.environ["TOKEN_DIR"] + "/pin").read())
blob = bytes.fromhex(sys.argv[2])

def plain_kek():
    return s.generate_key(KeyType.AES, 256, store=False, capabilities=MF.WRAP | MF.UNWRAP,
                          template={A.SENSITIVE: True, A.EXTRACTABLE: False})

def hardened_kek():
    found = list(s.get_objects({A.CLASS: ObjectClass.SECRET_KEY, A.UNWRAP: True}))
    return next(k for k in found if k.label == "mimir-kek-1")

def a_blob(kek):
    """Under the hardened KEK the stored one; under the plain one a key made for it."""
    if kek.label == "mimir-kek-1":
        return blob
    key = s.generate_key(KeyType.AES, 256, template={A.SENSITIVE: True, A.EXTRACTABLE: True})
    return kek.wrap_key(key, mechanism=M.AES_KEY_WRAP)

def unwrap(kek, key_type=KeyType.AES, **flags):
    template = {A.SENSITIVE: True, A.EXTRACTABLE: False, **{A[k]: v for k, v in flags.items()}}
    return kek.unwrap_key(ObjectClass.SECRET_KEY, key_type, a_blob(kek), mechanism=M.AES_KEY_WRAP, template=template)

def attempt(attack, kek):
    try:
        attack(kek)
    except (pkcs11.exceptions.PKCS11Error, AttributeError, AssertionError) as exc:
        return f"refused: {type(exc).__name__} {exc}"
    return "works"
'''

ATTACKS = """
def encrypt_with_kek(kek):
    kek.encrypt(bytes(16), mechanism=M.AES_ECB)

def enable_decrypt_later(kek):
    kek[A.DECRYPT] = True

def copy_with_decrypt(kek):
    kek.copy({A.DECRYPT: True, A.TOKEN: False})

def make_kek_extractable(kek):
    kek[A.EXTRACTABLE] = True

def read_kek(kek):
    assert len(kek[A.VALUE]) == 32

def unwrap_and_read(kek):
    assert len(unwrap(kek, SENSITIVE=False, EXTRACTABLE=True)[A.VALUE]) == 32

def unwrap_not_sensitive_not_extractable_absent(kek):
    template = {A.SENSITIVE: False, A.EXTRACTABLE: DEFAULT}
    kek.unwrap_key(ObjectClass.SECRET_KEY, KeyType.AES, a_blob(kek), mechanism=M.AES_KEY_WRAP, template=template)

def unwrap_extractable_and_rewrap(kek):
    transport = os.urandom(32)
    own = s.create_object({A.CLASS: ObjectClass.SECRET_KEY, A.KEY_TYPE: KeyType.AES, A.VALUE: transport, A.WRAP: True,
                           A.TOKEN: False})
    stolen = unwrap(kek, EXTRACTABLE=True)
    assert len(aes_key_unwrap(transport, own.wrap_key(stolen, mechanism=M.AES_KEY_WRAP))) == 32

def change_modifiable(kek):
    kek[A.LABEL] = "mine"

def drop_unwrap_template(kek):
    kek[A.UNWRAP] = False

def wrap_by_cbc(kek):
    key = s.generate_key(KeyType.AES, 256, template={A.SENSITIVE: True, A.EXTRACTABLE: True})
    kek.wrap_key(key, mechanism=M.AES_CBC, mechanism_param=bytes(16))

def rewrap_a_working_key(kek):
    own = s.generate_key(KeyType.AES, 256, capabilities=MF.WRAP | MF.UNWRAP)
    own.wrap_key(unwrap(kek), mechanism=M.AES_KEY_WRAP)

def read_a_working_key(kek):
    assert len(unwrap(kek)[A.VALUE]) == 32

def unwrap_with_other_usage(kek):
    unwrap(kek, key_type=KeyType.GENERIC_SECRET, SIGN=True)

names = [n for n, f in list(globals().items()) if callable(f) and getattr(f, "__code__", None) and
         f.__code__.co_varnames[:1] == ("kek",) and n not in ("a_blob", "unwrap")]
result = {n: [attempt(globals()[n], plain_kek()), attempt(globals()[n], hardened_kek())] for n in names}
print(json.dumps(result))
"""

# what works on a plain KEK; everything must be refused by the hardened one, but for the last row
WORKS_ON_PLAIN = {
    "enable_decrypt_later",
    "unwrap_and_read",
    "unwrap_extractable_and_rewrap",
    "wrap_by_cbc",
    "unwrap_with_other_usage",
}
STILL_WORKS = {"unwrap_with_other_usage"}  # blobs carry no usage: the sealed record binds it


@pytest.fixture
async def blob(token):
    hsm = await Hsm.open(token.settings())
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    await hsm.close()
    return key.wrapped.hex()


async def test_every_attack_of_the_table(token, blob):
    run = token.run(PRELUDE + textwrap.dedent(ATTACKS), token.settings().module, blob)
    assert run.returncode == 0, run.stderr
    table = json.loads(run.stdout)
    assert len(table) == 14
    worked_plain = {name for name, (plain, _) in table.items() if plain == "works"}
    worked_hardened = {name for name, (_, hardened) in table.items() if hardened == "works"}
    assert worked_plain >= WORKS_ON_PLAIN, table
    assert worked_hardened == STILL_WORKS, table


ESCROW_ATTACKS = """
escrow = [k for k in list(s.get_objects({A.CLASS: ObjectClass.SECRET_KEY})) if k.label == "mimir-escrow"]
assert len(escrow) == 1
kek = hardened_kek()

def export(k):
    transport = s.generate_key(KeyType.AES, 256, capabilities=MF.WRAP)
    transport.wrap_key(k, mechanism=M.AES_KEY_WRAP)

def read(k):
    k[A.VALUE]

def enable(name):
    def attack(k):
        k[A[name]] = True
    return attack

def copy(k):
    k.copy({A.EXTRACTABLE: True, A.TOKEN: False})

def unwrap_with_it(k):
    enable("UNWRAP")(k)

attacks = {"export": export, "read": read, "copy": copy, "unwrap": unwrap_with_it,
           **{f"enable_{n}": enable(n) for n in ("ENCRYPT", "DECRYPT", "UNWRAP", "EXTRACTABLE", "SIGN", "DERIVE")}}
print(json.dumps({name: attempt(attack, escrow[0]) for name, attack in attacks.items()}))
"""


async def test_the_escrow_key_wraps_and_does_nothing_else(token, blob):
    hsm = await Hsm.open(token.settings())
    await hsm.release_escrow_key()
    await hsm.close()
    run = token.run(PRELUDE + ESCROW_ATTACKS, token.settings().module, blob)
    assert run.returncode == 0, run.stderr
    outcomes = json.loads(run.stdout)
    assert len(outcomes) == 10
    assert all(outcome.startswith("refused") for outcome in outcomes.values()), outcomes


@pytest.mark.parametrize("mechanism_name", ["AES_ECB", "AES_CBC", "AES_GCM", "AES_CTR", "AES_CMAC", "AES_KEY_WRAP"])
@pytest.mark.parametrize("function", ["C_EncryptInit", "C_DecryptInit", "C_SignInit"])
async def test_no_cipher_starts_with_the_escrow_key_or_the_kek(hsm, function, mechanism_name):
    """By the C functions themselves: a client may offer no method, but the token must refuse."""
    await hsm.release_escrow_key()
    connection = hsm._link.connection
    session = connection.operations.session
    parameter = CkGcmParams(iv=bytes(12), iv_length=12, iv_bits=96, associated_data=b"", tag_bits=128)
    how = mechanism(Mechanism[mechanism_name], parameter if mechanism_name == "AES_GCM" else None)
    for handle in (connection.refresh_escrow().handle, connection.active_kek.handle):
        with pytest.raises(CryptokiError) as caught:
            session.functions.call(function, session.handle, addressof(how), handle)
        assert verdict(caught.value.code) is Verdict.GIVE_UP


async def test_the_escrow_key_unwraps_nothing(hsm):
    value = (await hsm.release_escrow_key()).expose()
    connection = hsm._link.connection
    session, found = connection.operations.session, connection.refresh_escrow()
    blob = aes_key_wrap(value, bytes(32))
    template = templates.working(KeyKind.AES_256, KeyUsage.ENCRYPT)
    with pytest.raises(CryptokiError) as caught:
        session.unwrap(Mechanism.AES_KEY_WRAP, found.handle, blob, template)
    assert verdict(caught.value.code) is Verdict.GIVE_UP
    with pytest.raises(CryptokiError):
        session.attribute(found.handle, Attribute.VALUE)


async def test_a_kek_that_is_not_hardened_is_refused_at_start(token):
    """Each weakening of the template is found and named; the token is not used."""
    hsm = await Hsm.open(token.settings())
    weakenings = {
        "unwraps": {Attribute.UNWRAP_TEMPLATE: None},
        "SENSITIVE False": {Attribute.UNWRAP_TEMPLATE: {Attribute.EXTRACTABLE: False}},
        "EXTRACTABLE True": {Attribute.UNWRAP_TEMPLATE: {Attribute.SENSITIVE: True}},
        "MODIFIABLE": {Attribute.MODIFIABLE: True},
        "COPYABLE": {Attribute.COPYABLE: True},
        "encrypts": {Attribute.ENCRYPT: True, Attribute.DECRYPT: True, Attribute.ALLOWED_MECHANISMS: None},
    }
    session = hsm._link.connection.operations.session
    for finding, change in weakenings.items():
        template = templates.kek(key_id=bytes(16), label="mimir-kek-9") | {Attribute.VALUE_LEN: 32} | change
        template = {name: value for name, value in template.items() if value is not None} | {Attribute.TOKEN: False}
        handle = session.generate_secret(Mechanism.AES_KEY_GEN, template)
        with pytest.raises(HsmConfigError, match=rf"not hardened: .*{finding}"):
            check_hardened(session, Kek(kek_id="00" * 16, number=9, handle=handle))
    await hsm.close()


async def test_the_escrow_blob_opens_nowhere_in_the_token(token):
    """Only the words open it: neither KEK nor escrow key unwraps an escrow blob."""
    hsm = await Hsm.open(token.settings())
    await hsm.release_escrow_key()
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    swapped = msgspec.structs.replace(key, wrapped=key.escrow)
    with pytest.raises(Exception, match="does not open under KEK"):
        await hsm.encrypt(swapped, [])
    await hsm.close()
