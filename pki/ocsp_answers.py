"""Signed OCSP answers of one mount in one worker: given again while nothing that they rest on has changed."""

from core.clock import Clock
from core.errors import KeyPolicyError
from core.prepared_signature import sign_prepared
from core.protocols import KeyCustodian, WrappedKey
from pki.authority import Authority, Issuer
from pki.building import key_bits
from pki.certificates import Known
from pki.ocsp import CertificateId, OcspQuestion, build_answer
from pki.ocsp_cache import Answered, OcspCache
from pki.ocsp_delegates import Delegate, Delegates
from pki.ocsp_responder import Responder, Responders
from pki.parts import Parts
from pki.serials import format_serial
from pki.store import PkiStore

_BUDGET = 8 * 1024 * 1024  # bytes of cached answers in one worker
_UNKNOWN_BUDGET = 512 * 1024  # of those that know nothing: whoever invents serial numbers pushes only these out
_UNKNOWN_LASTS = 60  # seconds: a serial number that is unknown may be known soon


class OcspAnswers:
    """Whoever asks by the same bytes gets the same answer."""

    def __init__(self, parts: Parts, *, budget: int = _BUDGET, unknown_budget: int = _UNKNOWN_BUDGET) -> None:
        """Budgets in bytes."""
        self._store: PkiStore = parts.store
        self._keys: KeyCustodian = parts.keys
        self._clock: Clock = parts.clock
        self._delegates: Delegates = parts.ocsp_delegates
        self._known = OcspCache(budget)
        self._unknown = OcspCache(unknown_budget)
        self._responders: Responders | None = None

    async def find(self, asked: bytes, authority: Authority) -> Answered | None:
        """The answer given before, if it would be given again: the same objects, and time left."""
        answered = self._known.find(asked) or self._unknown.find(asked)
        if answered is None or answered.authority is not authority:
            return None
        if not answered.this_update <= self._clock.now() < answered.until:
            return None
        for serial, row in answered.rows:  # an absent one is looked for in the store each time: it may be there by now
            now = await self._store.certificate(serial)
            if now is not row and now != row:
                return None
        delegate = await self._delegates.find(answered.issuer, authority)
        return answered if delegate is answered.delegate or delegate == answered.delegate else None

    def responder(self, question: OcspQuestion, authority: Authority) -> Responder | None:
        """Who answers for all certificates of the request; None when nobody does, or more than one would have to."""
        responders = self._responders
        if responders is None or responders.authority is not authority:
            responders = self._responders = Responders(authority)
        found = {id(each): each for each in map(responders.find, question.certificates)}
        return found.popitem()[1] if len(found) == 1 else None

    async def sign(self, asked: bytes, question: OcspQuestion, responder: Responder, authority: Authority) -> Answered:
        """Make one, and keep it. Raises HsmError and KeyPolicyError."""
        issuer = responder.signer
        if issuer is None:
            raise KeyPolicyError("no issuer of this name and key signs OCSP answers")
        delegate = await self._delegates.find(issuer, authority)
        rows = await self._rows(question)
        statuses = [
            responder.status(certificate, row) for certificate, row in zip(question.certificates, rows, strict=True)
        ]
        is_known = all(status.is_known for status in statuses)
        now = int(self._clock.now())
        next_update = _next_update(now, authority.index.crl.ocsp_expiry, delegate, is_known=is_known)
        key, bits, certificate = _signer(issuer, delegate)
        build = build_answer(
            statuses,
            responder_key=bits,
            this_update=now,
            next_update=next_update,
            nonce=question.nonce,
            certificates=(certificate,),  # without it GnuTLS does not find who is named by a key
        )
        answered = Answered(
            body=(await sign_prepared(self._keys, key, build)).der,
            authority=authority,
            rows=tuple(zip(map(_serial_of, question.certificates), rows, strict=True)),
            issuer=issuer,
            delegate=delegate,
            this_update=now,
            next_update=next_update,
        )
        if next_update and not question.nonce:  # without nextUpdate nothing may be given twice (RFC 6960, 4.2.2.1)
            (self._known if is_known else self._unknown).put(asked, answered)
        return answered

    async def _rows(self, question: OcspQuestion) -> list[Known | None]:
        return [await self._store.certificate(_serial_of(certificate)) for certificate in question.certificates]


def _serial_of(certificate: CertificateId) -> str:
    return format_serial(certificate.serial)


def _signer(issuer: Issuer, delegate: Delegate | None) -> tuple[WrappedKey, bytes, bytes]:
    """Whose key signs, the bits of its public half, and the certificate that goes with the answer."""
    if delegate is not None and delegate.key.public_key is not None:
        return delegate.key, key_bits(delegate.key.public_key), delegate.certificate
    if issuer.key is None:
        raise KeyPolicyError("no issuer of this name and key signs OCSP answers")
    return issuer.key.key, key_bits(issuer.public_key), issuer.row.certificate


def _next_update(now: int, lasts: int, delegate: Delegate | None, *, is_known: bool) -> int:
    """Epoch seconds; 0: newer information is always to be had. Not later than its signer's certificate ends."""
    if not lasts:
        return 0
    until = now + (lasts if is_known else min(lasts, _UNKNOWN_LASTS))
    return until if delegate is None else min(until, delegate.not_after)
