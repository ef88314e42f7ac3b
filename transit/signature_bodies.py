"""The bodies of sign, verify, hmac, cmac, hash and random, as Vault's clients send them.

None stands for what was not sent, where Vault tells that from an empty string. With `batch_input` the members of a
single item are ignored.
"""

import msgspec


class SigningOptions(msgspec.Struct):
    """How to sign or verify; `algorithm` is what older clients call `hash_algorithm`."""

    context: str = ""
    hash_algorithm: str = ""
    algorithm: str = ""
    prehashed: bool = False
    signature_algorithm: str = ""
    marshaling_algorithm: str = "asn1"
    marshalling_algorithm: str = ""  # the spelling of the documents' prose
    salt_length: str | int = "auto"
    signature_context: str = ""


class SignItem(msgspec.Struct):
    """One item of sign's batch_input."""

    input: str | None = None
    context: str | None = None
    reference: str | None = None


class SignBody(SigningOptions):
    """sign/<name>."""

    input: str = ""
    key_version: int = 0
    batch_input: list[SignItem] | None = None


class VerifyItem(msgspec.Struct):
    """One item of verify's batch_input."""

    input: str | None = None
    signature: str | None = None
    hmac: str | None = None
    cmac: str | None = None
    mac_length: int | None = None
    context: str | None = None
    reference: str | None = None


class VerifyBody(SigningOptions):
    """verify/<name>."""

    input: str = ""
    signature: str | None = None
    hmac: str | None = None
    cmac: str | None = None
    mac_length: int = 0
    batch_input: list[VerifyItem] | None = None


class MacItem(msgspec.Struct):
    """One item of hmac's or cmac's batch_input."""

    input: str | None = None
    mac_length: int | None = None
    reference: str | None = None


class HmacBody(msgspec.Struct):
    """hmac/<name>."""

    input: str | None = None
    algorithm: str = "sha2-256"
    key_version: int = 0
    batch_input: list[MacItem] | None = None


class CmacBody(msgspec.Struct):
    """cmac/<name>; `mac_length` in bytes, 0 for all."""

    input: str | None = None
    mac_length: int = 0
    key_version: int = 0
    batch_input: list[MacItem] | None = None


class HashItem(msgspec.Struct):
    """One item of hash's batch_input."""

    input: str | None = None
    reference: str | None = None


class HashBody(msgspec.Struct):
    """hash."""

    input: str | None = None
    algorithm: str = "sha2-256"
    format: str = "hex"
    batch_input: list[HashItem] | None = None


class RandomItem(msgspec.Struct):
    """One item of random's batch_input."""

    bytes: int | None = None
    reference: str | None = None


class RandomBody(msgspec.Struct):
    """random."""

    bytes: int | None = None
    format: str = "base64"
    source: str = "platform"
    batch_input: list[RandomItem] | None = None
