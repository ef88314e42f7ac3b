"""Keys of `sealed` custody: for kinds that the token cannot wrap, which is Ed25519 on SoftHSM 2.6.1.

The seed comes from the HSM's generator and rests as AES-256-GCM ciphertext, made inside the HSM by the sealing key (the
barrier root key). It is in memory while it is made and while it is used, and `custody: sealed` says so.
"""

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.errors import CiphertextError, KeyPolicyError
from core.ids import new_uuid
from core.protocols import AeadInput, Custody, KeyKind, KeyUsage, SignatureScheme, WrappedKey
from pkcs11_glue import escrow
from pkcs11_glue.escrow import EscrowKey
from pkcs11_glue.operations import Operations

SEED_BYTES = 32
MECHANISM = "AES_GCM"


def binding(key_id: str, kind: KeyKind, usage: KeyUsage) -> bytes:
    """The associated data of a sealed key: what it is, so that it opens as nothing else."""
    return f"mimir sealed key v1\0{key_id}\0{kind.value}\0{usage.value}".encode()


def generate(
    operations: Operations, *, usage: KeyUsage, sealing_key_id: str, sealing_handle: int, under: EscrowKey | None
) -> WrappedKey:
    """An Ed25519 key, sealed by the key `sealing_key_id` (which `kek_id` names) and escrowed like any other."""
    seed = operations.session.random(SEED_BYTES)
    key_id = new_uuid()
    associated_data = binding(key_id, KeyKind.ED25519, usage)
    (sealed,) = operations.encrypt(sealing_handle, [AeadInput(seed, associated_data)])
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    return WrappedKey(
        key_id=key_id,
        kind=KeyKind.ED25519,
        usage=usage,
        custody=Custody.SEALED,
        mechanism=MECHANISM,
        kek_id=sealing_key_id,
        wrapped=sealed,
        escrow=escrow.wrap_value(operations.session, under, seed) if under else None,
        escrow_id=under.escrow_id if under else "",
        public_key=public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    )


def open_key(operations: Operations, key: WrappedKey, sealing_handle: int) -> Ed25519PrivateKey:
    """Decrypt the seed inside the HSM. Raises CiphertextError for a record that was altered or moved."""
    item = AeadInput(key.wrapped, binding(key.key_id, key.kind, key.usage))
    (seed,) = operations.decrypt(sealing_handle, [item])
    if isinstance(seed, CiphertextError) or len(seed) != SEED_BYTES:
        raise CiphertextError(f"the sealed key {key.key_id} does not open under key {key.kek_id}")
    return Ed25519PrivateKey.from_private_bytes(seed)


def sign(key: Ed25519PrivateKey, messages: Sequence[bytes], scheme: SignatureScheme) -> list[bytes]:
    """Pure Ed25519 (RFC 8032, 5.1.6), in software."""
    if scheme is not SignatureScheme.ED25519:
        raise KeyPolicyError("an Ed25519 key signs messages by Ed25519 only")
    return [key.sign(message) for message in messages]
