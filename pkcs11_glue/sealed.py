"""Keys of `sealed` custody: exportable ones, imported ones that the token cannot take, kinds that it cannot execute.

The material rests as AES-256-GCM ciphertext, made inside the HSM by the sealing key (which init makes beside the
barrier root key) and bound to what the key is. It is in memory while it is made and while it is used, and `custody:
sealed` says so. There is no escrow blob: the sealing key is escrowed, and with it every key that it sealed comes back.
(Ed25519 keys of earlier releases have one, which nothing needs.)
"""

from core.errors import CiphertextError, KeyPolicyError
from core.ids import new_uuid
from core.protocols import AeadInput, Custody, KeyKind, KeyUsage, WrappedKey
from core.secret import Secret
from pkcs11_glue.operations import Operations
from pkcs11_glue.software import CheckedMaterial, SoftwareKey, check_software_usage, open_software

MECHANISM = "AES_GCM"


def binding(key_id: str, kind: KeyKind, usage: KeyUsage) -> bytes:
    """The associated data of a sealed key: what it is, so that it opens as nothing else."""
    return f"mimir sealed key v1\0{key_id}\0{kind.value}\0{usage.value}".encode()


def seal(
    operations: Operations,
    kind: KeyKind,
    material: CheckedMaterial,
    *,
    usage: KeyUsage,
    sealing_key_id: str,
    sealing_handle: int,
) -> WrappedKey:
    """A key new to this cluster, under the key `sealing_key_id`, which `kek_id` names."""
    check_software_usage(kind, usage)
    key_id = new_uuid()
    item = AeadInput(material.secret.expose(), binding(key_id, kind, usage))
    (wrapped,) = operations.encrypt(sealing_handle, [item])
    return WrappedKey(
        key_id=key_id,
        kind=kind,
        usage=usage,
        custody=Custody.SEALED,
        mechanism=MECHANISM,
        kek_id=sealing_key_id,
        wrapped=wrapped,
        public_key=None if usage is KeyUsage.DERIVE else material.public_key,  # a deriving seed's is half of the secret
    )


def open_material(operations: Operations, key: WrappedKey, sealing_handle: int) -> Secret:
    """Decrypt the material inside the HSM. Raises CiphertextError for a record that was altered or moved."""
    if key.custody is not Custody.SEALED or key.mechanism != MECHANISM:
        raise KeyPolicyError("this key is in the HSM and cannot leave it")
    item = AeadInput(key.wrapped, binding(key.key_id, key.kind, key.usage))
    (material,) = operations.decrypt(sealing_handle, [item])
    if isinstance(material, CiphertextError):
        raise CiphertextError(f"the sealed key {key.key_id} does not open under key {key.kek_id}") from material
    return Secret(material)


def open_key(operations: Operations, key: WrappedKey, sealing_handle: int) -> SoftwareKey:
    """The key at work. Raises CiphertextError as `open_material`."""
    return open_software(key.kind, key.usage, open_material(operations, key, sealing_handle))
