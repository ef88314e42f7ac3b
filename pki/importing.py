"""Issuers and keys that were made elsewhere are taken over: all of a bundle, or nothing of it.

A key that is here already is not stored twice, nor is a certificate; an issuer whose key comes later gets it then, and
one whose key was here first has it at once.
"""

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec.structs import replace

from core.clock import Clock
from core.ids import new_uuid
from core.protocols import Event, KeyCustodian, KeyUsage
from pki.authority import USAGES, Authority, CaKey, IssuerRow
from pki.pem_bundles import BroughtKey, Bundle
from pki.reference_names import check_key_name
from pki.store import AuthorityChange, PkiStore


@dataclass(slots=True)
class Imported:
    """Ids of what came and of what was there; `mapping` tells the key of each issuer that the bundle names."""

    issuers: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    known_issuers: list[str] = field(default_factory=list)
    known_keys: list[str] = field(default_factory=list)
    mapping: dict[str, str] = field(default_factory=dict)


class Importing:
    """Takes bundles over into one mount."""

    def __init__(self, store: PkiStore, keys: KeyCustodian, clock: Clock) -> None:
        self._store = store
        self._keys = keys
        self._clock = clock

    async def take(self, bundle: Bundle, *, key_name: str = "") -> Imported:
        """Store what is new. Raises InvalidRequestError, and HsmError when the HSM takes no key now.

        `key_name` is for a bundle of one key.
        """
        brought = await self._wrapped(bundle.keys, key_name)

        async def work(change: AuthorityChange) -> Imported:
            found = Imported()
            ids = await self._keep_keys(change, brought, found)
            await self._give_keys(change, ids)
            await self._keep_issuers(change, bundle.certificates, ids, found)
            if found.issuers or found.keys:
                metadata = {"issuers": ",".join(found.issuers), "keys": ",".join(found.keys)}
                await change.txn.announce(Event(type="pki/ca-import", path="issuers/import", metadata=metadata))
            return found

        return await self._store.change_authority(work)

    async def _wrapped(self, keys: list[BroughtKey], name: str) -> list[CaKey]:
        """Each in the HSM's custody where it can be, nothing stored yet. Those that are known are not made again."""
        known = _ids_of_keys(await self._store.authority())
        now, made = int(self._clock.now()), []
        for key in keys:
            if key.public_key in known:
                made.append((await self._store.authority()).keys[known[key.public_key]])
                continue
            wrapped = await self._keys.import_key(key.kind, key.material, usage=KeyUsage.SIGN)
            wrapped = replace(wrapped, public_key=key.public_key)
            made.append(CaKey(key_id=new_uuid(), name=name, key=wrapped, created_at=now))
        return made

    async def _keep_keys(self, change: AuthorityChange, keys: list[CaKey], found: Imported) -> dict[bytes, str]:
        """The ids of all keys, those that were there included, by public key."""
        ids = _ids_of_keys(change.before)
        for key in keys:
            public_key = key.key.public_key or b""
            if public_key in ids:
                found.known_keys.append(ids[public_key])
                continue
            check_key_name(key.name, change.before)
            await change.put_key(key)
            ids[public_key] = key.key_id
            found.keys.append(key.key_id)
        return ids

    async def _give_keys(self, change: AuthorityChange, ids: dict[bytes, str]) -> None:
        """To issuers that were there without theirs."""
        for issuer in change.before.issuers.values():
            if not issuer.row.key_id and issuer.public_key in ids:
                await change.put_issuer(replace(issuer.row, key_id=ids[issuer.public_key]))

    async def _keep_issuers(
        self, change: AuthorityChange, certificates: list[x509.Certificate], ids: dict[bytes, str], found: Imported
    ) -> None:
        """Those with a key first: the first of all is the default, and one without a key issues nothing."""
        known = {issuer.row.certificate: issuer for issuer in change.before.issuers.values()}
        for certificate in sorted(certificates, key=lambda one: _public_key(one) not in ids):
            der = certificate.public_bytes(Encoding.DER)
            key_id = ids.get(_public_key(certificate), "")
            if der in known:
                issuer_id = known[der].issuer_id
                found.known_issuers.append(issuer_id)
            else:
                issuer_id = new_uuid()
                usage = USAGES if _signs_crls(certificate) else tuple(word for word in USAGES if word != "crl-signing")
                created_at = int(self._clock.now())
                row = IssuerRow(issuer_id=issuer_id, key_id=key_id, certificate=der, usage=usage, created_at=created_at)
                await change.put_issuer(row)
                found.issuers.append(issuer_id)
            found.mapping[issuer_id] = key_id


def _ids_of_keys(authority: Authority) -> dict[bytes, str]:
    return {key.key.public_key: key_id for key_id, key in authority.keys.items() if key.key.public_key is not None}


def _public_key(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _signs_crls(certificate: x509.Certificate) -> bool:
    found = next((e.value for e in certificate.extensions if isinstance(e.value, x509.KeyUsage)), None)
    return found is None or found.crl_sign
