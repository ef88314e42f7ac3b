"""Responders that sign OCSP answers for an issuer, so that its own key stays in the HSM (RFC 6960, 4.2.2.2).

With `ocsp_delegated` the housekeeper makes one for each issuer that signs answers and may issue. Its key is sealed: it
is in memory while it signs, which is why its certificate is short-lived and good for nothing else. Clients do not ask
whether it was revoked (id-pkix-ocsp-nocheck, 4.2.2.2.1); when it was, the housekeeper makes another.
"""

import time
from collections.abc import Sequence

import msgspec
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from core.clock import Clock
from core.errors import CasMismatchError, MimirError
from core.protocols import Custody, DecodedCache, Entry, KeyCustodian, KeyUsage, StorageView, WrappedKey
from pki.authority import Authority, Issuer
from pki.certificates import State
from pki.issuing import Issuing
from pki.names import common_name_of
from pki.ocsp_responder import Responders
from pki.plan import Origin, Plan
from pki.store import PkiStore

DELEGATES = "ocsp/"  # + issuer id
WAY = "ocsp-responder"

_LASTS = 7 * 86400  # seconds
_BACKDATED = 30  # seconds, for clocks that are late
_REST = 60  # seconds after a failure
_COMMON_NAME = 64  # characters (RFC 5280, A.1: ub-common-name)
_ADDED = " OCSP responder"


class Delegate(msgspec.Struct, frozen=True, kw_only=True):
    """A responder's key and certificate. Times are epoch seconds."""

    key: WrappedKey
    certificate: bytes  # DER
    serial: str
    not_before: int
    not_after: int

    def may_sign(self, now: float) -> bool:
        """Whether its certificate is valid."""
        return self.not_before <= now < self.not_after


class Slot(msgspec.Struct, frozen=True):
    """What there is for an issuer."""

    delegate: Delegate | None = None
    revision: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Delegate).decode
_EMPTY = Slot()


class Delegates:
    """Those of one mount. Workers only read them."""

    def __init__(self, store: PkiStore, issuing: Issuing, keys: KeyCustodian, clock: Clock) -> None:
        self._store = store
        self._issuing = issuing
        self._keys = keys
        self._clock = clock
        self._slots: DecodedCache[Slot] = store.storage.decoded_cache(_load, capacity=1_000, absent=_EMPTY)
        self._rests: dict[str, float] = {}  # by issuer, until when, by the monotonic clock
        self._issuers: tuple[Authority, list[Issuer]] | None = None

    async def find(self, issuer: Issuer, authority: Authority) -> Delegate | None:
        """Who signs for it now; None when it has to do so itself."""
        if not authority.index.crl.ocsp_delegated:
            return None
        delegate = (await self._slot(issuer.issuer_id)).delegate
        return delegate if delegate is not None and delegate.may_sign(self._clock.now()) else None

    def is_due(self) -> bool:
        """Whether one is to be made, as far as memory tells."""
        authority = self._store.authority_in_memory()
        if authority is None:
            return True
        for issuer in self._wanted(authority):
            slot = self._slots.peek(DELEGATES + issuer.issuer_id)
            if not self._is_resting(issuer) and (slot is None or self._is_stale(slot.delegate, issuer)):
                return True
        return False

    async def run(self) -> None:
        """Make what is missing or half through, and drop what nobody needs. One that fails delays no other."""
        authority = await self._store.authority()
        wanted = self._wanted(authority)
        await self._drop_all_but({issuer.issuer_id for issuer in wanted})
        failed: MimirError | None = None
        for issuer in wanted:
            if self._is_resting(issuer):
                continue
            try:
                await self._refresh(issuer, authority)
            except CasMismatchError:
                continue  # another process has just made one
            except MimirError as exc:
                self._rests[issuer.issuer_id] = time.monotonic() + _REST
                failed = exc
        if failed is not None:
            raise failed

    async def _refresh(self, issuer: Issuer, authority: Authority) -> None:
        slot = await self._slot(issuer.issuer_id)
        if not self._is_stale(slot.delegate, issuer) and not await self._is_revoked(slot.delegate):
            return
        made = _encode(await self._make(issuer, authority))
        await self._store.storage.put(DELEGATES + issuer.issuer_id, made, cas=slot.revision)
        await self._slot(issuer.issuer_id)  # `is_due` looks at it

    async def _make(self, issuer: Issuer, authority: Authority) -> Delegate:
        """With a key of its issuer's kind, which whoever verifies the one can verify."""
        if issuer.key is None:
            raise RuntimeError("a responder was planned for an issuer whose key is not here")
        key = await self._keys.generate_key(issuer.key.key.kind, usage=KeyUsage.SIGN, custody=Custody.SEALED)
        if key.public_key is None:
            raise RuntimeError("a key that signs has a public half")
        plan = plan_delegate(issuer, key.public_key, now=int(self._clock.now()))
        made = await self._issuing.issue(plan, issuer, authority, Origin(way=WAY))
        return Delegate(
            key=key, certificate=made.der, serial=made.serial, not_before=plan.not_before, not_after=plan.not_after
        )

    def _is_stale(self, delegate: Delegate | None, issuer: Issuer) -> bool:
        """Whether there is none, or half of its time is over; unless the issuer ends, so that a new one ends, too."""
        if delegate is None:
            return True
        now = self._clock.now()
        if delegate.not_after >= issuer.not_after and delegate.may_sign(now):
            return False
        return now >= (delegate.not_before + delegate.not_after) / 2 or now < delegate.not_before

    async def _is_revoked(self, delegate: Delegate | None) -> bool:
        known = None if delegate is None else await self._store.certificate(delegate.serial)
        return known is not None and known.state is State.REVOKED

    async def _drop_all_but(self, wanted: set[str]) -> None:
        for issuer_id in await self._store.storage.list(DELEGATES):
            if issuer_id not in wanted:
                await self._store.storage.delete(DELEGATES + issuer_id)

    def _wanted(self, authority: Authority) -> list[Issuer]:
        """Who is to have one: of the issuers that share a name and a key, the one that signs answers."""
        settings, now = authority.index.crl, self._clock.now()
        if not settings.ocsp_delegated or settings.ocsp_disable:
            return []
        return [issuer for issuer in self._signers(authority) if _may_appoint(issuer, now)]

    def _signers(self, authority: Authority) -> Sequence[Issuer]:
        """Once for each state of the authority."""
        if self._issuers is None or self._issuers[0] is not authority:
            self._issuers = (authority, Responders(authority).signers())
        return self._issuers[1]

    def _is_resting(self, issuer: Issuer) -> bool:
        return self._rests.get(issuer.issuer_id, 0) > time.monotonic()

    async def _slot(self, issuer_id: str) -> Slot:
        path = DELEGATES + issuer_id
        return self._slots.peek(path) or await self._slots.get(path) or _EMPTY


def _may_appoint(issuer: Issuer, now: float) -> bool:
    is_valid = issuer.not_before <= now < issuer.not_after and not issuer.row.revoked_at
    return is_valid and issuer.key is not None and issuer.may("issuing-certificates")


def plan_delegate(issuer: Issuer, public_key: bytes, *, now: int) -> Plan:
    """The certificate of a responder: named after its issuer, and within its time."""
    others = [rdn for rdn in issuer.subject.rdns if not rdn.get_attributes_for_oid(NameOID.COMMON_NAME)]
    name = common_name_of(issuer.subject)[: _COMMON_NAME - len(_ADDED)] + _ADDED
    own = x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, name.strip())])
    return Plan(
        public_key=public_key,
        subject=x509.Name([*others, own]),
        not_before=max(now - _BACKDATED, issuer.not_before),
        not_after=min(now + _LASTS, issuer.not_after),
        key_usage=_DIGITAL_SIGNATURE,
        ext_key_usage=(ExtendedKeyUsageOID.OCSP_SIGNING,),
        more=(x509.Extension(x509.OCSPNoCheck.oid, False, x509.OCSPNoCheck()),),
    )


_DIGITAL_SIGNATURE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


async def _load(_view: StorageView, _path: str, entry: Entry) -> Slot:
    return Slot(_decode(entry.value), entry.revision)
