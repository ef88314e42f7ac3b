"""A key of `sealed` custody at work: what every family of kinds can be asked, refused unless the family does it."""

# ruff: noqa: ARG002 - what a refusal does not look at is named for callers and for the classes below

from collections.abc import Sequence

from core.errors import CiphertextError, KeyPolicyError
from core.protocols import AeadInput, KeyKind, KeyUsage, SignatureScheme


class SoftwareKey:
    """Arguments and answers are those of core.protocols.KeyCustodian. Used from several threads at once."""

    __slots__ = ("_kind", "_usage")

    def __init__(self, kind: KeyKind, usage: KeyUsage) -> None:
        self._kind = kind
        self._usage = usage

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._kind.value} for {self._usage.value})"

    def _cannot(self, what: str) -> KeyPolicyError:
        return KeyPolicyError(f"a key of type {self._kind.value} for {self._usage.value} cannot {what}")

    def encrypt(self, items: Sequence[AeadInput], *, convergent: bool = False) -> list[bytes]:
        """Nonce, ciphertext, tag (16 bytes) of each item."""
        raise self._cannot("encrypt")

    def decrypt(self, items: Sequence[AeadInput]) -> list[bytes | CiphertextError]:
        """Undo `encrypt`; an item that does not authenticate is answered by an error in its place."""
        raise self._cannot("decrypt by an AEAD")

    def decrypt_oaep(self, ciphertexts: Sequence[bytes], *, hash_name: str = "sha256") -> list[bytes | CiphertextError]:
        """RSAES-OAEP."""
        raise self._cannot("decrypt by RSA-OAEP")

    def mac(self, messages: Sequence[bytes], *, hash_name: str = "") -> list[bytes]:
        """HMAC or CMAC."""
        raise self._cannot("make a MAC")

    def sign(
        self,
        digests: Sequence[bytes],
        *,
        scheme: SignatureScheme,
        hash_name: str = "sha256",
        salt_length: int | None = None,
        context: bytes = b"",
    ) -> list[bytes]:
        """Sign digests made with `hash_name`, or messages, as the scheme has it."""
        raise self._cannot("sign")

    def derived_public_key(self, context: bytes) -> bytes:
        """SubjectPublicKeyInfo of the key derived for a context."""
        raise self._cannot("derive key pairs")
