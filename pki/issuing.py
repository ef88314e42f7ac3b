"""How a certificate comes to be: prepare, lint, record the intent, sign once, record the certificate.

The intent is durable before the HSM is asked, and the certificate before anybody sees it. So there is no certificate
that the inventory does not know, whatever dies when; a serial number whose signature never came is abandoned, never
used again (`pki.intents`).
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property

from cryptography import x509
from msgspec.structs import replace

from core.clock import Clock
from core.errors import CasMismatchError, HsmRetryError, InvalidRequestError
from core.prepared_signature import ToBeSigned
from core.protocols import KeyCustodian, WrappedKey
from pki.aia import urls_for
from pki.authority import Authority, Issuer, Urls
from pki.building import build
from pki.certificates import CATALOG, Certificate, Known, State, encode_row
from pki.chains import constrained_above
from pki.lint import check_certificate
from pki.names import common_name_of, name_texts
from pki.plan import Origin, Plan
from pki.row_writer import RowWriter
from pki.serials import format_serial, new_serial
from pki.store import AuthorityChange, PkiStore

# what is written together with the certificate, given its DER
Keep = Callable[[AuthorityChange, bytes], Awaitable[None]]
_TRIES = 3  # serial numbers of 158 random bits: a second one is never needed


class Issued:
    """A certificate that was just made. Times are epoch seconds."""

    def __init__(self, plan: Plan, serial: str, der: bytes, issuer: Issuer | None) -> None:
        self.serial = serial
        self.der = der
        self.issuer = issuer  # None: it signed itself
        self.not_before = plan.not_before
        self.not_after = plan.not_after

    @cached_property
    def certificate(self) -> x509.Certificate:
        """Parsed, for who needs more than its bytes."""
        return x509.load_der_x509_certificate(self.der)


class Issuing:
    """Makes certificates in one mount."""

    def __init__(self, store: PkiStore, keys: KeyCustodian, clock: Clock) -> None:
        self._store = store
        self._keys = keys
        self._clock = clock
        self._rows = RowWriter(store.storage)

    async def close(self) -> None:
        """Wait for what is being written."""
        await self._rows.close()

    async def issue(self, plan: Plan, issuer: Issuer, authority: Authority, origin: Origin) -> Issued:
        """A certificate by an issuer. Raises InvalidRequestError when the issuer may not or cannot."""
        key = signing_key(issuer, now=self._clock.now())
        above = constrained_above(issuer, authority)
        return await self._make(plan, issuer, key, urls_for(issuer, authority), origin, above=above)

    async def self_sign(
        self,
        plan: Plan,
        key: WrappedKey,
        urls: Urls,
        origin: Origin,
        *,
        issuer_id: str = "",
        keep: Keep | None = None,
    ) -> Issued:
        """A certificate signed by the key that it is about: a root, which is to be the issuer of that id.

        `keep` writes the issuer in the transaction that records the certificate: there are both or none.
        """
        return await self._make(plan, None, key, urls, origin, issuer_id=issuer_id, keep=keep)

    async def _make(
        self,
        plan: Plan,
        issuer: Issuer | None,
        key: WrappedKey,
        urls: Urls,
        origin: Origin,
        *,
        above: Sequence[Issuer] = (),
        issuer_id: str = "",
        keep: Keep | None = None,
    ) -> Issued:
        for _ in range(_TRIES):
            serial = new_serial()
            prepared = ToBeSigned(key, build(plan, issuer, serial, urls))
            check_certificate(prepared.draft, issuer, above)
            if origin.no_store:
                return Issued(plan, format_serial(serial), await prepared.sign_der(self._keys), issuer)
            intent = self._intent(plan, prepared, serial, issuer_id or _id_of(issuer), origin)
            try:
                await self._record(intent)
            except CasMismatchError:
                continue  # somebody has that serial number
            certificate = await prepared.sign_der(self._keys)
            await self._complete(intent, certificate, keep)
            return Issued(plan, intent.serial, certificate, issuer)
        raise InvalidRequestError("no free serial number was found; try again")

    def _intent(
        self, plan: Plan, prepared: ToBeSigned[x509.Certificate], serial: int, issuer_id: str, origin: Origin
    ) -> Known:
        constraints = plan.basic_constraints
        body = Certificate(
            certificate=prepared.message,
            issuer_id=issuer_id,
            role=origin.role,
            way=origin.way,
            requester=origin.requester,
            entity_id=origin.entity_id,
            request_id=origin.request_id,
            common_name=common_name_of(plan.subject),
            names=name_texts(plan.names),
            issued_at=int(self._clock.now()),
            is_ca=constraints is not None and constraints.ca,
        )
        return Known(serial=format_serial(serial), state=State.INTENDED, not_after=plan.not_after, body=body)

    async def _record(self, intent: Known) -> None:
        await self._rows.put(encode_row(intent, with_terms=True), cas=0)

    async def _complete(self, intent: Known, certificate: bytes, keep: Keep | None) -> None:
        body = replace(intent.body, certificate=certificate)
        row = encode_row(replace(intent, state=State.ISSUED, body=body))

        async def write_both(change: AuthorityChange) -> None:
            if keep is not None:
                await keep(change, certificate)
            await change.txn.put_row(CATALOG, row, cas=1)

        try:
            if keep is None:
                await self._rows.put(row, cas=1)
            else:
                await self._store.change_authority(write_both)
        except CasMismatchError:
            raise HsmRetryError(
                "the certificate took so long to sign that its serial number was given up; ask again"
            ) from None


def _id_of(issuer: Issuer | None) -> str:
    return "" if issuer is None else issuer.issuer_id


def signing_key(issuer: Issuer, *, now: float) -> WrappedKey:
    """The key of an issuer that may issue. Raises InvalidRequestError."""
    if issuer.not_after <= now:
        raise InvalidRequestError(f"the issuer {issuer.issuer_id} has ended, so it issues nothing any more")
    if issuer.not_before > now:
        raise InvalidRequestError(f"the issuer {issuer.issuer_id} is not yet valid, so it issues nothing so far")
    if issuer.row.revoked_at:
        raise InvalidRequestError(f"the issuer {issuer.issuer_id} is revoked, so it issues nothing any more")
    if not issuer.may("issuing-certificates"):
        raise InvalidRequestError(f"the issuer {issuer.issuer_id} may not issue: its usage lacks issuing-certificates")
    if issuer.key is None:
        raise InvalidRequestError(f"the key of the issuer {issuer.issuer_id} is not here, so it cannot issue")
    return issuer.key.key
