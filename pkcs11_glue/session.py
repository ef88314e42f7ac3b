"""A session, and the keys as its objects: find, generate, wrap, unwrap, import, destroy."""

from collections.abc import Sequence
from ctypes import addressof, c_ulong, create_string_buffer, sizeof

from pkcs11.constants import Attribute
from pkcs11.mechanisms import Mechanism

from core.protocols import KeyKind
from pkcs11_glue import templates
from pkcs11_glue.cryptoki import (
    UNAVAILABLE,
    CkAttribute,
    CkKeyDerivationStringData,
    CryptokiError,
    Functions,
    mechanism,
)
from pkcs11_glue.templates import PackedTemplate, Template, packed

MAX_WRAPPED_BYTES = 8192  # RSA-4096 takes 2384
_FIND_AT_ONCE = 64


class HsmSession:
    """One session; used by one thread at a time. Objects are CK_OBJECT_HANDLEs of this module's epoch."""

    __slots__ = ("created", "functions", "handle")

    def __init__(self, functions: Functions, handle: int) -> None:
        self.functions = functions
        self.handle = handle
        self.created = 0  # session objects; SoftHSM forgets 247 bytes of each until C_Finalize

    def close(self) -> None:
        """Close it, and destroy the session objects it made. Never call this on the login session."""
        self.functions.C_CloseSession(self.handle)

    def find(self, template: Template) -> list[int]:
        """Every object that matches. Linear in all objects of the token: for start-up and ceremonies."""
        packed = PackedTemplate(template)
        self.functions.call("C_FindObjectsInit", self.handle, packed.address, packed.count)
        found: list[int] = []
        buffer, count = (c_ulong * _FIND_AT_ONCE)(), c_ulong()
        try:
            while True:
                self.functions.call("C_FindObjects", self.handle, addressof(buffer), _FIND_AT_ONCE, addressof(count))
                found += buffer[: count.value]
                if not count.value:
                    return found
        finally:
            self.functions.C_FindObjectsFinal(self.handle)

    def attribute(self, handle: int, name: Attribute) -> bytes:
        """One attribute, as it stands in the token. An attribute that the object lacks is a CryptokiError."""
        wanted = CkAttribute(int(name), None, 0)
        self.functions.call("C_GetAttributeValue", self.handle, handle, addressof(wanted), 1)
        if wanted.length == UNAVAILABLE:
            raise CryptokiError("C_GetAttributeValue", 0x12)  # CKR_ATTRIBUTE_TYPE_INVALID, from lenient modules too
        buffer = create_string_buffer(max(wanted.length, 1))
        wanted.value = addressof(buffer)
        self.functions.call("C_GetAttributeValue", self.handle, handle, addressof(wanted), 1)
        return buffer.raw[: wanted.length]

    def create(self, template: Template) -> int:
        """C_CreateObject."""
        packed, handle = PackedTemplate(template), c_ulong()
        self.functions.call("C_CreateObject", self.handle, packed.address, packed.count, addressof(handle))
        self.created += 1
        return handle.value

    def destroy(self, handle: int) -> None:
        """C_DestroyObject. One that is gone already is as good."""
        self.functions.C_DestroyObject(self.handle, handle)

    def generate_secret(self, kind: Mechanism, template: Template | PackedTemplate) -> int:
        """C_GenerateKey by `kind`."""
        shape, handle, how = packed(template), c_ulong(), mechanism(kind)
        self.functions.call("C_GenerateKey", self.handle, addressof(how), shape.address, shape.count, addressof(handle))
        self.created += 1
        return handle.value

    def generate_pair(self, kind: KeyKind) -> tuple[int, int]:
        """C_GenerateKeyPair; public and private handle."""
        is_rsa = kind in templates.RSA_BITS
        how = mechanism(Mechanism.RSA_PKCS_KEY_PAIR_GEN if is_rsa else Mechanism.EC_KEY_PAIR_GEN)
        public = PackedTemplate(templates.newborn_public(kind))
        private = PackedTemplate(templates.newborn_private())
        handles = (c_ulong * 2)()
        first = addressof(handles)
        self.functions.call(
            "C_GenerateKeyPair",
            self.handle,
            addressof(how),
            public.address,
            public.count,
            private.address,
            private.count,
            first,
            first + sizeof(c_ulong),
        )
        self.created += 2
        return handles[0], handles[1]

    def wrap(self, how: Mechanism, wrapping_key: int, key: int) -> bytes:
        """C_WrapKey."""
        structure, length = mechanism(how), c_ulong(MAX_WRAPPED_BYTES)
        buffer = create_string_buffer(MAX_WRAPPED_BYTES)
        self.functions.call(
            "C_WrapKey", self.handle, addressof(structure), wrapping_key, key, addressof(buffer), addressof(length)
        )
        return buffer.raw[: length.value]

    def unwrap(self, how: int, unwrapping_key: int, wrapped: bytes, template: Template | PackedTemplate) -> int:
        """C_UnwrapKey."""
        structure, shape, handle = mechanism(how), packed(template), c_ulong()
        self.functions.call(
            "C_UnwrapKey",
            self.handle,
            addressof(structure),
            unwrapping_key,
            wrapped,
            len(wrapped),
            shape.address,
            shape.count,
            addressof(handle),
        )
        self.created += 1
        return handle.value

    def derive_by_aes_ecb(self, base: int, data: bytes, template: Template) -> int:
        """C_DeriveKey: the new key is `data` (a multiple of 16 bytes), encrypted under the base key."""
        parameter = CkKeyDerivationStringData(data, len(data))
        structure, packed, handle = (
            mechanism(Mechanism.AES_ECB_ENCRYPT_DATA, parameter),
            PackedTemplate(template),
            c_ulong(),
        )
        self.functions.call(
            "C_DeriveKey", self.handle, addressof(structure), base, packed.address, packed.count, addressof(handle)
        )
        self.created += 1
        return handle.value

    def random(self, length: int) -> bytes:
        """C_GenerateRandom."""
        buffer = create_string_buffer(max(length, 1))
        self.functions.call("C_GenerateRandom", self.handle, addressof(buffer), length)
        return buffer.raw[:length]


def destroy_all(session: HsmSession, handles: Sequence[int]) -> None:
    """Destroy several objects; for the `finally` of what made them."""
    for handle in handles:
        session.destroy(handle)
