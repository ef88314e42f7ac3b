"""Revocation: the row of a certificate says so, and in the same transaction a CRL is asked for.

Whoever reads the row afterwards (OCSP, the builder of CRLs) sees it; nothing is signed here.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec.structs import replace

from core.clock import Clock
from core.errors import CasMismatchError, InvalidRequestError
from core.protocols import Event, Transaction
from pki.authority import Authority, Issuer
from pki.certificates import CATALOG, Certificate, Known, State, decode_row, encode_row
from pki.crl_scope import scope_of, scope_of_id
from pki.crl_wishes import wish
from pki.names import common_name_of, name_texts
from pki.serials import format_serial
from pki.store import AuthorityChange, PkiStore

# RFC 5280, 5.3.1; certificateHold and removeFromCRL are not here, since a revocation is never taken back
REASONS = (
    "unspecified",
    "keyCompromise",
    "cACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "privilegeWithdrawn",
    "aACompromise",
)
_TRIES = 5  # against somebody who writes the same row meanwhile: each row is written three times at most
_LEEWAY = 2  # seconds: what ends sooner counts as expired, as in Vault


class UnknownCertificateError(InvalidRequestError):
    """There is no certificate of that serial number here."""


class Revoked(NamedTuple):
    """What became of it. `revoked_at` 0: it had expired, so it is refused everywhere without a CRL."""

    serial: str
    revoked_at: int  # epoch seconds; of the first time, if it was revoked before


class Revoking:
    """Revokes certificates and issuers of one mount."""

    def __init__(self, store: PkiStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def revoke(self, serial: str, *, reason: str = "unspecified") -> Revoked:
        """Revoke what this mount issued. Raises UnknownCertificateError, also for what was never signed."""
        check_reason(reason)
        authority = await self._store.authority()

        async def body(txn: Transaction) -> Revoked:
            row = await txn.row(CATALOG, serial)
            known = None if row is None else decode_row(row)
            if known is None or known.state in (State.INTENDED, State.ABANDONED):
                self._refuse_issuers(authority, serial)
                raise UnknownCertificateError(f"certificate with serial {serial} not found.")
            self._refuse_issuers(authority, serial, known.body.certificate)
            return await self._mark(txn, authority, known, reason)

        return await self._transact(body)

    async def revoke_certificate(self, certificate: x509.Certificate, *, reason: str = "unspecified") -> Revoked:
        """Revoke one that is shown, be it stored or not. Raises InvalidRequestError if no issuer here signed it."""
        check_reason(reason)
        authority = await self._store.authority()
        serial = format_serial(certificate.serial_number)
        self._refuse_issuers(authority, serial, certificate.public_bytes(Encoding.DER))
        issuer = issuer_of(certificate, authority)
        shown = self._taken_over(certificate, issuer)

        async def body(txn: Transaction) -> Revoked:
            row = await txn.row(CATALOG, serial)
            known = shown if row is None else _same(decode_row(row), shown)
            return await self._mark(txn, authority, known, reason)

        return await self._transact(body)

    async def revoke_issuer(self, reference: str, *, reason: str = "unspecified") -> Issuer:
        """It issues nothing any more; if an issuer of this mount signed it, it goes on that one's CRL."""
        check_reason(reason)

        async def work(change: AuthorityChange) -> None:
            issuer = change.before.issuer(reference)
            if not issuer.row.revoked_at:
                usage = tuple(word for word in issuer.row.usage if word != "issuing-certificates")
                await change.put_issuer(replace(issuer.row, usage=usage, revoked_at=int(self._clock.now())))
                await self._revoke_above(change, issuer, reason)

        await self._store.change_authority(work)
        return (await self._store.authority()).issuer(reference)

    async def _revoke_above(self, change: AuthorityChange, issuer: Issuer, reason: str) -> None:
        """Put it on the CRL of the issuer that signed it; its own would say nothing about it."""
        certificate = issuer.certificate
        above = [other for other in signers_of(certificate, change.before) if scope_of(other) != scope_of(issuer)]
        await change.txn.announce(_event("pki/issuer-revoke", format_serial(certificate.serial_number), issuer))
        if not above:
            return
        row = await change.txn.row(CATALOG, format_serial(certificate.serial_number))
        taken = self._taken_over(certificate, above[0])
        found = taken if row is None else decode_row(row)
        if is_of_another(found, issuer):
            return  # there is one row for a serial number, and the issuer must not go on because of that
        known = taken if row is None else _same(found, taken)
        await self._mark(change.txn, change.before, known, reason)

    async def _mark(self, txn: Transaction, authority: Authority, known: Known, reason: str) -> Revoked:
        if known.state is State.REVOKED:
            return Revoked(known.serial, known.body.revoked_at)
        now = int(self._clock.now())
        if known.not_after < now + _LEEWAY:
            return Revoked(known.serial, 0)
        marked = replace(known, state=State.REVOKED, body=replace(known.body, revoked_at=now, reason=reason))
        await txn.put_row(CATALOG, encode_row(marked, with_terms=not known.revision), cas=known.revision)
        issuer = authority.issuers.get(known.body.issuer_id)
        scope = scope_of_id(known.body.issuer_id, authority)
        if scope:
            await wish(txn, scope)
        await txn.announce(_event("pki/revoke", known.serial, issuer))
        return Revoked(known.serial, now)

    def _taken_over(self, certificate: x509.Certificate, issuer: Issuer) -> Known:
        """A row for a certificate that has none."""
        try:
            extensions = certificate.extensions
            names = name_texts(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        except (x509.ExtensionNotFound, ValueError):
            names = ()
        return Known(
            serial=format_serial(certificate.serial_number),
            state=State.ISSUED,
            not_after=int(certificate.not_valid_after_utc.timestamp()),
            body=Certificate(
                certificate=certificate.public_bytes(Encoding.DER),
                issuer_id=issuer.issuer_id,
                way="imported",
                common_name=common_name_of(certificate.subject),
                names=names,
                issued_at=int(certificate.not_valid_before_utc.timestamp()),
            ),
        )

    def _refuse_issuers(self, authority: Authority, serial: str, certificate: bytes = b"") -> None:
        """`certificate` (DER) is what has the serial number, if that is known: others may have given it to a CA."""
        for issuer in authority.issuers.values():
            if certificate and certificate != issuer.row.certificate:
                continue
            if format_serial(issuer.certificate.serial_number) == serial:
                raise InvalidRequestError(
                    f"adding issuer (id: {issuer.issuer_id}) to its own CRL is not allowed;"
                    f" an issuer is revoked by issuer/{issuer.issuer_id}/revoke"
                )

    async def _transact(self, body: Callable[[Transaction], Awaitable[Revoked]]) -> Revoked:
        for _ in range(_TRIES):
            try:
                return await self._store.storage.transact(body)
            except CasMismatchError:
                continue  # the row was written since it was read: it is looked at again
        raise InvalidRequestError("the certificate is being changed by others; try again")


def check_reason(reason: str) -> None:
    """Raises InvalidRequestError."""
    if reason not in REASONS:
        raise InvalidRequestError(f"reason must be one of {', '.join(REASONS)}")


def issuer_of(certificate: x509.Certificate, authority: Authority) -> Issuer:
    """Who of this mount signed it. Raises InvalidRequestError."""
    found = signers_of(certificate, authority)
    if not found:
        raise InvalidRequestError(
            "unable to verify signature on presented cert from any present issuer in this mount; certificates from"
            " previous CAs will need to have their issuing CA and key re-imported if revocation is necessary"
        )
    return found[0]


def signers_of(certificate: x509.Certificate, authority: Authority) -> list[Issuer]:
    """The issuers whose name it bears and whose key its signature verifies with."""
    return [issuer for issuer in authority.issuers.values() if is_signed_by(certificate, issuer)]


def is_signed_by(certificate: x509.Certificate, issuer: Issuer) -> bool:
    """Whether the issuer's name is in it and its key verifies the signature."""
    try:
        certificate.verify_directly_issued_by(issuer.certificate)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def is_of_another(known: Known, issuer: Issuer) -> bool:
    """Whether the row of an issuer's serial number is that of another certificate."""
    return known.state in (State.ISSUED, State.REVOKED) and known.body.certificate != issuer.row.certificate


def _same(known: Known, shown: Known) -> Known:
    """The row of a certificate that was shown. Raises InvalidRequestError when it is about another one."""
    if known.state in (State.INTENDED, State.ABANDONED):
        return replace(
            known, state=State.ISSUED, body=replace(known.body, certificate=shown.body.certificate)
        )  # it was signed after all: so it is revoked
    if known.body.certificate != shown.body.certificate:
        raise InvalidRequestError(
            "certificate with same serial but unequal value already present in this cluster's storage; refusing to"
            " revoke"
        )
    return known


def _event(kind: str, serial: str, issuer: Issuer | None) -> Event:
    metadata = {"serial_number": serial, "issuer_id": "" if issuer is None else issuer.issuer_id}
    return Event(
        type=kind,
        path="revoke" if kind == "pki/revoke" else f"issuer/{metadata['issuer_id']}/revoke",
        metadata={"operation": kind.removeprefix("pki/"), **metadata},
    )
