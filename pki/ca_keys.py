"""Keys of CAs: made inside the HSM, made to be shown once, or taken from those that are there.

internal   in the HSM where the token can have such a key, sealed elsewhere; it never leaves
exported   sealed, and shown in the answer
existing   one of the mount's
kms        a managed key of Vault Enterprise: there is none here
"""

from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_private_key
from msgspec.structs import replace

from core.errors import InvalidRequestError
from core.ids import new_uuid
from core.protocols import Custody, KeyCustodian, KeyKind, KeyUsage
from core.secret import Secret
from pki.authority import DEFAULT, Authority, CaKey
from pki.ca_asked import KeyBody
from pki.leaf_types import ca_kind
from pki.reference_names import check_key_name
from pki.store import AuthorityChange

_WAYS = ("internal", "exported", "existing", "kms")
_FROM_SEED: dict[KeyKind, Any] = {
    KeyKind.ED25519: ed25519.Ed25519PrivateKey.from_private_bytes,
    KeyKind.ML_DSA_44: mldsa.MLDSA44PrivateKey.from_seed_bytes,
    KeyKind.ML_DSA_65: mldsa.MLDSA65PrivateKey.from_seed_bytes,
    KeyKind.ML_DSA_87: mldsa.MLDSA87PrivateKey.from_seed_bytes,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenKey:
    """The key that a CA certificate or a request for one is about; nothing of it is stored yet."""

    key: CaKey
    private: PrivateKeyTypes | None = None  # only of one that is shown
    is_new: bool = True

    @property
    def public_key(self) -> bytes:
        """SubjectPublicKeyInfo, DER."""
        public = self.key.key.public_key
        if public is None:
            raise RuntimeError("the key of a CA has a public half")
        return public

    async def keep(self, change: AuthorityChange) -> None:
        """Write it, if it is new or was given a name. Raises InvalidRequestError when the name is taken by now."""
        check_key_name(self.key.name, change.before, but=self.key.key_id)
        if not self.is_new and self.key.key_id not in change.before.keys:
            raise InvalidRequestError("the key was deleted meanwhile")
        if self.is_new or change.before.keys[self.key.key_id] != self.key:
            await change.put_key(self.key)


def check_way(way: str) -> None:
    """Raise InvalidRequestError for what is no way to come by a key, or none here."""
    if way not in _WAYS:
        raise InvalidRequestError('the "exported" path parameter must be "internal", "existing", "exported" or "kms"')
    if way == "kms":
        raise InvalidRequestError(
            'there are no managed keys ("kms") here: "internal" makes the key in the HSM of this appliance'
        )


async def choose_key(way: str, body: KeyBody, authority: Authority, keys: KeyCustodian, *, now: int) -> ChosenKey:
    """Make a key or take one. Raises InvalidRequestError, and NotFoundError for a key_ref that names none."""
    check_way(way)
    if way == "existing":
        return _existing(body, authority)
    check_key_name(body.key_name, authority)
    kind = ca_kind(body.key_type or "rsa", body.key_bits or 0)
    custody = Custody.SEALED if way == "exported" else None
    wrapped = await keys.generate_key(kind, usage=KeyUsage.SIGN, custody=custody)
    private = private_key(kind, await keys.export_key(wrapped)) if way == "exported" else None
    key = CaKey(key_id=new_uuid(), name=body.key_name, key=wrapped, created_at=now)
    return ChosenKey(key=key, private=private)


def _existing(body: KeyBody, authority: Authority) -> ChosenKey:
    if body.key_type or body.key_bits is not None:
        raise InvalidRequestError(
            "invalid parameter for the kms/existing path parameter, key_type nor key_bits arguments can be set in this"
            " mode"
        )
    key = authority.key(body.key_ref or DEFAULT)
    if body.key_name and body.key_name != key.name:
        if key.name:
            raise InvalidRequestError(f"the key has the name {key.name} already: write key/{key.name} to change it")
        check_key_name(body.key_name, authority)
        key = replace(key, name=body.key_name)
    return ChosenKey(key=key, is_new=False)


def private_key(kind: KeyKind, material: Secret) -> PrivateKeyTypes:
    """Material as `core.protocols.KeyKind` describes it, as an object of `cryptography`."""
    from_seed = _FROM_SEED.get(kind)
    if from_seed is not None:
        made: PrivateKeyTypes = from_seed(material.expose())
        return made
    return load_der_private_key(material.expose(), None)
