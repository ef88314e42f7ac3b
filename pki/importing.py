"""Issuers and keys that were made elsewhere are taken over: all of a bundle, or nothing of it.

A key that is here already is not stored twice, nor is a certificate; an issuer whose key comes later gets it then, and
one whose key was here first has it at once.
"""

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec.structs import replace

from core.clock import Clock
from core.errors import InvalidRequestError
from core.ids import new_uuid
from core.protocols import Event, KeyCustodian, KeyUsage
from pki.authority import Authority, CaKey, IssuerRow
from pki.ca_answers import about_urls
from pki.certificates import CATALOG, State, decode_row
from pki.issuer_usages import possible_usage
from pki.pem_bundles import BroughtKey, Bundle
from pki.reference_names import check_issuer_name, check_key_name
from pki.serials import format_serial
from pki.store import AuthorityChange, PkiStore, fingerprint_of

_NO_KEY = (
    "The default issuer has no key associated with it. Some operations like issuing certificates and signing CRLs will"
    " be unavailable with the requested default issuer until a key is imported or the default issuer is changed."
)
_SEVERAL_KEYS = (
    "The imported bundle contained multiple certs matching keys, the default issuer that was selected should be"
    " verified and manually changed if incorrect."
)
_SEVERAL_LATEST = (
    "Default issuer left unchanged: could not select new issuer automatically as multiple imported issuers had key"
    " material."
)


@dataclass(slots=True)
class Imported:
    """Ids of what came and of what was there; `mapping` tells the key of each issuer that the bundle names."""

    issuers: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    known_issuers: list[str] = field(default_factory=list)
    known_keys: list[str] = field(default_factory=list)
    mapping: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class Importing:
    """Takes bundles over into one mount."""

    def __init__(self, store: PkiStore, keys: KeyCustodian, clock: Clock) -> None:
        self._store = store
        self._keys = keys
        self._clock = clock

    async def take(self, bundle: Bundle, *, key_name: str = "", issuer_name: str = "") -> Imported:
        """Store what is new. Raises InvalidRequestError, and HsmError when the HSM takes no key now.

        `key_name` is for a bundle of one key, `issuer_name` for one that has one issuer that is new.
        """
        brought = await self._wrapped(bundle.keys, key_name)

        async def work(change: AuthorityChange) -> Imported:
            found = Imported()
            ids = await self._keep_keys(change, brought, found)
            await self._give_keys(change, ids)
            await self._keep_issuers(change, bundle.certificates, ids, found, issuer_name)
            _choose_default(change, found)
            found.warnings += _warnings(change, found)
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
        """To issuers that were there without theirs. Where there was no default, the first of them is it."""
        for issuer in change.before.issuers.values():
            if not issuer.row.key_id and issuer.public_key in ids:
                await change.put_issuer(replace(issuer.row, key_id=ids[issuer.public_key]))
                if not change.index.default_issuer:
                    change.set_index(replace(change.index, default_issuer=issuer.issuer_id))

    async def _keep_issuers(
        self,
        change: AuthorityChange,
        certificates: list[x509.Certificate],
        ids: dict[bytes, str],
        found: Imported,
        name: str,
    ) -> None:
        """Those with a key first: the first of all is the default, and one without a key issues nothing."""
        known = {issuer.row.certificate: issuer for issuer in change.before.issuers.values()}
        encoded = {certificate.public_bytes(Encoding.DER): certificate for certificate in certificates}
        _check_name(name, change.before, new=len(encoded.keys() - known.keys()))
        for der, certificate in sorted(encoded.items(), key=lambda one: _public_key(one[1]) not in ids):
            key_id = ids.get(_public_key(certificate), "")
            if der in known:
                issuer_id = known[der].issuer_id
                found.known_issuers.append(issuer_id)
            else:
                row = self._row(der, certificate, key_id, name)
                row = replace(row, revoked_at=await self._revoked_at(change, certificate, der))
                issuer_id = row.issuer_id
                await change.put_issuer(row)
                found.issuers.append(issuer_id)
            found.mapping[issuer_id] = key_id
        if name and not found.issuers:
            found.warnings.append("Issuer already imported, use issuer/ endpoint to update name.")

    @staticmethod
    async def _revoked_at(change: AuthorityChange, certificate: x509.Certificate, der: bytes) -> int:
        """When this mount revoked it; 0: it did not. A CA that is deleted and brought back stays revoked."""
        formerly = change.index.former_revoked.get(fingerprint_of(der))
        if formerly:
            return formerly
        row = await change.txn.row(CATALOG, format_serial(certificate.serial_number))
        if row is None:
            return 0
        known = decode_row(row)
        return known.body.revoked_at if known.state is State.REVOKED and known.body.certificate == der else 0

    def _row(self, der: bytes, certificate: x509.Certificate, key_id: str, name: str) -> IssuerRow:
        return IssuerRow(
            issuer_id=new_uuid(),
            name=name,
            key_id=key_id,
            certificate=der,
            usage=possible_usage(certificate),
            created_at=int(self._clock.now()),
        )


def _check_name(name: str, authority: Authority, *, new: int) -> None:
    if not name or not new:
        return
    if new > 1:
        raise InvalidRequestError("issuer_name is for a bundle with one new certificate: this one has several")
    check_issuer_name(name, authority)


def _choose_default(change: AuthorityChange, found: Imported) -> None:
    """Where the default follows the latest issuer and several could be that, nobody guesses: it stays."""
    before = change.before.index
    with_key = [issuer_id for issuer_id in found.issuers if found.mapping[issuer_id]]
    if before.default_follows_latest_issuer and before.default_issuer and len(with_key) > 1:
        change.set_index(replace(change.index, default_issuer=before.default_issuer))
        found.warnings.append(_SEVERAL_LATEST)


def _warnings(change: AuthorityChange, found: Imported) -> list[str]:
    default = change.index.default_issuer
    warnings = []
    if default in found.mapping and not found.mapping[default]:
        warnings.append(_NO_KEY)
    if default in found.issuers and len([one for one in found.issuers if found.mapping[one]]) > 1:
        warnings.append(_SEVERAL_KEYS)
    return warnings + about_urls(change.index.urls)


def _ids_of_keys(authority: Authority) -> dict[bytes, str]:
    return {key.key.public_key: key_id for key_id, key in authority.keys.items() if key.key.public_key is not None}


def _public_key(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
