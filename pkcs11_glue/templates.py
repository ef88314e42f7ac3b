"""What every key may do: the attribute templates, all in this one place, and their C form."""

import struct
from collections.abc import Mapping, Sequence
from ctypes import addressof, create_string_buffer, sizeof
from functools import lru_cache
from typing import Any

from pkcs11.constants import Attribute, ObjectClass
from pkcs11.mechanisms import KeyType, Mechanism

from core import public_keys
from core.protocols import KeyKind, KeyUsage
from pkcs11_glue.cryptoki import CkAttribute

Value = bool | int | bytes | str | Sequence[int] | Mapping[Attribute, "bool | int"]
Template = Mapping[Attribute, Value]

EC_PARAMETERS = {  # the named curve as a DER object identifier (RFC 5480, 2.1.1.1)
    KeyKind.EC_P256: bytes.fromhex("06082a8648ce3d030107"),
    KeyKind.EC_P384: bytes.fromhex("06052b81040022"),
    KeyKind.EC_P521: bytes.fromhex("06052b81040023"),
}
RSA_BITS = public_keys.RSA_BITS
SECRET_BYTES = {KeyKind.AES_128: 16, KeyKind.AES_256: 32, KeyKind.HMAC: 64}
KEY_TYPES = {
    KeyKind.AES_128: KeyType.AES,
    KeyKind.AES_256: KeyType.AES,
    KeyKind.HMAC: KeyType.GENERIC_SECRET,
    **dict.fromkeys(EC_PARAMETERS, KeyType.EC),
    **dict.fromkeys(RSA_BITS, KeyType.RSA),
}
_CIPHER = frozenset({KeyUsage.ENCRYPT, KeyUsage.DERIVE})
_SIGNING = frozenset({KeyUsage.SIGN})
USAGES: dict[KeyKind, frozenset[KeyUsage]] = {  # which usages a kind can have, in whatever custody
    KeyKind.AES_128: _CIPHER | {KeyUsage.MAC},
    KeyKind.AES_256: _CIPHER | {KeyUsage.MAC},
    KeyKind.CHACHA20_POLY1305: _CIPHER,
    KeyKind.XCHACHA20_POLY1305: _CIPHER,
    KeyKind.HMAC: frozenset({KeyUsage.MAC}),
    **dict.fromkeys(EC_PARAMETERS, _SIGNING),
    **dict.fromkeys(RSA_BITS, frozenset({KeyUsage.SIGN, KeyUsage.ENCRYPT, KeyUsage.SIGN_DECRYPT})),
    KeyKind.ED25519: frozenset({KeyUsage.SIGN, KeyUsage.DERIVE}),
    **dict.fromkeys((KeyKind.ML_DSA_44, KeyKind.ML_DSA_65, KeyKind.ML_DSA_87), _SIGNING),
}
_HMAC_SIZES = range(64, 513, 8)  # HMAC-SHA-512 takes 64 bytes or more; RFC 3394 wraps multiples of 8

WRAPPING = (Mechanism.AES_KEY_WRAP, Mechanism.AES_KEY_WRAP_PAD)

_SECRET_FLAGS = (
    Attribute.ENCRYPT,
    Attribute.DECRYPT,
    Attribute.SIGN,
    Attribute.VERIFY,
    Attribute.WRAP,
    Attribute.UNWRAP,
    Attribute.DERIVE,
)
_PRIVATE_FLAGS = (Attribute.DECRYPT, Attribute.SIGN, Attribute.UNWRAP, Attribute.DERIVE)
_ALLOWED_BY = {
    KeyUsage.ENCRYPT: {Attribute.ENCRYPT, Attribute.DECRYPT},
    KeyUsage.SIGN: {Attribute.SIGN},
    KeyUsage.SIGN_DECRYPT: {Attribute.SIGN, Attribute.DECRYPT},
    KeyUsage.MAC: {Attribute.SIGN},
    KeyUsage.DERIVE: {Attribute.DERIVE},
}


def _flags(names: Sequence[Attribute], allowed: set[Attribute]) -> dict[Attribute, Value]:
    return {name: name in allowed for name in names}


def kek(*, key_id: bytes, label: str) -> dict[Attribute, Value]:
    """The key-encryption key: wraps and unwraps by RFC 3394/5649 alone, and what it unwraps stays inside.

    The unwrap template is matched, not filled in: an unwrap that does not ask for a sensitive, non-extractable key is
    refused, also to those who hold the PIN.
    """
    return {
        **_token_secret(key_id=key_id, label=label),
        **_flags(_SECRET_FLAGS, {Attribute.WRAP, Attribute.UNWRAP}),
        Attribute.EXTRACTABLE: False,
        Attribute.MODIFIABLE: False,
        Attribute.COPYABLE: False,
        Attribute.ALLOWED_MECHANISMS: WRAPPING,
        Attribute.UNWRAP_TEMPLATE: {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
    }


def unclaimed_escrow(*, key_id: bytes, label: str) -> dict[Attribute, Value]:
    """The escrow key before a cluster is initialised: its value can be read once, as shares, then it is replaced."""
    return {
        **_token_secret(key_id=key_id, label=label),
        **_flags(_SECRET_FLAGS, {Attribute.WRAP}),
        Attribute.EXTRACTABLE: True,
    }


def escrow(*, key_id: bytes, label: str) -> dict[Attribute, Value]:
    """The escrow key in service: it wraps, and nothing else can be done with it."""
    return {
        **_token_secret(key_id=key_id, label=label),
        **_flags(_SECRET_FLAGS, {Attribute.WRAP}),
        Attribute.EXTRACTABLE: False,
        Attribute.MODIFIABLE: False,
        Attribute.COPYABLE: False,
        Attribute.ALLOWED_MECHANISMS: WRAPPING,
    }


def _token_secret(*, key_id: bytes, label: str) -> dict[Attribute, Value]:
    return {
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.KEY_TYPE: KeyType.AES,
        Attribute.TOKEN: True,
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.ID: key_id,
        Attribute.LABEL: label,
    }


def can_wrap_faithfully(kind: KeyKind, size: int) -> bool:
    """Whether a secret key of so many bytes comes back from its wrapping as it was, and can be used then.

    SoftHSM pads others with zeros (docs/limits.md), which makes another key of them.
    """
    return size in _HMAC_SIZES if kind is KeyKind.HMAC else size == SECRET_BYTES[kind]


def newborn_secret(kind: KeyKind, *, size: int = 0) -> dict[Attribute, Value]:
    """A secret key between its generation and its wrapping, a moment later: of no use, but wrappable."""
    return _newborn_secret(kind) | {Attribute.VALUE_LEN: size or SECRET_BYTES[kind]}


def newcomer_secret(kind: KeyKind, value: bytes) -> dict[Attribute, Value]:
    """A secret key made elsewhere, until it is wrapped."""
    return _newborn_secret(kind) | {Attribute.VALUE: value}


def _newborn_secret(kind: KeyKind) -> dict[Attribute, Value]:
    return {
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.KEY_TYPE: KEY_TYPES[kind],
        **_session_private(extractable=True),
        **_flags(_SECRET_FLAGS, set()),
    }


def newborn_private() -> dict[Attribute, Value]:
    """A private key between its generation and its wrapping; it signs once, to prove the pair consistent."""
    return {**_session_private(extractable=True), **_flags(_PRIVATE_FLAGS, {Attribute.SIGN})}


def newcomer_private(kind: KeyKind, numbers: Mapping[Attribute, bytes]) -> dict[Attribute, Value]:
    """A private key made elsewhere, until it is wrapped; it signs once, as a newborn one does."""
    return {
        Attribute.CLASS: ObjectClass.PRIVATE_KEY,
        Attribute.KEY_TYPE: KEY_TYPES[kind],
        **newborn_private(),
        **numbers,
    }


def newborn_public(kind: KeyKind) -> dict[Attribute, Value]:
    """The public half, read and destroyed."""
    shape: dict[Attribute, Value] = {Attribute.TOKEN: False, Attribute.PRIVATE: False, Attribute.VERIFY: True}
    if kind in RSA_BITS:
        return {**shape, Attribute.MODULUS_BITS: RSA_BITS[kind], Attribute.PUBLIC_EXPONENT: b"\x01\x00\x01"}
    return {**shape, Attribute.EC_PARAMS: EC_PARAMETERS[kind]}


def working(kind: KeyKind, usage: KeyUsage) -> dict[Attribute, Value]:
    """An unwrapped or derived key: a session object that never leaves, with the one usage of its record.

    A private key takes no ENCRYPT, VERIFY or WRAP, and VALUE_LEN is refused at unwrap.
    """
    secret = kind in SECRET_BYTES
    names = _SECRET_FLAGS if secret else _PRIVATE_FLAGS
    return {
        Attribute.CLASS: ObjectClass.SECRET_KEY if secret else ObjectClass.PRIVATE_KEY,
        Attribute.KEY_TYPE: KEY_TYPES[kind],
        **_session_private(extractable=False),
        **_flags(names, _ALLOWED_BY[usage]),
    }


def imported_secret(
    kind: KeyKind, value: bytes, usage: KeyUsage, *, extractable: bool = False
) -> dict[Attribute, Value]:
    """A session key of a known value: for self-tests with published vectors, and to wrap a seed made outside."""
    template = working(kind, usage) | {Attribute.VALUE: value, Attribute.EXTRACTABLE: extractable}
    if kind is KeyKind.HMAC:
        template[Attribute.KEY_TYPE] = KeyType.GENERIC_SECRET
    return template


def throwaway_wrapper(value: bytes) -> dict[Attribute, Value]:
    """A session key of a known value that wraps: how the escrow key's value is read, once."""
    return {
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.KEY_TYPE: KeyType.AES,
        Attribute.VALUE: value,
        **_session_private(extractable=False),
        **_flags(_SECRET_FLAGS, {Attribute.WRAP}),
    }


def _session_private(*, extractable: bool) -> dict[Attribute, Value]:
    return {
        Attribute.TOKEN: False,
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: extractable,
    }


class PackedTemplate:
    """A template as an array of CK_ATTRIBUTE, with the memory it points to."""

    __slots__ = ("_keep", "array", "count")

    def __init__(self, template: Template) -> None:
        self._keep: list[Any] = []
        self.count = len(template)
        self.array = (CkAttribute * self.count)()
        for place, (name, value) in enumerate(template.items()):
            self.array[place] = CkAttribute(int(name), *self._place(value))

    @property
    def address(self) -> int:
        """Of the first attribute."""
        return addressof(self.array)

    def _place(self, value: Value) -> tuple[int, int]:
        """Where the value stands in memory, and its length."""
        if isinstance(value, Mapping):
            nested = PackedTemplate(value)
            self._keep.append(nested)
            return nested.address, sizeof(nested.array)
        packed = _pack(value)
        buffer = create_string_buffer(packed, max(len(packed), 1))
        self._keep.append(buffer)
        return addressof(buffer), len(packed)


def packed(template: "Template | PackedTemplate") -> PackedTemplate:
    """In C's form, if it is not yet."""
    return template if isinstance(template, PackedTemplate) else PackedTemplate(template)


# what every unwrapping and every generation needs; a module only reads templates, so threads may share them


@lru_cache(64)
def packed_working(kind: KeyKind, usage: KeyUsage) -> PackedTemplate:
    """`working` in C's form."""
    return PackedTemplate(working(kind, usage))


@lru_cache(64)
def packed_newborn_secret(kind: KeyKind, size: int) -> PackedTemplate:
    """`newborn_secret` in C's form."""
    return PackedTemplate(newborn_secret(kind, size=size))


def _pack(value: bool | int | bytes | str | Sequence[int]) -> bytes:
    if isinstance(value, bool):  # CK_BBOOL; before int, whose subclass it is
        return bytes((value,))
    if isinstance(value, int):
        return struct.pack("L", value)
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    return struct.pack(f"{len(value)}L", *value)
